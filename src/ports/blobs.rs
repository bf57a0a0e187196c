//! The object store.

use super::BoxError;
use super::holdings::Holdings;
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

#[async_trait]
pub trait Blobs: Holdings + Send + Sync {
    fn bucket(&self) -> &str;

    /// Stores `body` under `put.key`, create-only, whole or not at all; no reader sees a part.
    /// With a size, one PutObject holding a few network buffers; without one, parts one after the other, one part in
    /// memory. A body that ends with `Err` or early is abandoned: no object comes of it.
    /// The checksum is computed on the way and checked by the store where it can.
    ///
    /// # Errors
    /// After any error the object may exist all the same: look with [`Blobs::compare`] before trying again.
    async fn put_stream(&self, put: Put, body: BlobBody) -> Result<(), BlobError>;

    /// Whether the object under `key` is the one described: by HEAD where the store keeps a SHA-256 of the whole,
    /// else by reading it back once.
    async fn compare(&self, key: &ObjectKey, size_bytes: u64, sha256: &Digest)
    -> Result<Compared, BlobError>;

    /// Whether the bucket answers to our credentials; for `degraded` and `doctor`.
    async fn probe(&self) -> Result<(), BlobError>;
}

/// The bytes to store, in order. Dropping the sender without having sent `size_bytes` abandons the upload.
pub type BlobBody = mpsc::Receiver<Result<Bytes, BodyAbandoned>>;

/// The copier changed its mind: the source broke, or what it sent is not to be stored.
#[derive(Debug, thiserror::Error)]
#[error("the upload was abandoned")]
pub struct BodyAbandoned;

#[derive(Clone, Debug)]
pub struct Put {
    pub key: ObjectKey,
    /// Exact length in bytes, if known before the first byte.
    pub size_bytes: Option<u64>,
    pub content_type: String,
    /// User metadata, name (without `x-amz-meta-`) and value, already percent-encoded.
    pub metadata: Vec<(String, String)>,
    /// Told before the last byte is sent, if the sender hashes the bytes anyway: the store is then given this digest,
    /// and nobody hashes them again. Never told: the body is abandoned. `None`: the adapter makes its own.
    pub sha256: Option<DigestToCome>,
}

/// SHA-256 of a body, set once the sender knows it.
pub type DigestToCome = Arc<OnceLock<Digest>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    Absent,
    Same,
    Other,
}

impl BlobError {
    /// Stable, for `degraded` and logs.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code } | Self::Unavailable { code, .. } | Self::Misconfigured { code } => code,
            Self::Exists | Self::Abandoned => "unexpected_answer",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The key is taken (412): compare, then decide.
    #[error("the object exists already")]
    Exists,
    /// Our own body ended with an error or early.
    #[error("the upload was abandoned")]
    Abandoned,
    /// The store refused these bytes or this request for good (checksum mismatch is `Unavailable`: sent again).
    #[error("the object store refused: {code}")]
    Refused { code: String },
    /// 5xx, SlowDown, timeout, reset, checksum mismatch: try later.
    #[error("the object store is unavailable: {code}")]
    Unavailable {
        code: String,
        #[source]
        source: Option<BoxError>,
    },
    /// Credentials, bucket or region: an operator must look; tried again slowly.
    #[error("the object store is misconfigured: {code}")]
    Misconfigured { code: String },
}
