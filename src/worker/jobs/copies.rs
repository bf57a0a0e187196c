//! Results on their way into the bucket.

use super::Shared;
use crate::domain::asset::{AssetReason, KeyRule};
use crate::domain::file::{CopyOutcome, NotStored};
use crate::domain::ids::AssetId;
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::blobs::Blobs;
use crate::ports::health::Component;
use crate::ports::source::Sources;
use crate::ports::store::{Claim, CopyJob, Held, Queue, StoreError};
use crate::steps::archive::{Archive, Worked, archive};
use crate::telemetry::metrics::ArchiveFailure;
use crate::worker::pace::Pace;
use crate::worker::{Gate, Work};
use async_trait::async_trait;
use std::sync::Arc;
use tracing::{error, info, warn};

pub struct Copies {
    pub shared: Shared,
    pub sources: Arc<dyn Sources>,
    pub blobs: Arc<dyn Blobs>,
    pub keys: KeyRule,
    pub max_object_bytes: u64,
    /// Toward the object store.
    pub pace: Pace,
}

#[async_trait]
impl Work for Copies {
    type Item = CopyJob;
    const QUEUE: Queue = Queue::Copies;

    fn gate(&self, free: u32, now: Timestamp) -> Gate {
        self.pace.gate(free, now)
    }

    fn idle(&self, now: Timestamp) {
        self.pace.undecided(now);
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<CopyJob>>, StoreError> {
        self.shared.store.claim_copies(claim).await
    }

    fn held(lease: &Lease<CopyJob>) -> Held {
        Held::Asset {
            id: lease.item.asset.clone(),
            epoch: lease.epoch,
        }
    }

    async fn work(&self, leases: Vec<Lease<CopyJob>>) {
        for lease in leases {
            let (id, s) = (lease.item.asset.clone(), &self.shared);
            let archive_by = lease.item.file.asset(&id.result).map(|a| a.archive_by);
            let ctx = Archive {
                store: &*s.store,
                sources: &*self.sources,
                blobs: &*self.blobs,
                clock: &*s.clock,
                rng: &*s.rng,
                wakeups: &s.wakeups,
                policy: &s.policy,
                keys: &self.keys,
                max_object_bytes: self.max_object_bytes,
            };
            let started = s.clock.now();
            match archive(&ctx, lease).await {
                Ok(worked) => {
                    if self.note(&id, &worked, started, archive_by) {
                        self.hasten().await;
                    }
                }
                Err(StoreError::LeaseLost) => {
                    s.metrics.archive_failed(ArchiveFailure::LeaseLost);
                    warn!(task = %id.task, result = %id.result, "copy dropped: lease lost");
                }
                Err(e) => {
                    error!(task = %id.task, result = %id.result, error = %e, "copy not recorded; taken up when the lease lapses");
                }
            }
        }
    }
}

impl Copies {
    /// Answers whether the object store is back after it was away.
    fn note(&self, id: &AssetId, worked: &Worked, started: Timestamp, archive_by: Option<Timestamp>) -> bool {
        let (s, now) = (&self.shared, self.shared.clock.now());
        let took = now.since(started);
        let mut is_back = false;
        match &worked.outcome {
            CopyOutcome::Archived(stored) => {
                is_back = self.pace.succeeded();
                s.fine(Component::ObjectStore);
                s.metrics
                    .archived(took, stored.size_bytes, archive_by.unwrap_or(now).since(now));
                info!(task = %id.task, result = %id.result, size_bytes = stored.size_bytes, duration_ms = took.as_millis() as u64, "archived");
            }
            CopyOutcome::KeptUnverified(_) => {
                is_back = self.pace.succeeded();
                s.metrics.archive_failed(ArchiveFailure::BadContent);
                warn!(task = %id.task, result = %id.result, "kept unverified: no container we understand");
            }
            CopyOutcome::NotStored(why) => {
                self.note_trouble(why);
                s.metrics.archive_failed(reason(why));
                warn!(task = %id.task, result = %id.result, why = why.code(), "copy failed");
            }
        }
        if worked.lost.is_some_and(|r| r != AssetReason::Conflict) {
            s.metrics.result_lost();
        }
        is_back
    }

    /// What was put off goes in order, the most urgent first.
    async fn hasten(&self) {
        let s = &self.shared;
        match s.store.hasten_copies(s.clock.now()).await {
            Ok(copies) => info!(copies, "the object store is back"),
            Err(e) => warn!(error = %e, "copies put off stay so for a while"),
        }
        s.wakeups.ring(Queue::Copies);
    }

    fn note_trouble(&self, why: &NotStored) {
        let (s, now) = (&self.shared, self.shared.clock.now());
        match why {
            NotStored::StoreUnavailable { code } => {
                self.pace.failed(now, None, s.rng.jitter());
                s.trouble(Component::ObjectStore, code);
            }
            NotStored::StoreRefused { code } => {
                self.pace.undecided(now); // of one object, it says nothing about the others
                s.trouble(Component::ObjectStore, code);
            }
            NotStored::SourceForbidden { code } => {
                self.pace.undecided(now);
                s.trouble(Component::Sources, code);
            }
            _ => self.pace.undecided(now),
        }
    }
}

fn reason(why: &NotStored) -> ArchiveFailure {
    match why {
        NotStored::SourceDead { .. } => ArchiveFailure::SourceGone,
        NotStored::SourceUnavailable { .. } => ArchiveFailure::SourceBroke,
        NotStored::SourceForbidden { .. } => ArchiveFailure::SourceDenied,
        NotStored::NotAFile { .. } | NotStored::NotUnderstood { .. } | NotStored::UnderstoodAfterAll => {
            ArchiveFailure::BadContent
        }
        NotStored::TooLarge { .. } => ArchiveFailure::TooLarge,
        NotStored::Conflict => ArchiveFailure::Conflict,
        NotStored::StoreRefused { .. } => ArchiveFailure::StoreRefused,
        NotStored::StoreUnavailable { code } if code == "checksum_mismatch" => {
            ArchiveFailure::ChecksumMismatch
        }
        NotStored::StoreUnavailable { .. } => ArchiveFailure::StoreUnavailable,
    }
}
