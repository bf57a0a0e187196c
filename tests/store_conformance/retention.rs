//! What goes when its time is over, what is kept for somebody, and what is still known of it afterwards.

use crate::kit::*;
use catchment::domain::delivery::{After, Attempt, Outcome};
use catchment::domain::event::EventKind;
use catchment::domain::lease::Fence;
use catchment::domain::task_webhook::TaskWebhook;
use catchment::domain::time::Timestamp;
use catchment::ports::retention::{Removed, Retention};
use catchment::ports::store::*;
use catchment::ports::task_webhooks::SettledTaskDelivery;
use std::time::Duration;

pub trait Whole: Store + Retention {}
impl<T: Store + Retention> Whole for T {}

/// Every step of one walk; how many rows went.
async fn whole_walk(mut step: impl AsyncFnMut(u64) -> Removed) -> u64 {
    let (mut rows, mut after) = (0, 0);
    for _ in 0..1_000 {
        let done = step(after).await;
        rows += done.rows;
        match done.next {
            Some(next) => {
                assert!(next > after, "a walk goes on");
                after = next;
            }
            None => return rows,
        }
    }
    panic!("the walk does not end");
}

async fn erase(s: &impl Whole, before: Timestamp) -> u64 {
    whole_walk(async |after| s.erase_documents(before, after).await.unwrap()).await
}

async fn remove_events(s: &impl Whole, before: Timestamp) -> u64 {
    whole_walk(async |after| s.remove_events(before, after).await.unwrap()).await
}

async fn remove_tasks(s: &impl Whole, before: Timestamp) -> u64 {
    whole_walk(async |after| s.remove_tasks(before, at(99_999), after).await.unwrap()).await
}

/// Accepted, submitted, found, archived: a task with nothing left to do.
async fn completed(s: &dyn Store, n: u32, now: Timestamp) {
    complete(s, n, now).await;
    let mut done = file(s, n).await;
    done.task.due_at = None;
    let settled = catchment::domain::transition::Transition::of(done.task);
    s.commit(settled, Fence::Version).await.unwrap();
}

async fn accept_many(s: &dyn Store, tasks: std::ops::Range<u32>, now: Timestamp) {
    let tasks: Vec<_> = tasks.collect();
    for some in tasks.chunks(100) {
        let new = some
            .iter()
            .map(|n| new_task(task(*n, &acme(), now), "{}"))
            .collect();
        s.accept(submission(&acme(), None, new)).await.unwrap();
    }
}

async fn log(s: &dyn Store) -> EventPage {
    s.events(&all_events(&acme())).await.unwrap()
}

pub async fn a_document_is_erased_once_its_task_is_settled_long_enough(s: &impl Whole) {
    completed(s, 1, at(10)).await;
    completed(s, 3, at(50)).await;
    accept(s, 2, at(0)).await;
    assert_eq!(erase(s, at(10)).await, 0, "not before its time");
    assert_eq!(erase(s, at(20)).await, 1);
    assert_eq!(erase(s, at(20)).await, 0);
    assert_eq!(s.document(id(1)).await.unwrap(), None);
    for kept in [2, 3] {
        assert!(s.document(id(kept)).await.unwrap().is_some());
    }
    // What a repeat is compared with stays.
    let again = |body: &str| submission(&acme(), None, vec![new_task(task(1, &acme(), at(60)), body)]);
    let known = s.accept(again("{}")).await.unwrap();
    assert!(matches!(known, Accepted::Replayed(_)), "{known:?}");
    let other = s.accept(again("{\"a\":1}")).await.unwrap();
    assert!(matches!(other, Accepted::TaskConflict { .. }), "{other:?}");
}

pub async fn documents_of_many_open_tasks_hide_no_old_one(s: &impl Whole) {
    accept_many(s, 100..700, at(100)).await; // submitted after it
    completed(s, 1, at(10)).await;
    assert_eq!(erase(s, at(20)).await, 1);
}

pub async fn old_events_go_in_order_and_leave_the_oldest_position(s: &impl Whole) {
    accept_many(s, 0..450, at(0)).await;
    accept_many(s, 450..500, at(100)).await;
    let first = s.remove_events(at(50), 0).await.unwrap();
    assert!(
        first.rows <= 200 && first.next.is_some(),
        "a small step: {first:?}"
    );
    assert_eq!(first.rows + remove_events(s, at(50)).await, 450);
    let page = log(s).await;
    assert_eq!(
        (page.events.len(), page.events[0].sequence, page.oldest),
        (50, 451, 450)
    );
    // All gone: the place in the log is kept, and no sequence is given twice.
    assert_eq!(remove_events(s, at(200)).await, 50);
    let page = log(s).await;
    assert_eq!(
        (page.events.len(), page.next_after, page.oldest, page.done),
        (0, 500, 500, true)
    );
    assert_eq!(
        *s.last_sequence().borrow(),
        500,
        "an endpoint made now starts here"
    );
    accept(s, 1_000, at(300)).await;
    assert_eq!(log(s).await.events[0].sequence, 501);
    assert_eq!(*s.last_sequence().borrow(), 501);
}

/// G7: what somebody has still to get is not taken away.
pub async fn g7_an_event_stays_until_its_enabled_endpoints_have_it(s: &impl Whole) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskAccepted], 0))
        .await
        .unwrap();
    accept_many(s, 1..4, at(0)).await;
    assert_eq!(
        remove_events(s, at(50)).await,
        0,
        "not turned into deliveries yet"
    );
    s.fan_out(at(0), Duration::ZERO, 100).await.unwrap();
    let leases = s.claim_deliveries(claim(at(0), 10), 10).await.unwrap();
    assert_eq!(leases.len(), 3);
    let settle = async |n: usize, after: After| {
        let outcome = Outcome::Delivered { status: 200 };
        let (id, epoch) = (leases[n].item.id, leases[n].epoch);
        let attempt = Attempt {
            number: 1,
            at: at(1),
            duration: Duration::ZERO,
            outcome,
        };
        let events = vec![];
        let settled = SettledDelivery {
            id,
            epoch,
            attempt,
            after,
            events,
            if_disabled: None,
            jitter: J,
        };
        s.settle_delivery(settled).await.unwrap();
    };
    settle(0, After::Delivered).await;
    settle(1, After::RetryAt(at(500))).await;
    settle(2, After::Dead).await;
    assert_eq!(remove_events(s, at(50)).await, 2);
    // It is kept for its delivery alone: the log has been moved on.
    let page = log(s).await;
    assert_eq!((page.events.len(), page.oldest, page.next_after), (0, 3, 3));
    let again = s.claim_deliveries(claim(at(500), 10), 10).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].item.event.task, Some(id(2)));
    assert_eq!(remove_events(s, at(50)).await, 0);
    let gone = SettledDelivery {
        id: again[0].item.id,
        epoch: again[0].epoch,
        attempt: Attempt {
            number: 2,
            at: at(501),
            duration: Duration::ZERO,
            outcome: Outcome::Refused {
                status: 410,
                retry_after: None,
                excerpt: String::new(),
            },
        },
        after: After::Gone,
        events: vec![],
        if_disabled: None,
        jitter: J,
    };
    s.settle_delivery(gone).await.unwrap();
    assert_eq!(remove_events(s, at(50)).await, 1);
    // A disabled endpoint may never come back: what it has not got is kept as long as any event, and no longer.
    accept_many(s, 10..12, at(600)).await;
    assert_eq!(remove_events(s, at(700)).await, 2);
}

pub async fn a_settled_task_goes_and_leaves_a_tombstone_and_its_events(s: &impl Whole) {
    completed(s, 1, at(10)).await;
    s.record(receipt(1, "x", at(11))).await.unwrap();
    completed(s, 3, at(90)).await;
    accept(s, 2, at(0)).await;
    let told = log(s).await.events;
    assert_eq!(remove_tasks(s, at(10)).await, 0, "not before its time");
    assert_eq!(remove_tasks(s, at(50)).await, 1);
    assert_eq!(s.task(None, id(1)).await.unwrap(), None);
    assert_eq!(s.timeline(id(1)).await.unwrap(), vec![]);
    for kept in [2, 3] {
        assert!(s.task(None, id(kept)).await.unwrap().is_some());
    }
    // Its events are as they were, and are still found by its id.
    assert_eq!(log(s).await.events, told);
    let of_it = EventQuery {
        task: Some(id(1)),
        ..all_events(&acme())
    };
    let events = s.events(&of_it).await.unwrap().events;
    assert!(events.len() >= 3 && events.iter().all(|e| e.task == Some(id(1))));
    // Nothing brings it back.
    assert_eq!(
        s.record(receipt(1, "late", at(60))).await.unwrap(),
        Recorded::Tombstone
    );
    let again = submission(&acme(), None, vec![new_task(task(1, &acme(), at(60)), "{}")]);
    let refused = s.accept(again).await.unwrap();
    assert!(matches!(refused, Accepted::TaskConflict { .. }), "{refused:?}");
    let figures = s.figures(at(60)).await.unwrap();
    assert_eq!(figures.tasks.iter().map(|(_, n)| n).sum::<u64>(), 2);
    assert!(remove_events(s, at(50)).await >= 3);
}

/// G2: as long as one of them is known, a repeat of the request must not start the others anew.
pub async fn g2_tasks_of_one_request_stay_until_the_last_of_them_may_go(s: &impl Whole) {
    let two = || [1, 2].map(|n| new_task(task(n, &acme(), at(0)), "{}")).into();
    s.accept(submission(&acme(), Some("k"), two())).await.unwrap();
    for n in [1, 2] {
        let lease = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
        let refused = lease.item.clone().refused("c", "m", false, at(10 * i64::from(n)));
        let task = refused.task.id;
        s.commit(refused, task_fence(&lease, task)).await.unwrap();
    }
    assert_eq!(
        remove_tasks(s, at(15)).await,
        0,
        "the second one has not been settled for long enough"
    );
    let known = s.accept(submission(&acme(), Some("k"), two())).await.unwrap();
    assert!(
        matches!(&known, Accepted::Replayed(entries) if entries.len() == 2),
        "{known:?}"
    );
    assert_eq!(remove_tasks(s, at(25)).await, 2);
    let other = vec![new_task(task(9, &acme(), at(30)), "{\"x\":1}")];
    let reused = s.accept(submission(&acme(), Some("k"), other)).await.unwrap();
    assert!(
        matches!(reused, Accepted::Stored(_)),
        "the key went with them: {reused:?}"
    );
}

pub async fn a_task_with_an_undelivered_event_stays(s: &impl Whole) {
    s.create_endpoint(endpoint(1, &acme(), &[EventKind::TaskCompleted], 0))
        .await
        .unwrap();
    completed(s, 1, at(0)).await;
    while s.fan_out(at(0), Duration::ZERO, 100).await.unwrap().more {}
    assert_eq!(remove_tasks(s, at(50)).await, 0);
    assert!(
        s.delete_endpoint(&acme(), &endpoint(1, &acme(), &[], 0).id)
            .await
            .unwrap()
    );
    assert_eq!(remove_tasks(s, at(50)).await, 1);
}

pub async fn g7_an_event_stays_until_a_log_outside_and_its_tasks_webhook_have_it(s: &impl Whole) {
    let mut new = new_task(task(1, &acme(), at(0)), "{}");
    new.webhook = Some(TaskWebhook {
        url: "https://a.example/".to_owned(),
    });
    s.accept(submission(&acme(), None, vec![new])).await.unwrap();
    let refused = file(s, 1).await.refused("c", "m", false, at(0));
    s.commit(refused, Fence::Version).await.unwrap();
    s.use_sinks(&["nats"]).await.unwrap();
    assert_eq!(
        remove_events(s, at(50)).await,
        0,
        "the log outside has nothing yet"
    );
    s.advance_sink("nats", 1).await.unwrap();
    assert_eq!(remove_events(s, at(50)).await, 1);
    s.use_sinks(&[]).await.unwrap();
    assert_eq!(remove_events(s, at(50)).await, 0, "a call is open");
    assert_eq!(remove_tasks(s, at(50)).await, 0);
    let call = s
        .claim_task_deliveries(claim(at(1), 1), PLACES, Duration::ZERO)
        .await
        .unwrap()
        .remove(0);
    let settled = SettledTaskDelivery {
        id: call.item.id,
        epoch: call.epoch,
        attempt: Attempt {
            number: 1,
            at: at(1),
            duration: Duration::ZERO,
            outcome: Outcome::Delivered { status: 200 },
        },
        after: After::Delivered,
        jitter: J,
        events: vec![],
    };
    s.settle_task_delivery(settled).await.unwrap();
    assert_eq!(remove_events(s, at(50)).await, 1);
    assert_eq!(remove_tasks(s, at(50)).await, 1);
}
