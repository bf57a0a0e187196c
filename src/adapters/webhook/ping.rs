//! A test of an endpoint: a message of the endpoint's own format that tells nothing else. Consumers that know their
//! types pass over it.

use super::bodies::{Body, json};
use crate::domain::delivery::{Endpoint, Format};
use crate::domain::ids::EventId;
use crate::domain::time::Timestamp;
use serde_json::json as object;

pub(super) const TYPE: &str = "endpoint.test";

pub(super) fn body(
    endpoint: &Endpoint,
    id: &EventId,
    source: &str,
    at: Timestamp,
) -> Result<Body, &'static str> {
    let data = object!({ "endpoint": endpoint.id.0, "labels": {} });
    match endpoint.format {
        Format::Standard => {
            let body = object!({ "id": id.as_str(), "type": TYPE, "timestamp": at, "data": data });
            json("application/json", &body)
        }
        Format::CloudEvents => {
            let body = object!({
                "specversion": "1.0", "id": id.as_str(), "source": source, "type": format!("catchment.{TYPE}.v1"),
                "time": at, "datacontenttype": "application/json", "data": data,
            });
            json("application/cloudevents+json", &body)
        }
        // The provider's shape with nothing in it.
        Format::Runware => json("application/json", &object!({ "data": [] })),
    }
}
