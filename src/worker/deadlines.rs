//! Looks at what the clock alone decides, at a steady beat: no trouble elsewhere slows it.

use super::jobs::Shared;
use crate::steps::overdue::{Overdue, sweep};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between looks: the times it watches are minutes to days long.
const TICK: Duration = Duration::from_secs(2);

pub async fn run(s: Shared, lease: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let ctx = Overdue {
            store: &*s.store,
            clock: &*s.clock,
            rng: &*s.rng,
            wakeups: &s.wakeups,
            policy: &s.policy,
            lease,
        };
        match sweep(&ctx).await {
            Ok(0) => {}
            Ok(rows) => {
                info!(rows, "results at risk told, submissions out of time settled");
                continue; // more may wait
            }
            Err(e) => warn!(error = %e, "deadlines wait: the store cannot be asked"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = s.clock.sleep(TICK) => {}
        }
    }
}
