//! The journal: the identity of each task, in the bucket, so that even the loss of the only disk loses nothing paid.

use super::blobs::BlobError;
use crate::domain::identity::Identity;
use crate::domain::ids::TaskId;
use async_trait::async_trait;

/// One small object a task, under `{prefix}.journal/{taskUUID}`. Never changed once written.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Durable in the bucket when it returns. Repeating it is harmless: the first entry stands.
    async fn keep(&self, identity: &Identity) -> Result<Kept, BlobError>;

    /// The entry of one task; `None`: there is none.
    async fn recall(&self, id: TaskId) -> Result<Option<Identity>, BlobError>;

    /// The entries of several, a few requests at a time. One that went away is none; one that cannot be read is counted.
    async fn recall_all(&self, ids: &[TaskId]) -> Result<Recalled, BlobError>;

    /// The names of up to `limit` (1–1000) entries after one, in their order. Needs the right to list the bucket.
    async fn list(&self, after: Option<TaskId>, limit: u32) -> Result<JournalNames, BlobError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    New,
    /// It was there: a process before this one has written it, and may have submitted the task.
    Before,
}

#[derive(Debug, Default)]
pub struct Recalled {
    pub identities: Vec<Identity>,
    pub unreadable: u64,
}

pub struct JournalNames {
    pub ids: Vec<TaskId>,
    /// Read on after this one; `None`: the end.
    pub next: Option<TaskId>,
}
