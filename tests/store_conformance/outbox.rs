//! G7, I8, I9, F20: every event once per endpoint, under leases, until it is taken or dead.

use crate::kit::*;
use catchment::domain::delivery::{
    After, Attempt, Delivery, DeliveryStatus, Format, Outcome, Secret, operator_event_id,
};
use catchment::domain::endpoint::{Disabled, DisabledReason, Health};
use catchment::domain::event::{Event, EventData, EventKind, NewEvent};
use catchment::domain::lease::Lease;
use catchment::ports::store::*;
use std::collections::BTreeSet;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

async fn log(s: &dyn Store) -> Vec<Event> {
    s.events(&all_events(&acme())).await.unwrap().events
}

async fn claim_all(s: &dyn Store, now: i64) -> Vec<Lease<Delivery>> {
    s.claim_deliveries(claim(at(now), 1000), 1000).await.unwrap()
}

fn tried(lease: &Lease<Delivery>, now: i64, status: u16, after: After) -> SettledDelivery {
    let outcome = match status {
        200 => Outcome::Delivered { status },
        0 => Outcome::Unreached { code: "timeout" },
        _ => Outcome::Refused {
            status,
            retry_after: Some(Duration::from_secs(7)),
            excerpt: "no".to_owned(),
        },
    };
    SettledDelivery {
        id: lease.item.id,
        epoch: lease.epoch,
        attempt: Attempt {
            number: lease.item.attempt,
            at: at(now),
            duration: Duration::from_millis(12),
            outcome,
        },
        after,
        events: vec![],
        if_disabled: None,
        jitter: J,
    }
}

pub async fn the_log_is_read_in_pages_and_filtered(s: &dyn Store) {
    let mut labelled = task(1, &acme(), at(0));
    labelled.labels.insert("shot".to_owned(), "1".to_owned());
    let new = vec![new_task(labelled, "{}")];
    s.accept(submission(&acme(), None, new)).await.unwrap();
    for n in 2..=4 {
        accept(s, n, at(0)).await;
    }
    let (mut seen, mut after) = (vec![], 0);
    loop {
        let page = s
            .events(&EventQuery {
                after,
                limit: 3,
                ..all_events(&acme())
            })
            .await
            .unwrap();
        assert!(page.next_after >= after);
        after = page.next_after;
        seen.extend(page.events);
        if page.done {
            break;
        }
    }
    assert_eq!(seen, log(s).await);
    let filtered = |q: EventQuery| async move { s.events(&q).await.unwrap().events.len() };
    let labels = [("shot".to_owned(), "1".to_owned())].into();
    let q = all_events(&acme());
    assert_eq!(filtered(EventQuery { labels, ..q.clone() }).await, 1);
    let types = vec![EventKind::TaskAccepted];
    assert_eq!(filtered(EventQuery { types, ..q.clone() }).await, 4);
    let types = vec![EventKind::TaskFailed];
    assert_eq!(filtered(EventQuery { types, ..q.clone() }).await, 0);
    let task = Some(id(3));
    assert_eq!(filtered(EventQuery { task, ..q }).await, 1);
}

pub async fn a_reader_ahead_of_the_log_stays_where_it_is(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let page = s
        .events(&EventQuery {
            after: 99,
            ..all_events(&acme())
        })
        .await
        .unwrap();
    assert_eq!((page.events.len(), page.next_after, page.done), (0, 99, true));
}

pub async fn events_pass_over_what_a_filter_hides(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let types = vec![EventKind::TaskFailed];
    let page = s
        .events(&EventQuery {
            types,
            ..all_events(&acme())
        })
        .await
        .unwrap();
    assert_eq!((page.next_after, page.done), (log(s).await[0].sequence, true));
}

pub async fn i9_each_event_becomes_one_delivery_per_endpoint_that_wants_it(s: &dyn Store) {
    let all = &EventKind::ALL;
    s.create_endpoint(endpoint(1, &acme(), all, 0)).await.unwrap();
    s.create_endpoint(endpoint(2, &acme(), &[EventKind::AssetArchived], 0))
        .await
        .unwrap();
    s.create_endpoint(endpoint(3, &tenant("other"), all, 0))
        .await
        .unwrap();
    complete(s, 1, at(0)).await;
    let mut made = 0;
    loop {
        let step = s.fan_out(at(9), NOW, 2).await.unwrap();
        made += step.deliveries;
        if !step.more {
            break;
        }
    }
    let events = log(s).await;
    assert_eq!(made, events.len() as u64 + 1);
    assert_eq!(s.fan_out(at(9), NOW, 2).await.unwrap().deliveries, 0, "each once");
    let mut told = vec![];
    loop {
        let leases = claim_all(s, 10).await;
        if leases.is_empty() {
            break;
        }
        for lease in leases {
            s.settle_delivery(tried(&lease, 9, 200, After::Delivered))
                .await
                .unwrap();
            told.push((lease.item.endpoint.id, lease.item.event));
        }
    }
    let pairs: BTreeSet<_> = told
        .iter()
        .map(|(id, event)| (id.clone(), event.sequence))
        .collect();
    assert_eq!((pairs.len(), told.len()), (told.len(), made as usize));
    let first = endpoint(1, &acme(), all, 0).id;
    let told: Vec<Event> = told
        .into_iter()
        .filter(|(id, _)| *id == first)
        .map(|(_, e)| e)
        .collect();
    assert_eq!(told, events, "the same events as the log's, in their order");
}

pub async fn an_endpoint_starts_where_it_was_told_to(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    accept(s, 2, at(0)).await;
    let from = log(s).await[0].sequence;
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], from))
        .await
        .unwrap();
    assert_eq!(
        s.fan_out(at(1), Duration::from_secs(5), 100)
            .await
            .unwrap()
            .deliveries,
        1
    );
    assert_eq!(s.next_due(Queue::Deliveries).await.unwrap(), Some(at(6)));
    assert!(claim_all(s, 5).await.is_empty(), "not before the first wait");
    assert_eq!(claim_all(s, 6).await[0].item.event.task, Some(id(2)));
    let stored = s.endpoints(Some(&acme())).await.unwrap().remove(0);
    assert_eq!(stored.cursor, log(s).await[1].sequence);
}

async fn one_delivery(s: &dyn Store) -> Lease<Delivery> {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    accept(s, 1, at(0)).await;
    s.fan_out(at(0), NOW, 100).await.unwrap();
    claim_all(s, 0).await.remove(0)
}

pub async fn a_delivery_is_tried_until_it_is_taken(s: &dyn Store) {
    let first = one_delivery(s).await;
    assert_eq!(first.item.attempt, 1);
    s.settle_delivery(tried(&first, 1, 503, After::RetryAt(at(50))))
        .await
        .unwrap();
    assert!(claim_all(s, 49).await.is_empty());
    let second = claim_all(s, 50).await.remove(0);
    assert_eq!((second.item.attempt, second.item.id), (2, first.item.id));
    s.settle_delivery(tried(&second, 51, 200, After::Delivered))
        .await
        .unwrap();
    assert!(claim_all(s, 1_000_000).await.is_empty());
    assert_eq!(s.next_due(Queue::Deliveries).await.unwrap(), None);
    let tries: Vec<_> = s
        .timeline(id(1))
        .await
        .unwrap()
        .into_iter()
        .filter(|l| l.kind == "delivery_attempt")
        .map(|l| (l.at, l.detail["number"].as_u64(), l.detail["status"].as_u64()))
        .collect();
    assert_eq!(tries, [(at(1), Some(1), Some(503)), (at(51), Some(2), Some(200))]);
}

pub async fn i10_a_late_delivery_worker_settles_nothing(s: &dyn Store) {
    let late = one_delivery(s).await;
    let heir = claim_all(s, 61).await.remove(0);
    let lost = s.settle_delivery(tried(&late, 62, 200, After::Delivered)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
    s.settle_delivery(tried(&heir, 63, 0, After::RetryAt(at(99))))
        .await
        .unwrap();
    let twice = s.settle_delivery(tried(&heir, 64, 200, After::Delivered)).await;
    assert!(
        matches!(twice, Err(StoreError::LeaseLost)),
        "settled once, the lease is gone"
    );
    let lines = s.timeline(id(1)).await.unwrap();
    let codes: Vec<_> = lines.iter().filter_map(|l| l.detail["code"].as_str()).collect();
    assert_eq!(codes, ["timeout"], "the late try left no trace");
}

pub async fn a_released_delivery_keeps_its_schedule(s: &dyn Store) {
    let lease = one_delivery(s).await;
    let held = Held::Delivery {
        id: lease.item.id,
        epoch: lease.epoch,
    };
    s.renew(&held, at(500)).await.unwrap();
    assert!(claim_all(s, 499).await.is_empty());
    s.release(&held).await.unwrap();
    let again = claim_all(s, 0).await.remove(0);
    assert_eq!(
        (again.item.attempt, again.epoch),
        (1, 2),
        "a try that was not made is not counted"
    );
}

pub async fn an_endpoint_that_is_gone_is_disabled_and_its_queue_waits(s: &dyn Store) {
    let lease = one_delivery(s).await;
    accept(s, 2, at(0)).await;
    s.fan_out(at(0), NOW, 100).await.unwrap();
    let kind = EventKind::EndpointDisabled;
    let mut settled = tried(&lease, 5, 410, After::Gone);
    settled.if_disabled = Some(NewEvent {
        id: operator_event_id(
            kind,
            &lease.item.endpoint.id,
            &lease.item.event.id,
            lease.item.attempt,
        ),
        kind,
        tenant: acme(),
        task: None,
        task_sequence: 0,
        at: at(5),
        data: EventData {
            endpoint: Some(lease.item.endpoint.id.0.clone()),
            ..EventData::default()
        },
    });
    let disabled = s.settle_delivery(settled).await.unwrap();
    assert_eq!(disabled, Some(DisabledReason::Gone));
    let ended = s.endpoints(Some(&acme())).await.unwrap().remove(0);
    let now = at(5).plus(Duration::from_millis(12));
    assert_eq!(
        ended.disabled,
        Some(Disabled {
            at: now,
            reason: DisabledReason::Gone
        })
    );
    assert!(claim_all(s, 1_000_000).await.is_empty());
    assert_eq!(s.next_due(Queue::Deliveries).await.unwrap(), None);
    let told = log(s).await.pop().unwrap();
    assert_eq!((told.kind, told.task, told.task_sequence), (kind, None, 0));
    assert_eq!(*s.last_sequence().borrow(), told.sequence);
    // Told to everybody but the endpoint it is about, and nothing more piles up for that one.
    s.create_endpoint(endpoint(2, &acme(), &[kind], 0)).await.unwrap();
    assert_eq!(s.fan_out(at(6), NOW, 100).await.unwrap().deliveries, 1);
    let figures = s.figures(at(6)).await.unwrap();
    let dead = figures
        .deliveries
        .iter()
        .find(|(st, _)| *st == DeliveryStatus::Dead);
    assert_eq!(dead.map(|(_, n)| *n), Some(1));
}

pub async fn i8_many_answers_of_gone_are_one_disabling(s: &dyn Store) {
    let first = one_delivery(s).await;
    accept(s, 2, at(0)).await;
    s.fan_out(at(0), NOW, 100).await.unwrap();
    let second = claim_all(s, 0).await.remove(0);
    let mut disabled = vec![];
    for lease in [first, second] {
        let mut gone = tried(&lease, 5, 410, After::Gone);
        gone.if_disabled = Some(told_of(EventKind::EndpointDisabled, &lease));
        disabled.push(s.settle_delivery(gone).await.unwrap());
    }
    assert_eq!(disabled, [Some(DisabledReason::Gone), None]);
    let kinds: Vec<EventKind> = log(s).await.iter().map(|e| e.kind).collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|k| **k == EventKind::EndpointDisabled)
            .count(),
        1
    );
}

fn told_of(kind: EventKind, lease: &Lease<Delivery>) -> NewEvent {
    NewEvent {
        id: operator_event_id(
            kind,
            &lease.item.endpoint.id,
            &lease.item.event.id,
            lease.item.attempt,
        ),
        kind,
        tenant: acme(),
        task: None,
        task_sequence: 0,
        at: at(5),
        data: EventData::default(),
    }
}

pub async fn an_operator_event_told_before_does_not_stop_a_later_settlement(s: &dyn Store) {
    let lease = one_delivery(s).await;
    accept(s, 2, at(0)).await;
    s.fan_out(at(0), NOW, 100).await.unwrap();
    let event = NewEvent {
        id: operator_event_id(
            EventKind::DeliveryDead,
            &lease.item.endpoint.id,
            &lease.item.event.id,
            lease.item.attempt,
        ),
        kind: EventKind::DeliveryDead,
        tenant: acme(),
        task: None,
        task_sequence: 0,
        at: at(5),
        data: EventData::default(),
    };
    for lease in [lease, claim_all(s, 0).await.remove(0)] {
        let mut dead = tried(&lease, 5, 500, After::Dead);
        dead.events = vec![event.clone()]; // as after a redrive that failed again
        s.settle_delivery(dead).await.unwrap();
    }
    let kinds: Vec<EventKind> = log(s).await.iter().map(|e| e.kind).collect();
    assert_eq!(kinds.iter().filter(|k| **k == EventKind::DeliveryDead).count(), 1);
}

pub async fn f20_a_slow_endpoint_holds_its_share_and_no_more(s: &dyn Store) {
    for n in [1, 2] {
        s.create_endpoint(endpoint(n, &acme(), &[EventKind::TaskAccepted], 0))
            .await
            .unwrap();
    }
    for n in 1..=5 {
        accept(s, n, at(0)).await;
    }
    s.fan_out(at(0), NOW, 100).await.unwrap();
    let share = |leases: &[Lease<Delivery>], n: u8| {
        let id = endpoint(n, &acme(), &[], 0).id;
        leases.iter().filter(|l| l.item.endpoint.id == id).count()
    };
    let first = s.claim_deliveries(claim(at(0), 100), 2).await.unwrap();
    assert_eq!((share(&first, 1), share(&first, 2)), (2, 2));
    assert!(s.claim_deliveries(claim(at(1), 100), 2).await.unwrap().is_empty());
    let one = first
        .iter()
        .find(|l| l.item.endpoint.id == endpoint(1, &acme(), &[], 0).id);
    s.settle_delivery(tried(one.unwrap(), 1, 200, After::Delivered))
        .await
        .unwrap();
    let second = s.claim_deliveries(claim(at(1), 100), 2).await.unwrap();
    assert_eq!((share(&second, 1), share(&second, 2)), (1, 0));
    // Leases that have lapsed hold no share.
    let third = s.claim_deliveries(claim(at(200), 100), 2).await.unwrap();
    assert_eq!((share(&third, 1), share(&third, 2)), (2, 2));
}

pub async fn deliveries_are_claimed_earliest_due_first_within_the_limit(s: &dyn Store) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    for n in 1..=3u32 {
        accept(s, n, at(0)).await;
        s.fan_out(at(10 - i64::from(n)), NOW, 100).await.unwrap();
    }
    let claimed = s.claim_deliveries(claim(at(20), 2), 100).await.unwrap();
    let order: Vec<_> = claimed.iter().map(|l| l.item.event.task.unwrap()).collect();
    assert_eq!(order, [id(3), id(2)]);
}

pub async fn a_deleted_endpoint_takes_its_open_deliveries_along(s: &dyn Store) {
    let lease = one_delivery(s).await;
    let ep = lease.item.endpoint.id.clone();
    assert!(!s.delete_endpoint(&tenant("other"), &ep).await.unwrap(), "T1");
    assert!(s.delete_endpoint(&acme(), &ep).await.unwrap());
    assert!(!s.delete_endpoint(&acme(), &ep).await.unwrap());
    assert!(s.endpoints(None).await.unwrap().is_empty());
    let late = s.settle_delivery(tried(&lease, 1, 200, After::Delivered)).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)));
    assert!(claim_all(s, 1_000).await.is_empty());
    accept(s, 2, at(0)).await;
    assert_eq!(s.fan_out(at(1), NOW, 100).await.unwrap().deliveries, 0);
}

pub async fn an_endpoint_is_read_back_whole(s: &dyn Store) {
    let mut whole = endpoint(1, &acme(), &[EventKind::AssetArchived, EventKind::TaskFailed], 7);
    whole.disabled = Some(Disabled {
        at: at(3),
        reason: DisabledReason::ByHand,
    });
    whole.labels = [("team".to_owned(), "a".to_owned())].into();
    whole.models = vec!["m".to_owned()];
    whole.format = Format::CloudEvents;
    whole.rotate(Secret(vec![5; 24]), Duration::from_secs(60), at(3));
    whole.health = Health {
        failures: 3,
        failing_since: Some(at(1)),
        failed_at: Some(at(2)),
        down_since: Some(at(2)),
        rests_until: Some(at(4)),
    };
    s.create_endpoint(whole.clone()).await.unwrap();
    s.create_endpoint(endpoint(2, &tenant("other"), &[], 0))
        .await
        .unwrap();
    assert_eq!(s.endpoints(Some(&acme())).await.unwrap(), [whole]);
    assert_eq!(s.endpoints(None).await.unwrap().len(), 2);
}
