//! A task: one unit of provider work, and where it stands.

use super::asset::ObjectExt;
use super::ids::{TaskId, Tenant};
use super::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub tenant: Tenant,
    /// Raised by every write; a decision names the version it read.
    pub version: u64,
    pub model: String,
    /// What was asked for; 0 when an adopted task has not told us yet.
    pub number_results: u32,
    pub labels: BTreeMap<String, String>,
    /// `catchment.keyPrefix`, put after `s3.prefix`.
    pub key_prefix: Option<String>,
    /// From the requested `outputFormat`; `None` leaves it to the provider's path.
    pub ext: Option<ObjectExt>,
    /// How long the provider keeps a result at its link.
    pub ttl: Duration,
    pub origin: Origin,
    pub submission: Submission,
    pub state: TaskState,
    pub created_at: Timestamp,
    /// When the first attempt that may have been accepted was about to be made; the re-send window counts from it.
    pub first_attempt_at: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    /// When waiting for an outcome ends. Set by the client, or at submission.
    pub deadline: Option<Timestamp>,
    pub settled_at: Option<Timestamp>,
    /// Most items a status query has named: `max(number_results, this)` are expected.
    pub items_named: u32,
    /// No further result will come: a status query showed all items terminal, or the deadline passed.
    pub outcome: Outcome,
    /// USD, the sum of what the provider reported per result; `None` until it reports one.
    pub cost: Option<f64>,
    /// Failed items, one per (code, message); they settle nothing by themselves.
    pub failures: Vec<Failure>,
    /// 1, and one more each time a verdict is re-opened.
    pub round: u32,
    /// The last `taskSequence` given out.
    pub event_count: u32,
    /// Status queries since the last news; drives the poll interval.
    pub queries: u32,
    /// Failed tries in a row toward the provider; drives the back-off.
    pub attempts: u32,
    /// When a worker should next look; `None` only for a terminal task.
    pub due_at: Option<Timestamp>,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Ours, not sent. Left by the dispatcher.
    Accepted,
    /// An attempt is recorded, its outcome not. Left by the dispatcher.
    Submitting,
    /// The provider has it, or may have it. Left by a status query or the deadline.
    Submitted,
    /// At least one result is known and not all are settled. Left when the last asset settles.
    Archiving,
    /// Every expected result is archived. Terminal for ever.
    Completed,
    /// Some are archived, each other has a reason. Re-opened by a confirmed late result.
    Partial(Verdict),
    /// The provider failed it, or nothing could be archived. Re-opened likewise.
    Failed(Verdict),
    /// No outcome by the deadline, all queries made. Re-opened likewise.
    TimedOut(Verdict),
    /// The provider refused it, or it could not be sent in time: nothing was paid. Re-opened likewise.
    Rejected(Verdict),
}

/// Why a task ended other than `completed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `None` only for `partial`, where each missing asset tells its own reason.
    pub reason: Option<TaskReason>,
    pub provider_code: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskReason {
    ProviderError,
    ContentPolicy,
    NotSubmitted,
    SubmissionUnconfirmed,
    NoOutcome,
    NoAssetArchived,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More results may come.
    Open,
    /// A status query showed as many terminal items as expected.
    Known,
    /// The deadline passed first.
    DeadlinePassed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Submitted,
    Imported,
    Recovered,
}

/// What we know of the submission itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// Not yet, or known to have been refused.
    None,
    Confirmed,
    /// The re-send window closed without a word: queried to its deadline, never sent again. Of a task that this database
    /// never sent: another life of it may have (a restore), and the provider has not been asked yet.
    Unconfirmed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    pub code: String,
    pub message: String,
    /// The code belongs to the provider's safety family.
    pub content_policy: bool,
}

impl TaskState {
    pub fn status(&self) -> TaskStatus {
        match self {
            Self::Accepted => TaskStatus::Accepted,
            Self::Submitting => TaskStatus::Submitting,
            Self::Submitted => TaskStatus::Submitted,
            Self::Archiving => TaskStatus::Archiving,
            Self::Completed => TaskStatus::Completed,
            Self::Partial(_) => TaskStatus::Partial,
            Self::Failed(_) => TaskStatus::Failed,
            Self::TimedOut(_) => TaskStatus::TimedOut,
            Self::Rejected(_) => TaskStatus::Rejected,
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.status().is_terminal()
    }

    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Partial(v) | Self::Failed(v) | Self::TimedOut(v) | Self::Rejected(v) => Some(v),
            _ => None,
        }
    }

    /// From the stored columns; `None` when they do not fit together.
    pub fn from_parts(status: TaskStatus, verdict: Option<Verdict>) -> Option<Self> {
        match (status, verdict) {
            (TaskStatus::Accepted, None) => Some(Self::Accepted),
            (TaskStatus::Submitting, None) => Some(Self::Submitting),
            (TaskStatus::Submitted, None) => Some(Self::Submitted),
            (TaskStatus::Archiving, None) => Some(Self::Archiving),
            (TaskStatus::Completed, None) => Some(Self::Completed),
            (TaskStatus::Partial, Some(v)) => Some(Self::Partial(v)),
            (TaskStatus::Failed, Some(v)) => Some(Self::Failed(v)),
            (TaskStatus::TimedOut, Some(v)) => Some(Self::TimedOut(v)),
            (TaskStatus::Rejected, Some(v)) => Some(Self::Rejected(v)),
            _ => None,
        }
    }
}

/// The word a user sees for a [`TaskState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskStatus {
    Accepted,
    Submitting,
    Submitted,
    Archiving,
    Completed,
    Partial,
    Failed,
    TimedOut,
    Rejected,
}

impl TaskStatus {
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Submitting,
        Self::Submitted,
        Self::Archiving,
        Self::Completed,
        Self::Partial,
        Self::Failed,
        Self::TimedOut,
        Self::Rejected,
    ];

    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Partial | Self::Failed | Self::TimedOut | Self::Rejected
        )
    }
}

/// A closed set of words: the stored and the shown form are the same.
macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            pub const fn as_str(&self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words!(TaskStatus {
    Accepted = "accepted",
    Submitting = "submitting",
    Submitted = "submitted",
    Archiving = "archiving",
    Completed = "completed",
    Partial = "partial",
    Failed = "failed",
    TimedOut = "timed_out",
    Rejected = "rejected",
});
words!(TaskReason {
    ProviderError = "provider_error",
    ContentPolicy = "content_policy",
    NotSubmitted = "not_submitted",
    SubmissionUnconfirmed = "submission_unconfirmed",
    NoOutcome = "no_outcome",
    NoAssetArchived = "no_asset_archived",
});
words!(Outcome { Open = "open", Known = "known", DeadlinePassed = "deadline_passed" });
words!(Origin { Submitted = "submitted", Imported = "imported", Recovered = "recovered" });
words!(Submission { None = "none", Confirmed = "confirmed", Unconfirmed = "unconfirmed" });
