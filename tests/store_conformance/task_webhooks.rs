//! G7, I8, I10: the deliveries of a task's own webhook come with their events, once, and are tried until taken or dead.

use crate::kit::*;
use catchment::domain::delivery::{After, Attempt, DeadReason, Delivery, Outcome};
use catchment::domain::event::EventKind;
use catchment::domain::fair_share::Places;
use catchment::domain::ids::EventId;
use catchment::domain::lease::{Fence, Lease};
use catchment::domain::task_webhook::{TaskWebhook, dead_call};
use catchment::ports::store::*;
use catchment::ports::task_webhooks::SettledTaskDelivery;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

async fn accept_calling(s: &dyn Store, n: u32, url: &str) {
    let mut new = new_task(task(n, &acme(), at(0)), "{}");
    new.webhook = Some(TaskWebhook { url: url.to_owned() });
    s.accept(submission(&acme(), None, vec![new])).await.unwrap();
}

/// Refused by the provider: the task ends without a result.
async fn reject(s: &dyn Store, n: u32, now: i64) {
    let refused = file(s, n)
        .await
        .refused("invalidModel", "No such model.", false, at(now));
    s.commit(refused, Fence::Version).await.unwrap();
}

async fn claim_calls(s: &dyn Store, now: i64, limit: u32, first_wait: Duration) -> Vec<Lease<Delivery>> {
    s.claim_task_deliveries(claim(at(now), limit), PLACES, first_wait)
        .await
        .unwrap()
}

fn tried(lease: &Lease<Delivery>, now: i64, status: u16, after: After) -> SettledTaskDelivery {
    let outcome = match status {
        200 => Outcome::Delivered { status },
        _ => Outcome::Refused {
            status,
            retry_after: None,
            excerpt: "no".to_owned(),
        },
    };
    SettledTaskDelivery {
        id: lease.item.id,
        epoch: lease.epoch,
        attempt: Attempt {
            number: lease.item.attempt,
            at: at(now),
            duration: Duration::from_millis(3),
            outcome,
        },
        after,
        jitter: J,
        events: vec![],
    }
}

pub async fn i8_a_call_comes_with_its_event_and_for_its_task_alone(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/x?t=1").await;
    accept(s, 2, at(0)).await;
    assert_eq!(
        s.next_due(Queue::TaskDeliveries).await.unwrap(),
        None,
        "accepted is not told"
    );
    for n in 1..=2 {
        reject(s, n, 5).await;
    }
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), Some(at(5)));
    let calls = claim_calls(s, 5, 10, NOW).await;
    assert_eq!(calls.len(), 1);
    let call = &calls[0].item;
    assert_eq!(
        (call.endpoint.url.as_str(), call.attempt),
        ("https://a.example/x?t=1", 1)
    );
    assert_eq!(
        (call.event.kind, call.event.task),
        (EventKind::TaskRejected, Some(id(1)))
    );
    assert!(call.endpoint.secret.0.is_empty());
    assert_eq!(call.endpoint.tenant, acme());
    let brief = s.brief(id(1)).await.unwrap().unwrap();
    assert_eq!(brief.task_type.as_deref(), Some("videoInference"));
    assert_eq!(brief.failures[0].code, "invalidModel");
    assert!(s.endpoints(None).await.unwrap().is_empty(), "it is no endpoint");
}

pub async fn the_wait_before_the_first_call_is_added_once(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/").await;
    reject(s, 1, 5).await;
    let wait = Duration::from_secs(10);
    assert_eq!(claim_calls(s, 6, 10, wait).await.len(), 0);
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), Some(at(15)));
    assert_eq!(claim_calls(s, 14, 10, wait).await.len(), 0);
    assert_eq!(claim_calls(s, 15, 10, wait).await.len(), 1);
}

pub async fn f20_one_receiver_holds_its_share_of_calls_and_no_more(s: &dyn Store) {
    for n in 1..=5 {
        accept_calling(s, n, &format!("https://slow.example/{n}")).await;
        reject(s, n, 5).await;
    }
    accept_calling(s, 6, "https://good.example/").await;
    reject(s, 6, 6).await;
    let calls = claim_calls(s, 7, 10, NOW).await;
    let urls: Vec<&str> = calls.iter().map(|c| c.item.endpoint.url.as_str()).collect();
    assert_eq!(
        urls,
        [
            "https://slow.example/1",
            "https://slow.example/2",
            "https://good.example/"
        ]
    );
    assert_eq!(claim_calls(s, 8, 10, NOW).await.len(), 0, "its share is taken");
    s.settle_task_delivery(tried(&calls[0], 8, 200, After::Delivered))
        .await
        .unwrap();
    assert_eq!(claim_calls(s, 8, 10, NOW).await.len(), 1);
}

pub async fn a_call_is_tried_until_taken_and_its_tries_are_told(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/secret").await;
    reject(s, 1, 5).await;
    let first = claim_calls(s, 5, 1, NOW).await.remove(0);
    s.settle_task_delivery(tried(&first, 5, 500, After::RetryAt(at(9))))
        .await
        .unwrap();
    assert_eq!(claim_calls(s, 8, 1, NOW).await.len(), 0);
    let second = claim_calls(s, 9, 1, NOW).await.remove(0);
    assert_eq!(second.item.attempt, 2);
    // I10: the first worker comes late.
    let late = s
        .settle_task_delivery(tried(&first, 9, 200, After::Delivered))
        .await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    s.settle_task_delivery(tried(&second, 9, 500, After::Dead))
        .await
        .unwrap();
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), None);

    assert_eq!(
        s.redrive_task(&tenant("other"), id(1), at(20)).await.unwrap(),
        None,
        "T1"
    );
    assert_eq!(s.redrive_task(&acme(), id(1), at(20)).await.unwrap(), Some(1));
    let again = claim_calls(s, 20, 1, NOW).await.remove(0);
    assert_eq!(again.item.attempt, 1, "the whole schedule lies before it");
    assert_eq!(again.item.event.id, first.item.event.id);
    s.settle_task_delivery(tried(&again, 20, 200, After::Delivered))
        .await
        .unwrap();
    assert_eq!(s.redrive_task(&acme(), id(1), at(21)).await.unwrap(), Some(0));

    let lines = s.timeline(id(1)).await.unwrap();
    let tries: Vec<_> = lines.iter().filter(|l| l.kind == "delivery_attempt").collect();
    let numbers: Vec<_> = tries
        .iter()
        .map(|l| l.detail["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(tries[0].detail["origin"], "https://a.example");
    assert!(!tries[0].detail.to_string().contains("secret"));
}

pub async fn a_receiver_that_is_gone_gets_nothing_more(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/").await;
    reject(s, 1, 5).await;
    let call = claim_calls(s, 5, 1, NOW).await.remove(0);
    s.settle_task_delivery(tried(&call, 5, 410, After::Gone))
        .await
        .unwrap();
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), None);
    assert_eq!(
        s.redrive_task(&acme(), id(1), at(9)).await.unwrap(),
        Some(1),
        "an operator knows better"
    );
}

/// What is open when the receiver says that it is gone, and what comes later, dies with a reason and an event of its
/// own, and can be redriven.
pub async fn g7_no_call_dies_without_reason_and_event(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/").await;
    let known = discovery(file(s, 1).await, &["a", "b"], at(2));
    s.commit(known, Fence::Version).await.unwrap();
    let archive = async |name: &str, now: i64| {
        let done = archived(file(s, 1).await, name, at(now));
        s.commit(done, Fence::Version).await.unwrap();
    };
    archive("a", 4).await;
    let call = claim_calls(s, 5, 1, NOW).await.remove(0);
    let mut gone = tried(&call, 5, 410, After::Gone);
    gone.events = vec![dead_call(
        EventId::derive(&["test"]),
        acme(),
        None,
        &call.item.event.id,
        DeadReason::Gone,
        at(5),
    )];
    s.settle_task_delivery(gone).await.unwrap();
    archive("b", 8).await;
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), None);
    let dead = deaths(s, 1).await;
    assert_eq!(dead, ["gone", "gone"], "tried, and never tried");
    assert_eq!(dead_letters(s).await, 2);
    assert_eq!(s.redrive_task(&acme(), id(1), at(9)).await.unwrap(), Some(2));
    assert!(deaths(s, 1).await.is_empty());
    let again = claim_calls(s, 9, 10, NOW).await;
    assert_eq!(again.len(), 2);
    for (call, after) in again.iter().zip([After::Gone, After::RetryAt(at(30))]) {
        let status = if after == After::Gone { 410 } else { 500 };
        s.settle_task_delivery(tried(call, 9, status, after))
            .await
            .unwrap();
    }
    // The second was under way when the first was told: it does not wait for a receiver that is gone.
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), None);
    assert_eq!(deaths(s, 1).await, ["gone", "gone"]);
    assert_eq!(
        dead_letters(s).await,
        3,
        "a second death after a redrive is told again"
    );
}

async fn deaths(s: &dyn Store, n: u32) -> Vec<String> {
    let lines = s.timeline(id(n)).await.unwrap();
    let dead = lines.iter().filter(|l| l.kind == "delivery_dead");
    dead.map(|l| l.detail["reason"].as_str().unwrap().to_owned())
        .collect()
}

async fn dead_letters(s: &dyn Store) -> usize {
    let all = s.events(&all_events(&acme())).await.unwrap().events;
    all.iter().filter(|e| e.kind == EventKind::DeliveryDead).count()
}

/// T13: after some failures in a row one try at a time, until one is taken.
pub async fn t13_a_receiver_that_fails_is_tried_one_at_a_time_until_it_takes_a_call(s: &dyn Store) {
    for n in 1..=4 {
        accept_calling(s, n, &format!("https://slow.example/{n}")).await;
        reject(s, n, 5).await;
    }
    let mut now = 6;
    for _ in 0..3 {
        for call in claim_calls(s, now, 10, NOW).await {
            let after = After::RetryAt(at(now + 1));
            s.settle_task_delivery(tried(&call, now, 500, after))
                .await
                .unwrap();
        }
        now += 5;
    }
    let probe = claim_calls(s, now, 10, NOW).await;
    assert_eq!(probe.len(), 1, "one, though two fit and four are due");
    assert_eq!(claim_calls(s, now, 10, NOW).await.len(), 0);
    s.settle_task_delivery(tried(&probe[0], now, 500, After::RetryAt(at(now))))
        .await
        .unwrap();
    assert_eq!(claim_calls(s, now, 10, NOW).await.len(), 0, "it rests");
    let next = s.next_due(Queue::TaskDeliveries).await.unwrap().unwrap();
    assert!(next > at(now), "and nobody looks meanwhile: {next}");
    now += 5;
    let probe = claim_calls(s, now, 10, NOW).await;
    assert_eq!(probe.len(), 1);
    s.settle_task_delivery(tried(&probe[0], now, 200, After::Delivered))
        .await
        .unwrap();
    assert_eq!(claim_calls(s, now, 10, NOW).await.len(), 2, "well again");
}

/// T13: a tenant with many receivers, none of which answers, leaves places for another tenant.
pub async fn t13_one_tenants_receivers_never_take_all_places(s: &dyn Store) {
    for n in 1..=30 {
        accept_calling(s, n, &format!("https://h{n}.example/")).await;
        reject(s, n, 5).await;
    }
    let places = Places {
        all: 8,
        per_origin: 2,
    };
    let claim_all = async |now: i64| {
        s.claim_task_deliveries(claim(at(now), 8), places, NOW)
            .await
            .unwrap()
    };
    assert_eq!(claim_all(6).await.len(), 4, "half of the places");
    assert_eq!(claim_all(6).await.len(), 0);
    let other = tenant("other");
    let mut new = new_task(task(40, &other, at(0)), "{}");
    let url = "https://good.example/".to_owned();
    new.webhook = Some(TaskWebhook { url });
    s.accept(submission(&other, None, vec![new])).await.unwrap();
    reject(s, 40, 7).await;
    let calls = claim_all(7).await;
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].item.endpoint.tenant, other);
}

pub async fn f25_a_released_call_keeps_its_schedule(s: &dyn Store) {
    accept_calling(s, 1, "https://a.example/").await;
    reject(s, 1, 5).await;
    let call = claim_calls(s, 5, 1, NOW).await.remove(0);
    let held = Held::TaskDelivery {
        id: call.item.id,
        epoch: call.epoch,
    };
    s.renew(&held, at(100)).await.unwrap();
    assert_eq!(s.next_due(Queue::TaskDeliveries).await.unwrap(), Some(at(100)));
    s.release(&held).await.unwrap();
    assert!(matches!(s.release(&held).await, Err(StoreError::LeaseLost)));
    let again = claim_calls(s, 6, 1, NOW).await.remove(0);
    assert_eq!(again.item.attempt, 1);
    assert_eq!(s.void_leases().await.unwrap(), 1);
    assert_eq!(claim_calls(s, 7, 1, NOW).await.len(), 1);
}

pub async fn f21_a_sink_keeps_its_place_in_the_log(s: &dyn Store) {
    for n in 1..=3 {
        accept(s, n, at(0)).await;
    }
    s.use_sinks(&["nats"]).await.unwrap();
    assert_eq!(s.sink_position("nats").await.unwrap(), 0);
    let log = s.log_after(0, 2).await.unwrap();
    assert_eq!(log.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
    s.advance_sink("nats", 2).await.unwrap();
    s.advance_sink("nats", 1).await.unwrap();
    assert_eq!(s.sink_position("nats").await.unwrap(), 2, "never back");
    s.use_sinks(&[]).await.unwrap();
    s.use_sinks(&["nats"]).await.unwrap();
    assert_eq!(s.sink_position("nats").await.unwrap(), 2, "where it was");
    assert_eq!(s.log_after(2, 10).await.unwrap().len(), 1);
}
