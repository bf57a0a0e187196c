//! A log outside that events are appended to: NATS JetStream, or another broker.

use crate::domain::event::Event;
use crate::domain::ids::EventId;
use async_trait::async_trait;

/// Most events of one [`EventLog::append`]: they are under way at the same time, a few hundred bytes each.
pub const MAX_APPEND: u32 = 256;

#[async_trait]
pub trait EventLog: Send + Sync {
    /// Connects if need be and makes sure that there is a place for events, then answers the last of our events there.
    async fn last(&self) -> Result<Option<Appended>, Trouble>;

    /// Appends events in order, at most [`MAX_APPEND`], under way together. An event counts when the log acknowledged
    /// it as stored; one appended before is acknowledged again and not stored twice, as far as the log remembers ids.
    /// No event is stored without all before it in the same call. Answers how many of the first were acknowledged,
    /// and what kept the next from it.
    async fn append(&self, events: &[Event]) -> (usize, Option<Trouble>);

    /// Ends the connection.
    async fn close(&self);
}

/// Where one of our events lies in the log outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    pub id: EventId,
    pub sequence: u64,
}

/// Why nothing can be appended now; it may be possible later.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Stable: `unreachable`, `unauthorized`, `timeout` …
    pub code: &'static str,
    /// Nothing is wrong but our idea of the log: look at [`EventLog::last`] again, at once.
    pub stale: bool,
}
