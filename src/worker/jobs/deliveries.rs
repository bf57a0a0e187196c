//! Events on their way to their endpoints.

use super::Shared;
use crate::domain::delivery::{After, Delivery, Schedule};
use crate::domain::endpoint::MAX_AT_ONCE;
use crate::domain::lease::Lease;
use crate::ports::sink::Sink;
use crate::ports::store::{Claim, Held, Queue, StoreError};
use crate::steps::publish::{Done, Publish, deliver};
use crate::telemetry::metrics::DeliveryOutcome;
use crate::worker::Work;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

pub struct Deliveries {
    pub shared: Shared,
    pub sink: Arc<dyn Sink>,
    pub schedule: Schedule,
}

#[async_trait]
impl Work for Deliveries {
    type Item = Delivery;
    const QUEUE: Queue = Queue::Deliveries;
    /// Nobody notices, and at full speed a claim then takes up dozens at once.
    const GATHER: Duration = Duration::from_millis(2);

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<Delivery>>, StoreError> {
        self.shared.store.claim_deliveries(claim, MAX_AT_ONCE).await
    }

    fn held(lease: &Lease<Delivery>) -> Held {
        Held::Delivery {
            id: lease.item.id,
            epoch: lease.epoch,
        }
    }

    async fn work(&self, leases: Vec<Lease<Delivery>>) {
        for lease in leases {
            let (event, endpoint) = (lease.item.event.id.clone(), lease.item.endpoint.id.clone());
            let attempt = lease.item.attempt;
            let s = &self.shared;
            let ctx = Publish {
                store: &*s.store,
                sink: &*self.sink,
                clock: &*s.clock,
                rng: &*s.rng,
                schedule: &self.schedule,
            };
            match deliver(&ctx, lease).await {
                Ok(Done { after, disabled }) => {
                    match after {
                        After::Delivered => {
                            s.metrics.delivery(DeliveryOutcome::Delivered);
                            info!(%event, %endpoint, attempt, "delivered");
                        }
                        After::RetryAt(at) => {
                            s.metrics.delivery(DeliveryOutcome::Retry);
                            warn!(%event, %endpoint, attempt, retry_at = %at, "delivery failed, tried again");
                        }
                        After::Dead | After::Gone => {
                            s.metrics.delivery(DeliveryOutcome::Dead);
                            error!(%event, %endpoint, attempt, "delivery dead");
                        }
                    }
                    if let Some(reason) = disabled {
                        error!(%endpoint, reason = reason.as_str(), "endpoint disabled; its events are kept");
                    }
                }
                Err(StoreError::LeaseLost) => warn!(%event, %endpoint, "delivery dropped: lease lost"),
                Err(e) => {
                    error!(%event, %endpoint, error = %e, "try not recorded; repeated when the lease lapses")
                }
            }
        }
    }
}
