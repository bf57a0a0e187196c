//! Calls to the webhooks that tasks brought with them.

use super::Shared;
use crate::domain::delivery::{After, Delivery, Schedule};
use crate::domain::fair_share::Places;
use crate::domain::lease::Lease;
use crate::ports::sink::Sink;
use crate::ports::store::{Claim, Held, Queue, StoreError};
use crate::steps::call_task::{CallTask, call_task};
use crate::telemetry::metrics::DeliveryOutcome;
use crate::worker::Work;
use async_trait::async_trait;
use std::sync::Arc;
use tracing::{error, info, warn};

pub struct TaskDeliveries {
    pub shared: Shared,
    pub sink: Arc<dyn Sink>,
    pub schedule: Schedule,
    pub places: Places,
}

#[async_trait]
impl Work for TaskDeliveries {
    type Item = Delivery;
    const QUEUE: Queue = Queue::TaskDeliveries;

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<Delivery>>, StoreError> {
        // Every event rings this bell, and few tasks bring a webhook: a read first, so that the others cost no write.
        let next = self.shared.store.next_due(Self::QUEUE).await?;
        if next.is_none_or(|at| at > claim.now) {
            return Ok(vec![]);
        }
        let first_wait = self.schedule.0.first().copied().unwrap_or_default();
        let store = &self.shared.store;
        store.claim_task_deliveries(claim, self.places, first_wait).await
    }

    fn held(lease: &Lease<Delivery>) -> Held {
        Held::TaskDelivery {
            id: lease.item.id,
            epoch: lease.epoch,
        }
    }

    async fn work(&self, leases: Vec<Lease<Delivery>>) {
        for lease in leases {
            let (event, attempt) = (lease.item.event.id.clone(), lease.item.attempt);
            let task = lease.item.event.task;
            let task = task.map(|id| id.to_string());
            let s = &self.shared;
            let ctx = CallTask {
                store: &*s.store,
                sink: &*self.sink,
                clock: &*s.clock,
                rng: &*s.rng,
                schedule: &self.schedule,
            };
            match call_task(&ctx, lease).await {
                Ok(After::Delivered) => {
                    s.metrics.delivery(DeliveryOutcome::Delivered);
                    info!(%event, task, attempt, "the task's webhook was called");
                }
                Ok(After::RetryAt(at)) => {
                    s.metrics.delivery(DeliveryOutcome::Retry);
                    warn!(%event, task, attempt, retry_at = %at, "the task's webhook failed, tried again");
                }
                Ok(After::Dead | After::Gone) => {
                    s.metrics.delivery(DeliveryOutcome::Dead);
                    error!(%event, task, attempt, "the task's webhook never took it");
                }
                Err(StoreError::LeaseLost) => warn!(%event, task, "call dropped: lease lost"),
                Err(e) => {
                    error!(%event, task, error = %e, "try not recorded; repeated when the lease lapses");
                }
            }
        }
    }
}
