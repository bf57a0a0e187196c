//! What each queue's worker does with a claim: call the step, keep the figures, write one line.

mod copies;
mod deliveries;
mod queries;
mod submissions;
mod task_deliveries;

pub use copies::Copies;
pub use deliveries::Deliveries;
pub use queries::Queries;
pub use submissions::Submissions;
pub use task_deliveries::TaskDeliveries;

use crate::domain::file::Policy;
use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use crate::ports::health::{Component, Health};
use crate::ports::store::Store;
use crate::ports::wake::Wakeups;
use crate::telemetry::Metrics;
use crate::worker::pace::Pace;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How fast the provider is asked, by each of the queues that ask it: each has its own word on whether it is answered.
pub struct ProviderPace {
    pub submissions: Pace,
    pub queries: Pace,
}

impl ProviderPace {
    /// Of `runware.max_in_flight` and `retry.max_interval`.
    pub fn new(in_flight: u32, cap: Duration) -> Self {
        Self {
            submissions: Pace::new(in_flight, cap),
            queries: Pace::new(in_flight, cap),
        }
    }

    fn is_troubled(&self, now: Timestamp) -> bool {
        self.submissions.is_troubled(now) || self.queries.is_troubled(now)
    }
}

/// What every job shares.
#[derive(Clone)]
pub struct Shared {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub wakeups: Wakeups,
    pub health: Health,
    pub metrics: Metrics,
    pub policy: Arc<Policy>,
}

impl Shared {
    fn trouble(&self, component: Component, code: &str) {
        if self.health.degrade(component, code, self.clock.now()) {
            warn!(component = component.as_str(), code, "degraded");
        }
    }

    /// The provider answers; the other queue that asks it may know better.
    fn provider_fine(&self, pace: &ProviderPace) {
        if !pace.is_troubled(self.clock.now()) {
            self.fine(Component::Provider);
        }
    }

    fn fine(&self, component: Component) {
        if self.health.recover(component) {
            info!(component = component.as_str(), "recovered");
        }
    }
}
