//! G6, F8, F26: what dies first goes first, through an outage too; what runs out of time is told.

use crate::core::{COPIES, HOUR, MINUTE, MODEL, START, World, id, policy, video};
use catchment::domain::backoff::Jitter;
use catchment::domain::event::EventKind;
use catchment::domain::file::{Asked, TaskFile};
use catchment::domain::ids::Tenant;
use catchment::domain::report::Report;
use catchment::domain::task::Origin;
use catchment::domain::time::Timestamp;
use catchment::domain::transition::Transition;
use catchment::ports::health::Component;
use catchment::ports::store::TaskStore as _;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

const WAVE: u32 = 10_000;
/// The wave dies within these ten minutes after two hours.
const FIRST_DEATH: Duration = Duration::from_secs(7_200);
const SPREAD_MS: u32 = 600_000;

/// Task `n` with its result known, and a link that lives as long as said.
fn discovered(n: u32, lives: Duration) -> Transition {
    let mut task = TaskFile::adopt(
        id(n),
        Tenant::default_tenant(),
        Origin::Imported,
        &policy(),
        START,
    )
    .task;
    task.model = MODEL.to_owned();
    task.number_results = 1;
    task.ttl = lives;
    let file = TaskFile { task, assets: vec![] };
    let answer = Report {
        items: vec![video("r", &n.to_string())],
        ..Report::default()
    };
    let asked = Asked {
        answer: Some(answer),
        claims: vec![],
        at_least: None,
    };
    file.ingest(asked, &policy(), START, Jitter(0.5))
}

/// Spread over the ten minutes without order: a prime stride visits each place once.
fn lives(n: u32) -> Duration {
    FIRST_DEATH + Duration::from_millis(u64::from((n * 7_919) % WAVE * (SPREAD_MS / WAVE)))
}

#[tokio::test]
async fn f8_f26_a_wave_of_ten_thousand_dying_links_is_drained_in_order_after_an_outage() {
    let mut world = World::new();
    for some in (0..WAVE).collect::<Vec<_>>().chunks(200) {
        let stored = some.iter().map(|n| world.store.adopt(discovered(*n, lives(*n))));
        assert!(join_all(stored).await.into_iter().all(|s| s.unwrap()));
    }
    let first = world.store.figures(world.now()).await.unwrap().oldest_archive_by;
    assert_eq!(
        first,
        Some(START.plus(FIRST_DEATH)),
        "the metric names the next death"
    );

    // The store is away for an hour and a half: at risk is told all the same, and few claims are burnt.
    world.bucket.down();
    world.live_for(90 * MINUTE).await;
    let told = world.count(EventKind::AssetAtRisk).await;
    assert_eq!(told, WAVE as usize, "half of two hours has passed for each, once");
    let burnt = world.bucket.refused();
    assert!(
        burnt <= 250,
        "{burnt} requests to a store that is away, in 90 minutes"
    );
    let degraded = world.health.degraded();
    assert!(
        degraded
            .iter()
            .any(|d| d.component == Component::ObjectStore && d.code == "http_503")
    );

    // Back, with half a second for eight copies: it takes more than ten minutes, and every copy is in time.
    world.bucket.up();
    world.round = Duration::from_millis(500);
    let healed = world.now();
    world.live_until(START.plus(FIRST_DEATH)).await;
    let order = world.bucket.order();
    assert_eq!(order.len(), WAVE as usize, "all before the first link dies");
    let place: BTreeMap<String, Duration> = (0..WAVE).map(|n| (id(n).to_string(), lives(n))).collect();
    let deaths: Vec<Duration> = order
        .iter()
        .map(|key| place[key.split('/').next().unwrap()])
        .collect();
    // Workers of one round end in any order; no copy of a later round is more urgent.
    let late = deaths
        .windows(2 * COPIES as usize)
        .filter(|w| w[0] > w[w.len() - 1])
        .count();
    assert_eq!(late, 0, "earliest first");
    assert_eq!(world.count(EventKind::AssetArchived).await, WAVE as usize, "G5");
    assert_eq!(world.count(EventKind::TaskCompleted).await, WAVE as usize);
    assert_eq!(
        world.count(EventKind::AssetAtRisk).await,
        WAVE as usize,
        "and never again"
    );
    assert_eq!(
        world.store.figures(world.now()).await.unwrap().oldest_archive_by,
        None
    );
    let took = last_archived(&world).await.since(healed);
    println!("wave {WAVE}: {burnt} requests in 90 min without the store; drained in {took:?}");
}

async fn last_archived(world: &World) -> Timestamp {
    let events = world.events().await;
    events
        .iter()
        .filter(|e| e.kind == EventKind::AssetArchived)
        .map(|e| e.at)
        .max()
        .unwrap()
}

/// Between what waits for its first copy and what waits for another try.
#[tokio::test]
async fn g6_first_copies_and_retries_stand_in_one_line() {
    let world = World::with_copiers(policy(), 1);
    for (n, hours) in [(1, 30), (2, 10), (3, 20)] {
        world.store.adopt(discovered(n, hours * HOUR)).await.unwrap();
    }
    world.bucket.down();
    world.live_for(10 * MINUTE).await;
    world.store.adopt(discovered(4, 15 * HOUR)).await.unwrap();
    world.store.adopt(discovered(5, 5 * HOUR)).await.unwrap();
    world.live_for(2 * MINUTE).await;
    world.bucket.up();
    world.live_for(10 * MINUTE).await;
    let order: Vec<String> = world
        .bucket
        .order()
        .iter()
        .map(|k| k.split('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(order, [5, 2, 4, 3, 1].map(|n| id(n).to_string()));
}

/// One object that the store cannot take holds up nobody.
#[tokio::test]
async fn f8_an_object_that_fails_alone_does_not_stop_the_others() {
    let world = World::new();
    world.bucket.refuses(&id(0).to_string());
    world.store.adopt(discovered(0, HOUR)).await.unwrap();
    for n in 1..50 {
        world.store.adopt(discovered(n, 2 * HOUR)).await.unwrap();
    }
    world.live_for(10 * MINUTE).await;
    assert_eq!(world.bucket.order().len(), 49);
    assert_eq!(world.status(0).await, "archiving");
    assert!(world.bucket.refused() < 60, "{} tries", world.bucket.refused());
}
