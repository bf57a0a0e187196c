//! The callback inbox: stored once, woken at once, bounded.

use crate::kit::*;
use catchment::domain::ids::Digest;
use catchment::domain::lease::Fence;
use catchment::domain::transition::Transition;
use catchment::ports::store::*;

pub async fn a_receipt_is_stored_once_and_wakes_once(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    assert_eq!(s.record(receipt(1, "x", at(1))).await.unwrap(), Recorded::New);
    let lease = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    let got = &lease.item.receipts[0];
    assert_eq!((got.body.as_slice(), got.at), (b"x".as_slice(), at(1)));
    s.commit(
        Transition::of(lease.item.file.task.clone()),
        task_fence(&lease, id(1)),
    )
    .await
    .unwrap();
    let repeat = s.record(receipt(1, "x", at(2))).await.unwrap();
    assert_eq!(repeat, Recorded::Duplicate);
    let woken = s.next_due(Queue::Queries).await.unwrap();
    assert_eq!(
        woken,
        Some(at(1)),
        "a repeat asks for nothing new; the query's own time stands"
    );
}

pub async fn t6_a_receipt_that_is_done_is_still_known(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    s.record(receipt(1, "x", at(1))).await.unwrap();
    let lease = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    let mut t = Transition::of(lease.item.file.task.clone());
    t.receipts_done = vec![lease.item.receipts[0].id];
    s.commit(t, task_fence(&lease, id(1))).await.unwrap();
    assert_eq!(
        s.record(receipt(1, "x", at(2))).await.unwrap(),
        Recorded::Duplicate
    );
    let next = s.claim_queries(claim(at(1000), 1)).await.unwrap().remove(0);
    assert!(next.item.receipts.is_empty());
}

pub async fn a_task_keeps_a_bounded_number_of_receipts(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    for n in 0..MAX_RECEIPTS {
        let recorded = s.record(receipt(1, &n.to_string(), at(1))).await.unwrap();
        assert_eq!(recorded, Recorded::New);
    }
    let lease = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    assert_eq!(lease.item.receipts.len(), MAX_RECEIPTS as usize);
    let mut t = Transition::of(lease.item.file.task.clone());
    t.task.due_at = Some(at(9999));
    s.commit(t, task_fence(&lease, id(1))).await.unwrap();
    assert_eq!(
        s.record(receipt(1, "one more", at(2))).await.unwrap(),
        Recorded::Full
    );
    assert_eq!(
        s.record(receipt(1, "7", at(2))).await.unwrap(),
        Recorded::Duplicate
    );
    // Not stored, but asked about all the same.
    let lease = s.claim_queries(claim(at(2), 1)).await.unwrap().remove(0);
    assert_eq!(lease.item.receipts.len(), MAX_RECEIPTS as usize);
}

pub async fn f17_a_callback_before_the_submit_answer_is_kept_until_then(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let lease = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
    assert_eq!(s.record(receipt(1, "early", at(0))).await.unwrap(), Recorded::New);
    assert!(s.claim_queries(claim(at(1), 1)).await.unwrap().is_empty());
    let sent = lease.item.clone().submitted(
        catchment::domain::task::Submission::Confirmed,
        &policy(),
        at(1),
        J,
    );
    s.commit(sent, task_fence(&lease, id(1))).await.unwrap();
    let query = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    assert_eq!(query.item.receipts[0].body, b"early");
}

pub async fn a_callback_survives_another_claim_of_its_submission(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    s.record(receipt(1, "early", at(0))).await.unwrap();
    let lease = s.claim_submissions(claim(at(1), 1)).await.unwrap().remove(0);
    let sent = lease.item.clone().submitted(
        catchment::domain::task::Submission::Confirmed,
        &policy(),
        at(1),
        J,
    );
    s.commit(sent, task_fence(&lease, id(1))).await.unwrap();
    assert_eq!(s.claim_queries(claim(at(1), 1)).await.unwrap().len(), 1);
}

pub async fn an_unknown_task_is_told_apart(s: &dyn Store) {
    assert_eq!(
        s.record(receipt(1, "x", at(1))).await.unwrap(),
        Recorded::UnknownTask
    );
}

pub async fn a_completed_task_takes_receipts_and_sleeps_on(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    s.record(receipt(1, "before", at(1))).await.unwrap();
    let t = discovery(file(s, 1).await, &["a"], at(2));
    s.commit(t, Fence::Version).await.unwrap();
    s.commit(archived(file(s, 1).await, "a", at(3)), Fence::Version)
        .await
        .unwrap();
    assert_eq!(s.record(receipt(1, "after", at(4))).await.unwrap(), Recorded::New);
    assert_eq!(
        s.record(receipt(1, "after", at(5))).await.unwrap(),
        Recorded::Duplicate
    );
    assert_eq!(s.next_due(Queue::Queries).await.unwrap(), None);
    let callbacks = s.timeline(id(1)).await.unwrap();
    let callbacks = callbacks.iter().filter(|l| l.kind == "callback").count();
    assert_eq!(callbacks, 2, "its story still tells of both");
}

pub async fn a_receipt_does_not_disturb_a_decision_under_way(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let read = file(s, 1).await;
    s.record(NewReceipt {
        sha256: Digest::of(b"x"),
        ..receipt(1, "x", at(1))
    })
    .await
    .unwrap();
    let t = discovery(read, &["a"], at(2));
    s.commit(t, Fence::Version).await.unwrap();
}
