//! Chapter six, beside it: the webhook that a task brought with it is called, until it takes the news or the schedule
//! is out.

use crate::crash_point;
use crate::domain::delivery::{After, Attempt, Delivery, Schedule, operator_event_id};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::lease::Lease;
use crate::domain::task_webhook::dead_call;
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
        jitter: ctx.rng.jitter(),
    };
    ctx.store.settle_task_delivery(settled).await?;
    crash_point!("call_task.after_commit");
    Ok(after)
}

fn dead_letter(delivery: &Delivery, after: &After, now: Timestamp) -> Option<NewEvent> {
    let (kind, event) = (EventKind::DeliveryDead, &delivery.event);
    let id = operator_event_id(kind, &delivery.endpoint.id, &event.id, delivery.attempt);
    let tenant = delivery.endpoint.tenant.clone();
    let task = event.data.task_uuid.clone();
    Some(dead_call(id, tenant, task, &event.id, after.dead_reason()?, now))
}
