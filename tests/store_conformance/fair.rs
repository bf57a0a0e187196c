//! F20: what one endpoint does costs no other anything; a task's events come in its order, whatever happened between;
//! nobody is judged by what is not his fault.

use crate::endpoints::{
    DAY, claim_all, ep, fails, fan_out, sequences, settled, shown, takes, with_deliveries,
};
use crate::kit::*;
use catchment::domain::delivery::*;
use catchment::domain::endpoint::{Change, GIVE_UP_AFTER, Health, MAX_AT_ONCE};
use catchment::domain::event::EventKind;
use catchment::domain::lease::Lease;
use catchment::ports::endpoints::*;
use catchment::ports::store::*;
use std::time::Duration;

/// As the service has them.
const PLACES: u32 = 4 * MAX_AT_ONCE;

async fn accept_many(s: &dyn Store, tasks: std::ops::RangeInclusive<u32>, now: i64) {
    for chunk in tasks.collect::<Vec<_>>().chunks(100) {
        let new = chunk
            .iter()
            .map(|n| new_task(task(*n, &acme(), at(now)), "{}"))
            .collect();
        s.accept(submission(&acme(), None, new)).await.unwrap();
    }
}

pub async fn f20_slow_endpoints_leave_places_to_a_good_one(s: &dyn Store) {
    let accepted = [EventKind::TaskAccepted];
    for n in 1..=4 {
        s.create_endpoint(endpoint(n, &acme(), &accepted, 0))
            .await
            .unwrap();
    }
    accept_many(s, 1..=1_000, 0).await;
    fan_out(s, 0).await;
    // They hang: nothing that is sent to them is answered.
    let mut hanging = 0;
    for _ in 0..4 {
        let leases = s
            .claim_deliveries(claim(at(0), PLACES - hanging), MAX_AT_ONCE)
            .await
            .unwrap();
        hanging += leases.len() as u32;
    }
    let from = *s.last_sequence().borrow();
    s.create_endpoint(endpoint(9, &acme(), &accepted, from))
        .await
        .unwrap();
    accept_many(s, 1_001..=1_200, 1).await;
    fan_out(s, 1).await;
    let mut taken = 0;
    for round in 0.. {
        let leases = s
            .claim_deliveries(claim(at(1), PLACES - hanging), MAX_AT_ONCE)
            .await
            .unwrap();
        let (good, slow): (Vec<_>, Vec<_>) = leases.into_iter().partition(|l| l.item.endpoint.id == ep(9));
        hanging += slow.len() as u32;
        assert!(
            !good.is_empty(),
            "{taken} taken, {hanging} places held by those who hang"
        );
        for lease in &good {
            takes(s, lease, 1).await;
        }
        taken += good.len();
        if taken == 200 {
            assert!(round < 20, "a few at a time: {round} rounds");
            return;
        }
    }
}

async fn is_away(s: &dyn Store, lease: &Lease<Delivery>, now: i64, again: i64) {
    let mut unreached = settled(lease, now, false, After::RetryAt(at(again)));
    unreached.attempt.outcome = Outcome::Unreached { code: "connect" };
    s.settle_delivery(unreached).await.unwrap();
}

/// An endpoint with so few events that it is never held to be down.
pub async fn f20_after_hours_away_a_quiet_endpoint_gets_each_tasks_events_in_order(s: &dyn Store) {
    with_deliveries(s, 1..=2, 0).await;
    let all = s.events(&all_events(&acme())).await.unwrap().events.len();
    let mut again = [300, 14_400].into_iter();
    let mut now = 0;
    let heads = loop {
        let heads = claim_all(s, now).await;
        let first = sequences(&heads).iter().all(|n| *n == 1);
        assert!(first && heads.len() == 2, "{:?}", sequences(&heads));
        let Some(wait) = again.next() else { break heads };
        for lease in &heads {
            is_away(s, lease, now, now + wait).await;
        }
        now += wait;
    };
    assert_eq!(shown(s).await.health.down_since, None);
    // It is back just now, long before the other one would be due: the first that is taken calls it.
    let back = now + 50;
    is_away(s, &heads[1], now, back + 36_000).await;
    takes(s, &heads[0], back).await;
    let mut last: std::collections::BTreeMap<_, u32> = Default::default();
    last.insert(heads[0].item.event.task, 1);
    let mut count = 1;
    loop {
        let leases = claim_all(s, back + 100).await; // a rest of a minute is over
        if leases.is_empty() {
            break;
        }
        for lease in leases {
            let event = &lease.item.event;
            let before = last.insert(event.task, event.task_sequence).unwrap_or(0);
            assert_eq!(event.task_sequence, before + 1, "{:?}", event.task);
            takes(s, &lease, back + 100).await;
            count += 1;
        }
    }
    assert_eq!(count, all, "all of it soon, none in ten hours");
}

pub async fn f20_a_poison_event_is_passed_once_others_were_taken(s: &dyn Store) {
    with_deliveries(s, 1..=2, 0).await;
    let heads = claim_all(s, 0).await;
    fails(s, &heads[1], 0, 5).await;
    takes(s, &heads[0], 1).await;
    let next = claim_all(s, 1).await;
    let poison = next
        .iter()
        .find(|l| l.item.id == heads[1].item.id)
        .expect("it is due: the endpoint is well");
    fails(s, poison, 1, 9_000).await;
    let passed = claim_all(s, 1).await;
    assert_eq!(
        sequences(&passed),
        [2],
        "the second of its task goes on without it"
    );
    assert_eq!(passed[0].item.event.task, heads[1].item.event.task);
    // And what goes well does not hasten it any more: its schedule is its own.
    takes(s, &passed[0], 2).await;
    assert!(
        claim_all(s, 3)
            .await
            .iter()
            .all(|l| l.item.id != heads[1].item.id)
    );
}

pub async fn i12_an_endpoint_that_asks_for_a_rest_has_it_for_all_its_deliveries(s: &dyn Store) {
    with_deliveries(s, 1..=3, 0).await;
    let leases = claim_all(s, 0).await;
    let mut asks = settled(&leases[0], 0, false, After::RetryAt(at(600)));
    asks.attempt.outcome = Outcome::Refused {
        status: 429,
        retry_after: Some(Duration::from_secs(600)),
        excerpt: String::new(),
    };
    s.settle_delivery(asks).await.unwrap();
    takes(s, &leases[1], 1).await; // it was on its way
    assert!(claim_all(s, 599).await.is_empty(), "whatever is due");
    assert_eq!(s.next_due(Queue::Deliveries).await.unwrap(), Some(at(600)));
    let probe = claim_all(s, 600).await;
    assert_eq!(probe.len(), 1, "one at a time, until it takes something");
    takes(s, &probe[0], 600).await;
    assert!(claim_all(s, 600).await.len() > 1);
    // A day is too long for the others.
    let enable = Change {
        url: Some("https://other.example/".to_owned()),
        ..Change::default()
    };
    s.change_endpoint(&acme(), &ep(1), enable, at(700)).await.unwrap();
    let mut asks = settled(
        &claim_all(s, 900).await[0],
        900,
        false,
        After::RetryAt(at(900 + DAY)),
    );
    asks.attempt.outcome = Outcome::Refused {
        status: 503,
        retry_after: Some(Duration::from_secs(24 * 3600)),
        excerpt: String::new(),
    };
    s.settle_delivery(asks).await.unwrap();
    assert_eq!(shown(s).await.health.rests_until, Some(at(900 + 3600)));
}

pub async fn f11_our_own_faults_are_no_endpoints_fault(s: &dyn Store) {
    with_deliveries(s, 1..=1, 0).await;
    let mut now = 0;
    for day in 0..7 {
        now = day * DAY;
        let lease = claim_all(s, now).await.remove(0);
        let mut ours = settled(&lease, now, false, After::RetryAt(at(now + DAY)));
        ours.attempt.outcome = Outcome::Unreached { code: NO_CREDENTIALS };
        assert_eq!(s.settle_delivery(ours).await.unwrap(), None);
        let endpoint = shown(s).await;
        assert_eq!(
            (endpoint.health, endpoint.disabled),
            (Health::default(), None),
            "day {day}"
        );
    }
    let tries = s.timeline(id(1)).await.unwrap();
    let codes: Vec<_> = tries.iter().filter_map(|l| l.detail["code"].as_str()).collect();
    assert_eq!(codes, [NO_CREDENTIALS; 7], "each is told");
    let lease = claim_all(s, now + DAY).await.remove(0);
    takes(s, &lease, now + DAY).await;
}

pub async fn weeks_without_a_try_are_no_failure(s: &dyn Store) {
    with_deliveries(s, 1..=1, 0).await;
    let days = GIVE_UP_AFTER.as_secs() as i64;
    let lease = claim_all(s, 0).await.remove(0);
    fails(s, &lease, 0, 4 * days).await;
    let lease = claim_all(s, 4 * days).await.remove(0);
    assert_eq!(
        fails(s, &lease, 4 * days, 9 * days).await,
        None,
        "once each, weeks apart"
    );
    let health = shown(s).await.health;
    assert_eq!((health.failures, health.failing_since), (2, Some(at(4 * days))));
}

/// The page of one delivery.
async fn of(s: &dyn Store, wanted: i64) -> PastDelivery {
    let query = DeliveryQuery {
        tenant: acme(),
        endpoint: ep(1),
        statuses: vec![],
        since: None,
        until: None,
        event: None,
        limit: 200,
        cursor: None,
    };
    let page = s.deliveries(&query).await.unwrap().unwrap();
    page.deliveries.into_iter().find(|d| d.id == wanted).unwrap()
}

pub async fn a_taken_delivery_tells_all_its_tries_also_after_it_was_sent_again(s: &dyn Store) {
    with_deliveries(s, 1..=1, 0).await;
    let lease = claim_all(s, 0).await.remove(0);
    let delivery = lease.item.id;
    assert_eq!(of(s, delivery).await.status, DeliveryStatus::Sending);
    fails(s, &lease, 0, 5).await;
    assert_eq!(of(s, delivery).await.status, DeliveryStatus::Waiting);
    let lease = claim_all(s, 5).await.remove(0);
    takes(s, &lease, 6).await;
    let told = async || -> Vec<(u32, Option<u16>)> {
        let attempts = of(s, delivery).await.attempts;
        attempts.iter().map(|a| (a.number, a.status)).collect()
    };
    assert_eq!(told().await, [(1, Some(500)), (2, Some(204))]);
    let redrive = Redrive {
        tenant: acme(),
        endpoint: ep(1),
        which: Which::Delivery(delivery),
        now: at(10),
        actor: "key_1".to_owned(),
        after: None,
    };
    s.redrive(&redrive).await.unwrap();
    let lease = claim_all(s, 10)
        .await
        .into_iter()
        .find(|l| l.item.id == delivery)
        .unwrap();
    takes(s, &lease, 11).await;
    assert_eq!(told().await, [(1, Some(500)), (2, Some(204)), (3, Some(204))]);
    let lines = s.timeline(id(1)).await.unwrap();
    let numbers: Vec<_> = lines.iter().filter_map(|l| l.detail["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let count = |status| async move {
        let figures = s.figures(at(11)).await.unwrap().deliveries;
        figures.iter().find(|(s, _)| *s == status).map_or(0, |(_, n)| *n)
    };
    assert_eq!(count(DeliveryStatus::Delivered).await, 1);
    assert_eq!(count(DeliveryStatus::Sending).await, 1, "the next of its task");
}
