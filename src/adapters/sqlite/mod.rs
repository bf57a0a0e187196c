//! The store on SQLite: one writer thread with group commit, a few readers, checkpoints on a thread of their own.
//! Every statement lives in a plain function over a connection inside somebody's transaction; `store` and `records` say
//! which function runs where.

mod accounts; // API keys
mod attempts; // one try, as people read it
mod call_health; // the receivers of tasks' own webhooks
mod checkpoint; // the log back into the file
mod chores; // a whole queue, step by step
mod deliveries; // claimed, shared out among the endpoints
mod delivery_log; // what came of them; sent again
mod endpoints; // subscribers; the log into deliveries
mod events; // the log
mod fault; // driver errors, translated once
mod inbox; // receipts: the hot path
mod journal; // what the journal still needs
mod json; // the columns that hold JSON
mod learning; // imported tasks, in the order in which their links die
mod leases; // claims, renewals, what is next
mod ledger; // imports, the audit's walk, what was spent
mod lists; // pages, timelines, figures
mod migrate; // schema upgrades, backups
mod open; // whether the file may be used
mod operator; // what was done by hand
mod overdue; // due by the clock alone
mod readers; // read transactions
mod records; // Records, on these functions
mod retain; // the retention port
mod retention; // what goes when its time is over
mod rows; // rows to domain values and back
mod settle; // what tries of deliveries came to
mod sinks; // how far logs outside have got
mod store; // the store's ports, on these functions
mod task_webhooks; // deliveries of single tasks
mod tasks; // submissions and the commit of every decision
#[cfg(test)]
mod tests;
mod timeline; // a task's story, in bounded space
mod together; // many small writes in one
mod writer; // the one writer

pub use migrate::{SCHEMA, Upgrade};
pub use open::{OpenError, OpenOptions, Opened, Role, migrate};

use crate::ports::store::StoreError;
use fault::Fault;
use inbox::Receipts;
use readers::Readers;
use rusqlite::Connection;
use settle::Settlements;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use together::Together;
use tokio::sync::watch;
use writer::{Signals, Writer};

pub struct SqliteStore {
    path: PathBuf,
    opened: Opened,
    signals: Arc<Signals>,
    // Dropped in this order: the writer drains, its end ends the checkpointer, and only then the lock goes.
    writer: Writer,
    receipts: Arc<Together<Receipts>>,
    settlements: Arc<Together<Settlements>>,
    checkpointer: Checkpointer,
    readers: Arc<Readers>,
    /// Held for as long as the store lives.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the database, creating and upgrading it as `options.role` allows. Blocking; call it before serving.
    ///
    /// # Errors
    /// Each names the file and the remedy; nothing was changed or deleted (F6).
    pub fn open(options: OpenOptions) -> Result<Arc<Self>, OpenError> {
        let prepared = open::prepare(&options)?;
        let path = options.path;
        let sql = |e| open::sql(&path, e);
        let last = events::last_sequence(&prepared.writer).map_err(|fault| match fault {
            Fault::Sql(e) => open::sql(&path, e),
            Fault::Store(e) => OpenError::Corrupt {
                path: path.clone(),
                what: e.to_string(),
            },
        })?;
        let signals = Arc::new(Signals {
            last_sequence: watch::Sender::new(last),
            fatal: watch::Sender::new(None),
        });
        let (wal, thread) = checkpoint::start(open::connect(&path).map_err(sql)?, Arc::clone(&signals));
        let marks_clean = options.role == Role::Serve;
        Ok(Arc::new(Self {
            writer: Writer::start(prepared.writer, Arc::clone(&signals), wal, marks_clean),
            receipts: Arc::default(),
            settlements: Arc::default(),
            checkpointer: Checkpointer(Mutex::new(Some(thread))),
            readers: Readers::new(path.clone()),
            path,
            opened: prepared.opened,
            signals,
            _lock: prepared.lock,
        }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was found and done on the way, for the log.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Turns `Some` when an fsync failed: what is durable is not known any more, and no further write is taken. The
    /// process must exit with a code and start anew (F4).
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.signals.fatal.subscribe()
    }

    /// Finishes the writes that are queued, marks the stop as clean and ends the threads. Later writes are
    /// `Unavailable`; reads still work.
    pub async fn close(&self) {
        self.writer.stop().await;
        let thread = self.checkpointer.take();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }

    /// Copies the database as of now into `target`, which must not exist, while all goes on. Blocking.
    pub fn back_up(&self, target: &Path) -> Result<(), OpenError> {
        let conn = open::connect(&self.path).map_err(|e| open::sql(&self.path, e))?;
        migrate::back_up(&self.path, &conn, target)
    }

    /// Reads the whole file's structure. Blocking; minutes for a large one.
    pub fn quick_check(&self) -> Result<(), OpenError> {
        let conn = open::connect_reader(&self.path).map_err(|e| open::sql(&self.path, e))?;
        open::quick_check(&self.path, &conn)
    }

    async fn write<T: Send + 'static>(
        &self,
        during: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(during, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        during: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(during, work).await
    }
}

/// Joined when dropped, so that no connection outlives the lock.
struct Checkpointer(Mutex<Option<JoinHandle<()>>>);

impl Checkpointer {
    fn take(&self) -> Option<JoinHandle<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(thread) = self.take() {
            let _ = thread.join();
        }
    }
}
