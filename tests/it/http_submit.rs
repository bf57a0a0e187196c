//! Submitting: kept, once, and every fault told before money is spent.

use crate::harness::{Answer, MAX_BODY, Service, Setup, answer, asleep, avatar, avatar_with, manual, raw};
use catchment::adapters::system::SystemClock;
use catchment::domain::ids::TaskId;
use catchment::domain::task::TaskStatus;
use catchment::ports::store::{Queue, TaskStore as _};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

async fn submit_under(service: &Service, key: &str, body: &Value) -> Answer {
    let request = service
        .request(Method::POST, "/v1/tasks")
        .header("Idempotency-Key", key);
    answer(request.json(body)).await
}

async fn count(service: &Service) -> usize {
    service.get("/v1/tasks?limit=200").await.body["data"]
        .as_array()
        .unwrap()
        .len()
}

#[actix_web::test]
async fn g1_accepted_means_kept() {
    let service = Service::start().await;
    let bell = service.wakeups.bell(Queue::Submissions).notified();
    let answer = service
        .post(
            "/v1/tasks",
            &avatar_with("catchment", json!({"labels": {"a": "b"}})),
        )
        .await;
    assert_eq!(answer.status, 202);
    let entry = &answer.body["data"][0];
    assert_eq!(
        (&entry["status"], &entry["origin"]),
        (&json!("accepted"), &json!("submitted"))
    );
    let id = entry["taskUUID"].as_str().unwrap();
    assert_eq!(
        answer.header("location"),
        Some(format!("/v1/tasks/{id}").as_str())
    );
    tokio::time::timeout(crate::harness::PATIENCE, bell)
        .await
        .expect("the dispatcher is woken");

    let found = service.found_after_a_kill(&SystemClock::start());
    let file = found
        .task(None, TaskId::parse(id).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(file.task.state.status(), TaskStatus::Accepted);
    let document = found.document(TaskId::parse(id).unwrap()).await.unwrap().unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&document["deliveryMethod"], &document["ttl"]),
        (&json!("async"), &json!(604_800))
    );
    assert!(document.get("catchment").is_none() && document.get("webhookURL").is_none());
}

#[actix_web::test]
async fn a_task_is_shown_as_it_was_accepted() {
    let service = Service::start().await;
    let id = service.submit(&avatar_with("numberResults", json!(2))).await;
    let task = service.get(&format!("/v1/tasks/{}", id.to_uppercase())).await;
    assert_eq!(task.status, 200);
    for (member, value) in [
        ("taskUUID", json!(id)),
        ("status", json!("accepted")),
        ("reason", Value::Null),
        ("providerCode", Value::Null),
        ("origin", json!("submitted")),
        ("model", json!("klingai:avatar@2.0-pro")),
        ("numberResults", json!(2)),
        ("labels", json!({})),
        ("cost", Value::Null),
        ("settledAt", Value::Null),
        ("assets", json!([])),
        ("failures", json!([])),
    ] {
        assert_eq!(task.body.get(member), Some(&value), "{member}");
    }
    assert_eq!(task.body["timeline"][0]["kind"], "accepted");
}

#[actix_web::test]
async fn g2_the_same_request_is_one_task() {
    let service = Service::start().await;
    let first = submit_under(&service, "\"order 1\"", &avatar()).await;
    let again = submit_under(&service, "\"order 1\"", &avatar()).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(count(&service).await, 1);

    let other = submit_under(&service, "\"order 1\"", &avatar_with("ttl", json!(7_200))).await;
    other.is_problem(422, "idempotency_key_reused");
    assert_eq!(count(&service).await, 1);
    submit_under(&service, "\"unclosed", &avatar())
        .await
        .is_problem(400, "invalid_idempotency_key");
}

#[actix_web::test]
async fn g2_a_concurrent_duplicate_gets_the_stored_answer() {
    let service = Service::start().await;
    let body = avatar();
    let answers = join_all((0..16).map(|_| submit_under(&service, "k", &body))).await;
    let ids: BTreeSet<&str> = answers
        .iter()
        .map(|a| a.body["data"][0]["taskUUID"].as_str().unwrap())
        .collect();
    assert_eq!((ids.len(), count(&service).await), (1, 1));
    assert_eq!(
        answers
            .iter()
            .filter(|a| a.header("idempotent-replayed").is_none())
            .count(),
        1
    );
}

#[actix_web::test]
async fn g2_a_known_task_uuid_answers_or_conflicts() {
    let service = Service::start().await;
    let id = "11111111-2222-4333-8444-55555555555a";
    let task = avatar_with("taskUUID", json!(id));
    let first = service.post("/v1/tasks", &task).await;
    let again = service
        .post("/v1/tasks", &avatar_with("taskUUID", json!(id.to_uppercase())))
        .await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (202, 202));
    assert_eq!(
        (&first.body, again.header("idempotent-replayed")),
        (&again.body, Some("true"))
    );

    let mut other = task;
    other["ttl"] = json!(7_200);
    let conflict = service.post("/v1/tasks", &json!([avatar(), other])).await;
    conflict.is_problem(409, "task_uuid_conflict");
    assert_eq!(conflict.body["taskUUID"], id);
    assert_eq!(conflict.body["errors"][0]["pointer"], "/1/taskUUID");
    assert_eq!(count(&service).await, 1, "all or nothing");
}

#[actix_web::test]
async fn an_array_is_answered_in_order_all_or_nothing() {
    let service = Service::start().await;
    let labelled = |n: i32| avatar_with("catchment", json!({"labels": {"n": n.to_string()}}));
    let tasks: Vec<Value> = (0..100).map(labelled).collect();
    let answer = service.post("/v1/tasks", &json!(tasks)).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (202, None));
    for (n, entry) in answer.body["data"].as_array().unwrap().iter().enumerate() {
        let shown = service
            .get(&format!("/v1/tasks/{}", entry["taskUUID"].as_str().unwrap()))
            .await;
        assert_eq!(shown.body["labels"]["n"], n.to_string());
        assert_eq!(entry["adjusted"][2]["pointer"], format!("/{n}/ttl"));
    }
    let one = service.post("/v1/tasks", &json!([avatar()])).await;
    assert!(one.header("location").is_some());

    let spoilt = service
        .post(
            "/v1/tasks",
            &json!([avatar(), {"model": 5}, avatar_with("ttl", json!(1))]),
        )
        .await;
    spoilt.is_problem(422, "invalid_task");
    assert_eq!(
        spoilt.faults(),
        [
            ("/1/taskType", "required"),
            ("/1/model", "wrong_type"),
            ("/2/ttl", "out_of_range")
        ]
    );
    service
        .post("/v1/tasks", &json!([]))
        .await
        .is_problem(422, "invalid_task");
    assert_eq!(count(&service).await, 101);
}

#[actix_web::test]
async fn what_is_not_done_yet_is_refused_and_never_dropped() {
    let service = Service::start().await;
    let capped = service
        .post("/v1/tasks", &avatar_with("catchment", json!({"maxCost": 3})))
        .await;
    assert_eq!(capped.faults(), [("/catchment/maxCost", "not_supported_yet")]);
    assert_eq!(count(&service).await, 0);
}

#[actix_web::test]
async fn t5_bodies_we_do_not_read_are_refused() {
    let service = Service::start().await;
    let post = || service.request(Method::POST, "/v1/tasks");
    let json = "application/json";
    let text = avatar().to_string();
    let cases = [
        (post().body(text.clone()), 415, "unsupported_media_type"),
        (
            post().header("content-type", "text/plain").body(text.clone()),
            415,
            "unsupported_media_type",
        ),
        (
            post()
                .header("content-type", json)
                .header("content-encoding", "gzip")
                .body(text.clone()),
            415,
            "unsupported_media_type",
        ),
        (
            post().header("content-type", json).body("{"),
            400,
            "malformed_json",
        ),
        (
            post().header("content-type", json).body(""),
            400,
            "malformed_json",
        ),
        (
            post().header("content-type", json).body(&b"\"\xff\""[..]),
            400,
            "malformed_json",
        ),
        (
            post().header("content-type", json).body("[".repeat(MAX_BODY)),
            400,
            "malformed_json",
        ),
        (
            post().header("content-type", json).body(r#"{"ttl":60,"ttl":61}"#),
            400,
            "malformed_json",
        ),
        (post().header("content-type", json).body("3"), 422, "invalid_task"),
        (
            post().header("content-type", json).body(" ".repeat(MAX_BODY + 1)),
            413,
            "body_too_large",
        ),
    ];
    for (request, status, code) in cases {
        answer(request).await.is_problem(status, code);
    }
    let charset = post()
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(text);
    assert_eq!(answer(charset).await.status, 202);
}

#[actix_web::test]
async fn t2_a_body_without_a_length_is_cut_off_at_the_cap() {
    let service = Service::start().await;
    let mut request = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        service.key
    )
    .into_bytes();
    for _ in 0..=MAX_BODY / 1_024 {
        request.extend_from_slice(format!("400\r\n{}\r\n", " ".repeat(1_024)).as_bytes());
    }
    let answer = raw::one(service.addr(), &request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[actix_web::test]
async fn t3_a_slow_body_is_given_up() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        ..Setup::default()
    })
    .await;
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{",
        service.key
    );
    let mut stream = raw::open(service.addr(), head.as_bytes()).await;
    asleep(&clock).await;
    clock.advance(Duration::from_secs(30));
    let answer = raw::rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("body_timeout"),
        "{answer}"
    );
}

#[actix_web::test]
async fn tasks_are_listed_newest_first_in_pages_and_filtered() {
    let service = Service::start().await;
    let mut ids = vec![];
    for n in 0..5 {
        let team = if n % 2 == 0 { "blue" } else { "red" };
        ids.push(
            service
                .submit(&avatar_with("catchment", json!({"labels": {"team": team}})))
                .await,
        );
    }
    ids.reverse();
    let uuids = |answer: &Answer| -> Vec<String> {
        let data = answer.body["data"].as_array().unwrap();
        data.iter()
            .map(|t| t["taskUUID"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut seen = vec![];
    let mut path = "/v1/tasks?limit=2".to_owned();
    loop {
        let page = service.get(&path).await;
        assert!(
            page.body["data"]
                .as_array()
                .unwrap()
                .iter()
                .all(|t| t.get("timeline").is_none())
        );
        seen.extend(uuids(&page));
        match page.body["nextCursor"].as_str() {
            Some(cursor) => path = format!("/v1/tasks?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    assert_eq!(
        uuids(&service.get("/v1/tasks?label.team=red").await),
        [ids[1].clone(), ids[3].clone()]
    );
    assert_eq!(
        uuids(
            &service
                .get("/v1/tasks?status=accepted,submitting&status=completed")
                .await
        )
        .len(),
        5
    );
    assert_eq!(uuids(&service.get("/v1/tasks?status=completed").await).len(), 0);
    assert_eq!(uuids(&service.get("/v1/tasks?model=other").await).len(), 0);
    assert_eq!(
        uuids(&service.get("/v1/tasks?until=2000-01-01T00:00:00Z").await).len(),
        0
    );
    assert_eq!(
        uuids(&service.get("/v1/tasks?since=2000-01-01T00:00:00Z").await).len(),
        5
    );
    let wrong = service
        .get("/v1/tasks?status=done&limit=x&cursor=1&colour=red")
        .await;
    wrong.is_problem(400, "invalid_query");
    let pointers: Vec<&str> = wrong.faults().into_iter().map(|(p, _)| p).collect();
    assert_eq!(pointers, ["?status", "?limit", "?cursor", "?colour"]);
}
