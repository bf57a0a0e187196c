//! The client against a raw TCP peer.

use super::{OTHER, OURS, VIDEO, body, other, ours};
use crate::adapters::manual_clock::ManualClock;
use crate::adapters::runware::{RunwareClient, RunwareOptions};
use crate::adapters::test_server::{Reply, TestServer, refused_address};
use crate::domain::time::Timestamp;
use crate::ports::provider::{Provider, SubmitOutcome};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "canary-5e1f0c77";
const HOOK: &str = "https://svc.example/cb/v1/TOKEN";
/// The numbers would not survive a reading as floating point.
const DOCUMENT: &str = r#"{"taskType":"videoInference","webhookURL":"stale","seed":18446744073709551617,"x":1.50,"positivePrompt":"ü"}"#;

fn client(url: &str) -> RunwareClient {
    let options = RunwareOptions {
        connect_timeout: Duration::from_secs(20),
        ..RunwareOptions::new(url.parse().unwrap(), SecretString::from(KEY))
    };
    client_with(options)
}

fn client_with(options: RunwareOptions) -> RunwareClient {
    // 1994-11-06T08:49:00Z
    RunwareClient::new(
        options,
        Arc::new(ManualClock::at(Timestamp::from_millis(784_111_740_000))),
    )
    .unwrap()
}

async fn submit(reply: Reply) -> SubmitOutcome {
    let server = TestServer::start([reply]).await;
    client(&server.url()).submit(ours(), DOCUMENT, HOOK).await
}

fn unclear(code: &str) -> SubmitOutcome {
    SubmitOutcome::Unclear {
        code: code.to_owned(),
    }
}

fn not_accepted(code: &str, wait_s: Option<u64>) -> SubmitOutcome {
    SubmitOutcome::NotAccepted {
        code: code.to_owned(),
        retry_after: wait_s.map(Duration::from_secs),
    }
}

#[tokio::test]
async fn a_submission_goes_alone_with_our_callback_and_its_own_numbers() {
    let ack = body(r#"{"data":[{"taskType":"videoInference","taskUUID":"$ours"}]}"#);
    let mut server = TestServer::start([Reply::answer(200, "", &ack)]).await;
    let outcome = client(&server.url()).submit(ours(), DOCUMENT, HOOK).await;
    assert_eq!(outcome, SubmitOutcome::Accepted);
    let asked = server.asked().await;
    assert!(asked.head.starts_with("POST /v1 HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(
        asked.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("accept-encoding"), None);
    let expected = format!(
        r#"[{{"positivePrompt":"ü","seed":18446744073709551617,"taskType":"videoInference","taskUUID":"{OURS}","webhookURL":"{HOOK}","x":1.50}}]"#
    );
    assert_eq!(String::from_utf8(asked.body).unwrap(), expected);
}

#[tokio::test]
async fn a_document_that_is_no_object_is_never_sent() {
    let mut server = TestServer::start([Reply::answer(200, "", "")]).await;
    for document in ["", "[]", "7", "{"] {
        let outcome = client(&server.url()).submit(ours(), document, HOOK).await;
        assert!(matches!(outcome, SubmitOutcome::Refused { .. }), "{outcome:?}");
    }
    assert!(server.is_quiet());
}

#[tokio::test]
async fn f16_nothing_was_sent_where_no_connection_was_made() {
    let nobody = refused_address().await;
    for url in [format!("http://{nobody}/v1"), "http://name.invalid/v1".to_owned()] {
        let outcome = client(&url).submit(ours(), DOCUMENT, HOOK).await;
        assert_eq!(outcome, not_accepted("unreachable", None), "{url}");
        let error = client(&url).query(&[ours()]).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.parked), ("unreachable", false));
    }
    // A peer that speaks no TLS breaks the handshake, before any request.
    let plain = TestServer::start([Reply::Interrupt("HTTP/1.1 400 X\r\n\r\n")]).await;
    let url = format!("https://{}/v1", plain.address);
    let outcome = client(&url).submit(ours(), DOCUMENT, HOOK).await;
    assert_eq!(outcome, not_accepted("unreachable", None));
}

#[tokio::test]
async fn f16_a_break_after_the_request_is_unclear() {
    assert_eq!(
        submit(Reply::Say(String::new())).await,
        unclear("connection_lost")
    );
    assert_eq!(
        submit(Reply::Say("HTTP/1.1 200".to_owned())).await,
        unclear("connection_lost")
    );
    assert_eq!(
        submit(Reply::cut(200, r#"{"data":["#)).await,
        unclear("connection_lost")
    );
    // It may have been the conflict that proves an earlier acceptance.
    assert_eq!(
        submit(Reply::cut(400, r#"{"errors":["#)).await,
        unclear("connection_lost")
    );
    assert_eq!(submit(Reply::cut(429, "{")).await, not_accepted("http_429", None));
    assert_eq!(
        submit(Reply::Say("nonsense\r\n\r\n".to_owned())).await,
        unclear("connection_lost")
    );
}

#[tokio::test]
async fn f16_silence_is_unclear() {
    for half in ["", "HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{"] {
        let server = TestServer::start([Reply::SayAndHold(half.to_owned())]).await;
        let options = RunwareOptions {
            submit_timeout: Duration::from_millis(200),
            ..RunwareOptions::new(server.url().parse().unwrap(), SecretString::from(KEY))
        };
        let outcome = client_with(options).submit(ours(), DOCUMENT, HOOK).await;
        assert_eq!(outcome, unclear("timeout"), "{half}");
    }
}

#[tokio::test]
async fn answers_over_the_wire_come_to_their_outcomes() {
    let error = |code: &str| {
        body(&format!(
            r#"{{"errors":[{{"code":"{code}","message":"m","taskUUID":"$ours"}}]}}"#
        ))
    };
    let (seconds, date) = (
        "Retry-After: 30\r\n",
        "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    );
    let parked = |code: &str| SubmitOutcome::Parked {
        code: code.to_owned(),
    };
    let refused = |code: &str| SubmitOutcome::Refused {
        code: code.to_owned(),
        message: "m".to_owned(),
        content_policy: false,
    };
    let table = [
        (
            429,
            seconds,
            error("rateLimitExceeded"),
            not_accepted("rateLimitExceeded", Some(30)),
        ),
        (429, date, String::new(), not_accepted("http_429", Some(37))),
        (503, "", String::new(), not_accepted("http_503", None)),
        (401, "", error("invalidApiKey"), parked("invalidApiKey")),
        (402, "", String::new(), parked("http_402")),
        (403, "", error("forbidden"), refused("forbidden")),
        (400, "", error("invalidTtl"), refused("invalidTtl")),
        (400, "", error("conflictTaskUUID"), SubmitOutcome::Conflict),
        (
            502,
            "content-type: text/html\r\n",
            "<html>Bad gateway</html>".to_owned(),
            unclear("http_502"),
        ),
        (200, "", "garbage".to_owned(), unclear("unreadable_answer")),
    ];
    for (status, headers, answer, expected) in table {
        assert_eq!(
            submit(Reply::answer(status, headers, &answer)).await,
            expected,
            "{status} {answer}"
        );
    }
}

#[tokio::test]
async fn t11_no_redirect_takes_the_key_elsewhere() {
    for status in [301, 302, 303, 307, 308] {
        let mut elsewhere = TestServer::start([Reply::answer(200, "", r#"{"data":[]}"#)]).await;
        let location = format!("location: {}\r\n", elsewhere.url());
        let outcome = submit(Reply::answer(status, &location, "")).await;
        assert!(!matches!(outcome, SubmitOutcome::Accepted), "{outcome:?}");
        assert!(elsewhere.is_quiet());
    }
}

#[tokio::test]
async fn t11_an_endless_answer_is_cut_off() {
    let big = "x".repeat(5 * 1024 * 1024);
    assert_eq!(
        submit(Reply::answer(200, "", &big)).await,
        unclear("answer_too_large")
    );
    let server = TestServer::start([Reply::answer(200, "", &big)]).await;
    let error = client(&server.url()).query(&[ours()]).await.unwrap_err();
    assert_eq!(error.code, "answer_too_large");
}

#[tokio::test]
async fn t16_the_key_is_in_no_error_and_no_debug() {
    let quoted = format!(r#"{{"errors":[{{"code":"invalidApiKey","message":"Key {KEY} is wrong"}}]}}"#);
    let refused = format!(r#"{{"errors":[{{"code":"invalidKeyFormat","message":"Key {KEY} is wrong"}}]}}"#);
    let mut told = vec![];
    told.push(format!("{:?}", submit(Reply::answer(401, "", &quoted)).await));
    told.push(format!("{:?}", submit(Reply::answer(400, "", &refused)).await));
    assert!(told[1].contains("Key [hidden] is wrong"), "{}", told[1]);
    let server = TestServer::start([Reply::answer(401, "", &quoted)]).await;
    let client = client(&server.url());
    told.push(format!("{:?}", client.query(&[ours()]).await));
    told.push(format!("{client:?}"));
    told.push(format!(
        "{:?}",
        RunwareOptions::new(server.url().parse().unwrap(), SecretString::from(KEY))
    ));
    let unsendable = SecretString::from(format!("{KEY}\n"));
    let options = RunwareOptions::new(server.url().parse().unwrap(), unsendable);
    let error =
        RunwareClient::new(options, Arc::new(ManualClock::at(Timestamp::from_millis(0)))).unwrap_err();
    told.push(format!("{error:?} {error}"));
    for text in told {
        assert!(!text.contains(KEY), "{text}");
    }
}

#[tokio::test]
async fn one_request_asks_for_many_and_answers_in_order() {
    let answer = body(
        r#"{"data":[{"taskUUID":"$ours","status":"processing"},{"taskUUID":"$other","videoUUID":"$video","videoURL":"$link"}]}"#,
    );
    let mut server = TestServer::start([Reply::answer(200, "", &answer)]).await;
    let reports = client(&server.url()).query(&[other(), ours()]).await.unwrap();
    assert_eq!(reports[0].successes().next().unwrap().result.as_str(), VIDEO);
    assert_eq!(reports[1].terminal_items(), 0);
    let asked: Value = serde_json::from_slice(&server.asked().await.body).unwrap();
    let expected = json!([
        {"taskType": "getResponse", "taskUUID": OTHER},
        {"taskType": "getResponse", "taskUUID": OURS},
    ]);
    assert_eq!(asked, expected);
    assert_eq!(client(&server.url()).query(&[]).await.unwrap(), vec![]);
    assert!(server.is_quiet());
}

#[tokio::test]
async fn a_query_tells_how_long_to_wait() {
    let server = TestServer::start([Reply::answer(429, "retry-after: 9\r\n", "")]).await;
    let error = client(&server.url()).query(&[ours()]).await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.retry_after),
        ("http_429", Some(Duration::from_secs(9)))
    );
}

#[tokio::test]
async fn the_archive_is_asked_for_one_task() {
    let entry = body(r#"{"data":[{"taskType":"getTaskDetails","taskUUID":"$ours","response":{"data":[]}}]}"#);
    let mut server = TestServer::start([
        Reply::answer(200, "", &entry),
        Reply::answer(200, "", r#"{"data":[]}"#),
    ])
    .await;
    let client = client(&server.url());
    assert!(client.details(ours()).await.unwrap().unwrap().is_empty());
    let asked: Value = serde_json::from_slice(&server.asked().await.body).unwrap();
    assert_eq!(asked, json!([{"taskType": "getTaskDetails", "taskUUID": OURS}]));
    assert_eq!(client.details(ours()).await.unwrap(), None);
}

/// Two permits: one query waits unanswered, a second must not take the other, a submission may.
#[tokio::test]
async fn queries_leave_a_permit_for_submissions() {
    let ack = Reply::answer(200, "", r#"{"data":[]}"#);
    let mut server = TestServer::start([Reply::SayAndHold(String::new()), ack]).await;
    let options = RunwareOptions {
        max_in_flight: 2,
        ..RunwareOptions::new(server.url().parse().unwrap(), SecretString::from(KEY))
    };
    let client = Arc::new(client_with(options));
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.query(&[ours()]).await.map(drop) })
        })
        .collect();
    server.asked().await;
    assert_eq!(
        client.submit(ours(), DOCUMENT, HOOK).await,
        SubmitOutcome::Accepted
    );
    let submission = server.asked().await;
    assert!(String::from_utf8_lossy(&submission.body).contains("webhookURL"));
    assert!(server.is_quiet());
    asking.iter().for_each(tokio::task::JoinHandle::abort);
}
