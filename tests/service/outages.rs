//! F8, F11, F15, F25: what is down is waited for, in order, and told; callbacks are taken meanwhile.

use crate::outside::{Outside, Serve, pause, until};
use crate::wire::Wire;
use crate::world::{task, uuid};
use catchment::simulator::{Faults, Options};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

fn of_type(events: &[Value], kind: &str) -> Vec<String> {
    let told = events.iter().filter(|e| e["type"] == kind);
    told.map(|e| e["data"]["taskUUID"].as_str().unwrap().to_owned())
        .collect()
}

async fn submit_ordered(serve: &Serve, range: std::ops::Range<usize>) {
    for n in range {
        // The last one's link dies first.
        let mut sample = task(n, "");
        sample["ttl"] = json!(3_600 * (20 - n));
        serve.submit(&sample).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_f11_without_its_object_store_results_wait_in_order() {
    let mut outside = Outside::start().await;
    let mut store = Wire::to(outside.s3.endpoint().as_str());
    outside.set("CATCHMENT_S3__ENDPOINT", store.url());
    outside.set("CATCHMENT_ARCHIVE__CONCURRENCY", "1");
    // Down before the start.
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    serve.wait_degraded("object_store").await;
    submit_ordered(&serve, 0..4).await;
    for n in 0..4 {
        let known = |t: &Value| t["assets"].as_array().is_some_and(|a| a.len() == 1);
        serve.wait_task(&uuid(n), "the result is known", known).await;
    }
    let stats = outside.simulator.stats();
    assert_eq!(
        (stats.callbacks_answered, stats.callbacks_given_up),
        (4, 0),
        "callbacks are taken"
    );
    assert!(of_type(&serve.events().await, "asset.archived").is_empty());
    serve.wait_degraded("object_store").await;

    store.up();
    serve.wait_settled(4).await;
    serve.wait_fine("object_store").await;

    // And in the middle of the run.
    store.down().await;
    submit_ordered(&serve, 4..8).await;
    serve.wait_degraded("object_store").await;
    for n in 4..8 {
        let known = |t: &Value| t["assets"].as_array().is_some_and(|a| a.len() == 1);
        serve.wait_task(&uuid(n), "the result is known", known).await;
    }
    for n in 4..8 {
        let waiting = serve.task(&uuid(n)).await;
        assert!(["pending", "archiving"].contains(&waiting["assets"][0]["status"].as_str().unwrap()));
    }
    store.up();
    serve.wait_settled(8).await;
    serve.wait_fine("object_store").await;
    let events = serve.events().await;
    assert_eq!(of_type(&events, "task.completed").len(), 8);
    assert_eq!(of_type(&events, "asset.archived").len(), 8, "G5");
    outside.wait_for_deliveries(&events, "after the outage").await;
    serve.stop().await;
}

/// G6: of all that waits, what dies first is copied first.
#[tokio::test(flavor = "multi_thread")]
async fn g6_after_an_outage_the_shortest_time_left_goes_first() {
    let mut outside = Outside::start().await;
    let mut store = Wire::to(outside.s3.endpoint().as_str());
    outside.set("CATCHMENT_S3__ENDPOINT", store.url());
    outside.set("CATCHMENT_ARCHIVE__CONCURRENCY", "1");
    let mut serve = Serve::start(&outside, None).await;
    submit_ordered(&serve, 0..6).await;
    for n in 0..6 {
        let known = |t: &Value| t["assets"].as_array().is_some_and(|a| a.len() == 1);
        serve.wait_task(&uuid(n), "the result is known", known).await;
    }
    serve.stop().await;
    // Started again, everything that waits is due; only its deadline says which is first.
    for _ in 0..60 {
        pause().await; // past the longest back-off, `retry.max_interval`
    }
    store.up();
    let mut serve = Serve::start(&outside, None).await;
    serve.wait_settled(6).await;
    let done = of_type(&serve.events().await, "asset.archived");
    assert_eq!(done, (0..6).rev().map(uuid).collect::<Vec<_>>());
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_without_its_provider_tasks_are_accepted_and_held() {
    let mut outside = Outside::start().await;
    let mut provider = Wire::to(&outside.simulator.cdn_url());
    outside.set("CATCHMENT_RUNWARE__BASE_URL", format!("{}/v1", provider.url()));
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..6 {
        let entries = serve.submit(&task(n, "")).await;
        assert_eq!(entries[0]["status"], "accepted");
    }
    serve.wait_degraded("provider").await;
    for n in 0..6 {
        let t = serve.task(&uuid(n)).await;
        assert!(
            ["accepted", "submitting"].contains(&t["status"].as_str().unwrap()),
            "{t:#}"
        );
    }
    assert_eq!(outside.simulator.stats().accepted, 0);

    provider.up();
    serve.wait_settled(6).await;
    serve.wait_fine("provider").await;
    let generations = outside.simulator.generations();
    assert_eq!(generations.len(), 6);
    assert!(
        generations.iter().all(|g| (g.accepted, g.conflicts) == (1, 0)),
        "I3"
    );

    // Gone after it took the task: the status query comes late, the task does not fail.
    serve.submit(&task(6, "render=1h")).await;
    serve.wait_status(&uuid(6), "submitted").await;
    provider.down().await;
    serve.wait_degraded("provider").await;
    outside.simulator.advance(Duration::from_secs(7200));
    until("the callback is taken all the same", || {
        outside.generation(&uuid(6)).unwrap().results[0].callbacks_answered == 1
    })
    .await;
    assert_eq!(
        serve.task(&uuid(6)).await["status"],
        "submitted",
        "a claim is not the truth"
    );
    provider.up();
    serve.wait_status(&uuid(6), "completed").await;
    serve.stop().await;
}

/// The account is refused: nothing is sent but a probe now and then, and one that goes through opens the queue.
#[tokio::test(flavor = "multi_thread")]
async fn f15_a_refused_account_parks_the_queue_until_a_probe_goes_through() {
    for status in ["401", "402"] {
        let refused = |n: f64| {
            let mut faults = Faults::none();
            faults.refuse_submit = n;
            faults.set("refuse-submit-with", Some(status)).unwrap();
            faults
        };
        let mut outside = Outside::with(Options {
            faults: refused(1.0),
            ..Options::default()
        })
        .await;
        outside.set("CATCHMENT_RETRY__MAX_INTERVAL", "2s");
        let mut serve = Serve::start(&outside, None).await;
        let all: Vec<Value> = (0..20).map(|n| task(n, "")).collect();
        serve.submit(&json!(all)).await;
        let code = serve.wait_degraded("provider").await;
        assert!(code.starts_with("parked"), "{code}");
        let before = outside.simulator.stats().submissions_refused;
        until("a probe", || {
            outside.simulator.stats().submissions_refused > before
        })
        .await;
        let tried = outside.simulator.stats().submissions_refused;
        assert!(
            tried <= 8,
            "{tried} of 20 were sent to a provider that refuses the account"
        );
        let tasks = serve.tasks().await;
        assert!(
            tasks
                .iter()
                .all(|t| ["accepted", "submitting"].contains(&t["status"].as_str().unwrap())),
            "held, not rejected: {tasks:#?}"
        );

        outside.simulator.set_faults(refused(0.0));
        serve.wait_settled(20).await;
        assert!(serve.tasks().await.iter().all(|t| t["status"] == "completed"));
        assert!(
            outside.simulator.generations().iter().all(|g| g.accepted == 1),
            "I3"
        );
        serve.wait_fine("provider").await;
        serve.stop().await;
    }
}

/// F25: work in hand on every queue, a consumer that never answers, and the signal twice.
#[tokio::test(flavor = "multi_thread")]
async fn f25_a_stop_signal_under_load_ends_in_time_and_loses_nothing() {
    let outside = Outside::start().await;
    let mute = TcpListener::bind("127.0.0.1:0").unwrap(); // connects, and nobody reads
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    let url = format!("http://{}/", mute.local_addr().unwrap());
    let made = serve
        .post(
            "/v1/endpoints",
            &json!({ "url": url, "types": ["task.accepted"] }),
            None,
        )
        .await;
    assert_eq!(made.unwrap().status(), 201);
    for n in 0..12 {
        // Some files would take minutes.
        let simulate = if n % 3 == 0 {
            "download-rate=1000;video-size=400000"
        } else {
            ""
        };
        serve.submit(&task(n, simulate)).await;
    }
    let slow: Vec<String> = (0..12).filter(|n| n % 3 == 0).map(uuid).collect();
    let begun = |times: u32| {
        let all = outside.simulator.generations();
        let downloads = |id: &String| {
            let found = all.iter().find(|g| g.task_uuid.to_string() == *id);
            found.map_or(0, |g| g.results[0].downloads)
        };
        slow.iter().all(|id| downloads(id) >= times)
    };
    until("the slow copies are under way", || begun(1)).await;
    serve.signal("TERM");
    pause().await;
    serve.signal("TERM");
    serve.stop().await;

    let mut serve = Serve::start(&outside, None).await;
    for id in (0..12).map(uuid).filter(|id| !slow.contains(id)) {
        serve.wait_status(&id, "completed").await;
    }
    // A copy that was dropped is taken up again at once: its lease was given back.
    until("the slow copies are begun again", || begun(2)).await;
    assert!(
        !outside.log().contains("taking up the work of the process before"),
        "leases were given back"
    );
    assert!(
        outside.simulator.generations().iter().all(|g| g.accepted == 1),
        "I3"
    );
    let stopped = serve.events().await;
    outside.wait_for_deliveries(&stopped, "after the stop").await;
    // A kill is as good as a stop, and does not wait for the slow ones.
    serve.child.kill().unwrap();
}
