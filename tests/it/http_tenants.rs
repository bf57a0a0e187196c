//! Who may see what.

use crate::harness::{Service, Setup, answer, avatar, loopback};
use catchment::domain::time::Timestamp;
use catchment::ports::store::Accounts as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;

#[actix_web::test]
async fn t1_every_route_wants_a_key() {
    let service = Service::start().await;
    let document: Value = serde_json::from_str(catchment::http::document()).unwrap();
    let mut asked = 0;
    for (path, item) in document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(p, _)| p.starts_with("/v1"))
    {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for key in [None, Some(""), Some("ck_unknown"), Some("nonsense")] {
                let request = service.anonymous(method.clone(), path);
                let request = key.into_iter().fold(request, |r, key| r.bearer_auth(key));
                let refused = answer(request).await;
                refused.is_problem(401, "unauthorized");
                assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
                asked += 1;
            }
        }
    }
    assert!(asked >= 8 * 4);
}

#[actix_web::test]
async fn t1_a_tenant_sees_only_its_own() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let endpoint = service
        .post("/v1/endpoints", &json!({"url": "https://hooks.example.com/"}))
        .await
        .body;
    let endpoint = format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap());
    let stranger = service.key_of("stranger").await;
    let by_stranger =
        async |method: Method, path: &str| answer(service.request_by(&stranger, method, path)).await;

    by_stranger(Method::GET, &format!("/v1/tasks/{id}"))
        .await
        .is_problem(404, "not_found");
    by_stranger(Method::GET, &format!("/v1/tasks/{id}?wait=60s"))
        .await
        .is_problem(404, "not_found");
    by_stranger(Method::GET, &endpoint)
        .await
        .is_problem(404, "not_found");
    by_stranger(Method::DELETE, &endpoint)
        .await
        .is_problem(404, "not_found");
    for list in [
        "/v1/tasks",
        "/v1/endpoints",
        "/v1/events",
        &format!("/v1/events?task={id}"),
    ] {
        assert_eq!(
            by_stranger(Method::GET, list).await.body["data"],
            json!([]),
            "{list}"
        );
    }
    let mut same = avatar();
    same["taskUUID"] = json!(id);
    let taken = answer(
        service
            .request_by(&stranger, Method::POST, "/v1/tasks")
            .json(&same),
    )
    .await;
    taken.is_problem(409, "task_uuid_conflict");
    assert_eq!(service.get(&endpoint).await.status, 200, "still there");
}

#[actix_web::test]
async fn a_revoked_key_is_no_key() {
    let service = Service::start().await;
    let id = service.store.keys().await.unwrap()[0].id.clone();
    assert_eq!(service.get("/v1/tasks").await.status, 200);
    assert!(
        service
            .store
            .revoke_key(&id, Timestamp::from_millis(1))
            .await
            .unwrap()
    );
    service.get("/v1/tasks").await.is_problem(401, "unauthorized");
}

#[actix_web::test]
async fn t15_metrics_want_a_key_unless_on_loopback() {
    let service = Service::start().await;
    let open = answer(service.anonymous(Method::GET, "/metrics")).await;
    assert!(
        open.status == 200 && open.text.contains("catchment_build_info"),
        "{open:?}"
    );
    assert!(
        open.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );

    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let service = Service::with(Setup {
        admin: Some(everywhere),
        ..Setup::default()
    })
    .await;
    let admin = SocketAddr::new(loopback().ip(), service.running().admin.port());
    let get = |path: &str| reqwest::Client::new().get(format!("http://{admin}{path}"));
    answer(get("/metrics")).await.is_problem(401, "unauthorized");
    assert_eq!(
        answer(get("/metrics").bearer_auth(&service.key)).await.status,
        200
    );
    for path in ["/livez", "/readyz", "/version"] {
        assert_eq!(answer(get(path)).await.status, 200, "{path}");
    }
}
