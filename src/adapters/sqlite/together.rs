//! Small writes of one kind that come by the thousand each second (callbacks, tries that ended): all that wait when the
//! writer's turn comes are one job, with one message, one savepoint and one wake-up for up to [`BATCH`] of them. What one
//! of them does wrong is undone alone.

use super::fault::{Fault, unavailable};
use super::writer::{BATCH, BatchFailed, Job, QUEUE, Ran, Stopped, Writer, unpanicked};
use crate::ports::store::StoreError;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What is written together.
pub(super) trait Kind: Send + Sync + 'static {
    type Item: Send + 'static;
    type Answer: Send + 'static;
    const DURING: &'static str;

    /// Writes them in their order; an answer for each.
    ///
    /// # Errors
    /// Nothing of it may be committed.
    fn write(conn: &Connection, items: &[Self::Item]) -> Result<Vec<Answered<Self>>, Fault>;
}

pub(super) type Answered<K> = Result<<K as Kind>::Answer, StoreError>;

/// Those that wait for the writer. One job is under way for every [`BATCH`] of them that was begun.
pub(super) struct Together<K: Kind>(Mutex<VecDeque<Waiting<K>>>);

struct Waiting<K: Kind> {
    item: K::Item,
    reply: oneshot::Sender<Answered<K>>,
}

impl<K: Kind> Default for Together<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Kind> Together<K> {
    /// Answers when it is durable.
    ///
    /// # Errors
    /// Its own; `Overloaded` when too much waits, `Unavailable` when it could not be made durable.
    pub async fn write(self: &Arc<Self>, writer: &Writer, item: K::Item) -> Answered<K> {
        let (reply, answer) = oneshot::channel();
        if self.put_down(Waiting { item, reply })? {
            writer.enqueue(K::DURING, Box::new(Batch::of(self)))?;
        }
        answer
            .await
            .unwrap_or_else(|_| Err(unavailable(K::DURING, Stopped)))
    }

    /// Whether it begins a new job.
    fn put_down(&self, one: Waiting<K>) -> Result<bool, StoreError> {
        let mut waiting = self.lock();
        if waiting.len() == QUEUE {
            return Err(StoreError::Overloaded);
        }
        let begins = waiting.len().is_multiple_of(BATCH);
        waiting.push_back(one);
        Ok(begins)
    }

    fn take(&self) -> Vec<Waiting<K>> {
        let mut waiting = self.lock();
        let some = waiting.len().min(BATCH);
        waiting.drain(..some).collect()
    }

    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiting<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job: takes those that wait when it runs.
struct Batch<K: Kind> {
    together: Arc<Together<K>>,
    ran: bool,
    replies: Vec<oneshot::Sender<Answered<K>>>,
    answers: Result<Vec<Answered<K>>, Fault>,
}

impl<K: Kind> Batch<K> {
    fn of(together: &Arc<Together<K>>) -> Self {
        Self {
            together: Arc::clone(together),
            ran: false,
            replies: vec![],
            answers: Ok(vec![]),
        }
    }
}

impl<K: Kind> Job for Batch<K> {
    fn writes(&self) -> usize {
        self.together.lock().len().clamp(1, BATCH)
    }

    fn run(&mut self, conn: &Connection) -> Ran {
        self.ran = true;
        let waiting = self.together.take().into_iter();
        let (items, replies): (Vec<_>, Vec<_>) = waiting.map(|w| (w.item, w.reply)).unzip();
        self.replies = replies;
        self.answers = unpanicked(K::DURING, || K::write(conn, &items));
        let is_one_of_several = |fault: &Fault| items.len() > 1 && !fault.is_fatal() && !conn.is_autocommit();
        if self.answers.as_ref().is_err_and(is_one_of_several) {
            self.answers = one_by_one::<K>(conn, &items);
        }
        match &self.answers {
            Ok(_) => Ran::Well,
            Err(fault) if fault.is_fatal() => Ran::FailedFatally,
            Err(_) => Ran::Failed,
        }
    }

    fn answer(mut self: Box<Self>, batch: Result<(), BatchFailed>) {
        let replies = std::mem::take(&mut self.replies);
        let answers = match (std::mem::replace(&mut self.answers, Ok(vec![])), batch) {
            (Ok(answers), Ok(())) => answers,
            // What failed by itself has its own reason, which says more.
            (Ok(answers), Err(failed)) => answers
                .into_iter()
                .map(|own| own.and_then(|_| Err(unavailable(K::DURING, failed.clone()))))
                .collect(),
            (Err(fault), _) => all_failed::<K>(fault, replies.len()),
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            let _ = reply.send(answer); // the caller may have gone; the write stands
        }
    }
}

/// Once more, each in a savepoint of its own: only those that fail are undone.
fn one_by_one<K: Kind>(conn: &Connection, items: &[K::Item]) -> Result<Vec<Answered<K>>, Fault> {
    conn.prepare_cached("ROLLBACK TO job")?.execute([])?; // the savepoint this job runs in
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        conn.prepare_cached("SAVEPOINT one")?.execute([])?;
        let answer = unpanicked(K::DURING, || K::write(conn, std::slice::from_ref(item)));
        if let Err(fault) = &answer
            && (fault.is_fatal() || conn.is_autocommit())
        {
            return answer; // nothing of this transaction is left, which the writer sees, too
        }
        if answer.is_err() {
            conn.prepare_cached("ROLLBACK TO one")?.execute([])?;
        }
        conn.prepare_cached("RELEASE one")?.execute([])?;
        match answer {
            Ok(own) => answers.extend(own),
            Err(fault) => answers.push(Err(fault.translate(K::DURING))),
        }
    }
    Ok(answers)
}

/// One fault for all of them: the first gets it as it is.
fn all_failed<K: Kind>(fault: Fault, all: usize) -> Vec<Answered<K>> {
    let why = fault.translate(K::DURING);
    let text = why.to_string();
    let others = (1..all).map(|_| Err(unavailable(K::DURING, text.clone())));
    std::iter::once(Err(why)).chain(others).collect()
}

/// A job that never ran takes those along who counted on it: their answer is that nothing was stored.
impl<K: Kind> Drop for Batch<K> {
    fn drop(&mut self) {
        if !self.ran {
            drop(self.together.take());
        }
    }
}
