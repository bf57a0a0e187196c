//! What the bucket holds, looked at without reading the bytes.

use super::blobs::BlobError;
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use async_trait::async_trait;

#[async_trait]
pub trait Holdings: Send + Sync {
    /// The object under a key, by one HEAD; `None`: there is none.
    async fn find(&self, key: &ObjectKey) -> Result<Option<Found>, BlobError>;

    /// SHA-256 of an object's bytes, by reading all of them once in bounded memory: where [`Found::sha256`] is unknown.
    async fn digest(&self, key: &ObjectKey) -> Result<Option<Digest>, BlobError>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub size_bytes: u64,
    /// `None`: the store keeps no SHA-256 of the whole.
    pub sha256: Option<Digest>,
    pub content_type: Option<String>,
    /// The task and the result the object says it is of (`task-uuid`, `result-id`, percent-encoded as they were sent).
    pub task: Option<String>,
    pub result: Option<String>,
}
