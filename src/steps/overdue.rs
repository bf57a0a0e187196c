//! Beside the story: what the clock alone decides. A queue that waits for the provider or the object store must not hold
//! back what needs neither: a result that runs out of time is told, a submission whose time is over is settled.

use crate::domain::file::{Doubt, Policy, TaskFile};
use crate::domain::ids::AssetId;
use crate::domain::lease::{Fence, Lease};
use crate::domain::task::Submission;
use crate::ports::clock::{Clock, Rng};
use crate::ports::overdue::SendLimits;
use crate::ports::store::{Claim, Queue, Store, StoreError};
use crate::ports::wake::Wakeups;
use futures_util::future::join_all;
use std::time::Duration;

pub struct Overdue<'a> {
    pub store: &'a dyn Store,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub wakeups: &'a Wakeups,
    pub policy: &'a Policy,
    pub lease: Duration,
}

/// Rows taken up at once: their commits share a transaction, and a wave of ten thousand is no burst of as many.
const BATCH: u32 = 64;

/// Times a decision is made again when another worker changed the task meanwhile.
const MAX_CONFLICTS: u32 = 8;

/// Takes up one batch of each kind; answers how many rows there were: while it is not 0, more may wait.
pub async fn sweep(ctx: &Overdue<'_>) -> Result<u32, StoreError> {
    Ok(tell_at_risk(ctx).await? + settle_unsendable(ctx).await?)
}

/// `asset.at_risk` for every result whose time has come.
async fn tell_at_risk(ctx: &Overdue<'_>) -> Result<u32, StoreError> {
    let due = ctx.store.at_risk(ctx.clock.now(), BATCH).await?;
    let told = join_all(due.iter().map(|asset| tell(ctx, asset))).await;
    told.into_iter().collect::<Result<Vec<()>, _>>()?;
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

async fn tell(ctx: &Overdue<'_>, asset: &AssetId) -> Result<(), StoreError> {
    for _ in 0..MAX_CONFLICTS {
        let Some(file) = ctx.store.task(None, asset.task).await? else {
            return Ok(());
        };
        let Some(transition) = file.tell_at_risk(&asset.result, ctx.clock.now()) else {
            return Ok(()); // archived meanwhile
        };
        match ctx.store.commit(transition, Fence::Version).await {
            Err(StoreError::Conflict { .. }) => {}
            other => return other,
        }
    }
    Ok(()) // still due: taken up by the next sweep
}

/// Submissions that must not be sent any more: in doubt until their window closed, or held too long.
async fn settle_unsendable(ctx: &Overdue<'_>) -> Result<u32, StoreError> {
    let now = ctx.clock.now();
    let claim = Claim {
        now,
        lease: ctx.lease,
        limit: BATCH,
    };
    let limits = SendLimits {
        attempted_by: now.minus(ctx.policy.resend_window),
        created_by: now.minus(ctx.policy.max_hold),
    };
    let leases = ctx.store.claim_unsendable(claim, limits).await?;
    let claimed = u32::try_from(leases.len()).unwrap_or(u32::MAX);
    let settled = join_all(leases.into_iter().map(|lease| settle(ctx, lease))).await;
    settled.into_iter().collect::<Result<Vec<()>, _>>()?;
    if claimed > 0 {
        ctx.wakeups.ring(Queue::Queries);
    }
    Ok(claimed)
}

async fn settle(ctx: &Overdue<'_>, lease: Lease<TaskFile>) -> Result<(), StoreError> {
    let (file, now) = (lease.item, ctx.clock.now());
    let fence = Fence::Task {
        id: file.task.id,
        epoch: lease.epoch,
    };
    let transition = match file.doubt(ctx.policy, now) {
        Doubt::None => file.not_submitted(now),
        Doubt::EarlierLife => return Ok(()), // to be asked about, which is not for the clock to do
        Doubt::Ask | Doubt::WindowClosed => {
            file.submitted(Submission::Unconfirmed, ctx.policy, now, ctx.rng.jitter())
        }
    };
    match ctx.store.commit(transition, fence).await {
        Err(StoreError::LeaseLost) => Ok(()),
        other => other,
    }
}
