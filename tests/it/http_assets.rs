//! `/v1/assets`, and a task's own webhook at submission.

use crate::harness::{Service, answer, avatar, avatar_with};
use catchment::domain::asset::{ObjectKey, SourceUrl, Stored};
use catchment::domain::backoff::Jitter;
use catchment::domain::file::{Asked, CopyOutcome};
use catchment::domain::ids::{Digest, ResultId, TaskId};
use catchment::domain::lease::Fence;
use catchment::domain::report::{Item, Report, Success};
use catchment::domain::task::Submission;
use catchment::domain::time::Timestamp;
use catchment::ports::store::{Claim, Leases as _, TaskStore as _};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

/// Submits a task and has the provider show one result of this name.
async fn with_result(service: &Service, name: &str) -> String {
    let id = service
        .submit(&avatar_with("catchment", json!({"labels": {"a": "b"}})))
        .await;
    let store = &service.store;
    let task = TaskId::parse(&id).unwrap();
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(60),
        limit: 1,
    };
    let lease = store.claim_submissions(claim).await.unwrap().remove(0);
    let fence = Fence::Task {
        id: task,
        epoch: lease.epoch,
    };
    let policy = crate::harness::policy();
    let submitted = lease
        .item
        .submitted(Submission::Confirmed, &policy, NOW, Jitter(0.5));
    store.commit(submitted, fence).await.unwrap();
    let file = store.task(None, task).await.unwrap().unwrap();
    let success = Success {
        result: ResultId::given(name).unwrap(),
        source: SourceUrl("https://vm.runware.ai/a.mp4?secret".to_owned()),
        cost: Some(1.5),
        nsfw: None,
    };
    let asked = Asked {
        answer: Some(Report {
            items: vec![Item::Success(success)],
            ..Report::default()
        }),
        claims: vec![],
        at_least: None,
    };
    let told = file.ingest(asked, &policy, NOW, Jitter(0.5));
    store.commit(told, Fence::Version).await.unwrap();
    id
}

async fn archive(service: &Service, key: &str) {
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(60),
        limit: 1,
    };
    let lease = service.store.claim_copies(claim).await.unwrap().remove(0);
    let stored = Stored {
        bucket: "films".to_owned(),
        key: ObjectKey(key.to_owned()),
        size_bytes: 5,
        sha256: Digest::of(b"video"),
        content_type: "video/mp4".to_owned(),
        duration_ms: Some(5_000),
        width: Some(1_080),
        height: Some(1_920),
        archived_at: NOW,
    };
    let fence = Fence::Asset {
        id: lease.item.asset.clone(),
        epoch: lease.epoch,
    };
    let outcome = CopyOutcome::Archived(stored);
    let done = lease.item.file.copied(
        &lease.item.asset.result,
        outcome,
        &crate::harness::policy(),
        NOW,
        Jitter(0.5),
    );
    service.store.commit(done, fence).await.unwrap();
}

#[actix_web::test]
async fn an_asset_is_shown_and_read_through_a_short_link() {
    let service = Service::start().await;
    let id = with_result(&service, "a b/c").await;
    let path = format!("/v1/assets/{id}/a%20b%2Fc");
    let pending = service.get(&path).await;
    assert_eq!(
        (pending.status.as_u16(), &pending.body["status"]),
        (200, &json!("pending"))
    );
    assert!(
        !pending.text.contains("secret"),
        "no provider link: {}",
        pending.text
    );
    let refused = service.get(&format!("{path}/content")).await;
    refused.is_problem(409, "asset_not_archived");
    assert_eq!(refused.body["retryable"], true);

    archive(&service, "t/\u{e9} 1.mp4").await;
    let shown = service.get(&path).await.body;
    for (name, value) in [
        ("taskUUID", json!(id)),
        ("resultId", json!("a b/c")),
        ("status", json!("archived")),
        ("model", json!("klingai:avatar@2.0-pro")),
        ("labels", json!({"a": "b"})),
        ("cost", json!(1.5)),
        ("bucket", json!("films")),
        ("key", json!("t/\u{e9} 1.mp4")),
        ("size", json!(5)),
        ("duration", json!(5.0)),
    ] {
        assert_eq!(shown[name], value, "{name}: {shown:#}");
    }
    let location = |query: &'static str| {
        let path = format!("{path}/content{query}");
        let service = &service;
        async move {
            let client = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap();
            let url = format!("http://{}{path}", service.addr());
            let told = answer(client.get(url).bearer_auth(&service.key)).await;
            assert_eq!((told.status.as_u16(), told.text.as_str()), (302, ""));
            assert_eq!(told.header("cache-control"), Some("no-store"));
            told.header("location").unwrap().to_owned()
        }
    };
    assert!(location("").await.ends_with("?for=900&name="));
    assert!(location("?download=0").await.ends_with("&name="));
    assert!(location("?download=1").await.ends_with("&name=%C3%A9%201.mp4"));
    service
        .get(&format!("{path}/content?download=maybe"))
        .await
        .is_problem(400, "invalid_query");
    service
        .get(&format!("{path}/content?size=1"))
        .await
        .is_problem(400, "invalid_query");
}

#[actix_web::test]
async fn t1_an_asset_is_found_by_its_owner_alone() {
    let service = Service::start().await;
    let id = with_result(&service, "r1").await;
    archive(&service, "t/r1.mp4").await;
    let stranger = service.key_of("stranger").await;
    for path in [
        format!("/v1/assets/{id}/r1"),
        format!("/v1/assets/{id}/r1/content"),
    ] {
        let theirs = answer(service.request_by(&stranger, Method::GET, &path)).await;
        theirs.is_problem(404, "not_found");
        answer(service.anonymous(Method::GET, &path))
            .await
            .is_problem(401, "unauthorized");
    }
    for path in [
        "/v1/assets/x/r1",
        "/v1/assets/00000000-0000-4000-8000-000000000000/r1",
    ] {
        service.get(path).await.is_problem(404, "not_found");
    }
    service
        .get(&format!("/v1/assets/{id}/r2"))
        .await
        .is_problem(404, "not_found");
    service
        .get(&format!("/v1/assets/{id}/r2/content"))
        .await
        .is_problem(404, "not_found");
}

/// T9, G9: all faults at once, and nothing half-created.
#[actix_web::test]
async fn t9_a_forbidden_webhook_is_refused_at_submission() {
    let service = Service::start().await;
    let forbidden = [
        "http://hooks.example/",
        "https://127.0.0.1/x",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest",
        "https://user:pw@hooks.example/",
        "https://2130706433/",
        "https://hooks.example:22/",
    ];
    for url in forbidden {
        let refused = service
            .post("/v1/tasks", &avatar_with("webhookURL", json!(url)))
            .await;
        refused.is_problem(422, "invalid_task");
        assert_eq!(refused.faults(), [("/webhookURL", "not_allowed")], "{url}");
        assert!(!refused.text.contains("pw@"), "{}", refused.text);
    }
    let mut other = avatar_with("webhookURL", json!("https://10.0.0.1/"));
    other["model"] = json!("runware:1@1");
    let good = avatar_with("webhookURL", json!("https://hooks.example/a?token=1"));
    let mut late = avatar_with("webhookURL", json!("https://hooks.example/b"));
    late["ttl"] = json!(3);
    let all = service.post("/v1/tasks", &json!([good, other, late])).await;
    all.is_problem(422, "invalid_task");
    assert_eq!(
        all.faults(),
        [("/2/ttl", "out_of_range"), ("/1/webhookURL", "not_allowed")]
    );
    assert_eq!(service.get("/v1/tasks").await.body["data"], json!([]));

    let id = service.submit(&good).await;
    let again = service.post("/v1/tasks", &with_id(&good, &id)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let mut moved = with_id(&good, &id);
    moved["webhookURL"] = json!("https://hooks.example/elsewhere");
    service
        .post("/v1/tasks", &moved)
        .await
        .is_problem(409, "task_uuid_conflict");
    assert_eq!(
        service.get("/v1/endpoints").await.body["data"],
        json!([]),
        "it is no endpoint"
    );
    let shown = service.get(&format!("/v1/tasks/{id}")).await.text + &service.get("/v1/events").await.text;
    assert!(!shown.contains("hooks.example"), "{shown}");
    let document = service
        .store
        .document(TaskId::parse(&id).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(
        !document.contains("hooks.example"),
        "the provider never sees it: {document}"
    );
}

fn with_id(task: &Value, id: &str) -> Value {
    let mut task = task.clone();
    task["taskUUID"] = json!(id);
    task
}

#[actix_web::test]
async fn nothing_is_dead_yet_and_so_nothing_is_redriven() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let path = format!("/v1/tasks/{id}/webhook/redrive");
    let told = service.post(&path, &json!({})).await;
    assert_eq!((told.status.as_u16(), &told.body), (202, &json!({"redriven": 0})));
    let stranger = service.key_of("stranger").await;
    answer(service.request_by(&stranger, Method::POST, &path))
        .await
        .is_problem(404, "not_found");
}
