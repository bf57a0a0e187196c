//! An operator's retry: what expired or failed gets a new round, in one commit with its line in the operator log.
//! Never a new purchase: the provider is only asked.

use crate::domain::file::{Policy, TaskFile};
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::task::TaskStatus;
use crate::ports::clock::Clock;
use crate::ports::operator::OperatorEntry;
use crate::ports::store::{Queue, Store, StoreError, TaskQuery};
use crate::ports::wake::Wakeups;
use futures_util::future::join_all;
use serde_json::json;

pub struct Retry<'a> {
    pub store: &'a dyn Store,
    pub clock: &'a dyn Clock,
    pub wakeups: &'a Wakeups,
    pub policy: &'a Policy,
    pub tenant: &'a Tenant,
    /// The API key's id, for the operator log.
    pub actor: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    Retried,
    /// Nothing of it is expired or failed.
    NothingToRetry,
    /// Not this tenant's, or not at all.
    NotFound,
}

/// Times a decision is made again when a worker changed the task meanwhile.
const MAX_CONFLICTS: u32 = 8;

pub async fn retry(ctx: &Retry<'_>, id: TaskId) -> Result<RetryOutcome, StoreError> {
    for _ in 0..MAX_CONFLICTS {
        let Some(file) = ctx.store.task(Some(ctx.tenant), id).await? else {
            return Ok(RetryOutcome::NotFound);
        };
        let now = ctx.clock.now();
        let Some(retried) = file.retry(ctx.policy, now) else {
            return Ok(RetryOutcome::NothingToRetry);
        };
        let results: Vec<&str> = retried.results.iter().map(|r| r.as_str()).collect();
        let entry = OperatorEntry {
            at: now,
            tenant: ctx.tenant.clone(),
            actor: ctx.actor.to_owned(),
            action: "retry",
            subject: id.to_string(),
            detail: json!({ "results": results }),
        };
        match ctx.store.commit_by_operator(retried.transition, entry).await {
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other),
            Ok(()) => {
                ctx.wakeups.ring(Queue::Queries);
                ctx.wakeups.ring(Queue::Copies);
                return Ok(RetryOutcome::Retried);
            }
        }
    }
    Err(StoreError::Overloaded) // a task in such a hurry is better asked for again
}

/// Which tasks: those of the query, and of these the ones with this reason, their own or a result's.
#[derive(Clone, Debug)]
pub struct RetryFilter {
    /// Its `limit` and `cursor` are taken as they are: one page.
    pub query: TaskQuery,
    pub reason: Option<String>,
}

/// What a filter without states means: every verdict that a retry can change.
pub const RETRYABLE: [TaskStatus; 3] = [TaskStatus::Failed, TaskStatus::Partial, TaskStatus::TimedOut];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetriedPage {
    pub count: u32,
    /// `None`: the end.
    pub next: Option<u64>,
}

/// Retries one page of tasks; their commits share transactions.
pub async fn retry_page(ctx: &Retry<'_>, filter: &RetryFilter) -> Result<RetriedPage, StoreError> {
    let page = ctx.store.tasks(&filter.query).await?;
    let wanted = page
        .tasks
        .iter()
        .filter(|file| has_reason(file, filter.reason.as_deref()));
    let outcomes = join_all(wanted.map(|file| retry(ctx, file.task.id))).await;
    let mut done = RetriedPage {
        count: 0,
        next: page.next,
    };
    for outcome in outcomes {
        done.count += u32::from(outcome? == RetryOutcome::Retried);
    }
    Ok(done)
}

fn has_reason(file: &TaskFile, reason: Option<&str>) -> bool {
    let Some(wanted) = reason else { return true };
    let own = file
        .task
        .state
        .verdict()
        .and_then(|v| v.reason)
        .map(|r| r.as_str());
    let results = file
        .assets
        .iter()
        .filter_map(|a| a.state.reason())
        .map(|r| r.as_str());
    own.into_iter().chain(results).any(|reason| reason == wanted)
}
