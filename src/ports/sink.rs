//! Where events go: a transport to one endpoint.

use crate::domain::delivery::{Delivery, Endpoint, Outcome};
use crate::domain::ids::EventId;
use async_trait::async_trait;

#[async_trait]
pub trait Sink: Send + Sync {
    /// Makes one try, within `events.timeout`, through the network guard; never follows a redirect. Signed for this
    /// try's time, by every secret in force. Repeating it is harmless: consumers dedupe on the event's id. Every way it
    /// can end is an outcome; the excerpt of an answer is at most 512 bytes of text, without what looks like a secret.
    async fn deliver(&self, delivery: &Delivery) -> Outcome;

    /// The same with a message that tells nothing but that it is a test, under an id of its own; of no event, and in
    /// no log.
    async fn ping(&self, endpoint: &Endpoint, id: &EventId) -> Outcome;
}
