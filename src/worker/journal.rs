//! Catches the journal up after the bucket was away.

use crate::ports::clock::Clock;
use crate::steps::journal::{CaughtUp, Journalling};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Between looks while nothing is behind: one read of an empty index.
const CALM: Duration = Duration::from_secs(5);

pub async fn run(journal: Journalling, clock: Arc<dyn Clock>, again: Duration, stop: CancellationToken) {
    loop {
        let pause = match journal.catch_up().await {
            Ok(CaughtUp::More) => Duration::ZERO,
            Ok(CaughtUp::All) => CALM,
            Ok(CaughtUp::Stuck) => again,
            Err(e) => {
                warn!(error = %e, "the journal was not caught up");
                again
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(pause) => {}
        }
    }
}
