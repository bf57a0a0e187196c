//! Chapter six: events become deliveries, deliveries become signed tries, until each is taken or dead.

use crate::crash_point;
use crate::domain::delivery::{After, Attempt, Delivery, Outcome, Schedule, operator_event_id};
use crate::domain::endpoint::DisabledReason;
use crate::domain::event::{EventData, EventKind, NewEvent};
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use crate::ports::sink::Sink;
use crate::ports::store::{Outbox, Queue, SettledDelivery, StoreError};
use crate::ports::wake::Wakeups;

/// Events per endpoint turned into deliveries in one commit: small enough to hold up nobody.
const FAN_OUT_BATCH: u32 = 200;

/// Turns new events into deliveries until none is left.
pub async fn fan_out(
    store: &dyn Outbox,
    clock: &dyn Clock,
    wakeups: &Wakeups,
    schedule: &Schedule,
) -> Result<u64, StoreError> {
    let first_wait = schedule.0.first().copied().unwrap_or_default();
    let mut made = 0;
    loop {
        let step = store.fan_out(clock.now(), first_wait, FAN_OUT_BATCH).await?;
        made += step.deliveries;
        if step.deliveries > 0 {
            wakeups.ring(Queue::Deliveries);
        }
        if !step.more {
            return Ok(made);
        }
    }
}

pub struct Publish<'a> {
    pub store: &'a dyn Outbox,
    pub sink: &'a dyn Sink,
    pub clock: &'a dyn Clock,
    pub rng: &'a dyn Rng,
    pub schedule: &'a Schedule,
}

/// What follows from a try.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub after: After,
    /// The endpoint was disabled by it.
    pub disabled: Option<DisabledReason>,
}

/// Makes one try of a leased delivery and records what follows from it.
pub async fn deliver(ctx: &Publish<'_>, lease: Lease<Delivery>) -> Result<Done, StoreError> {
    let Lease {
        item: delivery,
        epoch,
        ..
    } = lease;
    let started = ctx.clock.now();
    crash_point!("publish.before_try");
    let outcome = ctx.sink.deliver(&delivery).await;
    crash_point!("publish.after_try");
    let now = ctx.clock.now();
    let after = ctx.schedule.after(delivery.step, &outcome, now, ctx.rng.jitter());
    let settled = SettledDelivery {
        id: delivery.id,
        epoch,
        events: operator_events(&delivery, &after, now),
        if_disabled: disabling(&delivery, &after, now),
        jitter: ctx.rng.jitter(),
        attempt: attempt(&delivery, started, now, outcome),
        after: after.clone(),
    };
    let disabled = ctx.store.settle_delivery(settled).await?;
    crash_point!("publish.after_commit");
    Ok(Done { after, disabled })
}

fn attempt(delivery: &Delivery, started: Timestamp, now: Timestamp, outcome: Outcome) -> Attempt {
    Attempt {
        number: delivery.attempt,
        at: started,
        duration: now.since(started),
        outcome,
    }
}

/// A delivery that ends undelivered is told. A dead operator event begets none.
fn operator_events(delivery: &Delivery, after: &After, now: Timestamp) -> Vec<NewEvent> {
    let dead = after.dead_reason().filter(|_| !delivery.event.kind.is_operator());
    let told = dead.map(|dead| operator_event(EventKind::DeliveryDead, dead.as_str(), delivery, now));
    told.into_iter().collect()
}

/// Told if this try disables the endpoint. Whether it does is known only where the endpoint's other tries are: a failure
/// may be the last straw, and of many answers of 410 the first one counts.
fn disabling(delivery: &Delivery, after: &After, now: Timestamp) -> Option<NewEvent> {
    let reason = match after {
        After::Delivered => return None,
        After::Gone => DisabledReason::Gone,
        After::RetryAt(_) | After::Dead => DisabledReason::Failing,
    };
    let kind = EventKind::EndpointDisabled;
    Some(operator_event(kind, reason.as_str(), delivery, now))
}

fn operator_event(kind: EventKind, reason: &str, delivery: &Delivery, now: Timestamp) -> NewEvent {
    NewEvent {
        id: operator_event_id(kind, &delivery.endpoint.id, &delivery.event.id, delivery.attempt),
        kind,
        tenant: delivery.endpoint.tenant.clone(),
        task: None,
        task_sequence: 0,
        at: now,
        data: EventData {
            endpoint: Some(delivery.endpoint.id.0.clone()),
            event: Some(delivery.event.id.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            ..EventData::default()
        },
    }
}
