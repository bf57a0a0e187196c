//! I8, I9, I10: state and events in one commit; nothing under an old version or an old lease.

use crate::kit::*;

use catchment::domain::asset::{AssetState, Intent, Left, ObjectKey, SourceUrl};
use catchment::domain::event::EventKind;
use catchment::domain::file::{CopyOutcome, NotStored, TaskFile};
use catchment::domain::ids::Digest;
use catchment::domain::lease::Fence;
use catchment::domain::task::{Failure, TaskStatus};
use catchment::domain::transition::Transition;
use catchment::ports::store::*;
use std::time::Duration;

fn is_conflict(answer: &Result<(), StoreError>) -> bool {
    matches!(answer, Err(StoreError::Conflict { task }) if *task == id(1))
}

fn is_lost(answer: &Result<(), StoreError>) -> bool {
    matches!(answer, Err(StoreError::LeaseLost))
}

pub async fn only_the_first_of_two_decisions_on_one_reading_is_written(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let (one, two) = (file(s, 1).await, file(s, 1).await);
    s.commit(discovery(one, &["a"], at(1)), Fence::Version)
        .await
        .unwrap();
    let before = (
        file(s, 1).await,
        s.events(&all_events(&acme())).await.unwrap().events,
    );
    let second = s.commit(discovery(two, &["b"], at(1)), Fence::Version).await;
    assert!(is_conflict(&second), "{second:?}");
    let after = (
        file(s, 1).await,
        s.events(&all_events(&acme())).await.unwrap().events,
    );
    assert_eq!(before, after);
}

pub async fn a_claim_makes_older_readings_conflict(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let read = file(s, 1).await;
    s.claim_queries(claim(at(1000), 1)).await.unwrap();
    let answer = s.commit(discovery(read, &["a"], at(1000)), Fence::Version).await;
    assert!(is_conflict(&answer), "{answer:?}");
}

pub async fn a_decision_about_an_unknown_task_conflicts(s: &dyn Store) {
    let nobody = Transition::of(task(1, &acme(), at(0)));
    assert!(is_conflict(&s.commit(nobody, Fence::Version).await));
}

pub async fn everything_of_a_task_and_its_assets_is_read_back(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let mut t = discovery(file(s, 1).await, &["a", "b"], at(1));
    t.task.failures = vec![Failure {
        code: "timeoutProvider".to_owned(),
        message: "zu \"spät\"".to_owned(),
        content_policy: true,
    }];
    t.task.attempts = 7;
    let asset = &mut t.assets[0];
    asset.intent = Some(Intent {
        key: ObjectKey("k/a.mp4".to_owned()),
        size_bytes: 9_007_199_254_740_993,
        sha256: Digest::of(b"a"),
        content_type: "video/mp4".to_owned(),
        duration_ms: None,
        width: Some(3),
        height: None,
        unverified: true,
    });
    asset.trouble.dead_tries = 2;
    asset.trouble.dead_since = Some(at(1));
    asset.trouble.wants_fresh = true;
    asset.nsfw = None;
    asset.cost = Some(4.35);
    let (mut task, assets) = (t.task.clone(), t.assets.clone());
    s.commit(t, Fence::Version).await.unwrap();
    task.version += 1;
    assert_eq!(file(s, 1).await, TaskFile { task, assets });

    let t = archived(file(s, 1).await, "a", at(2));
    let (mut task, a) = (t.task.clone(), t.assets[0].clone());
    s.commit(t, Fence::Version).await.unwrap();
    task.version += 1;
    let whole = file(s, 1).await;
    assert_eq!((&whole.task, whole.asset(&result("a"))), (&task, Some(&a)));
    assert_eq!(a.state, AssetState::Archived(stored("a", at(2))));
}

pub async fn a_verdict_and_a_kept_object_are_read_back(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let kept = CopyOutcome::KeptUnverified(stored("a", at(1)));
    let t = file(s, 1).await.copied(&result("a"), kept, &policy(), at(1), J);
    let expected = (t.task.state.clone(), t.assets[0].state.clone());
    s.commit(t, Fence::Version).await.unwrap();
    let whole = file(s, 1).await;
    assert_eq!((whole.task.state, whole.assets[0].state.clone()), expected);
    assert_eq!(expected.0.status(), TaskStatus::Failed);
}

/// I10 for a task: the frozen worker thaws after another has taken over.
pub async fn i10_a_late_dispatcher_changes_nothing(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let late = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
    let fence = task_fence(&late, id(1));
    let heir = s.claim_submissions(claim(at(61), 1)).await.unwrap().remove(0);
    let before = file(s, 1).await;
    assert!(is_lost(
        &s.commit(late.item.clone().submission_begins(at(61)), fence.clone())
            .await
    ));
    let held = s
        .commit_and_hold(late.item.submission_begins(at(61)), fence)
        .await;
    assert!(matches!(held, Err(StoreError::LeaseLost)));
    assert_eq!(file(s, 1).await, before);
    let heirs = task_fence(&heir, id(1));
    s.commit(heir.item.submission_begins(at(62)), heirs)
        .await
        .unwrap();
}

/// I10 for an asset, and F22.
pub async fn i10_a_late_copier_changes_nothing(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let late = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let heir = s.claim_copies(claim(at(62), 1)).await.unwrap().remove(0);
    assert!(heir.epoch > late.epoch);
    let before = file(s, 1).await;
    // Even after it has read the task anew, so that the version alone would let it pass.
    let stale = archived(before.clone(), "a", at(62));
    assert!(is_lost(&s.commit(stale, asset_fence(&late)).await));
    assert_eq!(file(s, 1).await, before);
    let fence = asset_fence(&heir);
    s.commit(archived(heir.item.file, "a", at(63)), fence)
        .await
        .unwrap();
    assert_eq!(file(s, 1).await.task.state.status(), TaskStatus::Completed);
}

pub async fn i10_a_lease_given_up_is_lost(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let lease = s.claim_queries(claim(at(500), 1)).await.unwrap().remove(0);
    let fence = task_fence(&lease, id(1));
    s.commit(discovery(lease.item.file, &["a"], at(500)), fence.clone())
        .await
        .unwrap();
    let again = discovery(file(s, 1).await, &["b"], at(501));
    assert!(is_lost(&s.commit(again, fence).await), "the commit gave it up");
}

pub async fn a_fence_of_another_task_is_no_fence(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    submit(s, 2, at(0)).await;
    let leases = s.claim_queries(claim(at(500), 2)).await.unwrap();
    let other = leases.iter().find(|l| l.item.file.task.id == id(2)).unwrap();
    let t = discovery(file(s, 1).await, &["a"], at(501));
    assert!(is_lost(&s.commit(t, task_fence(other, id(2))).await));
}

pub async fn a_held_commit_keeps_the_lease_and_answers_the_next_version(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let lease = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
    let (fence, read) = (task_fence(&lease, id(1)), lease.item.task.version);
    let version = s
        .commit_and_hold(lease.item.submission_begins(at(1)), fence.clone())
        .await
        .unwrap();
    assert_eq!((version, file(s, 1).await.task.version), (read + 1, version));
    assert!(s.claim_submissions(claim(at(30), 1)).await.unwrap().is_empty());
    let refused = file(s, 1).await.refused("invalid", "no", false, at(2));
    s.commit(refused, fence).await.unwrap();
}

/// A status query hands the copier a fresh link while it copies: its lease stays, its next commit must read again.
pub async fn writing_an_asset_leaves_its_lease_alone(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let mut t = Transition::of(file(s, 1).await.task);
    t.assets = file(s, 1).await.assets;
    t.assets[0].source = SourceUrl("https://vm.runware.ai/fresh.mp4".to_owned());
    s.commit(t, Fence::Version).await.unwrap();
    assert!(s.claim_copies(claim(at(2), 1)).await.unwrap().is_empty());
    let stale = s
        .commit(archived(copy.item.file.clone(), "a", at(3)), asset_fence(&copy))
        .await;
    assert!(is_conflict(&stale), "{stale:?}");
    s.commit(archived(file(s, 1).await, "a", at(3)), asset_fence(&copy))
        .await
        .unwrap();
}

pub async fn an_intent_is_kept_under_the_lease(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let intent = Intent {
        key: ObjectKey("a.mp4".to_owned()),
        size_bytes: 5,
        sha256: Digest::of(b"a"),
        content_type: "video/mp4".to_owned(),
        duration_ms: None,
        width: None,
        height: None,
        unverified: false,
    };
    let t = copy
        .item
        .file
        .clone()
        .intends(&result("a"), intent.clone(), at(2));
    s.commit_and_hold(t, asset_fence(&copy)).await.unwrap();
    // Killed here: whoever takes over finds what the object must equal.
    let heir = s.claim_copies(claim(at(100), 1)).await.unwrap().remove(0);
    assert_eq!(heir.item.file.assets[0].intent, Some(intent));
}

/// I8: the state may not change when its event cannot be written, nor the event be told when the state cannot.
pub async fn i8_a_failing_commit_writes_neither_state_nor_event(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let log = s.events(&all_events(&acme())).await.unwrap();
    let before = (file(s, 1).await, s.timeline(id(1)).await.unwrap());
    let mut t = discovery(file(s, 1).await, &["a"], at(1));
    t.events.last_mut().unwrap().id = log.events[0].id.clone(); // told already
    let answer = s.commit(t, Fence::Version).await;
    assert!(matches!(answer, Err(StoreError::Corrupt { .. })), "{answer:?}");
    assert_eq!(before, (file(s, 1).await, s.timeline(id(1)).await.unwrap()));
    assert_eq!(s.events(&all_events(&acme())).await.unwrap().events, log.events);
    assert!(s.claim_copies(claim(at(9), 1)).await.unwrap().is_empty());
}

/// I9: sequences rise strictly over all tasks, and count from 1 without gaps within each.
pub async fn i9_sequences_rise_and_each_tasks_own_have_no_gap(s: &dyn Store) {
    for n in 1..=3 {
        accept(s, n, at(0)).await;
    }
    for n in 1..=3 {
        let lease = s.claim_submissions(claim(at(1), 1)).await.unwrap().remove(0);
        let fence = task_fence(&lease, id(n));
        let sent = lease.item.submitted(
            catchment::domain::task::Submission::Confirmed,
            &policy(),
            at(1),
            J,
        );
        s.commit(sent, fence).await.unwrap();
        s.commit(discovery(file(s, n).await, &["a", "b"], at(2)), Fence::Version)
            .await
            .unwrap();
    }
    let mut last = s.last_sequence();
    let log = s.events(&all_events(&acme())).await.unwrap();
    assert!(log.events.windows(2).all(|w| w[0].sequence < w[1].sequence));
    assert_eq!(*last.borrow_and_update(), log.events.last().unwrap().sequence);
    for n in 1..=3 {
        let own: Vec<u32> = log
            .events
            .iter()
            .filter(|e| e.task == Some(id(n)))
            .map(|e| e.task_sequence)
            .collect();
        assert_eq!(own, (1..=4).collect::<Vec<_>>());
    }
    assert_eq!(log.events[0].kind, EventKind::TaskAccepted);
    assert!(log.done);
}

pub async fn a_postponed_copy_waits_for_its_time(s: &dyn Store) {
    discover(s, 1, &["a"], at(0)).await;
    let copy = s.claim_copies(claim(at(1), 1)).await.unwrap().remove(0);
    let why = CopyOutcome::NotStored(NotStored::StoreUnavailable {
        code: "slow_down".to_owned(),
    });
    let fence = asset_fence(&copy);
    let t = copy.item.file.copied(&result("a"), why, &policy(), at(1), J);
    let due = t.assets[0].due_at.unwrap();
    s.commit(t, fence).await.unwrap();
    assert_eq!(s.next_due(Queue::Copies).await.unwrap(), Some(due));
    let early = due.minus(Duration::from_millis(1));
    assert!(s.claim_copies(claim(early, 1)).await.unwrap().is_empty());
    assert_eq!(s.claim_copies(claim(due, 1)).await.unwrap().len(), 1);
}

/// The next round knows what this one left.
pub async fn what_an_earlier_round_left_is_read_back(s: &dyn Store) {
    discover(s, 1, &["kept", "gone"], at(0)).await;
    let kept = CopyOutcome::KeptUnverified(stored("kept", at(1)));
    let t = file(s, 1)
        .await
        .copied(&result("kept"), kept, &policy(), at(1), J);
    s.commit(t, Fence::Version).await.unwrap();
    let t = archived(file(s, 1).await, "gone", at(1));
    s.commit(t, Fence::Version).await.unwrap();
    let both = [result("kept"), result("gone")];
    let t = file(s, 1).await.requeue(&both, &policy(), at(2));
    s.commit(t, Fence::Version).await.unwrap();
    let whole = file(s, 1).await;
    let lefts: Vec<_> = whole.assets.iter().map(|a| a.left.clone()).collect();
    let expected = [
        Some(Left::Kept(stored("kept", at(1)))),
        Some(Left::Gone(stored("gone", at(1)))),
    ];
    assert_eq!(lefts, expected);
    assert!(whole.assets.iter().all(|a| a.state == AssetState::Pending));
    let t = archived(whole, "gone", at(3));
    s.commit(t, Fence::Version).await.unwrap();
    let again = &file(s, 1).await.assets[1];
    assert_eq!((&again.left, again.state.stored().is_some()), (&None, true));
}
