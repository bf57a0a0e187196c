//! Where a finished file is read from: a public link at the provider.

use super::BoxError;
use crate::domain::asset::SourceUrl;
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

#[async_trait]
pub trait Sources: Send + Sync {
    /// Opens the link with GET, through the network guard, identity encoding, redirects off.
    /// With `resume`, asks for the rest with `Range` and `If-Range`; the answer's `start` says whether it was granted.
    async fn open(&self, url: &SourceUrl, resume: Option<&Resume>) -> Result<Opened, SourceError>;
}

/// Where to go on, and what must not have changed.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Bytes already read.
    pub from: u64,
    /// Length of the whole, if the source named it.
    pub total: Option<u64>,
    /// A strong entity tag. Without one nothing tells whether the rest is of the same file.
    pub etag: Option<String>,
}

pub struct Opened {
    /// Offset of the first byte: 0, or `resume.from` when the source granted it (206, right Content-Range, same tag).
    pub start: u64,
    /// Length of the whole entity in bytes, when the source names it.
    pub total: Option<u64>,
    /// A strong entity tag, when the source has one.
    pub etag: Option<String>,
    pub content_type: Option<String>,
    pub body: Box<dyn SourceBody>,
}

#[async_trait]
pub trait SourceBody: Send {
    /// The next bytes (never empty), `None` at the end. Ends early with `Broken` when the connection breaks, idles
    /// too long or falls below the rate floor.
    async fn chunk(&mut self) -> Result<Option<Bytes>, SourceError>;
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// 403, 404, 410: the link is dead, for now or for ever.
    #[error("the link is dead: http {status}")]
    Dead { status: u16 },
    /// 5xx, 429, no connection: the same link may work later.
    #[error("the source is unavailable: {code}")]
    Unavailable {
        code: String,
        retry_after: Option<Duration>,
    },
    /// The body broke off: go on from where it broke, or start again.
    #[error("the source broke off")]
    Broken(#[source] BoxError),
    /// The network guard refused the address: no retry of this link will help.
    #[error("the link is forbidden: {code}")]
    Forbidden { code: &'static str },
    /// An answer that is no file (204, 3xx, 4xx other than dead).
    #[error("the source answered oddly: http {status}")]
    Odd { status: u16 },
}
