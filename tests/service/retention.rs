//! What is too old goes by itself, is told as gone, and never comes back.

use crate::outside::{Outside, Serve, files, pause};
use crate::world::{task, uuid};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn problem(serve: &Serve, path: &str) -> Value {
    serve.get(path).await.unwrap()
}

/// Waits until a path is answered with this code.
async fn wait_for(serve: &Serve, path: &str, code: &str) -> Value {
    for _ in 0..1500 {
        let answer = problem(serve, path).await;
        if answer["code"] == code {
            return answer;
        }
        pause().await;
    }
    panic!("{path} never answered {code}: {:#}", problem(serve, path).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn g2_g10_what_retention_removed_is_told_as_gone_and_not_revived() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__SCHEDULE", "0s");
    outside.set("CATCHMENT_EVENTS__RETENTION", "3s");
    outside.set("CATCHMENT_TASKS__RETENTION", "3s");
    outside.set("CATCHMENT_TASKS__KEEP_REQUEST", "0s");
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    serve.submit(&task(1, "")).await;
    let callback = outside.callback_url(&serve, &uuid(1)).await;
    let path = format!("/v1/tasks/{}", uuid(1));
    let mut events = vec![];
    // Read as it is written: it will not be there for long.
    while !events.iter().any(|e: &Value| e["type"] == "task.completed") {
        let after = events
            .last()
            .map_or(0, |e: &Value| e["sequence"].as_u64().unwrap());
        let page = problem(&serve, &format!("/v1/events?after={after}&wait=10s")).await;
        events.extend(
            page["data"]
                .as_array()
                .unwrap_or_else(|| panic!("{page:#}"))
                .clone(),
        );
    }
    outside.wait_for_deliveries(&events, "before they go").await;
    wait_for(&serve, &path, "not_found").await;
    let gone = wait_for(&serve, "/v1/events?after=0", "cursor_too_old").await;
    let last = events.last().unwrap()["sequence"].as_u64().unwrap();
    assert!(
        (1..=last).contains(&gone["oldestPosition"].as_u64().unwrap()),
        "{gone:#}"
    );

    // Nor does an endpoint pretend that it will get what is gone.
    let oldest = gone["oldestPosition"].as_u64().unwrap();
    let late = json!({ "url": outside.endpoint.url(), "from": oldest });
    let refused = serve.post("/v1/endpoints", &late, None).await.unwrap();
    assert_eq!(refused.status(), StatusCode::GONE);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["code"], "cursor_too_old");
    assert!(refused["oldestPosition"].as_u64() >= Some(oldest), "{refused:#}");
    let endpoints = problem(&serve, "/v1/endpoints").await;
    assert_eq!(endpoints["data"].as_array().unwrap().len(), 1, "nothing was made");

    // Nothing revives it: a late callback is taken, and changes nothing; the same task is refused.
    assert_eq!(serve.call_back(&callback, &json!({"data": []})).await, 200);
    let again = serve.post("/v1/tasks", &task(1, ""), None).await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT);
    serve.child.kill().unwrap();
    serve.child.wait().unwrap();
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(problem(&serve, &path).await["code"], "not_found");
    assert_eq!(
        problem(&serve, "/v1/events?after=0").await["code"],
        "cursor_too_old"
    );
    // What was paid for stays where it is, and was bought once.
    assert_eq!(files(&outside.objects()).len(), 1);
    assert_eq!(outside.simulator.generations().len(), 1);
    // The log goes on where it was.
    serve.submit(&task(2, "")).await;
    let page = problem(&serve, &format!("/v1/events?after={last}&wait=10s")).await;
    assert!(page["data"][0]["sequence"].as_u64() > Some(last), "{page:#}");
    serve.stop().await;
}
