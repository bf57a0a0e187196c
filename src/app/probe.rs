//! Is the bucket there, and does the store do what the settings count on? Asked at start, and while it is not so, so
//! that `degraded` tells the truth without waiting for a copy to fail.

use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::clock::Clock;
use crate::ports::health::{Component, Health};
use crate::ports::promises::{FOLDER, Finding, Promises};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Between looks while all is well.
const CALM: Duration = Duration::from_secs(60);

pub struct Probe {
    pub blobs: Arc<dyn Blobs>,
    pub promises: Arc<dyn Promises>,
    /// `s3.prefix`.
    pub prefix: String,
    pub health: Health,
    pub clock: Arc<dyn Clock>,
    /// `retry.max_interval`
    pub again: Duration,
}

pub async fn run(probe: Probe, stop: CancellationToken) {
    // A store that was away may come back as another one, or mended.
    let mut examined = false;
    loop {
        let pause = match probe.look(examined).await {
            Ok(looked) => {
                probe.fine(!examined);
                examined = looked == Looked::Lasting;
                match looked {
                    Looked::Lasting => CALM,
                    Looked::Passing => probe.again.min(CALM),
                }
            }
            Err(e) => {
                examined = false;
                probe.trouble(&code(&e));
                probe.again.min(CALM)
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = probe.clock.sleep(pause) => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// What was found is how the store is.
    Lasting,
    /// What was found should pass: examine again soon.
    Passing,
}

impl Probe {
    async fn look(&self, examined: bool) -> Result<Looked, BlobError> {
        if !examined {
            return self.examine(true).await;
        }
        match self.blobs.probe().await {
            // Our key may lack the right to list the bucket, which a copy does not need: try what it does need.
            Err(BlobError::Misconfigured { code }) if code == "access_denied" => self.examine(false).await,
            answer => answer.map(|()| Looked::Lasting),
        }
    }

    async fn examine(&self, first: bool) -> Result<Looked, BlobError> {
        let findings = self.promises.examine(&self.prefix).await?;
        let fault = findings.iter().find_map(|finding| finding.fault());
        let news = match fault {
            Some(code) => self
                .health
                .degrade(Component::ObjectStorePromises, code, self.clock.now()),
            None => self.health.recover(Component::ObjectStorePromises),
        };
        if news || first {
            self.explain(&findings);
        }
        Ok(match findings.contains(&Finding::KeepsNothing) {
            true => Looked::Passing,
            false => Looked::Lasting,
        })
    }

    fn explain(&self, findings: &[Finding]) {
        let folder = format!("{}{FOLDER}", self.prefix);
        for finding in findings {
            match finding.fault() {
                Some(code) => warn!(code, folder, "{}", finding.explanation()),
                None => info!(folder, "{}", finding.explanation()),
            }
        }
        if findings.iter().all(|finding| finding.fault().is_none()) {
            info!(
                folder,
                "the object store does what s3.checksum and s3.create_only count on"
            );
        }
    }

    /// What a copy ran into lately is not undone by a look that was never troubled: the bucket can be there and take
    /// nothing.
    fn fine(&self, was_troubled: bool) {
        let quiet_since = match was_troubled {
            true => self.clock.now(),
            false => self.clock.now().minus(2 * self.again.min(CALM)),
        };
        if self.health.recover_if_quiet(Component::ObjectStore, quiet_since) {
            info!("the object store answers again");
        }
    }

    fn trouble(&self, code: &str) {
        if self
            .health
            .degrade(Component::ObjectStore, code, self.clock.now())
        {
            warn!(code, "the object store cannot be used; results wait in order");
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
