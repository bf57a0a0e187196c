//! I10, I11, F22: a row is in one hand at a time, and never in none for good.

use crate::kit::*;
use catchment::domain::asset::AssetState;
use catchment::domain::file::TaskFile;
use catchment::domain::identity::Identity;
use catchment::domain::ids::TaskId;
use catchment::domain::lease::Fence;
use catchment::domain::task::Origin;
use catchment::domain::task::TaskStatus;
use catchment::domain::transition::Transition;
use catchment::ports::store::*;
use std::collections::BTreeSet;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(1);

fn ids(leases: &[catchment::domain::lease::Lease<Inquiry>]) -> Vec<TaskId> {
    leases.iter().map(|l| l.item.file.task.id).collect()
}

pub async fn a_claim_counts_and_marks(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let before = file(s, 1).await;
    let lease = s.claim_submissions(claim(at(5), 9)).await.unwrap().remove(0);
    assert_eq!((lease.epoch, lease.until), (1, at(5).plus(LEASE)));
    let mut expected = before;
    expected.task.attempts += 1;
    expected.task.version += 1;
    assert_eq!((&lease.item, &file(s, 1).await), (&expected, &expected));
    assert!(s.claim_submissions(claim(at(5), 9)).await.unwrap().is_empty());
}

pub async fn submissions_are_claimed_oldest_first_and_at_most_the_limit(s: &dyn Store) {
    for (n, created) in [(1, 30), (2, 10), (3, 20)] {
        accept(s, n, at(created)).await;
    }
    let claimed = s.claim_submissions(claim(at(100), 2)).await.unwrap();
    let order: Vec<TaskId> = claimed.iter().map(|l| l.item.task.id).collect();
    assert_eq!(order, [id(2), id(3)]);
    let rest = s.claim_submissions(claim(at(100), 2)).await.unwrap();
    assert_eq!(rest[0].item.task.id, id(1));
}

pub async fn nothing_is_claimed_before_it_is_due(s: &dyn Store) {
    accept(s, 1, at(10)).await;
    let early = at(10).minus(MOMENT);
    assert!(s.claim_submissions(claim(early, 1)).await.unwrap().is_empty());
    assert_eq!(s.next_due(Queue::Submissions).await.unwrap(), Some(at(10)));
    assert_eq!(s.claim_submissions(claim(at(10), 1)).await.unwrap().len(), 1);
}

pub async fn i11_a_lapsed_lease_is_claimable_at_once(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let first = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
    assert_eq!(s.next_due(Queue::Submissions).await.unwrap(), Some(first.until));
    let before = first.until.minus(MOMENT);
    assert!(s.claim_submissions(claim(before, 1)).await.unwrap().is_empty());
    let second = s
        .claim_submissions(claim(first.until, 1))
        .await
        .unwrap()
        .remove(0);
    assert_eq!((second.epoch, second.item.task.attempts), (2, 2));
}

/// A query before its time, because a callback asked for it, must not wait for that time after a crash.
pub async fn i11_a_woken_task_whose_holder_died_is_due_at_once(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    assert!(file(s, 1).await.task.due_at > Some(at(100)));
    s.record(receipt(1, "x", at(1))).await.unwrap();
    let lease = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    assert_eq!(s.next_due(Queue::Queries).await.unwrap(), Some(lease.until));
    let again = s.claim_queries(claim(lease.until, 1)).await.unwrap();
    assert_eq!(
        again[0].item.receipts.len(),
        1,
        "what the callback said is still there"
    );
}

pub async fn renewal_moves_the_end_and_needs_the_lease(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let held = Held::Asset {
        id: asset_id(1, "a"),
        epoch: copy.epoch,
    };
    s.renew(&held, at(500)).await.unwrap();
    assert!(s.claim_copies(claim(at(499), 1)).await.unwrap().is_empty());
    // Lapsed, but nobody came: still ours.
    s.renew(&held, at(600)).await.unwrap();
    assert_eq!(s.claim_copies(claim(at(600), 1)).await.unwrap().len(), 1);
    let lost = s.renew(&held, at(700)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
    assert!(matches!(s.release(&held).await, Err(StoreError::LeaseLost)));
}

pub async fn f25_a_released_row_is_due_at_once_and_its_attempt_given_back(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let held = Held::Asset {
        id: asset_id(1, "a"),
        epoch: copy.epoch,
    };
    s.release(&held).await.unwrap();
    assert_eq!(file(s, 1).await.assets[0].state, AssetState::Pending);
    let again = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    assert_eq!((again.item.file.assets[0].attempts, again.epoch), (1, 2));
    let fence = asset_fence(&copy);
    let late = s.commit(archived(file(s, 1).await, "a", at(2)), fence).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");

    let lease = s.claim_queries(claim(at(90_000), 1)).await.unwrap().remove(0);
    let held = Held::Task {
        id: id(1),
        epoch: lease.epoch,
    };
    s.release(&held).await.unwrap();
    assert_eq!(s.claim_queries(claim(at(90_000), 1)).await.unwrap().len(), 1);
}

pub async fn f26_copies_are_claimed_nearest_deadline_first(s: &dyn Store) {
    for (n, created) in [(1, 300), (2, 100), (3, 200)] {
        discover(s, n, &["a", "b"], at(created)).await;
    }
    let claimed = s.claim_copies(claim(at(400), 5)).await.unwrap();
    let order: Vec<TaskId> = claimed.iter().map(|l| l.item.asset.task).collect();
    assert_eq!(order, [id(2), id(2), id(3), id(3), id(1)]);
    for lease in &claimed {
        let asset = lease.item.file.asset(&lease.item.asset.result).unwrap();
        assert_eq!((&asset.state, asset.attempts), (&AssetState::Archiving, 1));
    }
}

pub async fn siblings_claimed_together_carry_the_same_reading(s: &dyn Store) {
    discover(s, 1, &["a", "b"], at(0)).await;
    let mut claimed = s.claim_copies(claim(at(1), 2)).await.unwrap();
    assert_eq!(claimed[0].item.file, claimed[1].item.file);
    assert_eq!(claimed[0].item.file, file(s, 1).await);
    let first = claimed.remove(0);
    let fence = asset_fence(&first);
    let name = first.item.asset.result.to_string();
    s.commit(archived(first.item.file, &name, at(2)), fence)
        .await
        .unwrap();
}

pub async fn woken_tasks_are_asked_about_first(s: &dyn Store) {
    for n in 1..=3 {
        submit(s, n, at(0)).await;
    }
    s.record(receipt(3, "x", at(5))).await.unwrap();
    s.record(receipt(2, "x", at(6))).await.unwrap();
    assert_eq!(s.next_due(Queue::Queries).await.unwrap(), Some(at(5)));
    let claimed = s.claim_queries(claim(at(1000), 2)).await.unwrap();
    assert_eq!(ids(&claimed), [id(3), id(2)]);
    let rest = s.claim_queries(claim(at(1000), 2)).await.unwrap();
    assert_eq!(ids(&rest), [id(1)]);
}

pub async fn a_callback_during_a_query_asks_for_another(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    s.record(receipt(1, "x", at(1))).await.unwrap();
    let lease = s.claim_queries(claim(at(1), 1)).await.unwrap().remove(0);
    s.record(receipt(1, "y", at(2))).await.unwrap();
    assert!(
        s.claim_queries(claim(at(2), 1)).await.unwrap().is_empty(),
        "it is held"
    );
    let fence = task_fence(&lease, id(1));
    let seen = lease.item.receipts[0].id;
    let mut t = lease.item.file.ingest(answered(vec![]), &policy(), at(3), J);
    t.receipts_done = vec![seen];
    s.commit(t, fence).await.unwrap();
    let next = s.claim_queries(claim(at(3), 1)).await.unwrap().remove(0);
    let bodies: Vec<&[u8]> = next.item.receipts.iter().map(|r| r.body.as_slice()).collect();
    assert_eq!(bodies, [b"y"]);
}

pub async fn finished_tasks_are_left_alone_unless_due_or_woken(s: &dyn Store) {
    let far = at(10_000_000);
    complete(s, 1, at(0)).await;
    s.record(receipt(1, "late", at(9))).await.unwrap();
    assert!(s.claim_queries(claim(far, 9)).await.unwrap().is_empty());
    assert_eq!(s.next_due(Queue::Queries).await.unwrap(), None);

    submit(s, 2, at(0)).await;
    let t = file(s, 2)
        .await
        .ingest(answered(vec![]), &policy(), at(90_000), J);
    s.commit(t, Fence::Version).await.unwrap();
    assert_eq!(file(s, 2).await.task.state.status(), TaskStatus::TimedOut);
    assert!(s.claim_queries(claim(far, 9)).await.unwrap().is_empty());
    s.record(receipt(2, "late", at(90_001))).await.unwrap();
    assert_eq!(ids(&s.claim_queries(claim(far, 9)).await.unwrap()), [id(2)]);
}

pub async fn a_completed_task_still_due_is_asked_about(s: &dyn Store) {
    complete(s, 1, at(0)).await;
    let mut t = Transition::of(file(s, 1).await.task);
    t.task.due_at = Some(at(50)); // an unconfirmed result waits for its confirmation
    s.commit(t, Fence::Version).await.unwrap();
    assert_eq!(ids(&s.claim_queries(claim(at(50), 1)).await.unwrap()), [id(1)]);
}

/// F22: however many claim at once, each row goes to one of them.
pub async fn f22_no_row_is_handed_to_two_holders(s: &dyn Store) {
    for n in 1..=20 {
        accept(s, n, at(0)).await;
    }
    let claims = (0..10).map(|_| s.claim_submissions(claim(at(1), 3)));
    let taken: Vec<TaskId> = futures_util::future::join_all(claims)
        .await
        .into_iter()
        .flat_map(|leases| leases.unwrap())
        .map(|l| l.item.task.id)
        .collect();
    let distinct: BTreeSet<_> = taken.iter().copied().collect();
    assert_eq!((taken.len(), distinct.len()), (20, 20));
}

pub async fn a_start_voids_every_lease(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    accept(s, 2, at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let sub = s.claim_submissions(claim(at(1), 1)).await.unwrap().remove(0);
    assert_eq!(s.void_leases().await.unwrap(), 2);
    let begun: TaskFile = sub.item.clone();
    let late = s
        .commit(begun.submission_begins(at(2)), task_fence(&sub, id(2)))
        .await;
    assert!(matches!(late, Err(StoreError::LeaseLost)));
    let late = s
        .commit(archived(copy.item.file.clone(), "a", at(2)), asset_fence(&copy))
        .await;
    assert!(matches!(late, Err(StoreError::LeaseLost)));
    assert_eq!(s.claim_copies(claim(at(1), 1)).await.unwrap().len(), 1);
    assert_eq!(s.claim_submissions(claim(at(1), 1)).await.unwrap().len(), 1);
}

/// Imported tasks wait in a queue in the order of their arrival; each place goes to the one whose links die next.
pub async fn g6_imported_tasks_are_asked_about_in_the_order_in_which_their_links_die(s: &dyn Store) {
    const HOUR: i64 = 3600;
    // Its links live for an hour from `created`; its place in the queue is at `due`.
    let import = async |n: u32, created: i64, due: i64| {
        let mut identity = Identity::bare(id(n), acme(), at(created));
        identity.ttl = Some(Duration::from_secs(HOUR as u64));
        let adopted = identity.adopt(Origin::Imported, &policy(), at(0), at(due));
        assert!(s.adopt(adopted).await.unwrap());
    };
    import(1, -9 * HOUR, 0).await; // dead
    import(2, -8 * HOUR, 10).await; // dead
    import(3, -HOUR / 2, 20).await;
    import(4, -HOUR + 60, 30).await; // the first to die
    submit(s, 5, at(-1)).await; // somebody waits for it
    let next = async |now: i64| -> Vec<TaskId> {
        let leases = s.claim_queries(claim(at(now), 1)).await.unwrap();
        for lease in &leases {
            let fence = task_fence(lease, lease.item.file.task.id);
            let asked = lease
                .item
                .file
                .clone()
                .ingest(answered(vec![]), &policy(), at(now), J);
            s.commit(asked, fence).await.unwrap();
        }
        leases.into_iter().map(|l| l.item.file.task.id).collect()
    };
    assert_eq!(next(0).await, [id(4)]);
    assert_eq!(next(0).await, [], "one place, one question");
    assert_eq!(next(10).await, [id(3)]);
    assert_eq!(next(20).await, [id(2)], "whose own place was the tenth second's");
    let waits = file(s, 1).await.task;
    assert_eq!(
        (waits.due_at, waits.deadline),
        (Some(at(30)), Some(at(30 + 24 * HOUR)))
    );
    assert_eq!(next(30).await, [id(1)]);
    // What nobody imported keeps its own time.
    assert_eq!(next(200).await, [id(5)]);
}
