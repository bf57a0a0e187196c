//! T6, T7, G8: whoever holds a callback address can wake us, and nothing else.

use crate::outside::{Outside, Serve, files, until};
use crate::world::{queries, task, uuid};
use catchment::simulator::ResultState;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::Duration;

/// A result that nobody made.
const FORGED: &str = "f0f0f0f0-0000-4000-8000-000000000001";

fn success(task: &str, link: &str) -> Value {
    json!({ "data": [{ "taskType": "videoInference", "taskUUID": task, "status": "success",
        "videoUUID": FORGED, "videoURL": link, "cost": 0.01 }] })
}

fn failure(task: &str) -> Value {
    json!({ "errors": [{ "code": "timeoutProvider", "status": "error", "message": "forged",
        "taskUUID": task, "taskType": "videoInference" }] })
}

/// Sends the lie and waits until the provider was asked twice because of it: the second time, it was weighed.
async fn lie(outside: &Outside, serve: &Serve, told_about: &str, body: &Value) {
    let url = outside.callback_url(serve, told_about).await;
    let before = queries(&serve.task(told_about).await);
    assert_eq!(
        serve.call_back(&url, body).await,
        200,
        "a valid token is answered with 2xx"
    );
    serve
        .wait_task(told_about, "the provider is asked", |t| queries(t) >= before + 2)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_t7_lies_before_the_truth_change_nothing() {
    let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap(); // reachable, and not an allowed host
    elsewhere.set_nonblocking(true).unwrap();
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_CALLBACK__TRUST_AFTER", "1s");
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    for n in 0..4 {
        serve.submit(&task(n, "render=1h")).await;
        serve.wait_status(&uuid(n), "submitted").await;
    }
    // A real file on an allowed host, made for somebody else.
    serve.submit(&task(9, "")).await;
    serve.wait_status(&uuid(9), "completed").await;
    let real = outside.generation(&uuid(9)).unwrap().results[0]
        .url
        .clone()
        .unwrap();
    let foreign = format!("http://{}/video/x.mp4", elsewhere.local_addr().unwrap());

    lie(&outside, &serve, &uuid(0), &failure(&uuid(0))).await;
    lie(&outside, &serve, &uuid(1), &success(&uuid(1), &foreign)).await;
    lie(&outside, &serve, &uuid(2), &success(&uuid(2), &real)).await;
    lie(&outside, &serve, &uuid(3), &success(&uuid(0), &real)).await;
    lie(&outside, &serve, &uuid(3), &failure(&uuid(0))).await;
    for n in 0..4 {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(task["status"], "submitted", "{task:#}");
        assert_eq!((&task["assets"], &task["failures"]), (&json!([]), &json!([])));
    }

    outside.simulator.advance(Duration::from_secs(7_200));
    serve.wait_settled(5).await;
    for n in 0..4 {
        let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
        assert_eq!(task["status"], "completed", "{task:#}");
        assert_eq!(task["failures"], json!([]));
        assert_eq!(task["assets"].as_array().unwrap().len(), 1, "{task:#}");
        assert_eq!(
            task["assets"][0]["sha256"],
            truth.results[0].sha256.clone().unwrap()
        );
        assert_eq!(task["assets"][0]["resultId"], truth.results[0].id.to_string());
    }
    assert_eq!(files(&outside.objects()).len(), 5, "one object per real result");
    let seen = elsewhere.accept();
    assert!(
        seen.is_err(),
        "I15: somebody connected to a host that is not allowed"
    );

    // And after the truth: a verdict that stands is not argued with.
    let events = serve.events().await;
    for n in 0..4 {
        let url = outside.callback_url(&serve, &uuid(n)).await;
        for body in [
            failure(&uuid(n)),
            success(&uuid(n), &real),
            success(&uuid(n), &foreign),
        ] {
            assert_eq!(serve.call_back(&url, &body).await, 200);
        }
    }
    serve.submit(&task(10, "")).await;
    serve.wait_status(&uuid(10), "completed").await;
    let about_ten = |e: &&Value| e["data"]["taskUUID"] == uuid(10);
    let after: Vec<_> = serve
        .events()
        .await
        .into_iter()
        .filter(|e| !about_ten(&e))
        .collect();
    assert_eq!(after, events, "lies told after the end tell nothing");
    assert!(serve.tasks().await.iter().all(|t| t["status"] == "completed"));
    serve.stop().await;
}

/// The file and its log together, in bytes.
fn database_size(outside: &Outside) -> u64 {
    let data = outside.dir.path().join("data");
    let size = |name: &str| std::fs::metadata(data.join(name)).map_or(0, |m| m.len());
    size("catchment.db") + size("catchment.db-wal")
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_ten_thousand_replays_do_not_grow_the_file() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_POLL__FIRST_AFTER", "1h"); // nothing else writes meanwhile
    outside.set("CATCHMENT_POLL__MAX_INTERVAL", "1h");
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..2 {
        serve.submit(&task(n, "lose-callbacks")).await;
        serve.wait_status(&uuid(n), "submitted").await;
    }
    let rendered = |n| outside.generation(&uuid(n)).unwrap().results[0].state == ResultState::Succeeded;
    until("both are rendered", || rendered(0) && rendered(1)).await;
    let url = outside.callback_url(&serve, &uuid(0)).await;
    let body =
        json!({ "data": [{ "taskType": "videoInference", "taskUUID": uuid(0), "status": "processing" }] });
    // It wakes us: the status query says that the render is over.
    assert_eq!(serve.call_back(&url, &body).await, 200);
    serve.wait_status(&uuid(0), "completed").await;
    assert_eq!(serve.call_back(&url, &failure(&uuid(0))).await, 200);
    let before = (database_size(&outside), serve.events().await);
    let replays = stream::iter(0..10_000)
        .map(|n| {
            let body = if n % 2 == 0 {
                body.clone()
            } else {
                failure(&uuid(0))
            };
            let (serve, url) = (&serve, &url);
            async move { serve.call_back(url, &body).await }
        })
        .buffer_unordered(32);
    let refused = replays
        .filter(|status| std::future::ready(*status != 200))
        .count()
        .await;
    assert_eq!(refused, 0);
    assert_eq!(
        database_size(&outside),
        before.0,
        "T6: bytes in the database and its log"
    );
    assert_eq!(serve.events().await, before.1);

    // Different bodies are kept up to a limit, then answered and forgotten.
    let url = outside.callback_url(&serve, &uuid(1)).await;
    for n in 0..200 {
        let noise = json!({ "data": [], "noise": n });
        assert_eq!(serve.call_back(&url, &noise).await, 200);
    }
    let line = "catchment_callbacks_received_total{result=\"over_limit\"} ";
    let metrics = serve.metrics().await;
    let over: u64 = metrics
        .lines()
        .find_map(|l| l.strip_prefix(line))
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (136..=200).contains(&over),
        "64 of 200 are kept, {over} were over the limit"
    );
    serve.wait_status(&uuid(1), "completed").await;
    serve.stop().await;
}
