//! The database, as the journal, the imports, the audit and the ledger use it. As in [`super::store`], every write is
//! durable when its future resolves, and every read is one short transaction.

use super::store::StoreError;
use crate::domain::file::TaskFile;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::task::{Origin, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use async_trait::async_trait;
use std::collections::BTreeMap;

#[async_trait]
pub trait Records: Send + Sync {
    /// At every start: whether new tasks are to be journalled. Switched on, the tasks that are open are too; off, what
    /// was still to be done is forgotten. Answers whether the database is a backup that was put back: then every task
    /// that it holds as not sent is in doubt, and with a journal [`Need::First`] again.
    async fn keep_journal(&self, on: bool) -> Result<bool, StoreError>;

    /// What the journal still needs of a task; `None`: nothing.
    async fn journal_need(&self, id: TaskId) -> Result<Option<Need>, StoreError>;

    /// The journal has these.
    async fn journal_done(&self, ids: Vec<TaskId>) -> Result<(), StoreError>;

    /// To be put when the bucket takes it: nobody waits for it any more.
    async fn journal_later(&self, id: TaskId) -> Result<(), StoreError>;

    /// The first of those that nobody waits for.
    async fn journal_backlog(&self, limit: u32) -> Result<Vec<TaskFile>, StoreError>;

    /// Inserts tasks learned from elsewhere, in one commit. One that is known is left as it is. `journalled`: their
    /// identity is in the bucket.
    async fn adopt_all(
        &self,
        adoptions: Vec<Transition>,
        journalled: bool,
    ) -> Result<Vec<Adopted>, StoreError>;

    /// How each of these stands with a tenant, in order; `None`: nobody has it, and it was not removed by retention.
    async fn standings(&self, tenant: Tenant, ids: Vec<TaskId>) -> Result<Vec<Option<Adopted>>, StoreError>;

    /// A tenant's tasks in the order of their arrival, after a position.
    async fn walk(&self, walk: Walk) -> Result<WalkPage, StoreError>;

    /// What a tenant's tasks of one span of time came to, grouped.
    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<LedgerRow>, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To be put before the first submission.
    First,
    /// To be put when the bucket takes it.
    Put,
    /// Adopted: to be looked up before the provider is asked.
    Recall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    New,
    /// The tenant's own.
    Known {
        status: TaskStatus,
        origin: Origin,
    },
    /// Somebody else's, or removed by retention; the caller is not told which.
    Refused,
}

#[derive(Clone, Debug)]
pub struct Walk {
    pub tenant: Tenant,
    /// Exclusive; 0 from the start.
    pub after: u64,
    /// Created at or after, before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Tasks looked at, those that the times pass over included.
    pub limit: u32,
}

pub struct WalkPage {
    /// Each with its position.
    pub tasks: Vec<(u64, TaskFile)>,
    /// Read on from here; `None`: the end.
    pub next: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct LedgerQuery {
    pub tenant: Tenant,
    /// Created at or after, before: a day at most, so that the read stays short.
    pub since: Timestamp,
    pub until: Timestamp,
    pub by_model: bool,
    pub by_labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LedgerRow {
    pub model: Option<String>,
    /// By the labels asked for; one that a task does not have is absent.
    pub labels: BTreeMap<String, String>,
    pub sums: Sums,
}

/// What some tasks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub tasks: u64,
    pub results: u64,
    pub archived: u64,
    /// Of what is archived.
    pub bytes: u64,
    /// USD, as far as it was reported.
    pub cost: f64,
    /// Results whose cost was never reported.
    pub unpriced: u64,
}

impl Sums {
    pub fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.results += other.results;
        self.archived += other.archived;
        self.bytes += other.bytes;
        self.cost += other.cost;
        self.unpriced += other.unpriced;
    }
}
