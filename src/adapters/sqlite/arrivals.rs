//! Callbacks on their way to the writer. All that wait when its turn comes are one job: one message, one savepoint and
//! one wake-up for up to [`BATCH`] of them, instead of one each. What one of them does wrong is undone alone.

use super::fault::{Fault, unavailable};
use super::inbox;
use super::writer::{BATCH, BatchFailed, Job, QUEUE, Ran, Stopped, Writer, unpanicked};
use crate::ports::store::{NewReceipt, Recorded, StoreError};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

const DURING: &str = "record";

#[derive(Default)]
pub(super) struct Arrivals {
    /// One job is under way for every `BATCH` of them that was begun.
    waiting: Mutex<VecDeque<Arrival>>,
}

struct Arrival {
    receipt: NewReceipt,
    reply: oneshot::Sender<Result<Recorded, StoreError>>,
}

impl Arrivals {
    /// Answers when it is durable.
    ///
    /// # Errors
    /// As those of [`Writer::write`].
    pub async fn record(
        self: &Arc<Self>,
        writer: &Writer,
        receipt: NewReceipt,
    ) -> Result<Recorded, StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.put_down(Arrival { receipt, reply })? {
            writer.enqueue(DURING, Box::new(Together::of(self)))?;
        }
        answer.await.unwrap_or_else(|_| Err(unavailable(DURING, Stopped)))
    }

    /// Whether it begins a new job.
    fn put_down(&self, arrival: Arrival) -> Result<bool, StoreError> {
        let mut waiting = self.lock();
        if waiting.len() == QUEUE {
            return Err(StoreError::Overloaded);
        }
        let begins = waiting.len().is_multiple_of(BATCH);
        waiting.push_back(arrival);
        Ok(begins)
    }

    fn take(&self) -> Vec<Arrival> {
        let mut waiting = self.lock();
        let some = waiting.len().min(BATCH);
        waiting.drain(..some).collect()
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arrival>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that wait when it runs.
struct Together {
    arrivals: Arc<Arrivals>,
    ran: bool,
    taken: Vec<Arrival>,
    results: Vec<Result<Recorded, Fault>>,
}

impl Together {
    fn of(arrivals: &Arc<Arrivals>) -> Self {
        Self {
            arrivals: Arc::clone(arrivals),
            ran: false,
            taken: vec![],
            results: vec![],
        }
    }

    /// Once more, each in a savepoint of its own: only those that fail are undone.
    fn one_by_one(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.results.clear();
        conn.prepare_cached("ROLLBACK TO job")?.execute([])?;
        for arrival in &self.taken {
            conn.prepare_cached("SAVEPOINT receipt")?.execute([])?;
            let result = unpanicked(DURING, || inbox::record(conn, &arrival.receipt));
            let failed = result.is_err();
            self.results.push(result);
            if conn.is_autocommit() {
                return Ok(()); // the writer sees it, too: nothing of this transaction is left
            }
            if failed {
                conn.prepare_cached("ROLLBACK TO receipt")?.execute([])?;
            }
            conn.prepare_cached("RELEASE receipt")?.execute([])?;
        }
        Ok(())
    }
}

impl Job for Together {
    fn writes(&self) -> usize {
        self.arrivals.lock().len().clamp(1, BATCH)
    }

    fn run(&mut self, conn: &Connection) -> Ran {
        self.ran = true;
        self.taken = self.arrivals.take();
        for arrival in &self.taken {
            let result = unpanicked(DURING, || inbox::record(conn, &arrival.receipt));
            let failed = result.is_err();
            self.results.push(result);
            if failed {
                break;
            }
        }
        let alone =
            self.results.last().is_some_and(Result::is_err) && !self.is_fatal() && !conn.is_autocommit();
        if alone && self.one_by_one(conn).is_err() {
            self.results.clear(); // none of them stands
            return Ran::Failed;
        }
        match self.is_fatal() {
            true => Ran::FailedFatally,
            false => Ran::Well,
        }
    }

    fn answer(mut self: Box<Self>, batch: Result<(), BatchFailed>) {
        let mut results = std::mem::take(&mut self.results).into_iter();
        for arrival in self.taken.drain(..) {
            let result = match (&batch, results.next()) {
                (Ok(()), Some(result)) => result.map_err(|fault| fault.translate(DURING)),
                // Its own reason says more.
                (Err(_), Some(Err(fault))) => Err(fault.translate(DURING)),
                (Err(failed), _) => Err(unavailable(DURING, failed.clone())),
                (Ok(()), None) => Err(unavailable(DURING, Stopped)),
            };
            let _ = arrival.reply.send(result); // the caller may have gone; the receipt stands
        }
    }
}

impl Together {
    fn is_fatal(&self) -> bool {
        self.results
            .iter()
            .any(|r| r.as_ref().is_err_and(Fault::is_fatal))
    }
}

/// A job that never ran takes those along who counted on it: their answer is that nothing was stored.
impl Drop for Together {
    fn drop(&mut self) {
        if !self.ran {
            drop(self.arrivals.take());
        }
    }
}
