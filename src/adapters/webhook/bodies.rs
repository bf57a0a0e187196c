//! What is sent: one event in the format its endpoint asked for.

use crate::domain::delivery::{Format, UNSENDABLE};
use crate::domain::event::{Event, EventData};
use crate::domain::time::Timestamp;
use serde::Serialize;

/// The exact bytes of a body, and their type.
pub struct Body {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

pub fn json(content_type: &'static str, body: &impl Serialize) -> Result<Body, &'static str> {
    let bytes = serde_json::to_vec(body).map_err(|_| UNSENDABLE)?;
    Ok(Body { content_type, bytes })
}

/// The formats that need nothing but the event. `source` is CloudEvents' `source`.
pub fn plain(event: &Event, format: Format, source: &str) -> Option<Result<Body, &'static str>> {
    match format {
        Format::Standard => Some(json("application/json", &event.envelope())),
        Format::CloudEvents => {
            let body = CloudEvent::of(event, source);
            Some(json("application/cloudevents+json", &body))
        }
        Format::Runware => None,
    }
}

/// CloudEvents 1.0.2, structured JSON.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: Timestamp,
    datacontenttype: &'static str,
    /// Padded, since extensions of this kind are compared as text.
    sequence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitionkey: Option<String>,
    data: &'a EventData,
}

impl<'a> CloudEvent<'a> {
    fn of(event: &'a Event, source: &'a str) -> Self {
        let task = event.task.map(|id| id.to_string());
        Self {
            specversion: "1.0",
            id: event.id.as_str(),
            source,
            kind: format!("catchment.{}.v1", event.kind),
            subject: task.clone(),
            time: event.at,
            datacontenttype: "application/json",
            sequence: format!("{:020}", event.sequence),
            partitionkey: task,
            data: &event.data,
        }
    }
}
