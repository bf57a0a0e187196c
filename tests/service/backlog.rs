//! F26, F15, and an operator's retry: much that waits, an account that is refused, and what is asked for by hand.

use crate::outside::{Outside, Serve, pause};
use crate::world::{task, uuid};
use catchment::adapters::system::SystemClock;
use catchment::ports::clock::Clock as _;
use catchment::simulator::{Faults, Options};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::Duration;

const BACKLOG: u32 = 100_000;

/// Submitted tasks, all due, as a service that was down for a while finds them.
fn fill(outside: &Outside) {
    let migrated = outside.command().arg("migrate").output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let conn = rusqlite::Connection::open(outside.dir.path().join("data").join("catchment.db")).unwrap();
    let now = SystemClock::start().now().as_millis();
    conn.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BACKLOG}) \
         INSERT INTO tasks (uuid, tenant, version, status, origin, submission, outcome, model, number_results, \
           items_named, labels, ttl_ms, failures, round, event_count, queries, created_at, submitted_at, deadline, \
           attempts, due_at) \
         SELECT unhex(printf('0c0ffee100004000800%013x', i)), 'default', 1, 'submitted', 'submitted', 'confirmed', \
           'open', 'klingai:avatar@2.0-pro', 1, 0, '{{}}', 604800000, '[]', 1, 0, 0, {now} - 60000, {now} - 60000, \
           {now} + 86400000, 0, {now} - 1000 - i % 50000 FROM n"
    ))
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_hundred_thousand_due_tasks_at_start_cause_no_storm() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_POLL__FIRST_AFTER", "3m");
    outside.set("CATCHMENT_POLL__MAX_INTERVAL", "5m");
    fill(&outside);
    let mut serve = Serve::start(&outside, None).await;
    assert!(
        serve.ready_after < Duration::from_secs(2),
        "ready after {:?}",
        serve.ready_after
    );
    // A newcomer is not held up by the backlog: sent, asked about and archived while that is worked off.
    serve.submit(&task(1, "")).await;
    serve.wait_status(&uuid(1), "completed").await;
    for _ in 0..100 {
        pause().await;
    }
    let asked = outside.simulator.stats().queries;
    let ran = serve.age().as_secs_f64();
    // `runware.max_per_second` requests of twenty tasks each, and a second's worth at once.
    assert!(
        (asked as f64) <= 20.0 * 100.0 * (ran + 1.0),
        "{asked} tasks asked about in {ran} s"
    );
    assert!(asked > 100, "and it is being worked off: {asked}");
    println!(
        "backlog of {BACKLOG}: ready after {:?}, {asked} asked about in {ran:.1} s",
        serve.ready_after
    );
    serve.stop().await;
}

/// Queries that the account is refused are parked as well, told as such, and go on by a probe.
#[tokio::test(flavor = "multi_thread")]
async fn f15_queries_of_a_refused_account_are_parked_until_a_probe_goes_through() {
    let refused = |chance: f64| {
        let mut faults = Faults::none();
        faults.refuse_query = chance;
        faults.set("refuse-query-with", Some("401")).unwrap();
        faults
    };
    let mut outside = Outside::with(Options {
        faults: refused(1.0),
        ..Options::default()
    })
    .await;
    outside.set("CATCHMENT_RETRY__MAX_INTERVAL", "2s");
    let mut serve = Serve::start(&outside, None).await;
    serve
        .submit(&json!((0..20).map(|n| task(n, "")).collect::<Vec<_>>()))
        .await;
    let code = serve.wait_degraded("provider").await;
    assert!(code.starts_with("parked"), "{code}");
    for _ in 0..200 {
        pause().await; // four seconds: two probes
    }
    let asked = outside.simulator.stats().queries_refused;
    assert!(
        asked <= 8,
        "{asked} questions to a provider that refuses the account"
    );
    outside.simulator.set_faults(refused(0.0));
    serve.wait_settled(20).await;
    serve.wait_fine("provider").await;
    serve.stop().await;
}

fn catchment(outside: &Outside, serve: &Serve, args: &[&str]) -> Output {
    let mut command: Command = outside.command();
    command
        .args(args)
        .args(["--url", &serve.base])
        .env("CATCHMENT_KEY", &serve.key);
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_what_failed_is_retried_from_the_command_line_and_settles_anew() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_ARCHIVE__MAX_OBJECT_SIZE", "1KiB");
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..3 {
        serve.submit(&task(n, "")).await;
        let failed = serve.wait_status(&uuid(n), "failed").await;
        assert_eq!(failed["assets"][0]["reason"], "too_large", "{failed:#}");
    }
    serve.stop().await;
    outside.settings.clear();
    let mut serve = Serve::start(&outside, None).await;

    let told = catchment(&outside, &serve, &["tasks", "retry", &uuid(0), "--json"]);
    assert!(told.status.success(), "{told:?}");
    let done = serve.wait_status(&uuid(0), "completed").await;
    assert_eq!(done["assets"][0]["round"], 2, "{done:#}");
    let events = serve.events().await;
    let of_first = events
        .iter()
        .filter(|e| e["data"]["taskUUID"] == uuid(0).as_str());
    let kinds: Vec<&str> = of_first.map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds[kinds.len() - 4..],
        [
            "task.failed",
            "task.recovered",
            "asset.archived",
            "task.completed"
        ]
    );

    let again = catchment(&outside, &serve, &["tasks", "retry", &uuid(0)]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("nothing_to_retry"),
        "{again:?}"
    );
    let unasked = catchment(&outside, &serve, &["tasks", "retry", "--reason", "too_large"]);
    assert_eq!(
        unasked.status.code(),
        Some(2),
        "nobody is here to say yes: {unasked:?}"
    );
    let all = ["tasks", "retry", "--reason", "too_large", "--yes", "--json"];
    let told = catchment(&outside, &serve, &all);
    assert_eq!(
        serde_json::from_slice::<Value>(&told.stdout).unwrap(),
        json!({ "count": 2 }),
        "{told:?}"
    );
    for n in 1..3 {
        serve.wait_status(&uuid(n), "completed").await;
    }
    let generations = outside.simulator.generations();
    assert!(
        generations.len() == 3 && generations.iter().all(|g| g.accepted == 1),
        "I3: nothing was bought again"
    );
    serve.stop().await;
}
