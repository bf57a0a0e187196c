//! Turns events into deliveries as they are committed.

use crate::domain::delivery::Schedule;
use crate::ports::clock::Clock;
use crate::ports::store::{Outbox, Queue};
use crate::ports::wake::Wakeups;
use crate::steps::publish;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A look without a new event: an endpoint created to start in the past has something to fetch.
const TICK: Duration = Duration::from_secs(2);

pub async fn run(
    store: Arc<dyn Outbox>,
    clock: Arc<dyn Clock>,
    wakeups: Wakeups,
    schedule: Schedule,
    stop: CancellationToken,
) {
    let mut last = store.last_sequence();
    while !stop.is_cancelled() {
        last.mark_unchanged(); // before the look: an event committed during it wakes the next one
        if let Err(e) = publish::fan_out(&*store, &*clock, &wakeups, &schedule).await {
            warn!(error = %e, "events wait: no deliveries could be made");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            _ = last.changed() => wakeups.ring(Queue::TaskDeliveries), // made with their events
            () = clock.sleep(TICK) => {}
        }
    }
}
