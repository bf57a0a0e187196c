//! What falls due by the clock alone: nothing that is down may hold it back.

use super::store::{Claim, StoreError};
use crate::domain::file::TaskFile;
use crate::domain::ids::AssetId;
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use async_trait::async_trait;

#[async_trait]
pub trait Overdue: Send + Sync {
    /// Assets not archived yet whose `at_risk_at` has come, earliest first, at most `limit`.
    async fn at_risk(&self, now: Timestamp, limit: u32) -> Result<Vec<AssetId>, StoreError>;

    /// The store of objects is back: copies put off because of it are due at once, so that the most urgent goes first
    /// whatever its own back-off was. Answers how many.
    async fn hasten_copies(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Claims, as [`super::store::Leases`] does, tasks that may not be sent any more, also before they are due: first
    /// attempted by `limits.attempted_by`; or never attempted, and created by `limits.created_by` or past their own
    /// deadline. One under a live lease is in hand, and left to its holder; one that was never attempted here and may
    /// have been by an earlier life is left to be asked about.
    async fn claim_unsendable(
        &self,
        c: Claim,
        limits: SendLimits,
    ) -> Result<Vec<Lease<TaskFile>>, StoreError>;
}

/// Until when an attempt, or an arrival, was too long ago.
#[derive(Clone, Copy, Debug)]
pub struct SendLimits {
    pub attempted_by: Timestamp,
    pub created_by: Timestamp,
}
