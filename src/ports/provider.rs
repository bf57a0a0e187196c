//! The provider: submit a task, ask for its outcome, read what it posts back.

use crate::domain::ids::TaskId;
use crate::domain::report::Report;
use async_trait::async_trait;
use std::time::Duration;

/// One budget of concurrent requests and of requests a second covers every method (`runware.max_in_flight`,
/// `runware.max_per_second`). While a `Retry-After` of any answer lasts, nothing is sent: `asked_to_wait`.
/// No method retries: `domain` says when, `worker` does it. The API key never leaves the adapter.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Sends one task, alone in its request. `document` is the task object as stored, without `webhookURL`, which
    /// is put in here. Every way it can end is an outcome.
    async fn submit(&self, id: TaskId, document: &str, webhook_url: &str) -> SubmitOutcome;

    /// Asks for the outcome of up to [`MAX_QUERY`] tasks in one request. Answers one report per id, in the same
    /// order; an id the provider has no row for gets an empty report.
    async fn query(&self, ids: &[TaskId]) -> Result<Vec<Report>, ProviderError>;

    /// Looks one task up in the provider's archive (`getTaskDetails`). `None`: unknown there. A refused replay
    /// (`conflictTaskUUID`) proves nothing and reads as an empty report.
    async fn details(&self, id: TaskId) -> Result<Option<Report>, ProviderError>;

    /// Reads the body of a callback for task `id`, in any of the shapes the provider is known to use.
    /// An unreadable body is an empty report with `doubt` set.
    fn read_callback(&self, id: TaskId, body: &[u8]) -> Report;
}

/// Most tasks asked about in one request: enough to drain a backlog, small enough that one answer stays small.
pub const MAX_QUERY: usize = 20;

#[derive(Clone, Debug, PartialEq)]
pub enum SubmitOutcome {
    /// The provider has it.
    Accepted,
    /// The provider knew this UUID already: accepted earlier.
    Conflict,
    /// Certainly not accepted; the same request may succeed later (connection refused, DNS, 429, 503).
    NotAccepted {
        code: String,
        retry_after: Option<Duration>,
    },
    /// Certainly not accepted, and it never will be.
    Refused {
        code: String,
        message: String,
        content_policy: bool,
    },
    /// The account, not the task, is the trouble (401, 402, auth and quota codes): the queue is parked.
    Parked { code: String },
    /// It may or may not have been accepted (timeout, reset, cut answer, 408, other 5xx).
    Unclear { code: String },
}

/// A query that brought no answer. It says nothing about any task.
#[derive(Debug, thiserror::Error)]
#[error("the provider did not answer the query: {code}")]
pub struct ProviderError {
    /// Stable: `unreachable`, `timeout`, `http_503`, `invalidApiKey`, `unreadable_answer` …
    pub code: String,
    pub retry_after: Option<Duration>,
    /// The account is the trouble, as in [`SubmitOutcome::Parked`].
    pub parked: bool,
}
