//! The one writer. Jobs queue in a bounded channel; the thread takes what is there, runs up to [`BATCH`] of them in
//! one transaction, each in a savepoint of its own, and answers after the COMMIT: one fsync pays for all. A job that
//! fails is rolled back alone. A COMMIT that fails fails them all.

use super::checkpoint::WalWatch;
use super::events::last_sequence;
use super::fault::{Fault, is_failed_sync, unavailable};
use crate::crash_point;
use crate::ports::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs waiting. At the thousands of small writes a second one disk takes this is a fraction of a second of work;
/// more would only make callers wait for an answer they have given up on.
pub(super) const QUEUE: usize = 4096;
/// Writes in one transaction: enough to spread the fsync thin, few enough that none waits long for its neighbours.
pub(super) const BATCH: usize = 256;

/// The handle: cheap to call from any task.
pub(super) struct Writer {
    /// `None` only while being dropped.
    jobs: Option<mpsc::Sender<Message>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Job(Box<dyn Job>),
    Stop,
}

/// What the writer tells everyone.
pub(super) struct Signals {
    pub last_sequence: watch::Sender<u64>,
    /// Set once, when a failed fsync made this process unable to know what is durable.
    pub fatal: watch::Sender<Option<String>>,
}

impl Writer {
    pub fn start(conn: Connection, signals: Arc<Signals>, wal: WalWatch, marks_clean: bool) -> Self {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let desk = Desk {
            conn,
            inbox,
            signals,
            wal,
            marks_clean,
        };
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || desk.serve())
            .expect("a process that cannot start its first threads cannot run");
        Self {
            jobs: Some(jobs),
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Runs `work` in the next transaction; answers when it is durable.
    ///
    /// # Errors
    /// `Overloaded` at once when the queue is full; `Unavailable` when it could not be made durable.
    pub async fn write<T, F>(&self, during: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Write {
            during,
            work: Some(work),
            result: None,
            reply,
        };
        self.enqueue(during, Box::new(job))?;
        answer.await.unwrap_or_else(|_| Err(unavailable(during, Stopped)))
    }

    /// # Errors
    /// As [`Writer::write`]; the job is dropped then.
    pub fn enqueue(&self, during: &'static str, job: Box<dyn Job>) -> Result<(), StoreError> {
        let jobs = self
            .jobs
            .as_ref()
            .expect("the sender lives as long as the handle");
        jobs.try_send(Message::Job(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => unavailable(during, Stopped),
        })
    }

    /// Lets what is queued finish, then ends the thread. Later writes answer `Unavailable`.
    pub async fn stop(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Message::Stop).await; // closed: it has stopped already
        }
        let thread = self.take_thread();
        let _ = tokio::task::spawn_blocking(move || thread.map(JoinHandle::join)).await;
    }

    /// Jobs that may still be queued.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.jobs.as_ref().map_or(0, mpsc::Sender::capacity)
    }

    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits for the queue to drain: whoever opens the file next must find this process gone from it.
impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.take_thread() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the database's writer has stopped")]
pub(super) struct Stopped;

/// Why a whole batch failed, shared by its jobs.
#[derive(Clone, Debug)]
pub(super) struct BatchFailed(Arc<rusqlite::Error>);

impl fmt::Display for BatchFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the transaction failed: {}", self.0)
    }
}

impl std::error::Error for BatchFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

pub(super) trait Job: Send {
    /// How many writes of their own it stands for.
    fn writes(&self) -> usize {
        1
    }

    /// Runs the work, inside the savepoint `job`, and keeps its result for later.
    fn run(&mut self, conn: &Connection) -> Ran;
    /// Called once, after the transaction has ended.
    fn answer(self: Box<Self>, batch: Result<(), BatchFailed>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    Well,
    Failed,
    FailedFatally,
}

struct Write<T, F> {
    during: &'static str,
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn run(&mut self, conn: &Connection) -> Ran {
        let Some(work) = self.work.take() else {
            return Ran::Failed;
        };
        let result = unpanicked(self.during, || work(conn));
        let ran = match &result {
            Ok(_) => Ran::Well,
            Err(fault) if fault.is_fatal() => Ran::FailedFatally,
            Err(_) => Ran::Failed,
        };
        self.result = Some(result);
        ran
    }

    fn answer(self: Box<Self>, batch: Result<(), BatchFailed>) {
        let result = match (batch, self.result) {
            (Ok(()), Some(result)) => result.map_err(|fault| fault.translate(self.during)),
            // It failed by itself, and nothing of it was stored either way: its own reason says more.
            (Err(_), Some(Err(fault))) => Err(fault.translate(self.during)),
            (Err(failed), _) => Err(unavailable(self.during, failed)),
            (Ok(()), None) => Err(unavailable(self.during, Stopped)),
        };
        let _ = self.reply.send(result); // the caller may have gone; the write stands
    }
}

/// A panic in one write must not take the writer with it (F27); its savepoint is rolled back like any failure.
pub(super) fn unpanicked<T>(
    during: &'static str,
    work: impl FnOnce() -> Result<T, Fault>,
) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Store(unavailable(during, "the write panicked"))))
}

/// The thread's own belongings.
struct Desk {
    conn: Connection,
    inbox: mpsc::Receiver<Message>,
    signals: Arc<Signals>,
    wal: WalWatch,
    marks_clean: bool,
}

impl Desk {
    fn serve(mut self) {
        while let Some(jobs) = self.next_batch() {
            // Set by us, or by the checkpointer whose fsync failed. Dropping the jobs answers everyone who waits:
            // nothing more is stored.
            if self.signals.fatal.borrow().is_some() {
                return;
            }
            self.write_batch(jobs);
            self.wal.after_commit(&self.conn, &self.signals);
        }
        if self.marks_clean && self.signals.fatal.borrow().is_none() {
            // Failing here only costs the next start a check.
            let _ = set_clean_stop(&self.conn, true);
        }
    }

    /// At least one job, waiting for it; then whatever else is there already, without lingering.
    fn next_batch(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut jobs = vec![];
        let mut writes = 0;
        loop {
            let message = match jobs.is_empty() {
                true => self.inbox.blocking_recv()?,
                false => match self.inbox.try_recv() {
                    Ok(message) => message,
                    Err(_) => return Some(jobs),
                },
            };
            match message {
                Message::Job(job) => {
                    writes += job.writes();
                    jobs.push(job);
                }
                Message::Stop => self.inbox.close(), // what is queued already is still served
            }
            if writes >= BATCH {
                return Some(jobs);
            }
        }
    }

    fn write_batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let batch = match transact(&mut self.conn, &mut jobs) {
            Ok(last_sequence) => {
                self.signals
                    .last_sequence
                    .send_if_modified(|last| std::mem::replace(last, last_sequence) != last_sequence);
                Ok(())
            }
            Err(e) => {
                if is_failed_sync(&e) {
                    self.signals.fatal.send_replace(Some(e.to_string()));
                }
                Err(BatchFailed(Arc::new(e)))
            }
        };
        for job in jobs {
            job.answer(batch.clone());
        }
    }
}

/// Runs the jobs in one transaction; the last sequence it made durable.
fn transact(conn: &mut Connection, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<u64> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        run_in_savepoint(&tx, job.as_mut())?;
    }
    let last_sequence = last_sequence(&tx).map_err(sql_only)?;
    crash_point!("sqlite.before_commit");
    fail::fail_point!("sqlite.failed_sync", |_| Err(failed_sync()));
    tx.commit()?;
    crash_point!("sqlite.after_commit");
    Ok(last_sequence)
}

/// An error ends the whole transaction, not only the job.
fn run_in_savepoint(conn: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    conn.prepare_cached("SAVEPOINT job")?.execute([])?;
    let ran = job.run(conn);
    if ran == Ran::FailedFatally {
        return Err(failed_sync());
    }
    if conn.is_autocommit() {
        // Some failures (a full disk, an I/O error) make SQLite roll back everything, our batch with it.
        return Err(transaction_gone());
    }
    if ran == Ran::Failed {
        conn.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    conn.prepare_cached("RELEASE job")?.execute([])?;
    Ok(())
}

fn transaction_gone() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
    rusqlite::Error::SqliteFailure(
        code,
        Some("rolled back with another write that failed".to_owned()),
    )
}

fn sql_only(fault: Fault) -> rusqlite::Error {
    match fault {
        Fault::Sql(e) => e,
        Fault::Store(e) => rusqlite::Error::ToSqlConversionFailure(e.into()),
    }
}

fn failed_sync() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    rusqlite::Error::SqliteFailure(code, Some("an fsync failed".to_owned()))
}

/// `false` while a service has the database open; found at the next start, it stopped uncleanly.
pub(super) fn set_clean_stop(conn: &Connection, clean: bool) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'clean_stop'",
        [if clean { "1" } else { "0" }],
    )?;
    Ok(())
}
