//! F12: dead and changed links. Patience, fresh links by status query, and `expired` only when the provider has nothing
//! more.

use crate::core::{DAY, HOUR, MINUTE, World, id, video};
use catchment::domain::asset::AssetReason;

/// Known, and its first link is dead.
async fn with_a_dead_link() -> World {
    let world = World::new();
    world.cdn.dies("old");
    world.runware.shows(id(1), vec![video("r", "old")]);
    world.accept(1..2, 1).await;
    world.live_for(5 * MINUTE).await;
    assert_eq!(world.status(1).await, "archiving");
    world
}

#[tokio::test]
async fn f12_a_fresh_link_is_asked_for_and_used_at_once() {
    let world = with_a_dead_link().await;
    world.runware.shows(id(1), vec![video("r", "fresh")]);
    let before = world.now();
    world.live_for(2 * HOUR).await;
    let events = world.events().await;
    let archived = events
        .iter()
        .find(|e| e.kind.as_str() == "asset.archived")
        .unwrap();
    assert_eq!(world.cdn.opened().last().map(String::as_str), Some("fresh"));
    // A dead link is tried hourly at last, and a fresh one asked for before each try.
    assert!(
        archived.at.since(before) <= HOUR + 10 * MINUTE,
        "{:?}",
        archived.at.since(before)
    );
    let lines = catchment::ports::store::TaskStore::timeline(&*world.store, id(1))
        .await
        .unwrap();
    assert!(lines.iter().any(|l| l.kind == "fresh_link"));
}

#[tokio::test]
async fn f12_a_link_that_changed_on_an_ordinary_query_is_used() {
    let world = World::new();
    world.bucket.down();
    world.runware.shows(id(1), vec![video("r", "first")]);
    world.accept(1..2, 2).await; // two are to come, so the provider is asked on
    world.live_for(10 * MINUTE).await;
    world
        .runware
        .shows(id(1), vec![video("r", "second"), video("s", "other")]);
    world.live_for(30 * MINUTE).await;
    world.cdn.dies("first");
    world.bucket.up();
    world.live_for(10 * MINUTE).await;
    assert_eq!(world.status(1).await, "completed");
    assert!(world.cdn.opened().contains(&"second".to_owned()));
}

#[tokio::test]
async fn g6_a_result_expires_only_when_the_provider_has_nothing_more_and_says_why() {
    let world = with_a_dead_link().await;
    world.runware.forgets(id(1));
    world.live_for(6 * DAY).await;
    assert_eq!(
        world.status(1).await,
        "archiving",
        "the link may live again until its time is over"
    );
    let looks = world.runware.calls_of(crate::core::Call::Details);
    assert!(
        looks >= 100,
        "asked for a fresh link every hour, the archive too: {looks}"
    );
    world.live_for(2 * DAY).await;
    let file = world.file(1).await;
    assert_eq!(file.assets[0].state.reason(), Some(AssetReason::SourceGone));
    let told = world.told(1).await;
    assert_eq!(
        told[told.len() - 3..],
        ["asset.at_risk", "asset.expired", "task.failed"]
    );
    let events = world.events().await;
    let expired = events
        .iter()
        .find(|e| e.kind.as_str() == "asset.expired")
        .unwrap();
    assert_eq!(expired.data.reason.as_deref(), Some("source_gone"));
    let patience = expired.at.since(file.assets[0].archive_by);
    assert!(
        (HOUR..3 * HOUR).contains(&patience),
        "an hour after archive_by: {patience:?}"
    );
    let lines = catchment::ports::store::TaskStore::timeline(&*world.store, id(1))
        .await
        .unwrap();
    assert!(
        lines.len() < 120,
        "a week of equal tries in {} lines",
        lines.len()
    );
}

/// I18: after a clock that jumped ahead, five tries over twenty minutes are made all the same.
#[tokio::test]
async fn i18_no_link_expires_without_real_tries() {
    let world = World::new();
    world.cdn.dies("old");
    world.bucket.down();
    world.runware.shows(id(1), vec![video("r", "alive")]);
    world.accept(1..2, 1).await;
    world.live_for(10 * MINUTE).await;
    world.cdn.dies("alive");
    world.clock.advance(30 * DAY);
    world.bucket.up();
    let jumped = world.now();
    world.live_for(DAY).await;
    let events = world.events().await;
    let expired = events
        .iter()
        .find(|e| e.kind.as_str() == "asset.expired")
        .unwrap();
    assert!(expired.at.since(jumped) >= 20 * MINUTE);
    let tries = world.cdn.opened().len();
    assert!(tries >= 6, "{tries}");
}
