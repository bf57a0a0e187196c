//! Removes what is too old, a little at a time: a walk over everything now and then, a rest between its steps.

use crate::ports::clock::Clock;
use crate::ports::retention::Retention;
use crate::ports::store::StoreError;
use crate::steps::retain::{self, Keep, Walk};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Between two walks. What is kept for days may as well be kept for a minute more.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// Where something is kept for less than ten of these, a tenth of its time is the pace, but no walk follows the one
/// before at once.
const SHORTEST: Duration = Duration::from_millis(500);
/// Between two steps: most of the writer's time belongs to those who wait for an answer.
const REST: Duration = Duration::from_millis(25);

pub async fn run(store: Arc<dyn Retention>, clock: Arc<dyn Clock>, keep: Keep, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match walk(&*store, &*clock, &keep, &stop).await {
            Ok(0) => {}
            Ok(rows) => debug!(rows, "retention removed what was too old"),
            Err(e) => warn!(error = %e, "retention waits: nothing could be removed"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock.sleep(pace(&keep)) => {}
        }
    }
}

fn pace(keep: &Keep) -> Duration {
    let shortest = keep
        .documents
        .min(keep.events)
        .min(keep.tasks.unwrap_or(Duration::MAX));
    (shortest / 10).clamp(SHORTEST, WALK_EVERY)
}

/// Once over everything; how many rows went.
async fn walk(
    store: &dyn Retention,
    clock: &dyn Clock,
    keep: &Keep,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    let mut walk = Walk::start();
    loop {
        let (on, more) = retain::step(store, clock.now(), keep, walk).await?;
        walk = on;
        if !more || stop.is_cancelled() {
            return Ok(walk.removed);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = clock.sleep(REST) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_days_is_looked_at_every_minute_and_what_is_kept_shortly_sooner() {
        let keep = |documents| Keep {
            documents,
            events: Duration::from_secs(90 * 86_400),
            tasks: None,
        };
        assert_eq!(pace(&keep(Duration::from_secs(86_400))), WALK_EVERY);
        assert_eq!(pace(&keep(Duration::from_secs(60))), Duration::from_secs(6));
        assert_eq!(pace(&keep(Duration::ZERO)), SHORTEST);
    }
}
