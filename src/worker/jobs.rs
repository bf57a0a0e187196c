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
use crate::ports::clock::{Clock, Rng};
use crate::ports::health::{Component, Health};
use crate::ports::store::Store;
use crate::ports::wake::Wakeups;
use crate::telemetry::Metrics;
use std::sync::Arc;
use tracing::{info, warn};

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

    fn fine(&self, component: Component) {
        if self.health.recover(component) {
            info!(component = component.as_str(), "recovered");
        }
    }
}
