//! Chapter six, beside it: the webhook that a task brought with it is called, until it takes the news or the schedule
//! is out.

use crate::crash_point;
use crate::domain::delivery::{After, Attempt, Delivery, Schedule, operator_event_id};
use crate::domain::event::{EventData, EventKind, NewEvent};
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use crate::ports::sink::Sink;
use crate::ports::store::StoreError;
use crate::ports::task_webhooks::{SettledTaskDelivery, TaskWebhooks};

pub struct CallTask<'a> {
    pub store: &'a dyn TaskWebhooks,
    pub sink: &'a dyn Sink,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub schedule: &'a Schedule,
}

/// Makes one try of a leased delivery and records what follows from it.
pub async fn call_task(ctx: &CallTask<'_>, lease: Lease<Delivery>) -> Result<After, StoreError> {
    let delivery = &lease.item;
    let started = ctx.clock.now();
    crash_point!("call_task.before_try");
    let outcome = ctx.sink.deliver(delivery).await;
    crash_point!("call_task.after_try");
    let now = ctx.clock.now();
    let after = ctx
        .schedule
        .after(delivery.attempt, &outcome, now, ctx.rng.jitter());
    let settled = SettledTaskDelivery {
        id: delivery.id,
        epoch: lease.epoch,
        events: dead_letter(delivery, &after, now).into_iter().collect(),
        attempt: Attempt {
            number: delivery.attempt,
            at: started,
            duration: now.since(started),
            outcome,
        },
        after: after.clone(),
    };
    ctx.store.settle_task_delivery(settled).await?;
    crash_point!("call_task.after_commit");
    Ok(after)
}

fn dead_letter(delivery: &Delivery, after: &After, now: Timestamp) -> Option<NewEvent> {
    let kind = EventKind::DeliveryDead;
    matches!(after, After::Dead | After::Gone).then(|| NewEvent {
        id: operator_event_id(kind, &delivery.endpoint.id, &delivery.event.id, delivery.attempt),
        kind,
        tenant: delivery.endpoint.tenant.clone(),
        task: None,
        task_sequence: 0,
        at: now,
        data: EventData {
            task_uuid: delivery.event.data.task_uuid.clone(),
            endpoint: Some(delivery.endpoint.id.0.clone()),
            event: Some(delivery.event.id.as_str().to_owned()),
            reason: after.dead_reason().map(|r| r.to_string()),
            ..EventData::default()
        },
    })
}
