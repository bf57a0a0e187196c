//! The database. Steps meet only here, so a crash between any two of them is an ordinary start.
//!
//! Every write is durable when its future resolves. Every write under a lease names the epoch of its claim; when the
//! lease has lapsed and another worker holds it, the write changes nothing and answers [`StoreError::LeaseLost`].
//! Times are the caller's `Clock::now()`. Log positions become visible in order: when sequence p is readable,
//! nothing below p will appear any more.

use super::BoxError;
use super::endpoints::Endpoints;
use super::operator::OperatorLog;
use super::overdue::Overdue;
use super::sinks::Sinks;
use super::task_webhooks::TaskWebhooks;
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{After, Attempt, Delivery, DeliveryStatus, Endpoint};
use crate::domain::endpoint::DisabledReason;
use crate::domain::event::{Event, EventKind, NewEvent};
use crate::domain::file::TaskFile;
use crate::domain::ids::{AssetId, Digest, EndpointId, TaskId, Tenant};
use crate::domain::lease::{Fence, Lease};
use crate::domain::task::TaskStatus;
use crate::domain::task_webhook::TaskWebhook;
use crate::domain::time::Timestamp;
use crate::domain::transition::{TimelineEntry, Transition};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

pub trait Store:
    TaskStore + Inbox + Leases + Overdue + Outbox + OperatorLog + Accounts + Endpoints + TaskWebhooks + Sinks
{
}
impl<T> Store for T where
    T: TaskStore
        + Inbox
        + Leases
        + Overdue
        + Outbox
        + OperatorLog
        + Accounts
        + Endpoints
        + TaskWebhooks
        + Sinks
{
}

#[async_trait]
pub trait TaskStore: Send + Sync {
    /// Stores a submission, all tasks or none, with their documents, events and timeline.
    /// - A known idempotency key of this tenant with the same fingerprint answers the stored entries; with another
    ///   fingerprint it is `KeyReused`. Keys are remembered as long as their tasks.
    /// - A known task id of this tenant with the same fingerprint answers its stored entry, without a second row; with
    ///   another fingerprint, or of another tenant, it is `TaskConflict`.
    async fn accept(&self, submission: NewSubmission) -> Result<Accepted, StoreError>;

    /// Inserts a task learned from elsewhere (a callback after a restore, an import). `false`: it was known already,
    /// or has a tombstone.
    async fn adopt(&self, transition: Transition) -> Result<bool, StoreError>;

    /// A task with its assets. With a tenant, only that tenant's.
    async fn task(&self, tenant: Option<&Tenant>, id: TaskId) -> Result<Option<TaskFile>, StoreError>;

    /// The task object as it is to be sent, without `webhookURL`. `None`: erased, or never known.
    async fn document(&self, id: TaskId) -> Result<Option<String>, StoreError>;

    /// Newest first; at most `limit` (1–200).
    async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, StoreError>;

    /// Every step of one task, oldest first: submissions, callbacks, queries, copies, and the tries of its deliveries.
    async fn timeline(&self, id: TaskId) -> Result<Vec<TimelineLine>, StoreError>;

    /// Writes a transition whole: the task if its version is still the one read (else [`StoreError::Conflict`]),
    /// its assets, its events with the next sequences, its timeline; marks its receipts done. Under a task or asset
    /// fence the lease is checked and, unless `fence` is [`Fence::Version`], given up with the same commit.
    async fn commit(&self, transition: Transition, fence: Fence) -> Result<(), StoreError>;

    /// As [`TaskStore::commit`], but keeps the lease: a step's note on the way (a submission about to be made, an
    /// upload's intent). Raises the task's version; answers the new one.
    async fn commit_and_hold(&self, transition: Transition, fence: Fence) -> Result<u64, StoreError>;

    /// Figures for metrics and the readiness page.
    async fn figures(&self, now: Timestamp) -> Result<Figures, StoreError>;

    /// Whether a write can be made durable right now: makes one.
    async fn check_writable(&self) -> Result<(), StoreError>;
}

/// The callback inbox.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a receipt and marks its task to be queried at once, in one commit. (task, SHA-256 of the body) is
    /// unique: seen before is a normal answer. At most [`MAX_RECEIPTS`] a task; beyond that nothing is stored, the
    /// task is queried all the same. A receipt of a task in any state but `completed` wakes it (before its submission
    /// is acknowledged, it is kept until then).
    async fn record(&self, receipt: NewReceipt) -> Result<Recorded, StoreError>;
}

/// Most receipts stored for one task. Four results, five tries each, with room for other shapes of the same body.
pub const MAX_RECEIPTS: u32 = 64;

/// Claims. A claim is one commit: it raises the epoch, sets `lease_until = now + lease`, counts an attempt and raises
/// the task's version. A row is due when `due_at <= now` and nobody holds a live lease on it. A row whose lease lapses
/// is due at once.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Tasks to submit (`accepted`, `submitting`), oldest first.
    async fn claim_submissions(&self, c: Claim) -> Result<Vec<Lease<TaskFile>>, StoreError>;

    /// Tasks to ask about: past `submitting`, due or woken by a receipt, woken ones first. Clears the waking.
    async fn claim_queries(&self, c: Claim) -> Result<Vec<Lease<Inquiry>>, StoreError>;

    /// Assets to copy (`pending`, or `archiving` with a lapsed lease), earliest `archive_by` first. They become
    /// `archiving`.
    async fn claim_copies(&self, c: Claim) -> Result<Vec<Lease<CopyJob>>, StoreError>;

    /// Deliveries to try: the places are shared out among the endpoints with something due, and each one's earliest
    /// due come first. Of one endpoint at most `per_endpoint`, no more than its health allows, and no more than are left
    /// free for others are under a live lease at a time; those of disabled endpoints wait. Within a task, an event waits
    /// until those before it were taken, are dead, or failed again while the endpoint took others. They show as
    /// `sending`.
    async fn claim_deliveries(&self, c: Claim, per_endpoint: u32)
    -> Result<Vec<Lease<Delivery>>, StoreError>;

    /// Moves `lease_until`. `LeaseLost` when another worker has claimed it since.
    async fn renew(&self, held: &Held, until: Timestamp) -> Result<(), StoreError>;

    /// Gives a lease up unused, due again at once: an orderly stop.
    async fn release(&self, held: &Held) -> Result<(), StoreError>;

    /// When the next row of this queue falls due or its lease lapses; `None`: nothing waits.
    async fn next_due(&self, queue: Queue) -> Result<Option<Timestamp>, StoreError>;

    /// Voids all leases: for the start of the only process on this database (SQLite's lock file proves it).
    async fn void_leases(&self) -> Result<u64, StoreError>;
}

/// The event log and its way out.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Events after a position, in order. `done`: nothing further was there when it was read.
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError>;

    /// The last sequence committed; changes with every commit that wrote an event.
    fn last_sequence(&self) -> watch::Receiver<u64>;

    /// Turns events past each enabled endpoint's cursor into deliveries due at `now + first_wait`, in one commit, and
    /// moves the cursors: at most `limit` events per endpoint, those furthest behind first. Answers how many deliveries
    /// were made and whether more waits.
    async fn fan_out(
        &self,
        now: Timestamp,
        first_wait: Duration,
        limit: u32,
    ) -> Result<FannedOut, StoreError>;

    /// Records a try and what follows from it, for the delivery and for its endpoint's health, with the operator events
    /// it calls for, under the delivery's lease. When an endpoint that failed takes something, all that it did not take
    /// meanwhile is due soon, in its tasks' order, though never before its `Retry-After`. `Some`: this try disabled the
    /// endpoint.
    async fn settle_delivery(&self, settled: SettledDelivery) -> Result<Option<DisabledReason>, StoreError>;

    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError>;
    /// Of one tenant, or of all.
    async fn endpoints(&self, tenant: Option<&Tenant>) -> Result<Vec<Endpoint>, StoreError>;
    /// `false`: there was none. Its open deliveries go with it, some in each commit; no try of them counts any more.
    async fn delete_endpoint(&self, tenant: &Tenant, id: &EndpointId) -> Result<bool, StoreError>;
}

/// API keys, stored hashed.
#[async_trait]
pub trait Accounts: Send + Sync {
    async fn create_key(&self, key: NewApiKey) -> Result<(), StoreError>;
    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError>;
    /// By id or name; `false`: none such, or revoked before.
    async fn revoke_key(&self, id_or_name: &str, now: Timestamp) -> Result<bool, StoreError>;
    /// The live key with this SHA-256.
    async fn key_by_hash(&self, sha256: &Digest) -> Result<Option<ApiKey>, StoreError>;
}

pub struct NewSubmission {
    pub tenant: Tenant,
    pub idempotency: Option<IdempotencyKey>,
    pub tasks: Vec<NewTask>,
}

pub struct IdempotencyKey {
    pub key: String,
    /// SHA-256 of the whole body's canonical JSON, before defaults.
    pub fingerprint: Digest,
}

pub struct NewTask {
    /// The task with its `task.accepted` event and first timeline line.
    pub transition: Transition,
    /// The task object as it is to be sent, without `webhookURL`.
    pub document: String,
    /// SHA-256 of this task's canonical JSON, before defaults.
    pub fingerprint: Digest,
    /// The entry of the 202 answer, JSON.
    pub entry: String,
    /// What the provider calls its type.
    pub task_type: Option<String>,
    /// The client's own `webhookURL`, stored in the same commit.
    pub webhook: Option<TaskWebhook>,
}

#[derive(Debug, PartialEq)]
pub enum Accepted {
    /// At least one task is new. Entries in request order.
    Stored(Vec<String>),
    /// Nothing is new: the stored entries.
    Replayed(Vec<String>),
    KeyReused,
    /// The first task, by index, that is known with another body.
    TaskConflict {
        index: usize,
        task: TaskId,
    },
}

pub struct NewReceipt {
    pub task: TaskId,
    pub sha256: Digest,
    pub body: Vec<u8>,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    New,
    Duplicate,
    /// [`MAX_RECEIPTS`] reached: not stored, the task is queried.
    Full,
    UnknownTask,
    /// Removed by retention: not revived.
    Tombstone,
}

/// A stored callback, not looked at yet.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub id: i64,
    pub body: Vec<u8>,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub now: Timestamp,
    pub lease: Duration,
    /// At most this many rows.
    pub limit: u32,
}

/// A task to be asked about, with what its callbacks claimed.
#[derive(Clone, Debug)]
pub struct Inquiry {
    pub file: TaskFile,
    pub receipts: Vec<Receipt>,
}

/// An asset to copy; `file` holds it among its siblings.
#[derive(Clone, Debug)]
pub struct CopyJob {
    pub file: TaskFile,
    pub asset: AssetId,
}

/// A lease as its holder names it.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    Task { id: TaskId, epoch: u64 },
    Asset { id: AssetId, epoch: u64 },
    Delivery { id: i64, epoch: u64 },
    TaskDelivery { id: i64, epoch: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    Submissions,
    Queries,
    Copies,
    Deliveries,
    TaskDeliveries,
}

#[derive(Clone, Debug)]
pub struct TaskQuery {
    pub tenant: Tenant,
    /// Empty: any.
    pub statuses: Vec<TaskStatus>,
    pub model: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Created at or after, before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub limit: u32,
    /// From [`TaskPage::next`].
    pub cursor: Option<u64>,
}

pub struct TaskPage {
    pub tasks: Vec<TaskFile>,
    /// `None`: the end.
    pub next: Option<u64>,
}

/// A line of the timeline as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineLine {
    pub at: Timestamp,
    pub kind: String,
    pub detail: serde_json::Value,
}

impl From<TimelineEntry> for TimelineLine {
    fn from(e: TimelineEntry) -> Self {
        Self {
            at: e.at,
            kind: e.kind.to_owned(),
            detail: e.detail,
        }
    }
}

#[derive(Clone, Debug)]
pub struct EventQuery {
    pub tenant: Tenant,
    /// Exclusive.
    pub after: u64,
    /// 1–1000.
    pub limit: u32,
    /// Empty: any.
    pub types: Vec<EventKind>,
    /// Empty: any.
    pub models: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub task: Option<TaskId>,
}

pub struct EventPage {
    pub events: Vec<Event>,
    /// Read on from here: the last sequence looked at, also when a filter passed events over.
    pub next_after: u64,
    pub done: bool,
    /// What lies at or below this sequence was removed by retention. A query after less missed it: `events` begin
    /// with what is still there.
    pub oldest: u64,
}

pub struct FannedOut {
    pub deliveries: u64,
    pub more: bool,
}

pub struct SettledDelivery {
    pub id: i64,
    pub epoch: u64,
    pub attempt: Attempt,
    pub after: After,
    /// `delivery.dead`.
    pub events: Vec<NewEvent>,
    /// `endpoint.disabled`: told too if it is this try that disables the endpoint.
    pub if_disabled: Option<NewEvent>,
    /// For the endpoint's rest.
    pub jitter: Jitter,
}

pub struct NewApiKey {
    pub id: String,
    pub tenant: Tenant,
    pub name: String,
    pub sha256: Digest,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    pub id: String,
    pub tenant: Tenant,
    pub name: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub tasks: Vec<(TaskStatus, u64)>,
    /// `archive_by` of the most urgent asset not archived yet.
    pub oldest_archive_by: Option<Timestamp>,
    pub deliveries: Vec<(DeliveryStatus, u64)>,
    /// Events not yet turned into deliveries, for the endpoint furthest behind.
    pub event_lag: u64,
    pub last_sequence: u64,
}

/// Named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer was first: read again, decide again.
    #[error("task {task} changed meanwhile")]
    Conflict { task: TaskId },
    /// Drop the work, write nothing.
    #[error("the lease was lost")]
    LeaseLost,
    /// Too many writes are waiting: nothing was stored, try again soon.
    #[error("too many writes are waiting")]
    Overloaded,
    /// Nothing was stored (disk full, I/O error, locked); the same call may succeed later.
    #[error("the database is unavailable ({during})")]
    Unavailable {
        during: &'static str,
        #[source]
        source: BoxError,
    },
    /// A row we cannot read; an operator must look.
    #[error("a row of {table} cannot be read: {id}")]
    Corrupt {
        table: &'static str,
        id: String,
        #[source]
        source: BoxError,
    },
}
