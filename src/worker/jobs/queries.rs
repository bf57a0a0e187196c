//! Tasks to be asked about: a batch is one request, its answers are applied one by one.

use super::{ProviderPace, Shared};
use crate::domain::file::Asked;
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::health::Component;
use crate::ports::provider::{MAX_QUERY, Provider, ProviderError};
use crate::ports::store::{Claim, Held, Inquiry, Queue, StoreError};
use crate::steps::ingest::{Ingest, ingest};
use crate::steps::journal::Journalling;
use crate::steps::poll::{Poll, poll};
use crate::worker::{Gate, Work};
use async_trait::async_trait;
use futures_util::future::join_all;
use std::sync::Arc;
use tracing::{debug, error, info, warn};

pub struct Queries {
    pub shared: Shared,
    pub provider: Arc<dyn Provider>,
    /// Whether a link lies on an allowed host.
    pub host_allowed: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    pub pace: Arc<ProviderPace>,
    /// `None`: no journal is kept.
    pub journal: Option<Journalling>,
}

#[async_trait]
impl Work for Queries {
    type Item = Inquiry;
    const QUEUE: Queue = Queue::Queries;
    const BATCH: u32 = MAX_QUERY as u32;

    fn gate(&self, free: u32, now: Timestamp) -> Gate {
        self.pace.queries.gate(free, now)
    }

    fn idle(&self, now: Timestamp) {
        self.pace.queries.undecided(now);
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<Inquiry>>, StoreError> {
        self.shared.store.claim_queries(claim).await
    }

    fn held(lease: &Lease<Inquiry>) -> Held {
        Held::Task {
            id: lease.item.file.task.id,
            epoch: lease.epoch,
        }
    }

    async fn work(&self, leases: Vec<Lease<Inquiry>>) {
        let s = &self.shared;
        let leases = self.recalled(leases).await;
        if leases.is_empty() {
            return self.pace.queries.undecided(s.clock.now()); // nothing was asked
        }
        let ask = Poll {
            provider: &*self.provider,
            clock: &*s.clock,
            policy: &s.policy,
            host_allowed: &*self.host_allowed,
        };
        let inquiries: Vec<Inquiry> = leases.iter().map(|l| l.item.clone()).collect();
        let (answers, error) = poll(&ask, &inquiries).await;
        self.note(error.as_ref());
        // Together: their commits share a transaction.
        let applied = leases
            .into_iter()
            .zip(answers)
            .map(|(lease, asked)| self.apply(lease, asked));
        join_all(applied).await;
    }
}

impl Queries {
    /// Those that may be asked about, adopted tasks as the journal knows them. The others are put off.
    async fn recalled(&self, mut leases: Vec<Lease<Inquiry>>) -> Vec<Lease<Inquiry>> {
        let Some(journal) = &self.journal else {
            return leases;
        };
        let recalls = leases.iter_mut().map(|l| journal.recall(&*self.shared.store, l));
        let recalled = join_all(recalls).await;
        let mut ready = vec![];
        for (lease, recalled) in leases.into_iter().zip(recalled) {
            let task = lease.item.file.task.id;
            match recalled {
                Ok(true) => ready.push(lease),
                Ok(false) => self.apply(lease, Asked::nothing()).await,
                Err(e) => warn!(%task, error = %e, "not asked about; taken up when the lease lapses"),
            }
        }
        ready
    }

    fn note(&self, error: Option<&ProviderError>) {
        let (s, pace) = (&self.shared, &self.pace.queries);
        let Some(e) = error else {
            pace.succeeded();
            return s.provider_fine(&self.pace);
        };
        let now = s.clock.now();
        if e.parked {
            pace.park(now);
            s.trouble(Component::Provider, &format!("parked: {}", e.code));
        } else {
            pace.failed(now, e.retry_after, s.rng.jitter());
            s.trouble(Component::Provider, &e.code);
        }
    }

    async fn apply(&self, lease: Lease<Inquiry>, asked: Asked) {
        let (s, task) = (&self.shared, lease.item.file.task.id);
        let cost_before = lease.item.file.task.cost.unwrap_or(0.0);
        let ctx = Ingest {
            store: &*s.store,
            clock: &*s.clock,
            rng: &*s.rng,
            wakeups: &s.wakeups,
            policy: &s.policy,
        };
        match ingest(&ctx, lease, asked).await {
            Ok(done) if done.discovered > 0 || done.settled => {
                if done.by_poll_alone {
                    s.metrics.recovered_by_poll();
                }
                s.metrics
                    .provider_cost_usd(done.cost.unwrap_or(0.0) - cost_before);
                info!(%task, results = done.discovered, settled = done.settled, "report applied");
            }
            Ok(_) => debug!(%task, "no news"),
            Err(StoreError::LeaseLost) => warn!(%task, "report dropped: lease lost"),
            Err(e) => error!(%task, error = %e, "report not applied; asked again when the lease lapses"),
        }
    }
}
