//! F15, F26: the provider's budget is kept. An outage costs a probe now and then, its end is no storm, what is asked to
//! wait waits, and what the clock alone decides waits for nobody.

use crate::core::{Call, DAY, HOUR, IN_FLIGHT, MINUTE, Mood, World, id, policy, video};
use catchment::domain::file::Policy;
use catchment::domain::task::{Submission, TaskReason};
use catchment::domain::time::Timestamp;
use catchment::ports::health::Component;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn during(world: &World, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Call)> {
    let mut calls = world.runware.calls();
    calls.retain(|(at, _)| from <= *at && *at < to);
    calls
}

fn degraded(world: &World) -> Option<String> {
    let all = world.health.degraded();
    all.into_iter()
        .find(|d| d.component == Component::Provider)
        .map(|d| d.code)
}

#[tokio::test]
async fn f15_f26_a_days_outage_costs_probes_and_its_end_is_no_storm() {
    const TASKS: u32 = 400;
    let mut world = World::with(Policy {
        retry_max_interval: 10 * MINUTE,
        ..policy()
    });
    // Half of them are at the provider, half are still to be sent.
    world.accept(0..TASKS / 2, 1).await;
    world.live_for(SECOND).await;
    assert_eq!(world.runware.calls_of(Call::Submit), (TASKS / 2) as usize);
    world.runware.is(Mood::Away);
    world.accept(TASKS / 2..TASKS, 1).await;
    let from = world.now();
    world.live_for(DAY).await;
    let probes = during(&world, from, world.now()).len();
    // Two queues, each between half of `retry.max_interval` and all of it, and the failures that shut them.
    assert!(
        probes <= 2 * (24 * 60 / 5 + 20),
        "{probes} requests in a day without an answer"
    );
    assert_eq!(degraded(&world).as_deref(), Some("unreachable"));

    // Back, each round of requests takes 200 ms.
    for n in 0..TASKS {
        world.runware.shows(id(n), vec![video("r", &n.to_string())]);
    }
    world.runware.is(Mood::Fine);
    world.round = Duration::from_millis(200);
    let healed = world.now();
    world.live_for(HOUR).await;
    for n in 0..TASKS {
        assert_eq!(world.status(n).await, "completed", "task {n}");
    }
    assert!(world.runware.bought().values().all(|n| *n == 1), "I3");
    let calls = during(&world, healed, world.now());
    let at_once = |at: Timestamp| calls.iter().filter(|(t, _)| *t == at).count();
    let most = calls.iter().map(|(t, _)| at_once(*t)).max().unwrap();
    assert!(most <= 2 * IN_FLIGHT as usize, "{most} requests at one moment");
    assert_eq!(at_once(calls[0].0), 1, "one first, then more");
    assert_eq!(degraded(&world), None);
    println!("outage of a day with {TASKS} tasks: {probes} probes; at most {most} requests at once after it");
}

#[tokio::test]
async fn i12_retry_after_is_obeyed_by_the_whole_queue() {
    let world = World::new();
    world.accept(0..100, 1).await;
    world.runware.is(Mood::Busy(Duration::from_secs(300)));
    world.live_for(SECOND).await;
    let first = world.runware.calls().len();
    assert!(first <= IN_FLIGHT as usize, "{first}");
    let asked = world.now();
    world.live_for(Duration::from_secs(298)).await;
    assert_eq!(during(&world, asked, world.now()).len(), 0);
    world.runware.is(Mood::Fine);
    world.live_for(10 * MINUTE).await;
    assert_eq!(world.runware.bought().len(), 100);
}

#[tokio::test]
async fn f15_a_refused_account_parks_submissions_and_not_the_queries_it_still_answers() {
    let world = World::new();
    world.accept(0..10, 1).await;
    world.live_for(SECOND).await;
    world.runware.takes_submissions(Mood::NoCredit);
    world.accept(10..60, 1).await;
    let from = world.now();
    for n in 0..10 {
        world.runware.shows(id(n), vec![video("r", &n.to_string())]);
    }
    world.live_for(HOUR).await;
    let sent = during(&world, from, world.now())
        .iter()
        .filter(|(_, c)| *c == Call::Submit)
        .count();
    assert!(
        sent <= IN_FLIGHT as usize + 60,
        "{sent} submissions in an hour: a probe a minute"
    );
    assert_eq!(
        degraded(&world).as_deref(),
        Some("parked: insufficientCredits"),
        "though queries are answered"
    );
    for n in 0..10 {
        assert_eq!(world.status(n).await, "completed");
    }
    world.runware.takes_submissions(Mood::Fine);
    world.live_for(2 * MINUTE).await;
    assert_eq!(
        world.runware.bought().len(),
        60,
        "one probe went through, and the queue is open"
    );
    assert_eq!(degraded(&world), None);

    // A refused key is refused to queries as well: those are parked likewise.
    world.runware.is(Mood::NoCredit);
    let from = world.now();
    world.live_for(HOUR).await;
    let asked = during(&world, from, world.now()).len();
    assert!(
        (30..=70).contains(&asked),
        "{asked} questions in an hour: a probe a minute"
    );
    assert_eq!(degraded(&world).as_deref(), Some("parked: invalidApiKey"));
    world.runware.is(Mood::Fine);
    world.live_for(10 * MINUTE).await;
    assert_eq!(degraded(&world), None);
}

#[tokio::test]
async fn a_parked_queue_does_not_hold_back_what_the_clock_alone_decides() {
    let world = World::with(Policy {
        max_hold: 2 * DAY,
        retry_max_interval: HOUR,
        ..policy()
    });
    // In doubt: taken, perhaps, and the answer was lost; then the account is refused.
    world.runware.is(Mood::Mute);
    world.accept(1..2, 1).await;
    world.live_for(Duration::from_millis(10)).await;
    assert_eq!(world.status(1).await, "submitting");
    world.runware.takes_submissions(Mood::NoCredit);
    world.accept(2..40, 1).await;
    world.runware.takes_queries(Mood::Fine);
    world.live_for(11 * MINUTE).await;
    let file = world.file(1).await;
    assert_eq!(
        (world.status(1).await.as_str(), file.task.submission),
        ("submitted", Submission::Unconfirmed)
    );
    assert!(
        degraded(&world).unwrap().starts_with("parked"),
        "no answer was needed for that"
    );
    world.live_for(DAY + HOUR).await;
    let verdict = world.file(1).await.task.state.verdict().cloned().unwrap();
    assert_eq!(verdict.reason, Some(TaskReason::SubmissionUnconfirmed));
    // And what was never sent is held for as long as it may be, no longer.
    world.live_for(DAY).await;
    for n in 2..40 {
        let verdict = world.file(n).await.task.state.verdict().cloned();
        assert_eq!(
            verdict.and_then(|v| v.reason),
            Some(TaskReason::NotSubmitted),
            "task {n}"
        );
    }
    assert!(world.runware.bought().is_empty());
}

/// A probe may be spent on a task whose time is over: nothing is sent for it, so the next one goes in its place.
#[tokio::test]
async fn f15_a_probe_that_asks_nothing_of_the_account_does_not_hold_the_parked_queue_another_interval() {
    let world = World::with(Policy {
        max_hold: HOUR,
        retry_max_interval: HOUR,
        ..policy()
    });
    world.runware.is(Mood::NoCredit);
    // More than the clock's own sweep settles before the probe goes: the oldest of the rest are probed with.
    world.accept(0..300, 1).await;
    world.live_for(MINUTE).await;
    world.accept(300..301, 1).await;
    world.live_for(HOUR - 2 * MINUTE).await;
    world.runware.is(Mood::Fine);
    world.live_for(3 * MINUTE).await;
    assert_eq!(world.status(300).await, "submitted");
    assert_eq!(world.runware.bought().len(), 1, "the others were held too long");
}

#[tokio::test]
async fn f15_a_task_found_at_the_provider_does_not_unpark_the_queue() {
    let world = World::new();
    world.runware.is(Mood::Mute);
    world.accept(1..5, 1).await;
    world.live_for(Duration::from_millis(10)).await;
    for n in 1..5 {
        assert_eq!(world.status(n).await, "submitting");
    }
    world.runware.is(Mood::Fine);
    world.runware.takes_submissions(Mood::NoCredit);
    world.accept(5..40, 1).await;
    world.live_for(2 * MINUTE).await;
    for n in 1..5 {
        world.runware.shows(id(n), vec![video("r", &n.to_string())]);
    }
    let from = world.now();
    world.live_for(5 * MINUTE).await;
    for n in 1..5 {
        assert_eq!(world.status(n).await, "completed");
    }
    let calls = during(&world, from, world.now());
    let sent = calls.iter().filter(|(_, c)| *c == Call::Submit).count();
    println!("{sent} submissions while parked");
    assert!(sent <= 6, "{sent} submissions in 5 minutes: a probe a minute");
    assert_eq!(degraded(&world).as_deref(), Some("parked: insufficientCredits"));
}
