//! Whole commands against canned answers.

use super::service::{answer, ok, service};
use super::*;
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Time passes at once.
#[derive(Default)]
struct Hasty(Mutex<Vec<Duration>>);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    async fn sleep(&self, by: Duration) {
        self.0.lock().unwrap().push(by);
    }
}

const ID: &str = "01234567-89ab-4cde-8f01-23456789abcd";

fn accepted() -> String {
    let body = format!(r#"{{"data":[{{"taskUUID":"{ID}","status":"accepted","adjusted":[]}}]}}"#);
    answer("202 Accepted", "", &body)
}

fn task(status: &str) -> String {
    ok(&format!(
        r#"{{"taskUUID":"{ID}","status":"{status}","numberResults":1,"assets":[]}}"#
    ))
}

fn away() -> String {
    answer("503 Service Unavailable", "retry-after: 5\r\n", "{}")
}

/// Runs a client command with a clock that never waits: how it ended, and what it waited for.
fn outcome(line: &[&str], url: &str) -> (Exit, Vec<u64>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = Arc::new(Hasty::default());
    let host = Host {
        clock: clock.clone(),
        ..Host::real()
    };
    let address = ["--url", url];
    let cli = Cli::try_parse_from(["catchment"].iter().chain(line).chain(&address)).unwrap();
    let format = cli.output.format(false, true);
    let exit = match cli.command.run(&host, format) {
        Ok(exit) => exit,
        Err(error) => error.exit,
    };
    let waits = clock.0.lock().unwrap().iter().map(Duration::as_secs).collect();
    (exit, waits)
}

fn file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"taskType":"videoInference"}"#).unwrap();
    file
}

#[test]
fn waiting_outlives_a_restart_of_the_service_and_tells_how_the_task_ended() {
    let file = file();
    for (end, exit) in [("completed", Exit::Ok), ("failed", Exit::TaskFailed)] {
        let (url, requests) = service(vec![accepted(), task("archiving"), away(), task(end)]);
        let line = ["submit", file.path().to_str().unwrap(), "--wait"];
        assert_eq!(outcome(&line, &url), (exit, vec![5]));
        let asked: Vec<String> = requests.iter().collect();
        assert!(asked[0].contains("idempotency-key: \"cli-"), "{}", asked[0]);
        assert!(
            asked[1].starts_with(&format!("GET /v1/tasks/{ID}?wait=2s ")),
            "{}",
            asked[1]
        );
        assert_eq!(asked.len(), 4);
    }
}

#[test]
fn a_wait_that_is_over_exits_7() {
    let (url, _requests) = service(vec![accepted()]);
    let file = file();
    let line = [
        "submit",
        file.path().to_str().unwrap(),
        "--wait",
        "--timeout",
        "0s",
    ];
    assert_eq!(outcome(&line, &url).0, Exit::WaitTimedOut);
}

#[test]
fn without_waiting_the_answer_is_enough() {
    let (url, requests) = service(vec![accepted()]);
    let file = file();
    let line = [
        "submit",
        file.path().to_str().unwrap(),
        "--idempotency-key",
        "order-42",
    ];
    assert_eq!(outcome(&line, &url).0, Exit::Ok);
    assert!(
        requests
            .recv()
            .unwrap()
            .contains("idempotency-key: \"order-42\"\r\n")
    );
}

#[test]
fn a_list_goes_from_page_to_page_as_far_as_was_asked() {
    let page = |next: &str| {
        ok(&format!(
            r#"{{"data":[{{"taskUUID":"{ID}"}}],"nextCursor":{next}}}"#
        ))
    };
    let (url, requests) = service(vec![page("\"c1\""), page("null")]);
    assert_eq!(outcome(&["tasks", "list", "--all", "--quiet"], &url).0, Exit::Ok);
    let asked: Vec<String> = requests.iter().collect();
    assert!(asked[0].starts_with("GET /v1/tasks?limit=200 "), "{}", asked[0]);
    assert!(
        asked[1].starts_with("GET /v1/tasks?cursor=c1&limit=200 "),
        "{}",
        asked[1]
    );
    // One was asked for: the second page is not.
    let (url, requests) = service(vec![page("\"c1\"")]);
    assert_eq!(outcome(&["tasks", "list", "--limit", "1"], &url).0, Exit::Ok);
    assert_eq!(requests.iter().count(), 1);
}

#[test]
fn a_tail_starts_at_the_end_and_reads_on_after_trouble() {
    let page = |next: u64, done: bool| ok(&format!(r#"{{"data":[],"nextAfter":{next},"done":{done}}}"#));
    let (url, requests) = service(vec![
        away(),
        page(1_200, true),
        page(1_203, true),
        away(),
        page(1_204, true),
        answer("401 Unauthorized", "", "{}"),
    ]);
    assert_eq!(
        outcome(
            &["events", "tail", "--type", "asset.archived", "--model", "m"],
            &url
        ),
        (Exit::Auth, vec![5, 5])
    );
    let asked: Vec<String> = requests.iter().collect();
    let starts = [
        "GET /v1/events?type=asset.archived&model=m&after=latest&limit=1000 ",
        "GET /v1/events?type=asset.archived&model=m&after=latest&limit=1000 ",
        "GET /v1/events?type=asset.archived&model=m&after=1200&limit=1000&wait=30s ",
        "GET /v1/events?type=asset.archived&model=m&after=1203&limit=1000&wait=30s ",
        "GET /v1/events?type=asset.archived&model=m&after=1203&limit=1000&wait=30s ",
        "GET /v1/events?type=asset.archived&model=m&after=1204&limit=1000&wait=30s ",
    ];
    for (asked, start) in asked.iter().zip(&starts) {
        assert!(asked.starts_with(*start), "{asked}\nis not\n{start}");
    }
    assert_eq!(asked.len(), starts.len());
}

#[test]
fn the_log_is_listed_to_its_end_but_no_further_than_asked() {
    let page = |n: u64, done: bool| {
        let event = format!(r#"{{"id":"evt_{n}","sequence":{n},"type":"task.accepted"}}"#);
        ok(&format!(r#"{{"data":[{event}],"nextAfter":{n},"done":{done}}}"#))
    };
    let (url, requests) = service(vec![page(1, false), page(2, true)]);
    assert_eq!(
        outcome(&["events", "list", "--all", "--ndjson"], &url).0,
        Exit::Ok
    );
    assert_eq!(requests.iter().count(), 2);
    let (url, requests) = service(vec![page(1, false), page(2, false)]);
    assert_eq!(outcome(&["events", "list", "--limit", "2"], &url).0, Exit::Ok);
    assert!(
        requests
            .iter()
            .nth(1)
            .unwrap()
            .starts_with("GET /v1/events?after=1&limit=1 ")
    );
}

fn one_event(n: u64) -> String {
    let event = format!(r#"{{"id":"evt_{n}","sequence":{n},"type":"task.accepted"}}"#);
    ok(&format!(r#"{{"data":[{event}],"nextAfter":{n},"done":true}}"#))
}

#[test]
fn a_listener_sends_on_in_order_tries_on_and_lets_no_event_stop_the_next() {
    let (url, requests) = service(vec![
        one_event(7),
        away(),
        one_event(8),
        answer("410 Gone", "", r#"{"code":"cursor_too_old","detail":"Too old."}"#),
    ]);
    let refused = || answer("500 Internal Server Error", "", "");
    let taken = || answer("204 No Content", "", "");
    let (target, deliveries) = service(vec![
        refused(),
        refused(),
        taken(), // the first event, at its third try
        refused(),
        refused(),
        refused(),
        refused(),
        refused(), // the second, given up
    ]);
    let line = ["listen", "--forward-to", &target, "--after", "6"];
    let (exit, waits) = outcome(&line, &url);
    assert_eq!((exit, waits.len()), (Exit::NotFound, 2 + 1 + 4));
    let asked: Vec<String> = requests.iter().collect();
    assert!(
        asked[0].starts_with("GET /v1/events?after=6&limit=100&wait=30s "),
        "{}",
        asked[0]
    );
    assert!(
        asked[3].starts_with("GET /v1/events?after=8&limit=100&wait=30s "),
        "{}",
        asked[3]
    );
    let told: Vec<String> = deliveries.iter().collect();
    let of = |id: &str| {
        told.iter()
            .filter(|d| d.contains(&format!("webhook-id: {id}\r\n")))
            .count()
    };
    assert_eq!((of("evt_7"), of("evt_8"), told.len()), (3, 5, 8));
    assert!(told.iter().all(|d| d.contains("webhook-signature: v1,")));
}

#[test]
fn an_endpoint_is_made_and_deleted_by_id() {
    let (url, requests) = service(vec![
        answer(
            "201 Created",
            "",
            r#"{"id":"ep_1","url":"https://a/","secret":"whsec_x"}"#,
        ),
        answer("204 No Content", "", ""),
        answer(
            "404 Not Found",
            "",
            r#"{"code":"not_found","detail":"No such endpoint."}"#,
        ),
    ]);
    assert_eq!(outcome(&["endpoints", "create", "https://a/"], &url).0, Exit::Ok);
    assert_eq!(
        outcome(&["endpoints", "delete", "ep_1", "--yes"], &url).0,
        Exit::Ok
    );
    assert_eq!(
        outcome(&["endpoints", "delete", "ep_1", "--yes"], &url).0,
        Exit::NotFound
    );
    let asked: Vec<String> = requests.iter().collect();
    assert!(asked[0].ends_with(r#"{"url":"https://a/"}"#), "{}", asked[0]);
    assert!(asked[1].starts_with("DELETE /v1/endpoints/ep_1 "), "{}", asked[1]);
}

#[test]
fn an_endpoint_is_changed_rotated_and_tested() {
    let endpoint = r#"{"id":"ep_1","url":"https://a/","secret":"whsec_x"}"#;
    let tested = |delivered: bool| {
        ok(&format!(
            r#"{{"id":"evt_1","delivered":{delivered},"status":401}}"#
        ))
    };
    let (url, requests) = service(vec![ok(endpoint), ok(endpoint), tested(true), tested(false)]);
    let change = [
        "endpoints",
        "change",
        "ep_1",
        "--enable",
        "--any-model",
        "--type",
        "asset.archived",
    ];
    assert_eq!(outcome(&change, &url).0, Exit::Ok);
    assert_eq!(
        outcome(&["endpoints", "rotate", "ep_1", "--overlap", "2h"], &url).0,
        Exit::Ok
    );
    assert_eq!(outcome(&["endpoints", "test", "ep_1"], &url).0, Exit::Ok);
    assert_eq!(
        outcome(&["endpoints", "test", "ep_1", "--json"], &url).0,
        Exit::Failure
    );
    let asked: Vec<String> = requests.iter().collect();
    assert!(asked[0].starts_with("PATCH /v1/endpoints/ep_1 "), "{}", asked[0]);
    assert!(
        asked[0].ends_with(r#"{"disabled":false,"models":null,"types":["asset.archived"]}"#),
        "{}",
        asked[0]
    );
    assert!(
        asked[1].starts_with("POST /v1/endpoints/ep_1/rotate "),
        "{}",
        asked[1]
    );
    assert!(asked[1].ends_with(r#"{"overlap":"7200s"}"#), "{}", asked[1]);
    assert!(
        asked[2].starts_with("POST /v1/endpoints/ep_1/test "),
        "{}",
        asked[2]
    );
    // Nothing to change, or a secret that nobody would see: said before anything is asked.
    assert!(Cli::try_parse_from(["catchment", "endpoints", "change", "ep_1"]).is_err());
    assert_eq!(
        outcome(&["endpoints", "rotate", "ep_1", "--quiet"], &url).0,
        Exit::Usage
    );
}

#[test]
fn deliveries_are_listed_and_sent_again() {
    let page = |next: &str| {
        ok(&format!(
            r#"{{"data":[{{"id":"dlv_1","event":"evt_1","status":"dead","attempts":[{{"number":1,"status":500}}]}}],"nextCursor":{next}}}"#
        ))
    };
    let redriven = || answer("202 Accepted", "", r#"{"redriven":2}"#);
    let (url, requests) = service(vec![page("\"c1\""), page("null"), redriven(), redriven()]);
    let list = [
        "endpoints",
        "deliveries",
        "ep_1",
        "--status",
        "dead",
        "--all",
        "--attempts",
    ];
    assert_eq!(outcome(&list, &url).0, Exit::Ok);
    let one = ["endpoints", "redrive", "ep_1", "--event", "evt_1"];
    assert_eq!(outcome(&one, &url).0, Exit::Ok);
    let all = ["endpoints", "redrive", "ep_1", "--all", "--yes"];
    assert_eq!(outcome(&all, &url).0, Exit::Ok);
    let asked: Vec<String> = requests.iter().collect();
    assert!(
        asked[0].starts_with("GET /v1/endpoints/ep_1/deliveries?status=dead&limit=200 "),
        "{}",
        asked[0]
    );
    assert!(asked[1].contains("cursor=c1"), "{}", asked[1]);
    assert!(asked[2].ends_with(r#"{"event":"evt_1"}"#), "{}", asked[2]);
    assert!(asked[3].ends_with(r#"{"all":true}"#), "{}", asked[3]);
    // Something must be named.
    assert!(Cli::try_parse_from(["catchment", "endpoints", "redrive", "ep_1"]).is_err());
}
