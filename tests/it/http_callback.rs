//! The callback: a receipt and nothing more, and one answer to whoever has no token.

use crate::harness::{Service, Setup, answer, asleep, avatar, manual, raw};
use catchment::domain::ids::TaskId;
use catchment::ports::store::Queue;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

fn counted(service: &Service, result: &str) -> bool {
    let line = format!("catchment_callbacks_received_total{{result=\"{result}\"}} 1");
    service.metrics.render().contains(&line)
}

#[actix_web::test]
async fn t6_whatever_is_wrong_the_answer_is_one_and_the_same() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let good = service.callback_path(&id);
    let token = good.strip_prefix("/cb/v1/").unwrap();
    let flipped: String = token.chars().rev().collect();
    let encoded = format!("/cb/v1/%{:02X}{}", token.as_bytes()[0], &token[1..]);
    let targets = [
        ("GET", good.clone()),
        ("PUT", good.clone()),
        ("DELETE", good.clone()),
        ("POST", format!("{good}/")),
        ("POST", format!("{good}/x")),
        ("POST", format!("{good}=")),
        ("POST", format!("/cb/v1/{flipped}")),
        ("POST", format!("/cb/v1/{}", &token[..43])),
        ("POST", format!("/cb/v2/{token}")),
        ("POST", encoded),
        ("POST", "/cb/v1/".to_owned()),
        ("POST", "/cb/v1".to_owned()),
        ("POST", "/cb/".to_owned()),
        ("POST", "/cb".to_owned()),
        ("GET", "/cb/v1/x".to_owned()),
        ("OPTIONS", "/cb/v1/x".to_owned()),
    ];
    let bodies = [
        "",
        "content-length: 2\r\n\r\n{}",
        "content-length: 900000\r\n\r\n",
        "content-encoding: gzip\r\n\r\n",
    ];
    let mut answers = BTreeSet::new();
    for (method, target) in &targets {
        for body in bodies {
            let end = if body.is_empty() { "\r\n" } else { "" };
            let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n{body}{end}");
            let answer = raw::one(service.addr(), head.as_bytes()).await;
            let dateless = answer
                .lines()
                .filter(|l| !l.starts_with("date:"))
                .collect::<Vec<_>>()
                .join("\n");
            assert!(answer.lines().any(|l| l.starts_with("date:")), "{answer}");
            answers.insert(dateless);
        }
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let the_one = answers.pop_first().unwrap();
    assert!(
        the_one.starts_with("HTTP/1.1 404 ") && the_one.contains("\"code\":\"not_found\""),
        "{the_one}"
    );
    assert!(!the_one.to_lowercase().contains("request"), "{the_one}");
}

#[actix_web::test]
async fn a_callback_is_stored_and_wakes_whoever_asks_the_provider() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let bell = service.wakeups.bell(Queue::Queries).notified();
    let path = service.callback_path(&id);
    let post = || service.anonymous(Method::POST, &path).body(r#"{"data":[]}"#);
    let first = answer(post()).await;
    assert_eq!(
        (first.status.as_u16(), &first.body),
        (200, &json!({"received": true}))
    );
    tokio::time::timeout(crate::harness::PATIENCE, bell)
        .await
        .expect("woken");
    let again = answer(post()).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    assert!(counted(&service, "stored") && counted(&service, "duplicate"));
}

#[actix_web::test]
async fn g8_a_callback_changes_nothing_by_itself() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let before = service.get(&format!("/v1/tasks/{id}")).await.body;
    let forged =
        json!({"data": [{"taskUUID": id, "status": "success", "videoURL": "https://evil.example/x.mp4"}]});
    let posted = service
        .anonymous(Method::POST, &service.callback_path(&id))
        .json(&forged);
    assert_eq!(answer(posted).await.status, 200);
    let after = service.get(&format!("/v1/tasks/{id}")).await.body;
    assert_eq!(
        (&before["status"], &before["assets"]),
        (&after["status"], &after["assets"])
    );
    assert!(!after.to_string().contains("evil.example"));
}

#[actix_web::test]
async fn with_a_token_a_body_may_be_too_large_or_encoded() {
    let service = Service::start().await;
    let path = service.callback_path(&service.submit(&avatar()).await);
    let post = || service.anonymous(Method::POST, &path);
    let most = "x".repeat(256 * 1024);
    assert_eq!(answer(post().body(most.clone())).await.status, 200);
    answer(post().body(most + "x"))
        .await
        .is_problem(413, "body_too_large");
    answer(post().header("content-encoding", "gzip").body("x"))
        .await
        .is_problem(415, "unsupported_media_type");
    assert_eq!(
        answer(post().header("content-type", "text/plain").body("not json"))
            .await
            .status,
        200
    );
}

#[actix_web::test]
async fn t3_a_slow_callback_is_given_up_after_five_seconds() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        ..Setup::default()
    })
    .await;
    let path = service.callback_path(&service.submit(&avatar()).await);
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx");
    let mut stream = raw::open(service.addr(), head.as_bytes()).await;
    asleep(&clock).await;
    clock.advance(Duration::from_secs(5));
    let answer = raw::rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(counted(&service, "bad_body"));
}

#[actix_web::test]
async fn f28_a_token_of_a_task_we_lost_adopts_it() {
    let service = Service::start().await;
    let lost = TaskId::ordered(5, [9; 16]);
    let path = service.callback_path(&lost.to_string());
    assert_eq!(
        answer(service.anonymous(Method::POST, &path).body("{}"))
            .await
            .status,
        200
    );
    let task = service.get(&format!("/v1/tasks/{lost}")).await.body;
    assert_eq!(
        (&task["status"], &task["origin"]),
        (&json!("submitted"), &json!("recovered"))
    );
}

#[actix_web::test]
async fn t6_replays_do_not_grow_the_database() {
    let service = Service::start().await;
    let id = service.submit(&avatar()).await;
    let path = service.callback_path(&id);
    for n in 0..80 {
        let body = json!({"n": n}).to_string();
        assert_eq!(
            answer(service.anonymous(Method::POST, &path).body(body))
                .await
                .status,
            200
        );
    }
    assert!(
        service
            .metrics
            .render()
            .contains("catchment_callbacks_received_total{result=\"stored\"} 64")
    );
    assert!(
        service
            .metrics
            .render()
            .contains("catchment_callbacks_received_total{result=\"over_limit\"} 16")
    );
}
