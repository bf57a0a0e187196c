//! Chapter four: what the provider said is applied: results, assets, events, the verdict, in one commit.

use crate::crash_point;
use crate::domain::file::{Asked, Policy};
use crate::domain::lease::{Fence, Lease};
use crate::ports::clock::{Clock, Rng};
use crate::ports::store::{Inquiry, Queue, Store, StoreError};
use crate::ports::wake::Wakeups;

pub struct Ingest<'a> {
    pub store: &'a dyn Store,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub wakeups: &'a Wakeups,
    pub policy: &'a Policy,
}

/// What the report changed, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ingested {
    /// Results learned just now …
    pub discovered: u32,
    /// … without any callback having told of the task before.
    pub by_poll_alone: bool,
    pub settled: bool,
    /// USD the task has cost by now, as reported.
    pub cost: Option<f64>,
}

/// Times a decision is made again when another worker changed the task meanwhile (an asset that settled).
const MAX_CONFLICTS: u32 = 8;

/// Applies the answer under the task's lease. A task changed meanwhile is read again and decided again.
pub async fn ingest(ctx: &Ingest<'_>, lease: Lease<Inquiry>, asked: Asked) -> Result<Ingested, StoreError> {
    let Lease {
        item: Inquiry { mut file, receipts },
        epoch,
        ..
    } = lease;
    let id = file.task.id;
    let fence = Fence::Task { id, epoch };
    for _ in 0..MAX_CONFLICTS {
        let known = file.assets.len();
        let transition = file
            .clone()
            .ingest(asked.clone(), ctx.policy, ctx.clock.now(), ctx.rng.jitter());
        let discovered = transition
            .assets
            .iter()
            .filter(|a| file.asset(&a.id.result).is_none())
            .count();
        let ingested = Ingested {
            discovered: u32::try_from(discovered).unwrap_or(u32::MAX),
            by_poll_alone: receipts.is_empty() && discovered > 0 && known == 0,
            settled: transition.task.state.is_terminal(),
            cost: transition.task.cost,
        };
        crash_point!("ingest.before_commit");
        match ctx.store.commit(transition, fence.clone()).await {
            Ok(()) => {
                crash_point!("ingest.after_commit");
                ctx.wakeups.ring(Queue::Copies);
                return Ok(ingested);
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other),
        }
        match ctx.store.task(None, id).await? {
            Some(fresh) => file = fresh,
            None => return Err(StoreError::LeaseLost), // removed meanwhile
        }
    }
    Err(StoreError::Conflict { task: id })
}
