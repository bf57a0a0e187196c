//! Tries end by the thousand each second: those that ended while the writer was busy are settled by one job, with one
//! savepoint and one look at each endpoint.

use super::fault::{Fault, unavailable};
use super::settle::{Settled, settle_all};
use super::writer::{BatchFailed, Job, Ran, Writer};
use crate::ports::store::{SettledDelivery, StoreError};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

const DURING: &str = "settle_delivery";

/// What waits for the writer: at most one for each try under way.
#[derive(Default)]
pub(super) struct Settlements(Mutex<Vec<Waiting>>);

struct Waiting {
    settled: SettledDelivery,
    reply: oneshot::Sender<Settled>,
}

impl Settlements {
    pub async fn settle(self: &Arc<Self>, writer: &Writer, settled: SettledDelivery) -> Settled {
        let (reply, answer) = oneshot::channel();
        if self.add(Waiting { settled, reply }) {
            let batch = Batch {
                settlements: Arc::clone(self),
                settled: vec![],
                replies: vec![],
                answers: Ok(vec![]),
            };
            if let Err(refused) = writer.enqueue(DURING, Box::new(batch)) {
                // Whoever joined meanwhile is refused likewise: dropping them answers below.
                drop(self.take());
                return Err(refused);
            }
        }
        answer.await.unwrap_or(Err(StoreError::Overloaded))
    }

    /// Whether it is the first, and nobody has called the writer yet.
    fn add(&self, one: Waiting) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(one);
        waiting.len() == 1
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The job: takes all that has come by the time it runs.
struct Batch {
    settlements: Arc<Settlements>,
    settled: Vec<SettledDelivery>,
    replies: Vec<oneshot::Sender<Settled>>,
    answers: Result<Vec<Settled>, Fault>,
}

impl Job for Batch {
    fn run(&mut self, conn: &Connection) -> Ran {
        let waiting = self.settlements.take();
        (self.settled, self.replies) = waiting.into_iter().map(|w| (w.settled, w.reply)).unzip();
        self.answers = settle(conn, &self.settled);
        if self.settled.len() > 1 && self.answers.as_ref().is_err_and(|fault| !fault.is_fatal()) {
            self.answers = one_by_one(conn, &self.settled);
        }
        match &self.answers {
            Ok(_) => Ran::Well,
            Err(fault) if fault.is_fatal() => Ran::FailedFatally,
            Err(_) => Ran::Failed,
        }
    }

    fn answer(self: Box<Self>, batch: Result<(), BatchFailed>) {
        let mut answers = match (batch, self.answers) {
            (Ok(()), Ok(answers)) => answers,
            (Err(failed), Ok(_)) => failures(self.replies.len(), || unavailable(DURING, failed.clone())),
            (_, Err(fault)) => {
                let why = fault.translate(DURING);
                let text = why.to_string();
                failures(self.replies.len(), || unavailable(DURING, text.clone()))
            }
        };
        for (reply, answer) in self.replies.into_iter().zip(answers.drain(..)) {
            let _ = reply.send(answer); // the caller may have gone; the write stands
        }
    }
}

fn failures(n: usize, failure: impl Fn() -> StoreError) -> Vec<Settled> {
    (0..n).map(|_| Err(failure())).collect()
}

/// A panic must not take the writer with it (F27).
fn settle(conn: &Connection, batch: &[SettledDelivery]) -> Result<Vec<Settled>, Fault> {
    catch_unwind(AssertUnwindSafe(|| settle_all(conn, batch)))
        .unwrap_or_else(|_| Err(Fault::Store(unavailable(DURING, "the write panicked"))))
}

/// One of them cannot be written, and the others are not to suffer for it.
fn one_by_one(conn: &Connection, batch: &[SettledDelivery]) -> Result<Vec<Settled>, Fault> {
    conn.prepare_cached("ROLLBACK TO job")?.execute([])?; // the savepoint this job runs in
    let mut answers = Vec::with_capacity(batch.len());
    for one in batch {
        conn.prepare_cached("SAVEPOINT one")?.execute([])?;
        let answer = settle(conn, std::slice::from_ref(one));
        if answer.is_err() {
            conn.prepare_cached("ROLLBACK TO one")?.execute([])?;
        }
        conn.prepare_cached("RELEASE one")?.execute([])?;
        match answer {
            Ok(settled) => answers.extend(settled),
            Err(fault) if fault.is_fatal() => return Err(fault),
            Err(fault) => answers.push(Err(fault.translate(DURING))),
        }
    }
    Ok(answers)
}
