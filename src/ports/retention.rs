//! What is removed when its time is over, in small steps.

use super::store::StoreError;
use crate::domain::time::Timestamp;
use async_trait::async_trait;

/// Most rows looked at in one step, and so at most removed by one commit: a few milliseconds of the one writer.
pub const STEP: u32 = 200;

/// Each call is one step of a walk from the oldest row: it looks at [`STEP`] rows after `after`, removes what may go in
/// one commit, and says where to go on. A row that may not go yet is passed over; the next walk looks again. Repeating
/// a step is harmless.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Erases the submitted documents of tasks that settled before `settled_before`. The tasks stay, and so does what
    /// a repeated submission is compared with.
    async fn erase_documents(&self, settled_before: Timestamp, after: u64) -> Result<Removed, StoreError>;

    /// Removes events that were written before `written_before`, with their deliveries, and moves the log's oldest
    /// position over them. An event that an enabled endpoint has still to get is kept until it is delivered or dead,
    /// though the log is not read that far back any more.
    async fn remove_events(&self, written_before: Timestamp, after: u64) -> Result<Removed, StoreError>;

    /// Removes tasks that settled before `settled_before` with all that is theirs but their events, and leaves a
    /// tombstone each, so that a late callback or a repeated submission starts nothing. Kept are a task that somebody
    /// still works on or has to tell of, and one submitted together, under one idempotency key, with a task that must
    /// stay: the key goes with the first of them.
    async fn remove_tasks(
        &self,
        settled_before: Timestamp,
        now: Timestamp,
        after: u64,
    ) -> Result<Removed, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub rows: u64,
    /// Where the walk goes on; `None`: nothing further is old enough.
    pub next: Option<u64>,
}
