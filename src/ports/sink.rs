//! Where events go: a transport to one endpoint.

use crate::domain::delivery::{Delivery, Outcome};
use async_trait::async_trait;

#[async_trait]
pub trait Sink: Send + Sync {
    /// Makes one try, within `events.timeout`, through the network guard; never follows a redirect. Signed for this
    /// try's time. Repeating it is harmless: consumers dedupe on the event's id. Every way it can end is an outcome;
    /// the excerpt of an answer is at most 512 bytes of text.
    async fn deliver(&self, delivery: &Delivery) -> Outcome;
}
