//! What the settings take for granted of an object store, and whether it is so.

use super::blobs::BlobError;
use async_trait::async_trait;

#[async_trait]
pub trait Promises: Send + Sync {
    /// Tries what `s3.checksum` and `s3.create_only` count on. Deletes nothing, since many buckets allow no deletion:
    /// what it writes is small, constant, and created once under [`FOLDER`] behind `prefix`, however often it is asked.
    ///
    /// # Errors
    /// The store cannot be asked now; nothing is known then.
    async fn examine(&self, prefix: &str) -> Result<Vec<Finding>, BlobError>;
}

/// Ours, beside the results.
pub const FOLDER: &str = ".catchment/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Said yes to a small object, and has none.
    KeepsNothing,
    /// Wrote over an object that was to be created only if absent.
    Overwrites,
    /// Refuses requests that name `If-None-Match`.
    KnowsNoCreateOnly,
    /// Took bytes that do not match their checksum.
    TakesWrongChecksum,
    /// Refuses requests that carry a checksum.
    KnowsNoChecksum,
    /// Does not tell the checksum of what it keeps.
    KeepsNoChecksum,
    /// Would decide by itself who creates an object, and is not asked to.
    CouldCreateOnly,
}

impl Finding {
    pub const ALL: [Self; 7] = [
        Self::KeepsNothing,
        Self::Overwrites,
        Self::KnowsNoCreateOnly,
        Self::TakesWrongChecksum,
        Self::KnowsNoChecksum,
        Self::KeepsNoChecksum,
        Self::CouldCreateOnly,
    ];

    /// Stable, for `degraded`. `None`: no fault, only worth knowing.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::KeepsNothing => Some("keeps_nothing"),
            Self::Overwrites => Some("create_only_ignored"),
            Self::KnowsNoCreateOnly => Some("create_only_unsupported"),
            Self::TakesWrongChecksum => Some("checksum_ignored"),
            Self::KnowsNoChecksum => Some("checksum_unsupported"),
            Self::KeepsNoChecksum => Some("checksum_not_kept"),
            Self::CouldCreateOnly => None,
        }
    }

    /// What it means, and what to do about it.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::KeepsNothing => {
                "the store says yes and keeps nothing: no result becomes archived until it does; look at the store"
            }
            Self::Overwrites => {
                "the store ignores If-None-Match and writes over what is there: set s3.create_only = \"head\", which looks first"
            }
            Self::KnowsNoCreateOnly => {
                "the store refuses If-None-Match, so nothing can be stored: set s3.create_only = \"head\", which looks first"
            }
            Self::TakesWrongChecksum => {
                "the store does not check what it receives: set s3.checksum = \"none\", and each object is read back once"
            }
            Self::KnowsNoChecksum => {
                "the store refuses this kind of checksum, so nothing can be stored: set s3.checksum to another, or to \"none\""
            }
            Self::KeepsNoChecksum => {
                "the store tells no SHA-256 of what it keeps, so each object is read back once: s3.checksum = \"none\" says so"
            }
            Self::CouldCreateOnly => {
                "the store honours If-None-Match: s3.create_only = \"native\" would close the race that \"head\" leaves open"
            }
        }
    }
}
