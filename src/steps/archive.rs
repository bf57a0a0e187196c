//! Chapter five: a result's bytes become ours. Streamed from source to bucket, hashed and judged as they flow; the
//! last chunk is withheld until length and container are right and the digest is committed, so a bad source never
//! becomes an object and a lost answer can be decided.

mod conflicts;
mod ending;
mod flow;
mod held;
mod lending;

use crate::crash_point;
use crate::domain::asset::{Asset, AssetReason, Intent, KeyRule, ObjectKey};
use crate::domain::file::{CopyOutcome, NotStored, Policy, TaskFile};
use crate::domain::ids::{AssetId, TaskId};
use crate::domain::lease::{Fence, Lease};
use crate::domain::transition::Transition;
use crate::ports::blobs::{BlobError, Blobs, Compared};
use crate::ports::clock::{Clock, Rng};
use crate::ports::source::Sources;
use crate::ports::store::{CopyJob, Queue, Store, StoreError};
use crate::ports::wake::Wakeups;
use conflicts::Tries;

pub struct Archive<'a> {
    pub store: &'a dyn Store,
    pub sources: &'a dyn Sources,
    pub blobs: &'a dyn Blobs,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub wakeups: &'a Wakeups,
    pub policy: &'a Policy,
    pub keys: &'a KeyRule,
    /// `archive.max_object_size`, bytes.
    pub max_object_bytes: u64,
}

/// What one claim of an asset came to, for logs and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Worked {
    pub outcome: CopyOutcome,
    /// Bytes read from the source.
    pub bytes: u64,
    /// Whether this was the task's last open asset.
    pub settled: bool,
    /// Why the asset ended without being archived, if it did.
    pub lost: Option<AssetReason>,
}

/// Works one leased asset through one try.
pub async fn archive(ctx: &Archive<'_>, lease: Lease<CopyJob>) -> Result<Worked, StoreError> {
    let Lease {
        item: CopyJob { file, asset },
        epoch,
        ..
    } = lease;
    let job = Job {
        fence: Fence::Asset {
            id: asset.clone(),
            epoch,
        },
        asset,
    };
    let Some(found) = file.asset(&job.asset.result) else {
        return Err(StoreError::LeaseLost);
    };
    let (outcome, bytes) = match look(ctx, &file, found).await {
        Some(outcome) => (outcome, 0),
        None => copy(ctx, &job, &file, found).await?,
    };
    let outcome = held::instead_of_a_dead_link(ctx, &file, found, outcome).await;
    let result = job.asset.result.clone();
    let decide = |file: TaskFile| {
        file.copied(
            &result,
            outcome.clone(),
            ctx.policy,
            ctx.clock.now(),
            ctx.rng.jitter(),
        )
    };
    crash_point!("archive.before_commit");
    let task = job.write(ctx, Hold::GiveUp, decide).await?;
    crash_point!("archive.after_commit");
    ctx.wakeups.ring(Queue::Deliveries);
    if task.asset(&result).is_some_and(|a| a.trouble.wants_fresh) {
        ctx.wakeups.ring(Queue::Queries);
    }
    let lost = task.asset(&result).and_then(|a| a.state.reason());
    Ok(Worked {
        settled: task.task.state.is_terminal(),
        lost,
        outcome,
        bytes,
    })
}

/// An earlier try may have ended between its last byte and our commit: look before sending anything again.
async fn look(ctx: &Archive<'_>, file: &TaskFile, asset: &Asset) -> Option<CopyOutcome> {
    let Some(intent) = asset.intent.as_ref() else {
        return held::by_an_adopted_task(ctx, file, asset).await;
    };
    match ctx
        .blobs
        .compare(&intent.key, intent.size_bytes, &intent.sha256)
        .await
    {
        Ok(Compared::Absent) => None,
        Ok(Compared::Same) => Some(verified(ctx, intent.clone())),
        Ok(Compared::Other) => Some(CopyOutcome::NotStored(NotStored::Conflict)),
        // Without the right to list, S3 says 403 of a key that is not there. Creating it is create-only, and a bucket
        // that is really closed refuses that too.
        Err(BlobError::Misconfigured { .. }) => None,
        Err(e) => Some(CopyOutcome::NotStored(store_trouble(&e))),
    }
}

async fn copy(
    ctx: &Archive<'_>,
    job: &Job,
    file: &TaskFile,
    asset: &Asset,
) -> Result<(CopyOutcome, u64), StoreError> {
    let final_key = ctx.keys.key(&file.task, asset);
    let unverified = asset.keeps_unverified();
    let key = if unverified {
        final_key.unverified()
    } else {
        final_key
    };
    let mut flow = match flow::Flow::open(ctx, &file.task, asset, unverified).await {
        Ok(flow) => flow,
        Err(why) => return Ok((CopyOutcome::NotStored(why), 0)),
    };
    let streamed = flow.stream(ctx, job, &file.task, &key).await?;
    let outcome = conclude(ctx, job, &mut flow, streamed, &key).await?;
    Ok((outcome, flow.read_bytes()))
}

/// From what the upload said to what is true in the bucket.
async fn conclude(
    ctx: &Archive<'_>,
    job: &Job,
    flow: &mut flow::Flow,
    streamed: flow::Streamed,
    key: &ObjectKey,
) -> Result<CopyOutcome, StoreError> {
    let (intent, error) = match streamed {
        flow::Streamed::Abandoned(why) => return Ok(CopyOutcome::NotStored(why)),
        flow::Streamed::Sent(intent) => (intent, None),
        flow::Streamed::Interrupted {
            intent: Some(intent),
            error,
        } => (intent, Some(error)),
        // Somebody's object is there, and ours was not read to the end: read it, to know whether they are the same.
        flow::Streamed::Interrupted {
            intent: None,
            error: BlobError::Exists,
        } => match flow.drain(ctx, key).await {
            Ok(intent) => {
                job.write(ctx, Hold::Keep, |file| {
                    file.intends(&job.asset.result, intent.clone(), ctx.clock.now())
                })
                .await?;
                (intent, Some(BlobError::Exists))
            }
            Err(why) => return Ok(CopyOutcome::NotStored(why)),
        },
        flow::Streamed::Interrupted { intent: None, error } => {
            return Ok(CopyOutcome::NotStored(store_trouble(&error)));
        }
    };
    crash_point!("archive.before_verify");
    Ok(
        match ctx.blobs.compare(key, intent.size_bytes, &intent.sha256).await {
            Ok(Compared::Same) => verified(ctx, intent),
            Ok(Compared::Other) => CopyOutcome::NotStored(NotStored::Conflict),
            Ok(Compared::Absent) => CopyOutcome::NotStored(match error {
                Some(error) => store_trouble(&error),
                None => NotStored::StoreUnavailable {
                    code: "vanished".to_owned(),
                },
            }),
            Err(e) => CopyOutcome::NotStored(store_trouble(plainer(error.as_ref(), &e))),
        },
    )
}

/// Of two errors the one that says more: the answer to a look is a bare status, the answer to an upload has a code.
fn plainer<'a>(of_upload: Option<&'a BlobError>, of_look: &'a BlobError) -> &'a BlobError {
    match of_upload {
        Some(BlobError::Exists | BlobError::Abandoned) | None => of_look,
        Some(error) => error,
    }
}

fn verified(ctx: &Archive<'_>, intent: Intent) -> CopyOutcome {
    let unverified = intent.unverified;
    let stored = intent.stored(ctx.blobs.bucket(), ctx.clock.now());
    if unverified {
        CopyOutcome::KeptUnverified(stored)
    } else {
        CopyOutcome::Archived(stored)
    }
}

fn store_trouble(error: &BlobError) -> NotStored {
    match error {
        BlobError::Refused { code } => NotStored::StoreRefused { code: code.clone() },
        BlobError::Unavailable { code, .. } | BlobError::Misconfigured { code } => {
            NotStored::StoreUnavailable { code: code.clone() }
        }
        // The look that follows decides; seeing nothing there means the object went away again.
        BlobError::Exists => NotStored::StoreUnavailable {
            code: "vanished".to_owned(),
        },
        BlobError::Abandoned => NotStored::StoreUnavailable {
            code: "upload_abandoned".to_owned(),
        },
    }
}

/// The asset under work and the lease it stands on.
struct Job {
    asset: AssetId,
    fence: Fence,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Keep,
    GiveUp,
}

impl Job {
    /// Reads the task, decides, writes; again when it changed in between. Answers the file as written.
    async fn write(
        &self,
        ctx: &Archive<'_>,
        hold: Hold,
        decide: impl Fn(TaskFile) -> Transition,
    ) -> Result<TaskFile, StoreError> {
        let id: TaskId = self.asset.task;
        let mut tries = Tries::default();
        while tries.another(ctx.clock, ctx.rng).await {
            let file = ctx.store.task(None, id).await?.ok_or(StoreError::LeaseLost)?;
            let transition = decide(file.clone());
            let written = after(file, &transition);
            let done = match hold {
                Hold::Keep => ctx
                    .store
                    .commit_and_hold(transition, self.fence.clone())
                    .await
                    .map(|_| ()),
                Hold::GiveUp => ctx.store.commit(transition, self.fence.clone()).await,
            };
            match done {
                Ok(()) => return Ok(written),
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Err(StoreError::Conflict { task: id })
    }
}

fn after(mut file: TaskFile, transition: &Transition) -> TaskFile {
    file.task = transition.task.clone();
    for changed in &transition.assets {
        if let Some(asset) = file.assets.iter_mut().find(|a| a.id == changed.id) {
            *asset = changed.clone();
        }
    }
    file
}
