//! CloudEvents as the official SDK for Python understands them.

use crate::hook::Hook;
use crate::outside::{Outside, Serve, until};
use crate::world::{task, uuid};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the SDK makes of each delivery.
fn read(deliveries: &[Value]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join(".venv/bin/python");
    let python = if own.exists() { own } else { "python3".into() };
    let mut sdk = Command::new(python)
        .arg(root.join("tests/tools/read_cloudevents.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = sdk.stdin.take().unwrap();
    for delivery in deliveries {
        writeln!(lines, "{delivery}")
            .expect("the official SDK `cloudevents` runs: `tools/setup tests` installs it");
    }
    drop(lines);
    let told = sdk.wait_with_output().unwrap();
    assert!(
        told.status.success(),
        "`tools/setup tests` installs the official SDK `cloudevents`"
    );
    let told = String::from_utf8(told.stdout).unwrap();
    told.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_every_cloudevent_is_read_by_the_official_sdk_and_tells_the_event_of_the_log() {
    let outside = Outside::start().await;
    let hook = Hook::start(&[]);
    let mut serve = Serve::start(&outside, None).await;
    let types = [
        "task.accepted",
        "task.submitted",
        "asset.discovered",
        "asset.archived",
        "task.completed",
        "task.partial",
    ];
    let body = json!({ "url": format!("{}/ce", hook.origin), "format": "cloudevents", "types": types });
    let created = serve.post("/v1/endpoints", &body, None).await.unwrap();
    assert_eq!(created.status(), 201);
    assert_eq!(created.json::<Value>().await.unwrap()["format"], "cloudevents");
    let mut two = task(0, "fail=1");
    two["numberResults"] = json!(2);
    two["catchment"] = json!({ "labels": { "name": "Zo\u{eb} \"quoted\" \u{1f3ac}" } });
    serve.submit(&two).await;
    serve.submit(&task(1, "")).await;
    serve.wait_settled(2).await;
    let log = serve.events().await;
    until("all were sent", || hook.taken().len() >= log.len()).await;
    let taken = hook.taken();
    let deliveries: Vec<Value> = log
        .iter()
        .map(|e| &taken[e["id"].as_str().unwrap()])
        .map(|c| json!({ "headers": { "content-type": c.headers["content-type"] }, "body": c.raw }))
        .collect();
    let mut sources = vec![];
    for (told, event) in read(&deliveries).iter().zip(&log) {
        let kind = event["type"].as_str().unwrap();
        let of = |name: &str| {
            told["attributes"][name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {told:#}"))
                .to_owned()
        };
        assert_eq!(of("specversion"), "1.0");
        assert_eq!(of("id"), event["id"]);
        assert_eq!(of("type"), format!("catchment.{kind}.v1"));
        assert_eq!(of("subject"), event["data"]["taskUUID"]);
        assert_eq!(of("partitionkey"), event["data"]["taskUUID"]);
        assert_eq!(
            of("sequence"),
            format!("{:020}", event["sequence"].as_u64().unwrap())
        );
        assert_eq!(of("datacontenttype"), "application/json");
        let time = event["timestamp"].as_str().unwrap();
        assert_eq!(of("time")[..19].replace(' ', "T"), time[..19]);
        assert!(told["attributes"].get("expirytime").is_none());
        assert_eq!(told["data"], event["data"]);
        // The check can fail.
        let refused = told["refused"].as_object().unwrap();
        assert!(
            refused.len() == 6 && refused.values().all(|r| *r == true),
            "{told:#}"
        );
        sources.push(of("source"));
    }
    assert_eq!(sources.len(), log.len());
    sources.dedup();
    assert_eq!(sources.len(), 1, "one instance: {sources:?}");
    let instance = sources[0].strip_prefix("/catchment/").unwrap();
    assert!(
        instance.len() == 32 && instance.bytes().all(|b| b.is_ascii_hexdigit()),
        "{instance}"
    );
    serve.stop().await;
}

/// The provider's own shape for an ordinary endpoint: signed, for those events only that have such a shape.
#[tokio::test(flavor = "multi_thread")]
async fn g7_an_endpoint_may_ask_for_the_providers_shape() {
    let outside = Outside::start().await;
    let hook = Hook::start(&[]);
    let mut serve = Serve::start(&outside, None).await;
    let types = ["task.accepted", "asset.archived", "task.completed", "task.failed"];
    let body = json!({ "url": format!("{}/rw", hook.origin), "format": "runware", "types": types });
    let created = serve.post("/v1/endpoints", &body, None).await.unwrap();
    assert_eq!(created.status(), 201);
    serve.submit(&task(0, "")).await;
    serve.submit(&task(1, "fail")).await;
    serve.wait_settled(2).await;
    until("both were sent", || hook.taken().len() >= 2).await;
    let taken: Vec<_> = hook.taken().into_values().collect();
    assert_eq!(taken.len(), 2, "{taken:#?}");
    assert!(
        taken
            .iter()
            .all(|c| c.headers["webhook-signature"].starts_with("v1,"))
    );
    let done = taken.iter().find_map(|c| c.body["data"].get(0)).unwrap();
    assert_eq!(
        (&done["taskUUID"], &done["status"]),
        (&json!(uuid(0)), &json!("success"))
    );
    let file = serve
        .client
        .get(done["videoURL"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(file.status(), 200);
    let failed = taken.iter().find_map(|c| c.body["errors"].get(0)).unwrap();
    assert_eq!(failed["taskUUID"], uuid(1));
    serve.stop().await;
}
