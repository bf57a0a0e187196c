//! What a caller is told when something is wrong with us, or with the address.

use crate::harness::{Service, answer, avatar, avatar_with};
use catchment::domain::time::Timestamp;
use catchment::ports::health::Component;
use reqwest::Method;
use serde_json::json;

#[actix_web::test]
async fn g9_without_storage_nothing_is_accepted() {
    let service = Service::start().await;
    let path = service.callback_path(&service.submit(&avatar()).await);
    let ready = answer(service.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(
        (ready.status.as_u16(), &ready.body),
        (200, &json!({"status": "ready", "code": null, "degraded": []}))
    );
    service.store.close().await;

    let refused = service.post("/v1/tasks", &avatar()).await;
    refused.is_problem(503, "storage_unavailable");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(refused.body["retryable"], true);
    let callback = answer(service.anonymous(Method::POST, &path).body("{}")).await;
    callback.is_problem(503, "storage_unavailable");
    assert!(callback.header("retry-after").is_some());
    assert_eq!(
        callback.header("x-request-id"),
        callback.body["requestId"].as_str()
    );

    let ready = answer(service.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        (&ready.body["status"], &ready.body["code"]),
        (&json!("not_ready"), &json!("storage_unavailable"))
    );
    assert_eq!(answer(service.anonymous(Method::GET, "/livez")).await.status, 200);
    assert_eq!(service.get("/v1/tasks").await.status, 200, "reads work");
}

#[actix_web::test]
async fn trouble_elsewhere_is_told_and_turns_nothing_away() {
    let service = Service::start().await;
    let since = Timestamp::from_millis(0);
    service.health.degrade(Component::ObjectStore, "SlowDown", since);
    let ready = answer(service.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.body["degraded"],
        json!([{"component": "object_store", "code": "SlowDown", "since": "1970-01-01T00:00:00.000Z"}])
    );
    // And in the metrics, each by the name it has on the page.
    let (fine, troubled) = (
        "catchment_degraded{component=\"nats\"} 0",
        "{component=\"object_store\"} 1",
    );
    let metrics = answer(service.anonymous(Method::GET, "/metrics")).await.text;
    assert!(metrics.contains(fine) && metrics.contains(troubled), "{metrics}");
    for component in [
        Component::ObjectStorePromises,
        Component::Provider,
        Component::Sources,
        Component::Deliveries,
        Component::Journal,
        Component::Nats,
    ] {
        service.health.degrade(component, "connect", since);
        let metrics = answer(service.anonymous(Method::GET, "/metrics")).await.text;
        let line = format!("catchment_degraded{{component=\"{}\"}} 1", component.as_str());
        assert!(metrics.contains(&line), "{line}");
    }
    service.health.set_not_ready(Some("draining"));
    let ready = answer(service.anonymous(Method::GET, "/readyz")).await;
    assert_eq!(
        (ready.status.as_u16(), &ready.body["code"]),
        (503, &json!("draining"))
    );
}

#[actix_web::test]
async fn f27_a_panic_is_a_500_with_an_id_and_the_service_goes_on() {
    let service = Service::start().await;
    let body = json!({"url": "https://panic.example/"});
    let request = service
        .request(Method::POST, "/v1/endpoints")
        .header("x-request-id", "req-77");
    let failed = answer(request.json(&body)).await;
    failed.is_problem(500, "internal");
    assert_eq!(
        (failed.header("x-request-id"), &failed.body["requestId"]),
        (Some("req-77"), &json!("req-77"))
    );
    assert!(!failed.text.contains("asked to panic"));
    assert_eq!(service.get("/v1/tasks").await.status, 200);
}

#[actix_web::test]
async fn an_unknown_address_or_method_is_a_problem_too() {
    let service = Service::start().await;
    for path in [
        "/",
        "/nope",
        "/v1",
        "/v1/nope",
        "/v1/nothing",
        "/v1/tasks/",
        "/v1/tasks/x/y",
        "/cbx",
        "/v1/tasks/not-a-uuid",
    ] {
        service.get(path).await.is_problem(404, "not_found");
    }
    let cases = [
        (Method::DELETE, "/v1/tasks", "GET, HEAD, POST"),
        (Method::POST, "/v1/events", "GET, HEAD"),
        (Method::PUT, "/v1/endpoints/ep_1", "GET, HEAD, PATCH, DELETE"),
        (Method::POST, "/readyz", "GET, HEAD"),
    ];
    for (method, path, allow) in cases {
        let refused = answer(service.request(method, path)).await;
        refused.is_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), Some(allow));
    }
    let head = answer(service.anonymous(Method::HEAD, "/livez")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[actix_web::test]
async fn every_answer_has_an_id_and_is_neither_kept_nor_guessed_at() {
    let service = Service::start().await;
    let with_id = async |id: &str| {
        let request = service
            .request(Method::GET, "/v1/tasks")
            .header("x-request-id", id);
        answer(request).await.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(with_id("abc-123").await, "abc-123");
    assert_eq!(with_id(&"a".repeat(128)).await, "a".repeat(128));
    for insane in ["a".repeat(129).as_str(), "a b", ""] {
        assert!(with_id(insane).await.starts_with("req_"), "{insane}");
    }
    for path in ["/v1/tasks", "/v1/nope"] {
        let answer = service.get(path).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let version = answer(service.anonymous(Method::GET, "/version")).await;
    assert_eq!(
        version.body,
        json!({"name": "catchment", "version": env!("CARGO_PKG_VERSION")})
    );
    let document = answer(service.anonymous(Method::GET, "/openapi.json")).await;
    assert_eq!(
        (document.text.as_str(), &document.body["openapi"]),
        (catchment::http::document(), &json!("3.1.0"))
    );
}

#[actix_web::test]
async fn g12_no_answer_repeats_a_secret() {
    let service = Service::start().await;
    let canary = "canary-1f00";
    let mut task = avatar_with("positivePrompt", json!(canary));
    task["inputs"]["image"] = json!(format!("https://cdn.example/{canary}"));
    let id = service.submit(&task).await;
    task["ttl"] = json!("x");
    let shown = [
        service.get(&format!("/v1/tasks/{id}")).await,
        service.get("/v1/tasks").await,
        service.get("/v1/events").await,
        service.post("/v1/tasks", &task).await,
        answer(service.request_by(&format!("ck_{canary}"), Method::GET, "/v1/tasks")).await,
        answer(
            service
                .request(Method::POST, "/v1/tasks")
                .header("content-type", "application/json")
                .body(format!("{{\"{canary}")),
        )
        .await,
    ];
    for answer in shown {
        assert!(!answer.text.contains(canary), "{}", answer.text);
    }
}

#[actix_web::test]
async fn a_problems_type_leads_to_its_explanation() {
    let service = Service::start().await;
    let refused = service.post("/v1/tasks", &json!([])).await;
    let (page, section) = refused.body["type"].as_str().unwrap().split_once('#').unwrap();
    let explained = answer(service.anonymous(Method::GET, page)).await;
    assert_eq!(explained.status, 200);
    assert!(explained.text.contains(&format!("## {section}")), "{section}");
}
