//! Is the bucket there? Asked at start, and while it is not, so that `degraded` tells the truth without waiting for
//! a copy to fail.

use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::clock::Clock;
use crate::ports::health::{Component, Health};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between looks while all is well.
const CALM: Duration = Duration::from_secs(60);

pub async fn run(
    blobs: Arc<dyn Blobs>,
    health: Health,
    clock: Arc<dyn Clock>,
    again: Duration,
    stop: CancellationToken,
) {
    loop {
        let pause = match blobs.probe().await {
            Ok(()) => {
                if health.recover(Component::ObjectStore) {
                    info!("the object store answers again");
                }
                CALM
            }
            Err(e) => {
                let code = code(&e);
                if health.degrade(Component::ObjectStore, &code, clock.now()) {
                    warn!(code, "the object store cannot be used; results wait in order");
                }
                again.min(CALM)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(pause) => {}
        }
    }
}

fn code(error: &BlobError) -> String {
    match error {
        BlobError::Refused { code }
        | BlobError::Unavailable { code, .. }
        | BlobError::Misconfigured { code } => code.clone(),
        BlobError::Exists | BlobError::Abandoned => "unexpected_answer".to_owned(),
    }
}
