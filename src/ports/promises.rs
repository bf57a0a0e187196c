//! What the settings take for granted of an object store, and whether it is so.

use super::blobs::BlobError;
use async_trait::async_trait;

#[async_trait]
pub trait Promises: Send + Sync {
    /// Tries what `s3.checksum` and `s3.create_only` count on, by the very requests that results are stored with.
    /// Deletes no object, since many buckets allow no deletion: what it writes is small and constant, under [`FOLDER`]
    /// behind `prefix`, and a store without a fault is left with one object, however often it is asked.
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
    /// Keeps other bytes than were sent: of a body in `aws-chunked` form mostly the form with the body.
    KeepsOtherBytes,
    /// Wrote over an object that was to be created only if absent.
    Overwrites,
    /// Did so when parts were joined, though not otherwise.
    OverwritesInParts,
    /// Refuses requests that name `If-None-Match`.
    KnowsNoCreateOnly,
    /// Took bytes that do not match their checksum.
    TakesWrongChecksum,
    /// Refuses requests that carry a checksum.
    KnowsNoChecksum,
    /// Refuses a checksum that follows the body, though not one that goes before it.
    KnowsNoTrailer,
    /// Does not tell the checksum of what it keeps.
    KeepsNoChecksum,
    /// Refuses uploads in parts, at least those that are to create only.
    KnowsNoParts,
    /// Would decide by itself who creates an object, and is not asked to.
    CouldCreateOnly,
}

impl Finding {
    pub const ALL: [Self; 11] = [
        Self::KeepsNothing,
        Self::KeepsOtherBytes,
        Self::Overwrites,
        Self::OverwritesInParts,
        Self::KnowsNoCreateOnly,
        Self::TakesWrongChecksum,
        Self::KnowsNoChecksum,
        Self::KnowsNoTrailer,
        Self::KeepsNoChecksum,
        Self::KnowsNoParts,
        Self::CouldCreateOnly,
    ];

    /// Stable, for `degraded`. `None`: no fault, only worth knowing.
    pub fn fault(self) -> Option<&'static str> {
        match self {
            Self::KeepsNothing => Some("keeps_nothing"),
            Self::KeepsOtherBytes => Some("content_altered"),
            Self::Overwrites => Some("create_only_ignored"),
            Self::OverwritesInParts => Some("create_only_ignored_in_parts"),
            Self::KnowsNoCreateOnly => Some("create_only_unsupported"),
            Self::TakesWrongChecksum => Some("checksum_ignored"),
            Self::KnowsNoChecksum => Some("checksum_unsupported"),
            Self::KnowsNoTrailer => Some("trailer_unsupported"),
            Self::KeepsNoChecksum => Some("checksum_not_kept"),
            // Few sources name no length, and a copy that needs parts says so itself.
            Self::KnowsNoParts | Self::CouldCreateOnly => None,
        }
    }

    /// What it means, and what to do about it.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::KeepsNothing => {
                "the store says yes and keeps nothing: no result becomes archived until it does; look at the store"
            }
            Self::KeepsOtherBytes => {
                "the store keeps other bytes than it was sent, so every result ends as a conflict; it mostly does not understand aws-chunked bodies: set s3.checksum = \"none\", which sends them plain"
            }
            Self::Overwrites => {
                "the store ignores If-None-Match and writes over what is there: set s3.create_only = \"head\", which looks first"
            }
            Self::OverwritesInParts => {
                "the store ignores If-None-Match where parts are joined, so a result that came without a length may write over what is there: set s3.create_only = \"head\", which looks first"
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
            Self::KnowsNoTrailer => {
                "the store refuses a checksum that follows the body (aws-chunked), so nothing can be stored: set s3.checksum = \"none\", which sends bodies plain, and each object is read back once"
            }
            Self::KeepsNoChecksum => {
                "the store tells no SHA-256 of what it keeps, so each object is read back once: s3.checksum = \"none\" says so"
            }
            Self::KnowsNoParts => {
                "the store refuses us uploads in parts, so a result without a length or beyond 5 GiB cannot be stored; where it refuses only If-None-Match in them, s3.create_only = \"head\" helps"
            }
            Self::CouldCreateOnly => {
                "the store honours If-None-Match: s3.create_only = \"native\" would close the race that \"head\" leaves open"
            }
        }
    }
}
