//! T13, F20: endpoints changed and judged by how they do; their deliveries in order, looked at, and sent again.

use crate::kit::*;
use catchment::domain::delivery::*;
use catchment::domain::endpoint::{Change, DisabledReason, GIVE_UP_AFTER, Health};
use catchment::domain::event::{EventData, EventKind, NewEvent};
use catchment::domain::ids::{EndpointId, EventId};
use catchment::domain::lease::Lease;
use catchment::domain::time::Timestamp;
use catchment::ports::endpoints::*;
use catchment::ports::store::*;
use std::time::Duration;

pub const DAY: i64 = 24 * 3600;

pub fn ep(n: u8) -> EndpointId {
    endpoint(n, &acme(), &[], 0).id
}

/// Endpoint 1 with every event of these tasks, each of which has several, due at `now`.
pub async fn with_deliveries(s: &dyn Store, tasks: std::ops::RangeInclusive<u32>, now: i64) {
    s.create_endpoint(endpoint(1, &acme(), &EventKind::ALL, 0))
        .await
        .unwrap();
    for n in tasks {
        complete(s, n, at(now)).await;
    }
    fan_out(s, now).await;
}

pub async fn fan_out(s: &dyn Store, now: i64) {
    while s.fan_out(at(now), Duration::ZERO, 200).await.unwrap().more {}
}

pub async fn claim_all(s: &dyn Store, now: i64) -> Vec<Lease<Delivery>> {
    s.claim_deliveries(claim(at(now), 1000), 1000).await.unwrap()
}

pub fn settled(lease: &Lease<Delivery>, now: i64, taken: bool, after: After) -> SettledDelivery {
    let outcome = match taken {
        true => Outcome::Delivered { status: 204 },
        false => Outcome::Refused {
            status: 500,
            retry_after: None,
            excerpt: "no".to_owned(),
        },
    };
    let told = NewEvent {
        id: operator_event_id(
            EventKind::EndpointDisabled,
            &lease.item.endpoint.id,
            &lease.item.event.id,
            lease.item.attempt,
        ),
        kind: EventKind::EndpointDisabled,
        tenant: acme(),
        task: None,
        task_sequence: 0,
        at: at(now),
        data: EventData {
            endpoint: Some(lease.item.endpoint.id.0.clone()),
            ..EventData::default()
        },
    };
    SettledDelivery {
        id: lease.item.id,
        epoch: lease.epoch,
        attempt: Attempt {
            number: lease.item.attempt,
            at: at(now),
            duration: Duration::ZERO,
            outcome,
        },
        after,
        events: vec![],
        if_disabled: Some(told),
        jitter: J,
    }
}

pub async fn takes(s: &dyn Store, lease: &Lease<Delivery>, now: i64) {
    s.settle_delivery(settled(lease, now, true, After::Delivered))
        .await
        .unwrap();
}

pub async fn fails(s: &dyn Store, lease: &Lease<Delivery>, now: i64, again: i64) -> Option<DisabledReason> {
    s.settle_delivery(settled(lease, now, false, After::RetryAt(at(again))))
        .await
        .unwrap()
}

pub fn sequences(leases: &[Lease<Delivery>]) -> Vec<u32> {
    leases.iter().map(|l| l.item.event.task_sequence).collect()
}

pub async fn shown(s: &dyn Store) -> catchment::domain::delivery::Endpoint {
    s.endpoint(&acme(), &ep(1)).await.unwrap().unwrap()
}

fn query() -> DeliveryQuery {
    DeliveryQuery {
        tenant: acme(),
        endpoint: ep(1),
        statuses: vec![],
        since: None,
        until: None,
        event: None,
        limit: 200,
        cursor: None,
    }
}

async fn page(s: &dyn Store, query: DeliveryQuery) -> DeliveryPage {
    s.deliveries(&query).await.unwrap().unwrap()
}

fn redrive(which: Which, now: i64) -> Redrive {
    Redrive {
        tenant: acme(),
        endpoint: ep(1),
        which,
        now: at(now),
        actor: "key_1".to_owned(),
        after: None,
    }
}

pub async fn first_tries_keep_the_order_of_their_task(s: &dyn Store) {
    with_deliveries(s, 1..=2, 0).await;
    let heads = claim_all(s, 0).await;
    assert_eq!(sequences(&heads), [1, 1], "one of each task");
    assert!(
        claim_all(s, 1).await.is_empty(),
        "the second waits for the first's try"
    );
    takes(s, &heads[0], 1).await;
    let next = claim_all(s, 1).await;
    assert_eq!(sequences(&next), [2]);
    assert_eq!(next[0].item.event.task, heads[0].item.event.task);
    // One that failed is waited for: nobody knows yet whether it is the event or the endpoint.
    fails(s, &heads[1], 2, 9_000).await;
    assert!(claim_all(s, 2).await.is_empty());
}

/// Fails until the endpoint is held to be down.
async fn bring_down(s: &dyn Store) {
    for now in (0..10).chain([70]) {
        let lease = s
            .claim_deliveries(claim(at(now), 1), 1000)
            .await
            .unwrap()
            .remove(0);
        fails(s, &lease, now, 9_000).await;
    }
    assert!(
        shown(s).await.health.down_since.is_some(),
        "{:?}",
        shown(s).await.health
    );
}

pub async fn f20_order_is_kept_through_an_outage_and_all_is_due_when_it_ends(s: &dyn Store) {
    with_deliveries(s, 1..=12, 0).await;
    bring_down(s).await;
    let rest = shown(s).await.health.rests_until.unwrap();
    assert!(claim_all(s, 71).await.is_empty(), "it rests");
    let next_due = s.next_due(Queue::Deliveries).await.unwrap().unwrap();
    assert_eq!(next_due, rest, "and nobody looks before");
    let probe = s.claim_deliveries(claim(rest, 1000), 1000).await.unwrap();
    assert_eq!(probe.len(), 1, "one at a time");
    let now = (rest.as_millis() - at(0).as_millis()) / 1000 + 1;
    takes(s, &probe[0], now).await;
    assert_eq!(shown(s).await.health, Health::default());
    // From now on each task's events come in their order, also those that failed before.
    let mut last: std::collections::BTreeMap<_, u32> = Default::default();
    last.insert(probe[0].item.event.task, probe[0].item.event.task_sequence);
    let mut count = 1;
    loop {
        let leases = claim_all(s, now + 1).await;
        if leases.is_empty() {
            break;
        }
        for lease in leases {
            let event = &lease.item.event;
            let before = last.insert(event.task, event.task_sequence).unwrap_or(0);
            assert_eq!(event.task_sequence, before + 1, "{:?}", event.task);
            takes(s, &lease, now + 1).await;
            count += 1;
        }
    }
    let events = s.events(&all_events(&acme())).await.unwrap().events.len();
    assert_eq!(count, events, "nothing waits for hours");
}

pub async fn i12_a_retry_after_outlasts_the_end_of_an_outage(s: &dyn Store) {
    with_deliveries(s, 1..=12, 0).await;
    let heads = claim_all(s, 0).await;
    let mut asks = settled(&heads[0], 0, false, After::RetryAt(at(5_000)));
    asks.attempt.outcome = Outcome::Refused {
        status: 500, // of this one alone
        retry_after: Some(Duration::from_secs(4_000)),
        excerpt: String::new(),
    };
    s.settle_delivery(asks).await.unwrap();
    for lease in &heads[1..11] {
        fails(s, lease, 1, 9_000).await;
    }
    takes(s, &heads[11], 200).await;
    claim_all(s, 200).await;
    let waiting = page(
        s,
        DeliveryQuery {
            statuses: vec![DeliveryStatus::Waiting],
            ..query()
        },
    )
    .await;
    assert_eq!(waiting.deliveries.len(), 1, "all others are under way again");
    assert_eq!(
        (waiting.deliveries[0].id, waiting.deliveries[0].due_at),
        (heads[0].item.id, Some(at(4_000)))
    );
}

pub async fn t13_a_failing_endpoint_is_tried_one_at_a_time(s: &dyn Store) {
    with_deliveries(s, 1..=31, 0).await;
    let first = s.claim_deliveries(claim(at(0), 30), 1000).await.unwrap();
    assert_eq!(first.len(), 16, "and as many are left for others");
    for lease in &first[..5] {
        fails(s, lease, 1, 9_000).await;
    }
    assert_eq!(shown(s).await.health.failures, 5);
    assert!(
        claim_all(s, 20).await.is_empty(),
        "what is under way already is more than enough"
    );
    for lease in &first[5..] {
        fails(s, lease, 2, 9_000).await;
    }
    let probe = claim_all(s, 20).await;
    assert_eq!(probe.len(), 1);
    takes(s, &probe[0], 21).await;
    assert!(claim_all(s, 22).await.len() > 20, "well again");
}

pub async fn an_endpoint_that_fails_for_days_is_disabled_and_its_events_are_kept(s: &dyn Store) {
    with_deliveries(s, 1..=1, 0).await;
    let lease = claim_all(s, 0).await.remove(0);
    assert_eq!(fails(s, &lease, 0, DAY).await, None);
    let days = GIVE_UP_AFTER.as_secs() as i64;
    for day in (DAY..days).step_by(DAY as usize) {
        let lease = claim_all(s, day).await.remove(0);
        assert_eq!(fails(s, &lease, day, day + DAY).await, None, "not enough yet");
    }
    let lease = claim_all(s, days).await.remove(0);
    assert_eq!(
        fails(s, &lease, days, days + 9).await,
        Some(DisabledReason::Failing)
    );
    let disabled = shown(s).await.disabled.unwrap();
    assert_eq!(
        (disabled.at, disabled.reason),
        (at(days), DisabledReason::Failing)
    );
    let log = s.events(&all_events(&acme())).await.unwrap().events;
    assert_eq!(
        log.iter()
            .filter(|e| e.kind == EventKind::EndpointDisabled)
            .count(),
        1
    );
    // What was made waits, what happens meanwhile stays before the cursor, and all of it goes out later.
    complete(s, 2, at(days)).await;
    fan_out(s, days).await;
    assert!(claim_all(s, days + 50).await.is_empty());
    assert_eq!(s.next_due(Queue::Deliveries).await.unwrap(), None);
    let enable = Change {
        disabled: Some(false),
        ..Change::default()
    };
    let enabled = s
        .change_endpoint(&acme(), &ep(1), enable, at(days + 50))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((enabled.disabled, enabled.health), (None, Health::default()));
    fan_out(s, days + 50).await;
    let mut taken = std::collections::BTreeSet::new();
    for _ in 0..50 {
        for lease in claim_all(s, days + 100).await {
            taken.insert(lease.item.event.id.clone());
            takes(s, &lease, days + 100).await;
        }
    }
    let about_tasks = log.len() - 1
        + s.events(&EventQuery {
            task: Some(id(2)),
            ..all_events(&acme())
        })
        .await
        .unwrap()
        .events
        .len();
    assert_eq!(taken.len(), about_tasks);
}

pub async fn dead_letters_are_redriven_one_a_range_or_all(s: &dyn Store) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    for n in 1..=4u32 {
        accept(s, n, at(i64::from(n) * 100)).await;
    }
    fan_out(s, 500).await;
    let leases = claim_all(s, 500).await;
    for lease in &leases[..3] {
        s.settle_delivery(settled(lease, 500, false, After::Dead))
            .await
            .unwrap();
    }
    takes(s, &leases[3], 500).await;
    let dead = page(
        s,
        DeliveryQuery {
            statuses: vec![DeliveryStatus::Dead],
            ..query()
        },
    )
    .await
    .deliveries;
    assert_eq!(dead.len(), 3);
    assert!(
        dead.iter()
            .all(|d| d.reason == Some(DeadReason::OutOfTries) && d.due_at.is_none())
    );
    let one = Which::Event(leases[0].item.event.id.clone());
    let count = |r: Option<Redriven>| r.unwrap().count;
    assert_eq!(count(s.redrive(&redrive(one, 600)).await.unwrap()), 1);
    let range = |since, until| Which::Dead { since, until };
    let second = range(Some(at(150)), Some(at(300)));
    assert_eq!(count(s.redrive(&redrive(second.clone(), 600)).await.unwrap()), 1);
    assert_eq!(
        count(s.redrive(&redrive(second, 600)).await.unwrap()),
        0,
        "it is on its way"
    );
    assert_eq!(
        count(s.redrive(&redrive(range(None, None), 600)).await.unwrap()),
        1
    );
    let delivered = Which::Delivery(leases[3].item.id);
    assert_eq!(
        count(s.redrive(&redrive(delivered, 600)).await.unwrap()),
        1,
        "asked for by name"
    );
    let again = claim_all(s, 600).await;
    assert_eq!(again.len(), 4);
    for lease in &again {
        assert_eq!(
            (lease.item.attempt, lease.item.step),
            (2, 1),
            "numbers go on, the schedule begins anew"
        );
        takes(s, lease, 601).await;
    }
    let stranger = Redrive {
        tenant: tenant("other"),
        ..redrive(range(None, None), 700)
    };
    assert_eq!(s.redrive(&stranger).await.unwrap(), None, "T1");
    let unknown = Which::Event(EventId::stored("evt_none".to_owned()));
    assert_eq!(s.redrive(&redrive(unknown, 700)).await.unwrap(), None);
    let tries = page(s, query()).await.deliveries[0].attempts.len();
    assert_eq!(tries, 2);
}

pub async fn many_dead_letters_are_redriven_in_steps(s: &dyn Store) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    let many = REDRIVE_BATCH + 20;
    for n in 1..=many {
        accept(s, n, at(0)).await;
    }
    fan_out(s, 0).await;
    let gone = |lease: &Lease<Delivery>| settled(lease, 0, false, After::Dead);
    for _ in 0..many {
        for lease in claim_all(s, 400).await {
            s.settle_delivery(gone(&lease)).await.unwrap();
        }
        if s.next_due(Queue::Deliveries).await.unwrap().is_none() {
            break;
        }
    }
    let mut all = redrive(
        Which::Dead {
            since: None,
            until: None,
        },
        500,
    );
    let first = s.redrive(&all).await.unwrap().unwrap();
    assert_eq!(first.count, u64::from(REDRIVE_BATCH));
    all.after = first.next;
    assert_eq!(
        s.redrive(&all).await.unwrap(),
        Some(Redriven {
            count: 20,
            next: None
        })
    );
}

pub async fn deliveries_are_listed_newest_first_in_pages(s: &dyn Store) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    for n in 1..=5u32 {
        accept(s, n, at(i64::from(n))).await;
    }
    fan_out(s, 10).await;
    let lease = claim_all(s, 10).await.remove(0);
    fails(s, &lease, 10, 99).await;
    let (mut seen, mut cursor) = (vec![], None);
    loop {
        let page = page(
            s,
            DeliveryQuery {
                limit: 2,
                cursor,
                ..query()
            },
        )
        .await;
        seen.extend(page.deliveries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let order: Vec<Timestamp> = seen.iter().map(|d| d.at).collect();
    assert_eq!(order, [5, 4, 3, 2, 1].map(at));
    let tried = &seen[4];
    assert_eq!(
        (tried.status, tried.tries, tried.due_at),
        (DeliveryStatus::Waiting, 1, Some(at(99)))
    );
    let attempt = &tried.attempts[0];
    assert_eq!(
        (attempt.number, attempt.at, attempt.status),
        (1, at(10), Some(500))
    );
    assert_eq!(attempt.excerpt.as_deref(), Some("no"));
    let count = async |q: DeliveryQuery| page(s, q).await.deliveries.len();
    assert_eq!(
        count(DeliveryQuery {
            statuses: vec![DeliveryStatus::Sending],
            ..query()
        })
        .await,
        4
    );
    assert_eq!(
        count(DeliveryQuery {
            since: Some(at(4)),
            ..query()
        })
        .await,
        2
    );
    assert_eq!(
        count(DeliveryQuery {
            until: Some(at(4)),
            ..query()
        })
        .await,
        3
    );
    assert_eq!(
        count(DeliveryQuery {
            event: Some(tried.event.clone()),
            ..query()
        })
        .await,
        1
    );
    assert_eq!(
        s.deliveries(&DeliveryQuery {
            tenant: tenant("other"),
            ..query()
        })
        .await
        .unwrap(),
        None,
        "T1"
    );
}

pub async fn an_endpoint_is_changed_and_its_secret_rotated(s: &dyn Store) {
    s.create_endpoint(endpoint(1, &acme(), &[], 7)).await.unwrap();
    let change = Change {
        url: Some("https://other.example/".to_owned()),
        types: Some(vec![EventKind::TaskFailed]),
        labels: Some([("team".to_owned(), "a".to_owned())].into()),
        models: Some(vec!["m".to_owned()]),
        format: Some(Format::CloudEvents),
        disabled: Some(true),
    };
    assert_eq!(
        s.change_endpoint(&tenant("other"), &ep(1), change.clone(), at(1))
            .await
            .unwrap(),
        None,
        "T1"
    );
    let mut wanted = endpoint(1, &acme(), &[], 7);
    wanted.change(change.clone(), at(1));
    assert_eq!(
        s.change_endpoint(&acme(), &ep(1), change, at(1))
            .await
            .unwrap()
            .as_ref(),
        Some(&wanted)
    );
    let (new, hour) = (Secret(vec![9; 32]), Duration::from_secs(3600));
    let stranger = s
        .rotate_secret(&tenant("other"), &ep(1), new.clone(), hour, at(2))
        .await
        .unwrap();
    assert_eq!(stranger, None, "T1");
    s.rotate_secret(&acme(), &ep(1), new.clone(), hour, at(2))
        .await
        .unwrap()
        .unwrap();
    wanted.rotate(new, hour, at(2));
    assert_eq!(shown(s).await, wanted, "read back whole");
    assert!(s.delete_endpoint(&acme(), &ep(1)).await.unwrap());
    assert_eq!(s.endpoint(&acme(), &ep(1)).await.unwrap(), None);
}

pub async fn events_are_filtered_by_label_and_model(s: &dyn Store) {
    let mut filtered = endpoint(1, &acme(), &[EventKind::TaskAccepted], 0);
    filtered.labels = [("shot".to_owned(), "1".to_owned())].into();
    filtered.models = vec!["klingai:avatar@2.0-pro".to_owned()];
    s.create_endpoint(filtered).await.unwrap();
    for (n, shot) in [(1, "1"), (2, "2")] {
        let mut labelled = task(n, &acme(), at(0));
        labelled.labels.insert("shot".to_owned(), shot.to_owned());
        s.accept(submission(&acme(), None, vec![new_task(labelled, "{}")]))
            .await
            .unwrap();
    }
    assert_eq!(s.fan_out(at(0), Duration::ZERO, 100).await.unwrap().deliveries, 1);
    assert_eq!(claim_all(s, 0).await[0].item.event.task, Some(id(1)));
}
