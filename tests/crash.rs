//! F1: killed between any two durable steps, the service resumes: nothing lost, nothing archived or bought twice, the
//! same event ids. The service is a process of its own; the provider, the object store and the consumer live here, so
//! they survive each kill.
#![cfg(feature = "failpoints")]

#[path = "support/outside.rs"]
mod outside;

use catchment::simulator::Options;
use outside::seaweed::Seaweed;
use outside::stores::Kind;
use outside::{Outside, Serve, pause};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Around each commit and each outside effect, and on both sides of the withheld chunk.
const POINTS: &[&str] = &[
    "submit.before_store",
    "submit.after_store",
    "journal.after_put",
    "dispatch.before_intent",
    "dispatch.after_intent",
    "dispatch.after_answer",
    "dispatch.after_commit",
    "receive.before_store",
    "receive.after_store",
    "ingest.before_commit",
    "ingest.after_commit",
    "archive.before_intent",
    "archive.before_release",
    "archive.before_verify",
    "archive.before_commit",
    "archive.after_commit",
    "publish.before_try",
    "publish.after_try",
    "publish.after_commit",
    "sqlite.before_commit",
    "sqlite.after_commit",
    // The same two, some commits into the run.
    "sqlite.before_commit=7*off->return",
    "sqlite.after_commit=7*off->return",
    "sqlite.before_commit=15*off->return",
    "sqlite.after_commit=15*off->return",
];

/// Around each effect of a copy, and in the commits about it.
const AROUND_THE_COPY: &[&str] = &[
    "archive.before_intent",
    "archive.before_release",
    "archive.before_verify",
    "archive.before_commit",
    "sqlite.before_commit=15*off->return",
    "sqlite.after_commit=15*off->return",
];

/// Points of ways out that this file's tasks do not take, and the file whose stories kill there.
const ELSEWHERE: &[(&str, &str)] = &[
    ("call_task.", "tests/service/webhook_url.rs"),
    ("append.", "tests/service/nats.rs"),
];

#[test]
fn f1_no_named_point_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = BTreeSet::new();
    named_points(&root.join("src"), &mut named);
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let here = POINTS.contains(&name.as_str());
        let elsewhere = ELSEWHERE.iter().any(|(prefix, file)| {
            name.starts_with(prefix) && fs::read_to_string(root.join(file)).unwrap().contains(&name)
        });
        assert!(here || elsewhere, "nobody is killed at {name}");
    }
}

/// Every `crash_point!` of the program.
fn named_points(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named_points(&path, named);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = text.split("crash_point!(\"").skip(1);
        named.extend(names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_killed_at_every_named_point_nothing_is_lost_and_nothing_happens_twice() {
    killed_at(POINTS, Kind::Embedded, ONE_REQUEST).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_f9_killed_at_every_named_point_on_seaweedfs() {
    killed_at(POINTS, Kind::Seaweed, ONE_REQUEST).await;
}

/// A source that names no length goes up in parts, which a killed process leaves behind.
#[tokio::test(flavor = "multi_thread")]
async fn f1_f9_i17_killed_around_a_copy_in_parts_on_seaweedfs() {
    killed_at(AROUND_THE_COPY, Kind::Seaweed, IN_PARTS).await;
}

/// What the source does, for the simulator.
const ONE_REQUEST: &str = "";
const IN_PARTS: &str = "no-length;video-size=6000000";

async fn killed_at(points: &[&str], store: Kind, simulate: &str) {
    let _kept_between_points = match store {
        Kind::Seaweed => Some(Seaweed::shared().await),
        Kind::Embedded => None,
    };
    for point in points {
        let mut outside = Outside::on(store, Options::default()).await;
        outside
            .settings
            .push(("CATCHMENT_ARCHIVE__PART_SIZE", "5MiB".to_owned()));
        let seen = run_until_killed(&outside, point, simulate).await;
        let mut serve = Serve::start(&outside, None).await;
        serve.wait_settled(1).await;
        check(&outside, &serve, &seen, point).await;
        if store == Kind::Seaweed {
            assert_eq!(outside.s3.bucket.uploads().await, 0, "{point}: I17");
        }
        serve.stop().await;
        println!("{point}: resumed");
    }
}

/// Some way into a run of several tasks, with other deliveries on their way.
const AMID_DELIVERIES: &[&str] = &[
    "publish.before_try=9*off->return",
    "publish.after_try=12*off->return",
    "publish.after_commit=15*off->return",
];

#[tokio::test(flavor = "multi_thread")]
async fn f1_g7_killed_amid_deliveries_every_event_is_delivered_under_its_id() {
    const TASKS: usize = 8;
    for point in AMID_DELIVERIES {
        let outside = Outside::on(Kind::Embedded, Options::default()).await;
        let mut serve = Serve::start(&outside, None).await;
        serve.subscribe(&outside.endpoint).await;
        serve.stop().await;
        let mut serve = Serve::start(&outside, Some(point)).await;
        for n in 0..TASKS {
            serve.submit_until_stored(&format!("crash-{n}"), "").await;
        }
        for _ in 0..1500 {
            if serve.has_died() {
                break;
            }
            pause().await;
        }
        assert!(serve.has_died(), "{point}: the process never came by this point");
        let before = outside.endpoint.taken();
        let mut serve = Serve::start(&outside, None).await;
        for n in 0..TASKS {
            serve.submit_until_stored(&format!("crash-{n}"), "").await;
        }
        serve.wait_settled(TASKS).await;
        let events = serve.try_events().await.unwrap();
        outside.wait_for_deliveries(&events, point).await;
        let ids: BTreeSet<&str> = events.iter().map(|e| e["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), events.len(), "{point}: one id, one event");
        assert!(
            before.keys().all(|id| ids.contains(id.as_str())),
            "{point}: what was delivered before the kill is in the log, under its id"
        );
        serve.stop().await;
        println!("{point}: resumed");
    }
}

/// Starts, submits, and waits for the process to die at the point. Answers the events it had told by then.
async fn run_until_killed(outside: &Outside, point: &str, simulate: &str) -> BTreeMap<String, Value> {
    let mut serve = Serve::start(outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    serve.stop().await;
    // The point is armed on a second start, so that keys and endpoints exist already.
    let mut serve = Serve::start(outside, Some(point)).await;
    serve.submit_until_stored("crash-task", simulate).await;
    let mut seen = BTreeMap::new();
    for _ in 0..1500 {
        if let Ok(events) = serve.try_events().await {
            seen.extend(
                events
                    .into_iter()
                    .map(|e| (e["id"].as_str().unwrap().to_owned(), e)),
            );
        }
        if serve.has_died() {
            // A client whose answer was lost asks again; only then is there a task for certain.
            let mut again = Serve::start(outside, None).await;
            again.submit_until_stored("crash-task", simulate).await;
            again.stop().await;
            return seen;
        }
        pause().await;
    }
    panic!("{point}: the process never came by this point");
}

async fn check(outside: &Outside, serve: &Serve, seen: &BTreeMap<String, Value>, point: &str) {
    let generations = outside.simulator.generations();
    assert_eq!(generations.len(), 1, "{point}: I2, I3");
    assert_eq!(generations[0].accepted, 1, "{point}: I3");
    let task = serve.task(&generations[0].task_uuid.to_string()).await;
    assert_eq!(task["status"], "completed", "{point}: {task:#}");
    outside.assert_archived_once(&task, &generations[0], point).await;

    let events = serve.try_events().await.unwrap();
    let ids: BTreeSet<&str> = events.iter().map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), events.len(), "{point}: one id, one event");
    let numbers: Vec<u64> = events
        .iter()
        .map(|e| e["taskSequence"].as_u64().unwrap())
        .collect();
    assert_eq!(
        numbers,
        (1..=events.len() as u64).collect::<Vec<_>>(),
        "{point}: I9"
    );
    for (id, event) in seen {
        assert!(
            events.contains(event),
            "{point}: {id} was told and is not in the log as it was: {event:#}"
        );
    }
    outside.wait_for_deliveries(&events, point).await;
}

impl Serve {
    /// As a client that asks again until it has its 202, under one key. Gives up when the process is gone.
    async fn submit_until_stored(&mut self, key: &str, simulate: &str) {
        let body = json!({
            "taskType": "videoInference",
            "model": "klingai:avatar@2.0-pro",
            "inputs": { "image": "https://cdn.example.com/a.png", "audio": "https://cdn.example.com/a.mp3" },
            "positivePrompt": format!("A presenter [sim: {simulate}]"),
            "numberResults": 2
        });
        for _ in 0..50 {
            match self.post("/v1/tasks", &body, Some(key)).await {
                Ok(answer) if answer.status() == 202 => return,
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap()),
                Err(_) if self.has_died() => return,
                Err(_) => pause().await,
            }
        }
        panic!("the submission never got through");
    }
}
