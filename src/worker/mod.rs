//! The one loop behind every queue: claim → step → settle, until told to stop, then drain.
//!
//! A worker holds nothing that the store does not know: a killed one leaves leases that lapse.

pub mod deadlines; // what the clock alone decides
pub mod jobs; // what each queue's worker does with a claim
pub mod journal; // the journal, when the bucket was away
pub mod outlet; // events → a log outside
pub mod pace; // as fast as what is asked can bear
pub mod relay; // events → deliveries
pub mod retention; // what is too old goes
pub mod supervisor; // names, start and stop order

use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::store::{Claim, Held, Leases, Queue, StoreError};
use crate::ports::wake::Wakeups;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

/// What a queue's worker does.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    type Item: Send + 'static;
    const QUEUE: Queue;
    /// Claims handed to one call of `work`: more than one where a request can ask about several.
    const BATCH: u32 = 1;
    /// Between two claims while work is in hand: what becomes free meanwhile is claimed together.
    const GATHER: Duration = Duration::ZERO;

    /// How many to claim of `free`, or until when to claim none.
    fn gate(&self, free: u32, now: Timestamp) -> Gate {
        let _ = now;
        Gate::Open(free)
    }

    /// The gate was open and nothing was due.
    fn idle(&self, now: Timestamp) {
        let _ = now;
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<Self::Item>>, StoreError>;

    fn held(lease: &Lease<Self::Item>) -> Held;

    /// Works the claims and settles them, logging what came of it. Dropped when a lease is lost or the drain ends.
    async fn work(&self, leases: Vec<Lease<Self::Item>>);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open(u32),
    /// As many as may be are in work: when one of them ends, the queue's bell rings.
    Full,
    ClosedUntil(Timestamp),
}

/// What the loop needs beside the work.
#[derive(Clone)]
pub struct Loop {
    pub store: Arc<dyn Leases>,
    pub clock: Arc<dyn Clock>,
    pub wakeups: Wakeups,
    /// Claims worked at the same time, in calls of `work`.
    pub concurrency: u32,
    pub lease: Duration,
    /// After the stop: how long work in hand may go on before it is dropped and its lease given back.
    pub drain: Duration,
    pub stop: CancellationToken,
}

/// Longest sleep without a look: a net under lost wake-ups.
const IDLE: Duration = Duration::from_secs(30);
/// Between two looks at rows that are due and cannot be claimed.
const UNCLAIMABLE: Duration = Duration::from_millis(250);
/// After a failed claim: the store is in trouble, and says so elsewhere.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Runs one queue until `stop`, then drains. Returns when nothing of it runs any more.
pub async fn run<W: Work>(work: Arc<W>, env: Loop) {
    let slots = Arc::new(Semaphore::new(env.concurrency.max(1) as usize));
    let tasks = TaskTracker::new();
    let dropped = CancellationToken::new();
    let mut claimed_at = None;
    while !env.stop.is_cancelled() {
        gather::<W>(&env, claimed_at, &tasks).await;
        claimed_at = Some(env.clock.now());
        // Listen before looking for work, or a wake-up in between is lost.
        let bell = env.wakeups.bell(W::QUEUE).notified();
        tokio::pin!(bell);
        bell.as_mut().enable();
        let pause = match claim(&*work, &env, &slots).await {
            Ok(Claimed::Some(leases)) => {
                start(&work, &env, &slots, &tasks, &dropped, leases).await;
                continue;
            }
            Ok(Claimed::Busy) => {
                wait_for_slot(&env, &slots).await;
                continue;
            }
            Ok(Claimed::Nothing(pause)) => pause,
            Err(e) => {
                warn!(queue = ?W::QUEUE, error = %e, "claiming failed");
                AFTER_ERROR
            }
        };
        tokio::select! {
            () = env.stop.cancelled() => {}
            () = &mut bell => {}
            () = env.clock.sleep(pause) => {}
        }
    }
    drain(&env, &tasks, &dropped).await;
}

/// A claim soon after the last one would find a place or two.
async fn gather<W: Work>(env: &Loop, claimed_at: Option<Timestamp>, tasks: &TaskTracker) {
    let Some(at) = claimed_at.filter(|_| !W::GATHER.is_zero() && !tasks.is_empty()) else {
        return;
    };
    let left = W::GATHER.saturating_sub(env.clock.now().since(at));
    if !left.is_zero() {
        tokio::select! {
            () = env.stop.cancelled() => {}
            () = env.clock.sleep(left) => {}
        }
    }
}

enum Claimed<T> {
    Some(Vec<Lease<T>>),
    /// Every slot is taken.
    Busy,
    /// Nothing is due; look again after this long.
    Nothing(Duration),
}

async fn claim<W: Work>(work: &W, env: &Loop, slots: &Semaphore) -> Result<Claimed<W::Item>, StoreError> {
    let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
    if free == 0 {
        return Ok(Claimed::Busy);
    }
    let now = env.clock.now();
    let limit = match work.gate(free, now) {
        Gate::Open(n) => n * W::BATCH,
        Gate::Full => return Ok(Claimed::Nothing(IDLE)),
        Gate::ClosedUntil(at) => return Ok(Claimed::Nothing(at.since(now).min(IDLE))),
    };
    let leases = work
        .claim(Claim {
            now,
            lease: env.lease,
            limit,
        })
        .await?;
    if !leases.is_empty() {
        return Ok(Claimed::Some(leases));
    }
    work.idle(now);
    Ok(Claimed::Nothing(match env.store.next_due(W::QUEUE).await? {
        None => IDLE,
        // Due and yet not claimable (an endpoint with no room, an event that waits for another of its task): what
        // frees it rings the bell, so there is no need to spin on it.
        Some(at) if at <= now => UNCLAIMABLE,
        Some(at) => at.since(env.clock.now()).clamp(Duration::from_millis(1), IDLE),
    }))
}

async fn wait_for_slot(env: &Loop, slots: &Semaphore) {
    tokio::select! {
        () = env.stop.cancelled() => {}
        permit = slots.acquire() => drop(permit),
    }
}

/// Starts one call of `work` per batch, each with its renewal beside it.
async fn start<W: Work>(
    work: &Arc<W>,
    env: &Loop,
    slots: &Arc<Semaphore>,
    tasks: &TaskTracker,
    dropped: &CancellationToken,
    leases: Vec<Lease<W::Item>>,
) {
    let mut leases = leases.into_iter().peekable();
    while leases.peek().is_some() {
        let batch: Vec<_> = leases.by_ref().take(W::BATCH as usize).collect();
        let Ok(permit) = Arc::clone(slots).acquire_owned().await else {
            return;
        };
        let (work, env, dropped) = (Arc::clone(work), env.clone(), dropped.clone());
        tasks.spawn(one_batch(work, env, dropped, batch, permit));
    }
}

async fn one_batch<W: Work>(
    work: Arc<W>,
    env: Loop,
    dropped: CancellationToken,
    batch: Vec<Lease<W::Item>>,
    permit: OwnedSemaphorePermit,
) {
    let held: Vec<Held> = batch.iter().map(W::held).collect();
    tokio::select! {
        () = work.work(batch) => {}
        lost = renew(&env, &held) => warn!(lease = ?lost, "lease lost, work dropped"),
        () = dropped.cancelled() => release(&env, &held).await,
    }
    drop(permit);
    // What was put off is due at a time the loop has not seen: while it was held, nothing looked due.
    env.wakeups.ring(W::QUEUE);
}

/// Renews every third of the lease; returns only when one is lost. A store that cannot answer loses nothing yet.
async fn renew(env: &Loop, held: &[Held]) -> Held {
    loop {
        env.clock.sleep(env.lease / 3).await;
        let until = env.clock.now().plus(env.lease);
        for one in held {
            match env.store.renew(one, until).await {
                // A batch settles its claims one by one: those given up already are not lost.
                Err(StoreError::LeaseLost) if held.len() == 1 => return one.clone(),
                Err(StoreError::LeaseLost) | Ok(()) => {}
                Err(e) => debug!(error = %e, "renewal failed, tried again"),
            }
        }
    }
}

async fn release(env: &Loop, held: &[Held]) {
    for one in held {
        match env.store.release(one).await {
            Ok(()) | Err(StoreError::LeaseLost) => {}
            Err(e) => error!(lease = ?one, error = %e, "lease not released; it lapses by itself"),
        }
    }
}

/// Lets work in hand end; what has not ended when the time is up is dropped and its leases are given back.
async fn drain(env: &Loop, tasks: &TaskTracker, dropped: &CancellationToken) {
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = env.clock.sleep(env.drain) => dropped.cancel(),
    }
    tasks.wait().await;
}

#[cfg(test)]
mod tests;
