//! I3 after a restore: what a backup holds as unsent may have been sent since. The provider is asked about it, its archive
//! too, before anything is sent and before anything is given up; without an answer neither happens.

use crate::core::{Call, HOUR, MINUTE, Mood, World, id, policy, video};
use catchment::domain::file::Policy;
use catchment::domain::report::Item;
use catchment::domain::task::{Submission, TaskReason};
use catchment::ports::health::Component;
use std::time::Duration;

const TASKS: u32 = 8;
const HOLD: Duration = Duration::from_secs(2 * 3600);

/// Unsent in the backup. Since then, in a life this database does not know, 0 was finished, 1 was finished so long ago
/// that only the archive has it, 2 began to render; the others were never sent.
async fn put_back() -> World {
    let world = World::with(Policy {
        max_hold: HOLD,
        ..policy()
    });
    world.runware.is(Mood::Away);
    world.accept(0..TASKS, 1).await;
    world.live_for(MINUTE).await;
    assert!(world.runware.bought().is_empty());
    world.is_put_back().await;
    world.runware.shows(id(0), vec![video("r", "zero")]);
    world.runware.keeps_in_archive(id(1), vec![video("r", "one")]);
    world.runware.shows(id(2), vec![Item::Running]);
    world
}

#[tokio::test]
async fn i3_after_a_restore_nothing_is_sent_before_the_provider_was_asked() {
    let world = put_back().await;
    // It takes submissions and answers no question.
    world.runware.takes_submissions(Mood::Fine);
    let sent_before = world.runware.calls_of(Call::Submit);
    world.live_for(HOUR).await;
    assert_eq!(
        world.runware.calls_of(Call::Submit),
        sent_before,
        "not asked, not sent"
    );
    for n in 0..TASKS {
        let task = world.file(n).await.task;
        assert!(!task.state.is_terminal(), "{n}");
        assert_eq!(task.submission, Submission::Unconfirmed, "not known");
    }
    world.runware.takes_queries(Mood::Fine);
    world.live_for(10 * MINUTE).await;
    for n in [0, 1] {
        assert_eq!(world.status(n).await, "completed", "{n} was paid for");
    }
    let once: Vec<_> = (3..TASKS).map(|n| (id(n), 1)).collect();
    assert_eq!(world.runware.bought().into_iter().collect::<Vec<_>>(), once);
    world.runware.shows(id(2), vec![video("r", "two")]);
    world.live_for(10 * MINUTE).await;
    assert_eq!(world.status(2).await, "completed");
    assert_eq!(world.file(3).await.task.submission, Submission::Confirmed);
}

#[tokio::test]
async fn f28_after_a_restore_a_task_past_its_time_is_not_given_up_before_the_provider_was_asked() {
    let world = put_back().await;
    world.live_for(2 * HOLD).await;
    for n in 0..TASKS {
        let state = world.file(n).await.task.state;
        assert!(!state.is_terminal(), "nobody has answered for {n}: {state:?}");
    }
    world.runware.is(Mood::Fine);
    world.live_for(10 * MINUTE).await;
    for n in [0, 1] {
        assert_eq!(world.status(n).await, "completed", "{n} was paid for");
        let told = [
            "task.accepted",
            "task.submitted",
            "asset.discovered",
            "asset.archived",
            "task.completed",
        ];
        assert_eq!(world.told(n).await, told);
    }
    assert_eq!(world.status(2).await, "submitted");
    for n in 3..TASKS {
        let task = world.file(n).await.task;
        let reason = task.state.verdict().and_then(|v| v.reason);
        assert_eq!(reason, Some(TaskReason::NotSubmitted), "{n} was never sent");
        assert_eq!(task.submission, Submission::None, "and that is known");
    }
    assert!(
        world.runware.bought().is_empty(),
        "and it was too late to send any"
    );
}

/// The link's life began at some time since the backup: the earliest one possible orders the work.
#[tokio::test]
async fn g6_what_a_restore_finds_at_the_provider_is_copied_as_if_sent_at_once() {
    let world = put_back().await;
    world.live_for(HOUR).await;
    world.runware.is(Mood::Fine);
    world.live_for(10 * MINUTE).await;
    let file = world.file(0).await;
    assert_eq!(file.task.submitted_at, Some(file.task.created_at));
    assert_eq!(
        file.assets[0].archive_by,
        file.task.created_at.plus(file.task.ttl)
    );
    assert!(
        file.task.deadline.unwrap() > world.now(),
        "the outcome is waited for from now on"
    );
}

/// A key that is refused even the question is mended: the answer to a question is answer enough.
#[tokio::test]
async fn f15_a_queue_that_was_refused_its_questions_is_open_when_they_are_answered() {
    let world = put_back().await;
    world.runware.is(Mood::NoCredit);
    world.live_for(HOUR / 2).await;
    let degraded = || {
        world
            .health
            .degraded()
            .into_iter()
            .find(|d| d.component == Component::Provider)
    };
    assert_eq!(degraded().unwrap().code, "parked: invalidApiKey");
    let asked = world.runware.calls_of(Call::Query);
    assert!(asked <= 60, "{asked} questions in half an hour: a probe a minute");
    for n in 0..TASKS {
        world.runware.shows(id(n), vec![video("r", &n.to_string())]);
    }
    world.runware.is(Mood::Fine);
    world.live_for(5 * MINUTE).await;
    for n in 0..TASKS {
        assert_eq!(world.status(n).await, "completed", "{n}");
    }
    assert_eq!(degraded(), None);
    assert!(world.runware.bought().is_empty());
}
