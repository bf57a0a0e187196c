//! Questions that need the bucket or the provider. Handlers ask neither: the work is a step, run on the service's own
//! runtime beside the workers, a few at a time.

use super::error::ApiError;
use crate::ports::journal::Journal;
use crate::ports::spend::Spend;
use crate::steps::audit::Audit;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

#[derive(Clone)]
pub struct Aside {
    pub audit: Arc<Audit>,
    pub journal: Arc<dyn Journal>,
    pub spend: Arc<dyn Spend>,
    runtime: Handle,
    turns: Arc<Semaphore>,
}

/// Pages worked at once: each asks the bucket many things by itself.
const AT_ONCE: usize = 2;

impl Aside {
    /// Works on the runtime it is made on.
    pub fn new(audit: Arc<Audit>, journal: Arc<dyn Journal>, spend: Arc<dyn Spend>) -> Self {
        Self {
            audit,
            journal,
            spend,
            runtime: Handle::current(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Runs one page of work; when the caller goes away, so does the work.
    ///
    /// # Errors
    /// `Overloaded` while as many as may run already do; `Internal` when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.turns)
            .try_acquire_owned()
            .map_err(|_| ApiError::Overloaded)?;
        let mut running = Aborted(self.runtime.spawn(async move {
            let _turn = turn;
            work.await
        }));
        (&mut running.0).await.map_err(|_| ApiError::Internal)
    }
}

struct Aborted<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl super::Api {
    /// # Errors
    /// `NotFound` where nobody can be asked.
    pub(super) fn aside(&self) -> Result<&Aside, ApiError> {
        self.aside.as_ref().ok_or(ApiError::NotFound)
    }
}
