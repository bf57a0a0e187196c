//! Chapter one: a submission is stored whole, then answered.

use crate::crash_point;
use crate::domain::asset::ObjectExt;
use crate::domain::file::TaskFile;
use crate::domain::ids::{Digest, TaskId, Tenant};
use crate::domain::task::{Origin, Outcome, Submission, Task, TaskState};
use crate::domain::task_webhook::TaskWebhook;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::store::{Accepted, IdempotencyKey, NewSubmission, NewTask, Queue, StoreError, TaskStore};
use crate::ports::wake::Wakeups;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A task as the edge parsed and validated it.
#[derive(Clone, Debug)]
pub struct TaskDraft {
    pub id: TaskId,
    pub model: String,
    pub number_results: u32,
    pub labels: BTreeMap<String, String>,
    pub key_prefix: Option<String>,
    pub ext: Option<ObjectExt>,
    pub ttl: Duration,
    /// `catchment.deadline`, if the client set one.
    pub deadline: Option<Timestamp>,
    /// The task object as it will be sent, without `webhookURL` and `catchment`.
    pub document: String,
    /// `taskType`, to be told back in the provider's own shape.
    pub task_type: Option<String>,
    /// `webhookURL`: where the client wants to be called about this task alone. The provider never sees it.
    pub webhook: Option<TaskWebhook>,
    /// SHA-256 of the task's canonical JSON as the client sent it.
    pub fingerprint: Digest,
    pub adjusted: Vec<Adjusted>,
}

/// A member of the task that ours replaced.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adjusted {
    pub pointer: String,
    /// `null` when it was absent.
    pub from: serde_json::Value,
    pub to: serde_json::Value,
}

/// One entry of the 202 answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(rename = "taskUUID")]
    task_uuid: String,
    status: &'static str,
    origin: &'static str,
    created_at: Timestamp,
    adjusted: &'a [Adjusted],
}

/// Stores the drafts, all or none, and wakes the dispatcher. Durable when it returns (I1).
pub async fn submit(
    store: &dyn TaskStore,
    clock: &dyn Clock,
    wakeups: &Wakeups,
    tenant: Tenant,
    idempotency: Option<IdempotencyKey>,
    drafts: Vec<TaskDraft>,
) -> Result<Accepted, StoreError> {
    let now = clock.now();
    let tasks = drafts
        .into_iter()
        .map(|draft| new_task(draft, &tenant, now))
        .collect();
    crash_point!("submit.before_store");
    let accepted = store
        .accept(NewSubmission {
            tenant,
            idempotency,
            tasks,
        })
        .await?;
    crash_point!("submit.after_store");
    if matches!(accepted, Accepted::Stored(_)) {
        wakeups.ring(Queue::Submissions);
    }
    Ok(accepted)
}

fn new_task(draft: TaskDraft, tenant: &Tenant, now: Timestamp) -> NewTask {
    let entry = Entry {
        task_uuid: draft.id.to_string(),
        status: "accepted",
        origin: "submitted",
        created_at: now,
        adjusted: &draft.adjusted,
    };
    let entry = serde_json::to_string(&entry).expect("strings and JSON values serialize");
    let task = Task {
        id: draft.id,
        tenant: tenant.clone(),
        version: 0,
        model: draft.model,
        number_results: draft.number_results,
        labels: draft.labels,
        key_prefix: draft.key_prefix,
        ext: draft.ext,
        ttl: draft.ttl,
        origin: Origin::Submitted,
        submission: Submission::None,
        state: TaskState::Accepted,
        created_at: now,
        first_attempt_at: None,
        submitted_at: None,
        deadline: draft.deadline,
        settled_at: None,
        items_named: 0,
        outcome: Outcome::Open,
        cost: None,
        failures: vec![],
        round: 1,
        event_count: 0,
        queries: 0,
        attempts: 0,
        due_at: Some(now),
    };
    NewTask {
        transition: TaskFile::accept(task),
        document: draft.document,
        fingerprint: draft.fingerprint,
        entry,
        task_type: draft.task_type,
        webhook: draft.webhook,
    }
}
