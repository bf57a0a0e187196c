//! A few connections for reads, used on the runtime's blocking threads. Every read is one short transaction: a long
//! one would keep the log from being emptied.

use super::fault::{Fault, unavailable};
use super::open::connect_reader;
use crate::ports::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Reads at the same time. On few cores more would only take turns.
const READERS: usize = 3;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            path,
            idle: Mutex::new(vec![]),
            permits: Semaphore::new(READERS),
        })
    }

    pub async fn read<T, F>(self: &Arc<Self>, during: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let _permit = self.permits.acquire().await.map_err(|e| unavailable(during, e))?;
        let readers = Arc::clone(self);
        tokio::task::spawn_blocking(move || readers.run(work))
            .await
            .map_err(|e| unavailable(during, e))? // it panicked: its connection is gone, the next read opens another
            .map_err(|fault| fault.translate(during))
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.lock().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => connect_reader(&self.path)?,
        };
        let tx = conn.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let result = work(&tx);
        drop(tx);
        self.lock().push(conn);
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
