//! Sending a task, at most once accepted. An attempt that may have been accepted starts the re-send window; one that
//! certainly was not, does not.

use super::{Draft, Policy, TaskFile};
use crate::domain::backoff::{self, Jitter};
use crate::domain::event::EventKind;
use crate::domain::task::{Failure, Submission, TaskReason, TaskState, Verdict};
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;
use std::time::Duration;

/// What is known of earlier attempts, and what that allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing that may have been accepted was ever sent: send.
    None,
    /// Unsent as far as this database knows, which may be older than the submission (a backup that was put back). Ask,
    /// the provider's archive too, before it is sent and before it is given up.
    EarlierLife,
    /// An attempt may have been accepted: ask first, then send the same request again.
    Ask,
    /// The window is over: never send again.
    WindowClosed,
}

impl TaskFile {
    pub fn doubt(&self, policy: &Policy, now: Timestamp) -> Doubt {
        match self.task.first_attempt_at {
            None if self.task.submission == Submission::Unconfirmed => Doubt::EarlierLife,
            None => Doubt::None,
            Some(first) if now < first.plus(policy.resend_window) => Doubt::Ask,
            Some(_) => Doubt::WindowClosed,
        }
    }

    /// Whether the task has been held too long to be sent at all: `runware.max_hold`, or the client's own deadline.
    pub fn held_too_long(&self, policy: &Policy, now: Timestamp) -> bool {
        let hold_ends = self.task.created_at.plus(policy.max_hold);
        self.task.first_attempt_at.is_none()
            && now >= self.task.deadline.map_or(hold_ends, |d| d.min(hold_ends))
    }

    /// Recorded before the provider is called: from here on the attempt may have been accepted.
    pub fn submission_begins(self, now: Timestamp) -> Transition {
        let mut draft = Draft::of(self, now);
        draft.file.task.state = TaskState::Submitting;
        draft.file.task.first_attempt_at.get_or_insert(now);
        draft.note("submitting", json!({ "attempt": draft.file.task.attempts }));
        draft.finish()
    }

    /// The provider has it, or (`Unconfirmed`) may have it and will not be sent it again.
    pub fn submitted(self, how: Submission, policy: &Policy, now: Timestamp, jitter: Jitter) -> Transition {
        let mut draft = Draft::of(self, now);
        let task = &mut draft.file.task;
        // An unconfirmed submission is asked about at once and then on the ordinary schedule.
        let first_query = match how {
            Submission::Unconfirmed => Duration::ZERO,
            _ => backoff::poll_interval(0, policy.poll_first_after, policy.poll_max_interval, jitter),
        };
        // The provider's clock for the link may have started with the first attempt.
        let submitted_at = task.first_attempt_at.unwrap_or(now);
        task.state = TaskState::Submitted;
        task.submission = how;
        task.submitted_at = Some(submitted_at);
        let deadline = *task
            .deadline
            .get_or_insert(submitted_at.plus(policy.poll_deadline));
        task.attempts = 0;
        task.queries = 0;
        task.due_at = Some(now.plus(first_query).min(deadline.max(now)));
        draft.tell_task(EventKind::TaskSubmitted);
        draft.note("submitted", json!({ "submission": how.as_str() }));
        draft.finish()
    }

    /// The provider has it from an earlier life, at some time since it arrived here: the earliest one orders the work, and
    /// its outcome is waited for from now on.
    pub fn sent_before(mut self, policy: &Policy, now: Timestamp, jitter: Jitter) -> Transition {
        let task = &mut self.task;
        task.first_attempt_at = Some(task.created_at);
        task.deadline.get_or_insert(now.plus(policy.poll_deadline));
        let mut sent = self.submitted(Submission::Confirmed, policy, now, jitter);
        sent.task.due_at = Some(now); // old already
        sent
    }

    /// Whether an earlier life sent it could not be learned: neither sent nor given up before that is known.
    pub fn not_asked(
        self,
        code: &str,
        at_least: Option<Duration>,
        policy: &Policy,
        now: Timestamp,
        jitter: Jitter,
    ) -> Transition {
        let mut draft = Draft::of(self, now);
        let task = &mut draft.file.task;
        task.submission = Submission::Unconfirmed;
        let wait = backoff::delay(task.attempts.max(1), policy.retry_max_interval, at_least, jitter);
        task.due_at = Some(now.plus(wait));
        draft.note("not_asked", json!({ "code": code }));
        draft.finish()
    }

    /// Certainly not accepted, and it never will be: nothing was paid.
    pub fn refused(self, code: &str, message: &str, content_policy: bool, now: Timestamp) -> Transition {
        let reason = if content_policy {
            TaskReason::ContentPolicy
        } else {
            TaskReason::ProviderError
        };
        let mut draft = Draft::of(self, now);
        draft.file.task.failures.push(Failure {
            code: code.to_owned(),
            message: message.to_owned(),
            content_policy,
        });
        draft.note("refused", json!({ "code": code }));
        draft.reject(Verdict {
            reason: Some(reason),
            provider_code: Some(code.to_owned()),
        });
        draft.finish()
    }

    /// Not accepted this time (`certain`: without doubt); tried again later, or given up after `max_hold`.
    pub fn not_accepted(
        self,
        code: &str,
        certain: bool,
        at_least: Option<Duration>,
        policy: &Policy,
        now: Timestamp,
        jitter: Jitter,
    ) -> Transition {
        let mut draft = Draft::of(self, now);
        let task = &mut draft.file.task;
        if certain {
            task.first_attempt_at = None; // this attempt started the window, and it is known to have failed
        }
        let wait = backoff::delay(task.attempts.max(1), policy.retry_max_interval, at_least, jitter);
        let until_closed = task
            .first_attempt_at
            .map(|first| first.plus(policy.resend_window));
        let due = now.plus(wait);
        task.due_at = Some(until_closed.map_or(due, |end| due.min(end.max(now))));
        draft.note("not_accepted", json!({ "code": code, "certain": certain }));
        if draft.file.held_too_long(policy, now) {
            draft.give_up();
        }
        draft.finish()
    }

    /// Held too long before any attempt could be made.
    pub fn not_submitted(self, now: Timestamp) -> Transition {
        let mut draft = Draft::of(self, now);
        draft.give_up();
        draft.finish()
    }
}

impl Draft {
    fn give_up(&mut self) {
        self.note("given_up", json!({}));
        self.reject(Verdict {
            reason: Some(TaskReason::NotSubmitted),
            provider_code: None,
        });
    }

    fn reject(&mut self, verdict: Verdict) {
        self.file.task.submission = Submission::None;
        self.end(TaskState::Rejected(verdict), EventKind::TaskRejected);
    }
}
