//! A task with its assets, and every decision about them: each takes the file as it was read and answers the
//! [`Transition`] to be written. The chapters: `submission` (sent or not), `reports` (what the provider said),
//! `copies` (what an upload came to), `risk` (time running out), `retries` (an operator's wish), `requeue` (what an audit
//! mends). Here: what they share, and the verdict.

mod copies;
mod reports;
mod requeue;
mod retries;
mod risk;
mod submission;
#[cfg(test)]
mod tests;

pub use copies::{CopyOutcome, NotStored};
pub use reports::{Asked, Claim};
pub use retries::Retried;
pub use submission::Doubt;

use super::asset::{Asset, AssetState};
use super::event::{EventData, EventKind, NewEvent};
use super::ids::{EventId, ResultId, TaskId, Tenant};
use super::task::{Origin, Outcome, Submission, Task, TaskReason, TaskState, Verdict};
use super::time::Timestamp;
use super::transition::{TimelineEntry, Transition};
use std::collections::BTreeSet;
use std::time::Duration;

/// A task and all its assets, as read together.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFile {
    pub task: Task,
    pub assets: Vec<Asset>,
}

/// The settings that decisions depend on, by their names in the settings table.
#[derive(Clone, Debug)]
pub struct Policy {
    pub poll_first_after: Duration,
    pub poll_max_interval: Duration,
    pub poll_deadline: Duration,
    pub trust_after: Duration,
    pub retry_max_interval: Duration,
    pub resend_window: Duration,
    pub max_hold: Duration,
    /// `archive.at_risk_after`: a share of the time between discovery and `archive_by`.
    pub at_risk_after: f64,
    /// For adopted tasks, whose `ttl` nobody told us.
    pub default_ttl: Duration,
}

impl TaskFile {
    /// A new task, ours and not sent: with its first event and line.
    pub fn accept(task: Task) -> Transition {
        let now = task.created_at;
        let mut draft = Draft::of(TaskFile { task, assets: vec![] }, now);
        draft.tell_task(EventKind::TaskAccepted);
        draft.note("accepted", serde_json::json!({}));
        draft.finish()
    }

    /// A task somebody else submitted: a valid token for a task we do not know (after a restore), or an import.
    /// It starts as submitted and is asked about at once; what it is, the provider will tell.
    pub fn adopt(id: TaskId, tenant: Tenant, origin: Origin, policy: &Policy, now: Timestamp) -> Transition {
        let task = Task {
            id,
            tenant,
            version: 0,
            model: "unknown".to_owned(),
            number_results: 0,
            labels: Default::default(),
            key_prefix: None,
            ext: None,
            ttl: policy.default_ttl,
            origin,
            submission: Submission::Confirmed,
            state: TaskState::Submitted,
            created_at: now,
            first_attempt_at: None,
            submitted_at: Some(now),
            deadline: Some(now.plus(policy.poll_deadline)),
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
        let mut draft = Draft::of(TaskFile { task, assets: vec![] }, now);
        draft.note("adopted", serde_json::json!({ "origin": origin.as_str() }));
        draft.finish()
    }

    pub fn asset(&self, result: &ResultId) -> Option<&Asset> {
        self.assets.iter().find(|a| a.id.result == *result)
    }

    /// How many results there will be; 0 while nobody knows. What only a callback claimed and nobody found is none.
    pub fn expected(&self) -> u32 {
        let is_real = |a: &&Asset| a.confirmed || !a.state.is_terminal() || a.state.stored().is_some();
        let known = u32::try_from(self.assets.iter().filter(is_real).count()).unwrap_or(u32::MAX);
        let named = self.task.number_results.max(self.task.items_named);
        if named == 0 { 0 } else { named.max(known) }
    }

    pub fn archived(&self) -> u32 {
        let n = self
            .assets
            .iter()
            .filter(|a| matches!(a.state, AssetState::Archived(_)))
            .count();
        u32::try_from(n).unwrap_or(u32::MAX)
    }
}

/// A decision being written down.
struct Draft {
    file: TaskFile,
    now: Timestamp,
    changed: BTreeSet<ResultId>,
    events: Vec<NewEvent>,
    timeline: Vec<TimelineEntry>,
    receipts_done: Vec<i64>,
}

impl Draft {
    fn of(file: TaskFile, now: Timestamp) -> Self {
        Self {
            file,
            now,
            changed: BTreeSet::new(),
            events: vec![],
            timeline: vec![],
            receipts_done: vec![],
        }
    }

    fn note(&mut self, kind: &'static str, detail: serde_json::Value) {
        self.timeline.push(TimelineEntry {
            at: self.now,
            kind,
            detail,
        });
    }

    /// The asset, marked to be written.
    fn change(&mut self, result: &ResultId) -> Option<&mut Asset> {
        self.changed.insert(result.clone());
        self.file.assets.iter_mut().find(|a| a.id.result == *result)
    }

    fn tell_task(&mut self, kind: EventKind) {
        let task = &self.file.task;
        let ends = task.state.is_terminal();
        let data = EventData {
            archived: ends.then(|| self.file.archived()),
            expected: ends.then(|| self.file.expected()),
            ..EventData::about_task(task)
        };
        self.push_event(kind, None, task.round, data);
    }

    fn tell_asset(&mut self, kind: EventKind, result: &ResultId) {
        let Some(asset) = self.file.asset(result) else {
            return;
        };
        let data = EventData {
            archive_by: (kind == EventKind::AssetAtRisk).then_some(asset.archive_by),
            ..EventData::about_asset(&self.file.task, asset)
        };
        let round = asset.round;
        self.push_event(kind, Some(result), round, data);
    }

    fn push_event(&mut self, kind: EventKind, result: Option<&ResultId>, round: u32, data: EventData) {
        let task = &mut self.file.task;
        task.event_count += 1;
        let (id, result) = (task.id.to_string(), result.map_or("", ResultId::as_str));
        self.events.push(NewEvent {
            id: EventId::derive(&[&id, result, kind.as_str(), &round.to_string()]),
            kind,
            tenant: task.tenant.clone(),
            task: Some(task.id),
            task_sequence: task.event_count,
            at: self.now,
            data,
        });
    }

    /// Ends the task if nothing more can come: every change to assets or outcome passes here.
    fn conclude(&mut self) {
        if self.file.task.state.is_terminal() {
            return;
        }
        let Some(state) = self.verdict() else {
            if !self.file.assets.is_empty() {
                self.file.task.state = TaskState::Archiving;
            }
            return;
        };
        let kind = match &state {
            TaskState::Completed => EventKind::TaskCompleted,
            TaskState::Partial(_) => EventKind::TaskPartial,
            TaskState::TimedOut(_) => EventKind::TaskTimedOut,
            _ => EventKind::TaskFailed,
        };
        self.end(state, kind);
    }

    fn end(&mut self, state: TaskState, kind: EventKind) {
        self.note(
            "settled",
            serde_json::json!({ "status": state.status().as_str() }),
        );
        let unconfirmed = self.file.assets.iter().any(|a| !a.confirmed);
        let task = &mut self.file.task;
        task.state = state;
        task.settled_at = Some(self.now);
        if !unconfirmed {
            task.due_at = None; // else the query to come has yet to agree with the callback
        }
        self.tell_task(kind);
    }

    /// I13: completed ⇔ all expected results archived; otherwise each missing one has a reason.
    fn verdict(&self) -> Option<TaskState> {
        let (task, archived) = (&self.file.task, self.file.archived());
        if self.file.assets.iter().any(|a| !a.state.is_terminal()) {
            return None;
        }
        if archived > 0 && archived >= self.file.expected() && self.file.expected() > 0 {
            return Some(TaskState::Completed);
        }
        if task.outcome == Outcome::Open {
            return None;
        }
        let late = task.outcome == Outcome::DeadlinePassed;
        // Claims that the whole answer contradicts say nothing about the task.
        let nothing_made = match late {
            true => self.file.assets.is_empty(),
            false => !self.file.assets.iter().any(|a| a.confirmed),
        };
        Some(match (archived, nothing_made) {
            (1.., _) => TaskState::Partial(self.failure_verdict(late.then_some(TaskReason::NoOutcome))),
            (0, false) => TaskState::Failed(Verdict {
                reason: Some(TaskReason::NoAssetArchived),
                provider_code: task.failures.first().map(|f| f.code.clone()),
            }),
            (0, true) if late => TaskState::TimedOut(Verdict {
                reason: Some(match task.submission {
                    Submission::Unconfirmed => TaskReason::SubmissionUnconfirmed,
                    _ => TaskReason::NoOutcome,
                }),
                provider_code: task.failures.first().map(|f| f.code.clone()),
            }),
            (0, true) => TaskState::Failed(self.failure_verdict(Some(TaskReason::ProviderError))),
        })
    }

    /// Content policy before any other failure: it is the one a user can act on.
    fn failure_verdict(&self, otherwise: Option<TaskReason>) -> Verdict {
        let failures = &self.file.task.failures;
        let told = failures.iter().find(|f| f.content_policy).or(failures.first());
        let reason = told.map(|f| match f.content_policy {
            true => TaskReason::ContentPolicy,
            false => TaskReason::ProviderError,
        });
        Verdict {
            reason: reason.or(otherwise),
            provider_code: told.map(|f| f.code.clone()),
        }
    }

    fn finish(self) -> Transition {
        let Draft {
            file,
            changed,
            events,
            timeline,
            receipts_done,
            ..
        } = self;
        let assets = file
            .assets
            .into_iter()
            .filter(|a| changed.contains(&a.id.result))
            .collect();
        Transition {
            task: file.task,
            assets,
            events,
            timeline,
            receipts_done,
        }
    }
}
