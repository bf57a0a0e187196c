//! I7: money beats verdict. A result found after the end re-opens the task, also when a late callback brings it; the
//! archive is asked before a verdict; `completed` never changes.

use crate::core::{Call, DAY, HOUR, MINUTE, Mood, World, id, policy, video};
use catchment::domain::file::Policy;
use catchment::domain::report::Item;
use catchment::domain::task::Failure;
use std::time::Duration;

fn failure() -> Item {
    Item::Failed(Failure {
        code: "timeoutProvider".to_owned(),
        message: "no".to_owned(),
        content_policy: false,
    })
}

/// One task per verdict.
async fn ended(verdict: &str) -> World {
    // Held for two days, with few probes while the provider is away.
    let world = World::with(Policy {
        max_hold: 2 * DAY,
        retry_max_interval: HOUR,
        ..policy()
    });
    match verdict {
        "timed_out" => {
            world.accept(1..2, 1).await;
            world.live_for(DAY + HOUR).await;
        }
        "failed" => {
            world.runware.shows(id(1), vec![failure()]);
            world.accept(1..2, 1).await;
            world.live_for(HOUR).await;
        }
        "partial" => {
            world.runware.shows(id(1), vec![video("a", "a"), failure()]);
            world.accept(1..2, 2).await;
            world.live_for(HOUR).await;
        }
        _ => {
            world.runware.is(Mood::Away);
            world.accept(1..2, 1).await;
            world.live_for(2 * DAY + HOUR).await;
            world.runware.is(Mood::Fine);
        }
    }
    assert_eq!(world.status(1).await, verdict);
    world
}

#[tokio::test]
async fn i7_a_late_callback_that_a_query_confirms_reopens_every_verdict_but_completed() {
    for verdict in ["timed_out", "failed", "partial", "rejected"] {
        let world = ended(verdict).await;
        let (told, calls) = (world.told(1).await, world.runware.calls().len());
        world.live_for(2 * DAY).await;
        assert_eq!(
            world.runware.calls().len(),
            calls,
            "{verdict}: nobody asks about what has ended"
        );

        // The callback alone is a claim: the query lags behind it for a while, then agrees.
        world.call_back(1, "late").await;
        world.live_for(Duration::from_secs(20)).await;
        assert_eq!(world.told(1).await, told, "{verdict}: a claim re-opens nothing");
        let mut items = vec![video("late", "late")];
        if verdict == "partial" {
            items.push(video("a", "a"));
        }
        world.runware.shows(id(1), items);
        world.live_for(10 * MINUTE).await;
        let after = world.told(1).await.split_off(told.len());
        assert_eq!(
            after,
            [
                "task.recovered",
                "asset.discovered",
                "asset.archived",
                "task.completed"
            ],
            "{verdict}"
        );
        let file = world.file(1).await;
        assert_eq!(
            (world.status(1).await.as_str(), file.task.round),
            ("completed", 2),
            "{verdict}"
        );

        // And that is the end of it, whatever anybody says.
        world.call_back(1, "later").await;
        world.live_for(DAY).await;
        assert_eq!(world.status(1).await, "completed", "{verdict}");
        assert_eq!(
            world.runware.bought().get(&id(1)).copied().unwrap_or(0),
            u32::from(verdict != "rejected"),
            "I3"
        );
    }
}

#[tokio::test]
async fn g8_a_late_callback_that_no_query_confirms_changes_nothing() {
    let world = ended("timed_out").await;
    let told = world.told(1).await;
    world.call_back(1, "forged").await;
    world.live_for(DAY).await;
    assert_eq!(
        (world.status(1).await.as_str(), world.told(1).await),
        ("timed_out", told)
    );
    assert_eq!(
        world.file(1).await.task.due_at,
        None,
        "and it is not asked about for ever"
    );
}

#[tokio::test]
async fn g3_the_archive_is_asked_before_a_verdict() {
    let world = World::new();
    world.accept(1..2, 1).await;
    world.live_for(HOUR + 10 * MINUTE).await;
    let looks = world.runware.calls_of(Call::Details);
    assert!(looks > 0, "an hour old and silent: looked up");
    world.live_for(22 * HOUR).await;
    world
        .runware
        .keeps_in_archive(id(1), vec![video("found", "found")]);
    world.live_for(2 * HOUR).await;
    assert_eq!(world.status(1).await, "completed");
    assert!(!world.told(1).await.contains(&"task.timed_out"));
}

/// The provider is away when the deadline passes: no verdict without an answer.
#[tokio::test]
async fn g3_no_task_times_out_while_the_provider_cannot_be_asked() {
    let world = World::with(Policy {
        retry_max_interval: HOUR,
        ..policy()
    });
    world.accept(1..2, 1).await;
    world.live_for(HOUR).await;
    world.runware.is(Mood::Away);
    world.live_for(2 * DAY).await;
    assert_eq!(world.status(1).await, "submitted");
    world.runware.shows(id(1), vec![video("a", "a")]);
    world.runware.is(Mood::Fine);
    world.live_for(2 * HOUR).await;
    assert_eq!(world.status(1).await, "completed");
}
