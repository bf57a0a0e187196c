//! Events in NATS JetStream: all of them, in order, once, whatever is killed.

use crate::nats_server::{Message, Nats};
use crate::outside::{Outside, Serve, pause};
use crate::world::task;
use catchment::adapters::nats::{NatsLog, NatsOptions};
use catchment::domain::event::{Event, EventData, EventKind};
use catchment::domain::ids::{EventId, Tenant};
use catchment::domain::time::Timestamp;
use catchment::ports::event_log::{Appended, EventLog as _};
use serde_json::{Value, json};
use std::time::Duration;

const STREAM: &str = "catchment";

async fn world(nats: &Nats) -> Outside {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_NATS__URL", format!("nats://{}", nats.host()));
    outside
}

async fn submit_many(serve: &Serve, tasks: std::ops::Range<usize>) {
    let all: Vec<Value> = tasks.map(|n| task(n, "")).collect();
    let answer = serve.post("/v1/tasks", &json!(all), None).await.unwrap();
    assert_eq!(answer.status(), 202);
}

/// The whole log, page by page.
async fn log(serve: &Serve) -> Vec<Value> {
    let (mut all, mut after) = (vec![], 0);
    loop {
        let page = serve
            .get(&format!("/v1/events?limit=500&after={after}"))
            .await
            .unwrap();
        all.extend(page["data"].as_array().unwrap().clone());
        after = page["nextAfter"].as_u64().unwrap();
        if page["done"] == true {
            return all;
        }
    }
}

/// The stream holds the log: every event once, in order, as consumers see it everywhere, under its id and subject.
async fn assert_same(nats: &Nats, serve: &Serve) {
    let log = log(serve).await;
    for _ in 0..1500 {
        if nats.count(STREAM).await >= log.len() as u64 {
            break;
        }
        pause().await;
    }
    let messages = nats.messages(STREAM).await;
    let ids = |m: &[Message]| m.iter().map(|m| m.id.clone()).collect::<Vec<_>>();
    let logged: Vec<_> = log.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids(&messages), logged, "delivered = log, in order");
    for (message, event) in messages.iter().zip(&log) {
        assert_eq!(&message.event, event);
        let subject = format!("{STREAM}.events.default.{}", event["type"].as_str().unwrap());
        assert_eq!(message.subject, subject);
    }
}

async fn lag(serve: &Serve) -> u64 {
    let metrics = serve.metrics().await;
    let line = metrics
        .lines()
        .find_map(|l| l.strip_prefix("catchment_event_lag{sink=\"nats\"} "));
    line.unwrap().parse().unwrap()
}

async fn wait_for_lag(serve: &Serve, fits: impl Fn(u64) -> bool) {
    for _ in 0..1500 {
        if fits(lag(serve).await) {
            return;
        }
        pause().await;
    }
    panic!("the lag stays at {}", lag(serve).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_events_wait_while_nats_is_down_and_come_in_order_when_it_is_back() {
    let mut nats = Nats::new(None);
    let outside = world(&nats).await;
    // It starts and works without it.
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(serve.wait_degraded("nats").await, "unreachable");
    submit_many(&serve, 0..3).await;
    serve.wait_settled(3).await;
    wait_for_lag(&serve, |n| n >= 12).await;

    nats.start().await;
    serve.wait_fine("nats").await;
    assert_same(&nats, &serve).await;
    wait_for_lag(&serve, |n| n == 0).await;

    nats.kill();
    submit_many(&serve, 3..6).await;
    serve.wait_settled(6).await;
    let code = serve.wait_degraded("nats").await;
    assert!(["unreachable", "timeout"].contains(&code.as_str()), "{code}");
    nats.start().await;
    serve.wait_fine("nats").await;
    assert_same(&nats, &serve).await;
    assert!(
        serve
            .metrics()
            .await
            .contains("catchment_deliveries_total{outcome=\"delivered\"} ")
    );
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_killed_while_it_publishes_nothing_is_missed_or_stored_twice() {
    let mut nats = Nats::new(None);
    nats.start().await;
    let outside = world(&nats).await;
    let mut serve = Serve::start(&outside, None).await;
    for round in 0..4 {
        submit_many(&serve, round * 30..(round + 1) * 30).await;
        let before = nats.count(STREAM).await;
        for _ in 0..1500 {
            if nats.count(STREAM).await > before {
                break;
            }
            pause().await;
        }
        serve.signal("KILL");
        while !serve.has_died() {
            pause().await;
        }
        serve = Serve::start(&outside, None).await;
    }
    serve.wait_settled(120).await;
    assert_same(&nats, &serve).await;
    serve.stop().await;
}

/// Stored there and not noted here: the worst moment, by name.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn f1_killed_between_acknowledgement_and_note_nothing_is_stored_twice() {
    let mut nats = Nats::new(None);
    nats.start().await;
    let outside = world(&nats).await;
    let points = [
        "append.before_append",
        "append.after_append",
        "append.after_commit",
    ];
    for (n, point) in points.into_iter().enumerate() {
        let mut serve = Serve::start(&outside, Some(point)).await;
        let _ = serve.post("/v1/tasks", &task(n, ""), None).await; // it may die before it answers
        for _ in 0..1500 {
            if serve.has_died() {
                break;
            }
            pause().await;
        }
        assert!(serve.has_died(), "{point}: never passed");
    }
    let mut serve = Serve::start(&outside, None).await;
    let all: Vec<Value> = (0..points.len()).map(|n| task(n, "")).collect();
    assert_eq!(
        serve.post("/v1/tasks", &json!(all), None).await.unwrap().status(),
        202
    );
    serve.wait_settled(points.len()).await;
    assert_same(&nats, &serve).await;
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g12_a_login_is_used_and_told_to_nobody_and_a_wrong_one_is_told_as_such() {
    const PASSWORD: &str = "canary-nats-password-9d2e";
    let mut nats = Nats::new(Some(("events", PASSWORD)));
    nats.start().await;
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_LOG__LEVEL", "trace");
    outside.set(
        "CATCHMENT_NATS__URL",
        format!("nats://events:not-it@{}", nats.host()),
    );
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(serve.wait_degraded("nats").await, "unauthorized");
    serve.stop().await;
    outside.set(
        "CATCHMENT_NATS__URL",
        format!("nats://events:{PASSWORD}@{}", nats.host()),
    );
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    assert_same(&nats, &serve).await;
    serve.stop().await;
    let shown = outside.command().args(["config", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains(&format!("nats://<hidden>@{}", nats.host())),
        "{shown}"
    );
    for told in [outside.log(), shown] {
        assert!(
            !told.contains(PASSWORD) && !told.contains("not-it"),
            "the password was told"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_somebody_else_is_left_alone_and_told() {
    let mut nats = Nats::new(None);
    nats.start().await;
    let theirs = async_nats::jetstream::stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["orders.>".to_owned()],
        ..Default::default()
    };
    nats.jetstream().await.create_stream(theirs).await.unwrap();
    let mut outside = world(&nats).await;
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    assert_eq!(serve.wait_degraded("nats").await, "stream_of_other_subjects");
    assert_eq!(nats.count(STREAM).await, 0);
    serve.stop().await;
    // Under another name there is room; what waited is there, and the tenant's name is one word of the subject.
    outside.set("CATCHMENT_NATS__STREAM", "films_2");
    let made = outside
        .command()
        .args(["keys", "create", "x", "--tenant", "a-b", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let mut serve = Serve::start(&outside, None).await;
    serve.wait_fine("nats").await;
    let request = serve
        .client
        .post(format!("{}/v1/tasks", serve.base))
        .json(&task(1, ""));
    let answer = request
        .bearer_auth(made["key"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    for _ in 0..1500 {
        if nats.count("films_2").await >= 10 {
            break;
        }
        pause().await;
    }
    let messages = nats.messages("films_2").await;
    assert_eq!(messages.len(), 10);
    let subjects: Vec<_> = messages.iter().map(|m| m.subject.as_str()).collect();
    assert!(
        subjects.contains(&"films_2.events.default.asset.archived"),
        "{subjects:?}"
    );
    assert!(
        subjects.contains(&"films_2.events.a-b.asset.archived"),
        "{subjects:?}"
    );
    serve.stop().await;
}

fn event(n: u64) -> Event {
    Event {
        sequence: n,
        id: EventId::derive(&["nats", &n.to_string()]),
        kind: EventKind::TaskAccepted,
        tenant: Tenant::default_tenant(),
        task: None,
        task_sequence: 0,
        at: Timestamp::from_millis(0),
        data: EventData::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_a_repeat_is_acknowledged_and_not_stored_and_a_foreign_message_breaks_no_order() {
    let mut nats = Nats::new(None);
    nats.start().await;
    let log = NatsLog::new(NatsOptions {
        servers: vec![format!("nats://{}", nats.host()).parse().unwrap()],
        login: None,
        stream: STREAM.to_owned(),
        keep: Duration::from_secs(3600),
    });
    let code = log.append(&[event(1)]).await.1.unwrap().code;
    assert_eq!(code, "unreachable", "nothing is kept for later by the client");
    assert_eq!(log.last().await.unwrap(), None);
    let first: Vec<_> = (1..=3).map(event).collect();
    assert_eq!(log.append(&first).await, (3, None));
    let end = |n| {
        Some(Appended {
            id: event(n).id,
            sequence: n,
        })
    };
    assert_eq!(log.last().await.unwrap(), end(3));

    // What is there already counts; what follows needs another look at the end, since the repeats took no place.
    let more: Vec<_> = (2..=256).map(event).collect();
    let (acknowledged, trouble) = log.append(&more).await;
    assert_eq!((acknowledged, trouble.unwrap().stale), (2, true));
    assert_eq!(log.last().await.unwrap(), end(3));
    assert_eq!(log.append(&more[2..]).await, (253, None));
    assert_eq!(nats.count(STREAM).await, 256);

    // Somebody else writes under our subjects: looked at again, nothing out of order.
    let jetstream = nats.jetstream().await;
    let foreign = jetstream
        .publish(format!("{STREAM}.events.x"), "{}".into())
        .await
        .unwrap();
    foreign.await.unwrap();
    let (acknowledged, trouble) = log.append(&[event(257)]).await;
    assert_eq!((acknowledged, trouble.unwrap().stale), (0, true));
    assert_eq!(log.last().await.unwrap(), None, "theirs has no number of ours");
    assert_eq!(log.append(&[event(257)]).await, (1, None));
    assert_eq!(log.last().await.unwrap(), end(257));
    log.close().await;
}
