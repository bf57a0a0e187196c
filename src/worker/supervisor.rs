//! The workers by name, and the order in which they stop.

use super::{Loop, Work, run};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Everything that runs beside the HTTP server.
pub struct Workers {
    stop: CancellationToken,
    running: Vec<(&'static str, JoinHandle<()>)>,
}

impl Workers {
    pub fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            running: vec![],
        }
    }

    /// Cancelled when the stop begins.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn start<W: Work>(&mut self, name: &'static str, work: W, env: Loop) {
        self.spawn(name, run(Arc::new(work), env));
    }

    /// As [`Workers::start`], on another runtime's threads.
    pub fn start_on<W: Work>(&mut self, runtime: &Handle, name: &'static str, work: W, env: Loop) {
        let worker = runtime.spawn(run(Arc::new(work), env));
        self.running.push((name, worker));
    }

    pub fn spawn(&mut self, name: &'static str, worker: impl Future<Output = ()> + Send + 'static) {
        self.running.push((name, tokio::spawn(worker)));
    }

    /// Stops claiming, drains, and returns when every worker has ended, or `within` is over.
    pub async fn stop(self, within: Duration) {
        self.stop.cancel();
        let all = async {
            for (name, worker) in self.running {
                match worker.await {
                    Ok(()) => info!(worker = name, "stopped"),
                    Err(e) => error!(worker = name, error = %e, "ended badly"),
                }
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            error!("workers did not stop in time; their leases lapse by themselves");
        }
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self::new()
    }
}
