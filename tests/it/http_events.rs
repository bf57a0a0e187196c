//! The event log, long polls, and endpoints.

use crate::harness::{Service, Setup, answer, avatar, avatar_with, key_limits};
use catchment::domain::lease::{Fence, Lease};
use catchment::domain::time::Timestamp;
use catchment::http::KeyLimits;
use catchment::ports::store::{Claim, Leases as _, Outbox as _, TaskStore as _};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[actix_web::test]
async fn the_log_is_read_by_cursor() {
    let service = Service::start().await;
    let mut ids = vec![];
    for n in 0..5 {
        let team = if n == 3 { "red" } else { "blue" };
        ids.push(
            service
                .submit(&avatar_with("catchment", json!({"labels": {"team": team}})))
                .await,
        );
    }
    let mut seen = vec![];
    let mut after = 0;
    loop {
        let page = service
            .get(&format!("/v1/events?after={after}&limit=2"))
            .await
            .body;
        seen.extend(page["data"].as_array().unwrap().clone());
        after = page["nextAfter"].as_u64().unwrap();
        if page["done"] == true {
            break;
        }
    }
    let told: Vec<&str> = seen
        .iter()
        .map(|e| e["data"]["taskUUID"].as_str().unwrap())
        .collect();
    assert_eq!(told, ids);
    let sequences: Vec<u64> = seen.iter().map(|e| e["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let event = &seen[0];
    assert_eq!(
        (&event["type"], &event["taskSequence"]),
        (&json!("task.accepted"), &json!(1))
    );
    assert!(
        event["id"].as_str().unwrap().starts_with("evt_")
            && event["timestamp"].as_str().unwrap().ends_with('Z')
    );

    let count = async |query: &str| {
        service.get(&format!("/v1/events?{query}")).await.body["data"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("label.team=red").await, 1);
    assert_eq!(count(&format!("task={}", ids[2])).await, 1);
    assert_eq!(count("type=task.accepted,asset.archived").await, 5);
    assert_eq!(count("type=asset.archived").await, 0);
    let filtered = service.get("/v1/events?type=asset.archived").await.body;
    assert_eq!(
        (&filtered["nextAfter"], &filtered["done"]),
        (&json!(after), &json!(true))
    );

    service
        .get("/v1/events?type=task.done&after=x&task=y")
        .await
        .is_problem(400, "invalid_query");
    assert_eq!(count("model=klingai:avatar@2.0-pro").await, 5);
    assert_eq!(count("model=other,another").await, 0);
    assert_eq!(count("after=latest").await, 0);
}

#[actix_web::test]
async fn a_long_poll_answers_when_there_is_news() {
    let service = Service::start().await;
    let task = avatar();
    let waiting = service.get("/v1/events?wait=60s");
    // Before the wait has begun or after: either way it answers.
    let later = service.submit(&task);
    let (news, id) = tokio::join!(waiting, later);
    assert_eq!(news.body["data"][0]["data"]["taskUUID"], id);
}

#[actix_web::test]
async fn a_long_poll_answers_when_the_task_ends() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let path = format!("/v1/tasks/{id}?wait=60s");
    let refuse = async {
        let claim = Claim {
            now: Timestamp::from_millis(i64::MAX / 2),
            lease: Duration::from_secs(60),
            limit: 1,
        };
        let Lease { item, epoch, .. } = service.store.claim_submissions(claim).await.unwrap().remove(0);
        let id = item.task.id;
        let refused = item.refused("invalidModel", "no such model", false, Timestamp::from_millis(0));
        service
            .store
            .commit(refused, Fence::Task { id, epoch })
            .await
            .unwrap();
    };
    let (ended, ()) = tokio::join!(service.get(&path), refuse);
    assert_eq!(
        (&ended.body["status"], &ended.body["providerCode"]),
        (&json!("rejected"), &json!("invalidModel"))
    );
    assert_eq!(
        ended.body["failures"],
        json!([{"code": "invalidModel", "message": "no such model"}])
    );
    assert_eq!(
        service.get(&path).await.body["status"],
        "rejected",
        "a wait for what has ended is none"
    );
}

#[actix_web::test]
async fn a_wait_ends_with_what_there_is() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let task = service.get(&format!("/v1/tasks/{id}?wait=50ms")).await;
    assert_eq!(
        (task.status.as_u16(), &task.body["status"]),
        (200, &json!("accepted"))
    );
    let events = service.get("/v1/events?after=1000&wait=50ms").await;
    assert_eq!((events.status.as_u16(), &events.body["data"]), (200, &json!([])));
    service
        .get(&format!("/v1/tasks/{id}?wait=soon"))
        .await
        .is_problem(400, "invalid_query");
}

#[actix_web::test]
async fn t2_a_key_has_only_so_many_long_polls() {
    let service = Service::with(Setup {
        key_limits: KeyLimits {
            event_streams: 0,
            ..key_limits()
        },
        ..Setup::default()
    })
    .await;
    let refused = service.get("/v1/events?wait=30s").await;
    refused.is_problem(429, "rate_limited");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(service.get("/v1/events").await.status, 200);
}

#[actix_web::test]
async fn an_endpoint_is_created_shown_and_deleted() {
    let service = Service::start().await;
    service.submit(&avatar()).await;
    let body = json!({"url": "https://hooks.example.com/in", "types": ["asset.archived", "task.completed"]});
    let created = service.post("/v1/endpoints", &body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ep_") && created.body["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(
        created.header("location"),
        Some(format!("/v1/endpoints/{id}").as_str())
    );
    assert_eq!(created.body["types"], json!(["asset.archived", "task.completed"]));

    let shown = service.get(&format!("/v1/endpoints/{id}")).await;
    let mut without_secret = created.body.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown.body, without_secret);
    assert_eq!(
        service.get("/v1/endpoints").await.body["data"],
        json!([without_secret])
    );
    let stored = &service.store.endpoints(None).await.unwrap()[0];
    assert_eq!(
        stored.cursor,
        *service.store.last_sequence().borrow(),
        "events from creation on"
    );

    let delete = || service.request(Method::DELETE, &format!("/v1/endpoints/{id}"));
    assert_eq!(answer(delete()).await.status, 204);
    answer(delete()).await.is_problem(404, "not_found");
    assert_eq!(service.get("/v1/endpoints").await.body["data"], json!([]));
}

#[actix_web::test]
async fn an_endpoint_with_faults_is_refused_with_all_of_them() {
    let service = Service::start().await;
    let url = "https://hooks.example.com/in";
    let post = async |body: Value| service.post("/v1/endpoints", &body).await;
    let all = post(json!({"url": 5, "types": ["x"], "secret": "short", "from": -1, "nmae": 1})).await;
    all.is_problem(422, "invalid_endpoint");
    let pointers: Vec<&str> = all.faults().into_iter().map(|(p, _)| p).collect();
    assert_eq!(pointers, ["/nmae", "/url", "/types/0", "/secret", "/from"]);
    for forbidden in [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://u:p@hooks.example.com/",
        "https://[::1]/",
    ] {
        let refused = post(json!({ "url": forbidden })).await;
        refused.is_problem(422, "invalid_endpoint");
        assert_eq!(refused.faults(), [("/url", "not_allowed")], "{forbidden}");
    }
    post(json!([])).await.is_problem(422, "invalid_endpoint");
    assert_eq!(service.get("/v1/endpoints").await.body["data"], json!([]));
    let own = post(json!({"url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "from": 1})).await;
    assert_eq!(
        (own.status.as_u16(), &own.body["secret"]),
        (201, &json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    );
    assert_eq!(service.store.endpoints(None).await.unwrap()[0].cursor, 0);
}
