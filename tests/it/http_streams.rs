//! The event log as it grows, as an export, and after its beginning was removed.

use crate::harness::stream::{Reader, Told};
use crate::harness::{
    Answer, PATIENCE, Service, Setup, answer, asleep, avatar, avatar_with, key_limits, manual,
};
use crate::http_limits::{deaf, held, pause, until_held};
use catchment::domain::time::Timestamp;
use catchment::http::KeyLimits;
use catchment::http::server::Deadlines;
use catchment::ports::retention::Retention as _;
use catchment::ports::store::{Accounts as _, Outbox as _};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

const HEARTBEAT: Duration = Duration::from_secs(15);

/// One request with this many tasks, one event each.
async fn submit_many(service: &Service, n: usize) {
    let tasks: Vec<Value> = (0..n).map(|_| avatar()).collect();
    let answer = service.post("/v1/tasks", &json!(tasks)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

async fn log(service: &Service) -> Vec<Value> {
    let (mut events, mut after) = (vec![], 0);
    loop {
        let page = service
            .get(&format!("/v1/events?after={after}&limit=1000"))
            .await
            .body;
        events.extend(page["data"].as_array().unwrap().clone());
        after = page["nextAfter"].as_u64().unwrap();
        if page["done"] == true {
            return events;
        }
    }
}

async fn export(service: &Service, query: &str) -> Answer {
    let request = service.request(Method::GET, &format!("/v1/events{query}"));
    answer(request.header("accept", "application/x-ndjson")).await
}

fn lines(export: &Answer) -> Vec<Value> {
    assert_eq!(
        (export.status.as_u16(), export.header("content-type")),
        (200, Some("application/x-ndjson"))
    );
    let lines = export.text.lines();
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Removes what was written before that; how many events went.
async fn remove_all(service: &Service, before: Timestamp) -> u64 {
    let (mut removed, mut after) = (0, Some(0));
    while let Some(from) = after {
        let step = service.store.remove_events(before, from).await.unwrap();
        removed += step.rows;
        after = step.next;
    }
    removed
}

#[actix_web::test]
async fn i9_a_stream_tells_the_past_and_goes_on_and_resumes_without_gap_or_repeat() {
    let service = Service::start().await;
    submit_many(&service, 100).await;
    let mut reader = service.stream("", None).await;
    let mut told = reader.events(100).await;
    submit_many(&service, 40).await;
    told.extend(reader.events(30).await);
    drop(reader);
    submit_many(&service, 3).await;
    // A browser that reconnects sends both: the position it has reached counts.
    let reached = told.last().unwrap()["sequence"].as_u64();
    let mut reader = service.stream("?after=0", reached).await;
    told.extend(reader.events(13).await);
    assert_eq!(told, log(&service).await, "the same envelope in the same order");

    let mut next = service.stream("?after=latest", None).await;
    let id = service.submit(&avatar()).await;
    assert_eq!(next.event().await["data"]["taskUUID"], id);
}

#[actix_web::test]
async fn t14_a_stream_tells_its_own_tenants_events_and_what_its_filters_ask_for() {
    let service = Service::start().await;
    let stranger = service.key_of("stranger").await;
    let mut theirs = Reader::open(service.request_by(&stranger, Method::GET, "/v1/events")).await;
    let mut red = service
        .stream(
            "?label.team=red&type=task.accepted,asset.archived&model=klingai:avatar@2.0-pro",
            None,
        )
        .await;
    let mut none = service.stream("?model=other", None).await;
    submit_many(&service, 50).await;
    let wanted = service
        .submit(&avatar_with("catchment", json!({"labels": {"team": "red"}})))
        .await;
    assert_eq!(red.event().await["data"]["taskUUID"], wanted);
    // What comes next to the others is their own, or the end: nothing before it was told.
    let by_stranger = service
        .request_by(&stranger, Method::POST, "/v1/tasks")
        .json(&avatar());
    let own = answer(by_stranger).await.body["data"][0]["taskUUID"].clone();
    assert_eq!(theirs.event().await["data"]["taskUUID"], own);
    let exported = service.request_by(&stranger, Method::GET, "/v1/events");
    let exported = lines(&answer(exported.header("accept", "application/x-ndjson")).await);
    assert_eq!((exported.len(), &exported[0]["data"]["taskUUID"]), (1, &own));
    let mut service = service;
    service.stop().await;
    assert_eq!((none.next().await, none.end().await), (Told::Nothing, 0));
}

#[actix_web::test]
async fn a_quiet_stream_shows_that_it_lives_and_ends_when_its_key_is_revoked() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        ..Setup::default()
    })
    .await;
    let mut reader = service.stream("", None).await;
    assert_eq!(reader.next().await, Told::Nothing, "it says that it is connected");
    for _ in 0..2 {
        asleep(&clock).await;
        clock.advance(HEARTBEAT);
        assert_eq!(reader.next().await, Told::Nothing);
    }
    let key = service.store.keys().await.unwrap().remove(0);
    service
        .store
        .revoke_key(&key.id, Timestamp::from_millis(0))
        .await
        .unwrap();
    asleep(&clock).await;
    clock.advance(HEARTBEAT);
    tokio::time::timeout(PATIENCE, reader.end())
        .await
        .expect("a revoked key reads on");
}

#[actix_web::test]
async fn g11_a_stop_ends_streams_in_order() {
    let mut service = Service::start().await;
    submit_many(&service, 10).await;
    let readers = [
        service.stream("", None).await,
        service.stream("?after=latest", None).await,
    ];
    tokio::time::timeout(PATIENCE, service.stop())
        .await
        .expect("nothing to wait for");
    for reader in readers {
        assert!(reader.end().await <= 10);
    }
}

#[actix_web::test]
async fn t2_a_key_has_only_so_many_streams_and_gets_them_back() {
    let service = Service::with(Setup {
        key_limits: KeyLimits {
            event_streams: 2,
            ..key_limits()
        },
        ..Setup::default()
    })
    .await;
    let first = service.stream("", None).await;
    let _second = service.stream("", None).await;
    let stream = || {
        service
            .request(Method::GET, "/v1/events")
            .header("accept", "text/event-stream")
    };
    answer(stream()).await.is_problem(429, "rate_limited");
    export(&service, "").await.is_problem(429, "rate_limited");
    drop(first);
    for _ in 0..500 {
        // That it is gone shows when there is something to write.
        submit_many(&service, 1).await;
        if export(&service, "").await.status == 200 {
            return;
        }
        pause().await;
    }
    panic!("the place is not given back");
}

#[actix_web::test]
async fn an_export_is_the_whole_log_an_event_a_line() {
    let service = Service::start().await;
    for _ in 0..30 {
        submit_many(&service, 100).await;
    }
    let whole = log(&service).await;
    assert_eq!(whole.len(), 3_000);
    assert_eq!(lines(&export(&service, "").await), whole);
    assert_eq!(lines(&export(&service, "?after=2500").await), whole[2_500..]);
    assert_eq!(lines(&export(&service, "?limit=1234").await), whole[..1_234]);
    let one = whole[1_700]["data"]["taskUUID"].as_str().unwrap();
    assert_eq!(
        lines(&export(&service, &format!("?task={one}")).await),
        whole[1_700..=1_700]
    );
    assert_eq!(lines(&export(&service, "?after=latest").await).len(), 0);
    export(&service, "?wait=5s")
        .await
        .is_problem(400, "invalid_query");
}

#[actix_web::test]
async fn a_position_before_the_oldest_event_is_answered_with_the_oldest_position() {
    let clock = manual();
    let service = Service::with(Setup {
        clock: clock.clone(),
        ..Setup::default()
    })
    .await;
    submit_many(&service, 100).await;
    let reader = service.stream("?after=latest", None).await;
    clock.advance(Duration::from_secs(60));
    let cutoff = catchment::ports::clock::Clock::now(&*clock);
    submit_many(&service, 5).await;
    assert_eq!(remove_all(&service, cutoff).await, 100);

    let stream = |after: &str| {
        let request = service.request(Method::GET, &format!("/v1/events?after={after}"));
        request.header("accept", "text/event-stream")
    };
    for after in ["0", "99"] {
        let page = service.get(&format!("/v1/events?after={after}")).await;
        let waiting = service.get(&format!("/v1/events?after={after}&wait=30s")).await;
        let export = export(&service, &format!("?after={after}")).await;
        let live = answer(stream(after)).await;
        for refused in [page, waiting, export, live] {
            refused.is_problem(410, "cursor_too_old");
            assert_eq!(refused.body["oldestPosition"], 100);
        }
    }
    let resumed = stream("100").header("last-event-id", "42");
    answer(resumed).await.is_problem(410, "cursor_too_old");
    answer(stream("100&limit=5&wait=1s").header("last-event-id", "x"))
        .await
        .is_problem(400, "invalid_query");

    let rest = service.get("/v1/events?after=100").await.body;
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["nextAfter"]),
        (5, &json!(105))
    );
    // Who names no position has missed nothing.
    assert_eq!(service.get("/v1/events").await.body, rest);
    assert_eq!(lines(&export(&service, "").await).len(), 5);
    assert_eq!(service.stream("", None).await.event().await["sequence"], 101);
    drop(reader);

    // An empty log keeps its place: nothing is numbered twice, and the answer stays right.
    clock.advance(Duration::from_secs(60));
    let cutoff = catchment::ports::clock::Clock::now(&*clock);
    assert_eq!(remove_all(&service, cutoff).await, 5);
    let refused = service.get("/v1/events?after=104").await;
    assert_eq!(
        refused.is_problem(410, "cursor_too_old").body["oldestPosition"],
        105
    );
    let empty = service.get("/v1/events?after=105").await.body;
    assert_eq!(empty, json!({"data": [], "nextAfter": 105, "done": true}));
    submit_many(&service, 1).await;
    assert_eq!(
        service.get("/v1/events?after=105").await.body["data"][0]["sequence"],
        106
    );
    let found = service.found_after_a_kill(&*clock);
    assert_eq!(*found.last_sequence().borrow(), 106);
}

#[actix_web::test]
async fn t14_a_thousand_stalled_readers_disturb_nobody_and_are_dropped() {
    let service = Service::with(Setup {
        key_limits: KeyLimits {
            event_streams: 2_000,
            concurrent_requests: 2_000,
            ..key_limits()
        },
        max_connections: 2_048,
        deadlines: Deadlines {
            write_stalls: Duration::from_secs(4),
            ..Deadlines::default()
        },
        ..Setup::default()
    })
    .await;
    // Enough to fill what the kernel takes for a reader that does not read.
    for _ in 0..12 {
        submit_many(&service, 100).await;
    }
    let ask = format!(
        "GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {}\r\n\r\n",
        service.key
    );
    let mut stalled = vec![];
    for _ in 0..1_000 {
        let mut stream = deaf(service.addr()).await;
        stream.write_all(ask.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    assert!(held(service.addr()) >= 1_000, "they are there");
    let mut good = service.stream("", None).await;
    let mut told = good.events(1_200).await;
    for _ in 0..50 {
        // Each is acknowledged and told, while a thousand do not read.
        let id = service.submit(&avatar()).await;
        let event = good.event().await;
        assert_eq!(event["data"]["taskUUID"], id);
        told.push(event);
    }
    assert_eq!(told, log(&service).await);
    let wal = std::fs::metadata(service.dir().join("catchment.db-wal"))
        .unwrap()
        .len();
    assert!(wal <= 40 * 1024 * 1024, "the log of the database has {wal} bytes");
    // The good one, and the client's own idle connection.
    until_held(service.addr(), 3).await;
    let id = service.submit(&avatar()).await;
    assert_eq!(good.event().await["data"]["taskUUID"], id);
    drop(stalled);
}

/// Sizes of the database and of its write-ahead log, in bytes.
fn sizes(service: &Service) -> (u64, u64) {
    let size = |name| std::fs::metadata(service.dir().join(name)).unwrap().len();
    (size("catchment.db"), size("catchment.db-wal"))
}

#[actix_web::test]
async fn f21_readers_that_stall_do_not_keep_the_write_ahead_log_from_being_emptied() {
    const MIB: u64 = 1024 * 1024;
    let service = Service::start().await;
    for _ in 0..12 {
        submit_many(&service, 100).await;
    }
    let mut stalled = vec![];
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let mut stream = deaf(service.addr()).await;
        let ask = format!(
            "GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nauthorization: Bearer {}\r\n\r\n",
            service.key
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    // What was written until now is moved into the file, as far as a reader lets it.
    let beside = rusqlite::Connection::open(service.dir().join("catchment.db")).unwrap();
    let moved = |row: &rusqlite::Row<'_>| row.get::<_, i64>(2);
    assert!(
        beside
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], moved)
            .unwrap()
            > 0
    );
    let (before, _) = sizes(&service);
    let mut longest = 0;
    for _ in 0..40 {
        submit_many(&service, 100).await;
        longest = longest.max(sizes(&service).1);
    }
    assert!(longest < 40 * MIB, "the log grew to {longest} bytes");
    // Under a read that stays open no page written after its beginning gets into the file.
    let (after, _) = sizes(&service);
    assert!(
        after > before + MIB,
        "nothing was moved: {before} to {after} bytes"
    );
    drop(stalled);
}
