//! Chapter two: a task is sent to the provider, at most once accepted. The intent is durable before the call; an
//! attempt whose fate is unclear is asked about before anything is sent again.

use crate::crash_point;
use crate::domain::file::{Doubt, Policy, TaskFile};
use crate::domain::identity::Earlier;
use crate::domain::ids::TaskId;
use crate::domain::lease::{Fence, Lease};
use crate::domain::task::Submission;
use crate::domain::token::CallbackKeys;
use crate::domain::transition::Transition;
use crate::ports::clock::{Clock, Rng};
use crate::ports::provider::{Provider, ProviderError, SubmitOutcome};
use crate::ports::store::{Store, StoreError};
use std::time::Duration;

pub struct Dispatch<'a> {
    pub store: &'a dyn Store,
    pub provider: &'a dyn Provider,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub policy: &'a Policy,
    pub keys: &'a CallbackKeys,
    /// `<server.public_url>/cb/v1/`, to which the token is added.
    pub callback_base: &'a str,
    /// What the journal knew of this task.
    pub earlier: Earlier,
}

/// What became of one claim, for metrics and for the parked queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Dispatched {
    Submitted,
    /// The provider has it from an earlier attempt. It was asked, nothing was sent.
    Found,
    /// The re-send window closed without a word: asked about, never sent again. The provider was not spoken to.
    Unconfirmed,
    /// Tried again later: a stable code, and what the provider asked for.
    Postponed {
        code: String,
        retry_after: Option<Duration>,
    },
    /// The account is the trouble: nothing more is sent until a probe succeeds.
    Parked {
        code: String,
    },
    /// The account may not even ask about the task. Nothing was sent.
    Unasked {
        code: String,
    },
    Rejected {
        code: String,
    },
    /// Ended without being sent: held too long, or its document is gone.
    GivenUp {
        code: String,
        /// How the last try failed; `None`: none was made.
        setback: Option<Setback>,
    },
}

/// What the end of a try means for the whole queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setback {
    pub retry_after: Option<Duration>,
    /// The account is the trouble.
    pub parked: bool,
}

/// Works one leased task through one attempt.
pub async fn dispatch(ctx: &Dispatch<'_>, lease: Lease<TaskFile>) -> Result<Dispatched, StoreError> {
    let Lease {
        item: mut file,
        epoch,
        ..
    } = lease;
    let fence = Fence::Task {
        id: file.task.id,
        epoch,
    };
    let now = ctx.clock.now();
    match doubt(ctx, &file) {
        Doubt::None => {}
        Doubt::EarlierLife => match submitted_in_an_earlier_life(ctx, file.task.id).await {
            Ok(true) => return found(ctx, sent_before(ctx, file), fence).await,
            Ok(false) => {}
            Err(e) => return ask_later(ctx, file, e, fence).await,
        },
        Doubt::WindowClosed => {
            settle(ctx, submitted(ctx, file, Submission::Unconfirmed), fence).await?;
            return Ok(Dispatched::Unconfirmed);
        }
        Doubt::Ask => match known_to_provider(ctx, file.task.id).await {
            Ok(true) => return found(ctx, submitted(ctx, file, Submission::Confirmed), fence).await,
            Ok(false) => {}
            Err(e) => {
                let postponed = postpone(ctx, file, &e.code, false, e.retry_after, e.parked, fence).await?;
                return Ok(of_a_question(postponed));
            }
        },
    }
    if file.held_too_long(ctx.policy, now) {
        return give_up(ctx, file, "not_submitted", fence).await;
    }
    let certain_before = file.task.first_attempt_at.is_none();
    let Some(document) = ctx.store.document(file.task.id).await? else {
        return give_up(ctx, file, "document_missing", fence).await;
    };
    crash_point!("dispatch.before_intent");
    let begun = file.submission_begins(now);
    let mut task = begun.task.clone();
    task.version = ctx.store.commit_and_hold(begun, fence.clone()).await?;
    file = TaskFile { task, assets: vec![] };
    crash_point!("dispatch.after_intent");
    let outcome = attempt(ctx, file.task.id, &document).await;
    crash_point!("dispatch.after_answer");
    conclude(ctx, file, outcome, certain_before, fence).await
}

/// The journal may know more than the database: of a lost disk.
fn doubt(ctx: &Dispatch<'_>, file: &TaskFile) -> Doubt {
    match file.doubt(ctx.policy, ctx.clock.now()) {
        Doubt::None if ctx.earlier == Earlier::Perhaps => Doubt::EarlierLife,
        other => other,
    }
}

/// One request; an unclear answer is followed by one question.
async fn attempt(ctx: &Dispatch<'_>, id: TaskId, document: &str) -> SubmitOutcome {
    let url = format!("{}{}", ctx.callback_base, ctx.keys.sign(id));
    let outcome = ctx.provider.submit(id, document, &url).await;
    match outcome {
        SubmitOutcome::Unclear { .. } if matches!(known_to_provider(ctx, id).await, Ok(true)) => {
            SubmitOutcome::Accepted
        }
        other => other,
    }
}

async fn known_to_provider(ctx: &Dispatch<'_>, id: TaskId) -> Result<bool, ProviderError> {
    let reports = ctx.provider.query(&[id]).await?;
    Ok(reports.first().is_some_and(|r| !r.is_empty()))
}

/// The database may be older than the submission (a restore, a lost disk), so the provider is asked, its archive too,
/// before anything is paid.
async fn submitted_in_an_earlier_life(ctx: &Dispatch<'_>, id: TaskId) -> Result<bool, ProviderError> {
    match known_to_provider(ctx, id).await {
        Ok(false) => ctx.provider.details(id).await.map(|details| details.is_some()),
        other => other,
    }
}

async fn conclude(
    ctx: &Dispatch<'_>,
    file: TaskFile,
    outcome: SubmitOutcome,
    certain_before: bool,
    fence: Fence,
) -> Result<Dispatched, StoreError> {
    match outcome {
        SubmitOutcome::Accepted | SubmitOutcome::Conflict => {
            settle(ctx, submitted(ctx, file, Submission::Confirmed), fence).await
        }
        SubmitOutcome::Refused {
            code,
            message,
            content_policy,
        } => {
            let refused = file.refused(&code, &message, content_policy, ctx.clock.now());
            ctx.store.commit(refused, fence).await?;
            Ok(Dispatched::Rejected { code })
        }
        SubmitOutcome::NotAccepted { code, retry_after } => {
            postpone(ctx, file, &code, certain_before, retry_after, false, fence).await
        }
        SubmitOutcome::Parked { code } => postpone(ctx, file, &code, certain_before, None, true, fence).await,
        SubmitOutcome::Unclear { code } => postpone(ctx, file, &code, false, None, false, fence).await,
    }
}

fn submitted(ctx: &Dispatch<'_>, file: TaskFile, how: Submission) -> Transition {
    file.submitted(how, ctx.policy, ctx.clock.now(), ctx.rng.jitter())
}

fn sent_before(ctx: &Dispatch<'_>, file: TaskFile) -> Transition {
    file.sent_before(ctx.policy, ctx.clock.now(), ctx.rng.jitter())
}

async fn found(ctx: &Dispatch<'_>, transition: Transition, fence: Fence) -> Result<Dispatched, StoreError> {
    settle(ctx, transition, fence).await?;
    Ok(Dispatched::Found)
}

async fn give_up(
    ctx: &Dispatch<'_>,
    file: TaskFile,
    code: &str,
    fence: Fence,
) -> Result<Dispatched, StoreError> {
    ctx.store
        .commit(file.not_submitted(ctx.clock.now()), fence)
        .await?;
    Ok(Dispatched::GivenUp {
        code: code.to_owned(),
        setback: None,
    })
}

async fn ask_later(
    ctx: &Dispatch<'_>,
    file: TaskFile,
    error: ProviderError,
    fence: Fence,
) -> Result<Dispatched, StoreError> {
    let (now, jitter) = (ctx.clock.now(), ctx.rng.jitter());
    let ProviderError {
        code,
        retry_after,
        parked,
    } = error;
    let later = file.not_asked(&code, retry_after, ctx.policy, now, jitter);
    ctx.store.commit(later, fence).await?;
    Ok(match parked {
        true => Dispatched::Unasked { code },
        false => Dispatched::Postponed { code, retry_after },
    })
}

fn of_a_question(postponed: Dispatched) -> Dispatched {
    match postponed {
        Dispatched::Parked { code } => Dispatched::Unasked { code },
        other => other,
    }
}

async fn settle(ctx: &Dispatch<'_>, transition: Transition, fence: Fence) -> Result<Dispatched, StoreError> {
    ctx.store.commit(transition, fence).await?;
    crash_point!("dispatch.after_commit");
    Ok(Dispatched::Submitted)
}

/// `certain`: no attempt so far can have been accepted.
async fn postpone(
    ctx: &Dispatch<'_>,
    file: TaskFile,
    code: &str,
    certain: bool,
    retry_after: Option<Duration>,
    parked: bool,
    fence: Fence,
) -> Result<Dispatched, StoreError> {
    let (now, jitter) = (ctx.clock.now(), ctx.rng.jitter());
    let next = file.not_accepted(code, certain, retry_after, ctx.policy, now, jitter);
    let rejected = next.task.state.is_terminal();
    ctx.store.commit(next, fence).await?;
    let code = code.to_owned();
    Ok(match (rejected, parked) {
        (true, _) => Dispatched::GivenUp {
            code,
            setback: Some(Setback { retry_after, parked }),
        },
        (false, true) => Dispatched::Parked { code },
        (false, false) => Dispatched::Postponed { code, retry_after },
    })
}
