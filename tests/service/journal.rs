//! The journal: the identity of each task is in the bucket before the provider is paid, so even the loss of the only
//! disk loses nothing paid, and buys nothing twice.

use crate::outside::{Outside, Serve, until};
use crate::wire::Wire;
use crate::world::{task, uuid};
use catchment::simulator::{Faults, Options, ResultState};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::Duration;

impl Outside {
    /// The disk is gone: database, callback keys, API keys.
    pub fn lose_the_disk(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
        std::fs::remove_file(self.dir.path().join("api-key")).unwrap();
    }

    pub async fn journal(&self) -> Vec<String> {
        let keys = self.s3.bucket.keys().await;
        let entry = |key: &String| key.strip_prefix(".journal/").map(str::to_owned);
        keys.iter().filter_map(entry).collect()
    }

    /// Results that were paid for, over all generations.
    pub fn paid(&self) -> usize {
        let all = self.simulator.generations();
        let results = all.iter().flat_map(|g| &g.results);
        results.filter(|r| r.state == ResultState::Succeeded).count()
    }

    pub fn assert_bought_once(&self, tasks: usize) {
        let all = self.simulator.generations();
        assert_eq!(all.len(), tasks, "every task was bought");
        for g in all {
            assert_eq!(
                (g.accepted, g.conflicts),
                (1, 0),
                "I3: {} was sent again",
                g.task_uuid
            );
        }
    }
}

/// A client command, as somebody with this service's key runs it.
pub async fn cli(outside: &Outside, serve: &Serve, args: &[&str]) -> Output {
    let mut command: Command = outside.command();
    command
        .args(args)
        .env("CATCHMENT_URL", &serve.base)
        .env("CATCHMENT_KEY", &serve.key);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Some with two results, labels, keys and formats of their own.
fn varied(n: usize, simulate: &str) -> Value {
    let mut sample = task(n, simulate);
    sample["numberResults"] = json!(1 + n % 2);
    sample["outputFormat"] = json!(if n.is_multiple_of(3) { "WEBM" } else { "MP4" });
    sample["catchment"] = json!({ "labels": { "shot": n.to_string() } });
    if n.is_multiple_of(4) {
        sample["catchment"]["keyPrefix"] = json!("films/");
    }
    sample
}

const TASKS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn f28_the_only_disk_is_lost_and_nothing_paid_is_lost_or_bought_twice() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__MAX_IN_FLIGHT", "16");
    let mut serve = Serve::start(&outside, None).await;
    // A third of them render for an hour: they finish when nobody is there to be called.
    let all: Vec<Value> = (0..TASKS)
        .map(|n| varied(n, if n % 3 == 1 { "render=1h" } else { "" }))
        .collect();
    serve.submit(&json!(all)).await;
    until("all are bought", || {
        outside.simulator.stats().accepted == TASKS as u64
    })
    .await;
    let early = (0..TASKS).filter(|n| n % 3 != 1);
    for n in early.clone() {
        serve.wait_status(&uuid(n), "completed").await;
    }
    let archived_before = outside.s3.count().await;
    serve.signal("KILL");
    serve.child.wait().unwrap();
    outside.lose_the_disk();
    outside.simulator.advance(Duration::from_secs(2 * 3600));

    // What lies in the journal is no secret, and there is one entry a task.
    let mut names: Vec<String> = (0..TASKS).map(uuid).collect();
    names.sort();
    assert_eq!(outside.journal().await, names);
    for name in &names {
        let entry = outside.s3.get(&format!(".journal/{name}")).await.unwrap();
        let entry = String::from_utf8(entry).unwrap();
        for secret in ["presenter", "http", "cb/v1", "provider-key"] {
            assert!(!entry.contains(secret), "G12: {entry}");
        }
    }

    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(serve.tasks().await, [] as [Value; 0]);
    let result = outside.dir.path().join("outcome.ndjson");
    let args = [
        "tasks",
        "import",
        "--from-bucket",
        "--wait",
        "--timeout",
        "90s",
        "--result",
    ];
    let import = cli(
        &outside,
        &serve,
        &[&args[..], &[result.to_str().unwrap()]].concat(),
    )
    .await;
    assert!(import.status.success(), "{}\n{}", said(&import), outside.log());
    assert!(said(&import).contains("40 imported"), "{}", said(&import));

    outside.assert_bought_once(TASKS);
    let generations = outside.simulator.generations();
    let mut results = 0;
    for n in 0..TASKS {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(
            (&task["status"], &task["origin"]),
            (&json!("completed"), &json!("imported")),
            "{task:#}"
        );
        assert_eq!(task["labels"]["shot"], n.to_string());
        let g = generations
            .iter()
            .find(|g| g.task_uuid.to_string() == uuid(n))
            .unwrap();
        results += g.results.len();
        for r in &g.results {
            let asset = task["assets"].as_array().unwrap().iter();
            let asset = asset.clone().find(|a| a["resultId"] == r.id.to_string()).unwrap();
            let (prefix, ext) = (
                if n.is_multiple_of(4) { "films/" } else { "" },
                if n.is_multiple_of(3) { "webm" } else { "mp4" },
            );
            assert_eq!(
                asset["key"],
                format!("{prefix}{}/{}.{ext}", uuid(n), r.id),
                "the same key as before"
            );
            assert_eq!(asset["sha256"].as_str(), r.sha256.as_deref(), "I5");
            assert_eq!(r.downloads, 1, "what is in the bucket is not fetched again");
        }
    }
    assert!(archived_before > 0 && archived_before < results);
    assert_eq!(outside.s3.count().await, results, "G5: every result once");
    let rows = std::fs::read_to_string(&result).unwrap();
    assert_eq!(rows.lines().count(), TASKS);
    assert!(rows.lines().all(|row| row.contains("\"completed\"")), "{rows}");

    // Once more, and by another way: nothing new.
    let again = cli(&outside, &serve, &["tasks", "import", "--from-bucket", "--json"]).await;
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&again["imported"], &again["known"]), (&json!(0), &json!(TASKS)));
    assert_eq!(outside.journal().await, names, "nothing beside the first entries");
    serve.stop().await;
}

/// G2 outlives the disk: whoever never got an answer sends the same task again.
#[tokio::test(flavor = "multi_thread")]
async fn g2_a_submission_repeated_after_the_disk_was_lost_is_not_sent_again() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..4 {
        serve
            .submit(&task(n, if n % 2 == 0 { "" } else { "render=1h" }))
            .await;
    }
    until("all are bought", || outside.simulator.stats().accepted == 4).await;
    serve.wait_status(&uuid(0), "completed").await;
    serve.signal("KILL");
    serve.child.wait().unwrap();
    outside.lose_the_disk();
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..4 {
        serve
            .submit(&task(n, if n % 2 == 0 { "" } else { "render=1h" }))
            .await;
    }
    for n in 0..4 {
        let sent =
            |t: &Value| ["submitted", "archiving", "completed"].contains(&t["status"].as_str().unwrap());
        serve.wait_task(&uuid(n), "known to the provider", sent).await;
    }
    outside.simulator.advance(Duration::from_secs(2 * 3600));
    serve.wait_settled(4).await;
    assert!(serve.tasks().await.iter().all(|t| t["status"] == "completed"));
    outside.assert_bought_once(4);
    assert_eq!(outside.s3.count().await, 4);
    serve.stop().await;
}

/// F8: a bucket that is away holds nothing up; the journal follows when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn f8_without_its_bucket_tasks_are_submitted_and_the_journal_catches_up() {
    let mut outside = Outside::start().await;
    let mut store = Wire::to(outside.s3.endpoint().as_str());
    outside.set("CATCHMENT_S3__ENDPOINT", store.url());
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..8 {
        serve.submit(&task(n, "render=1h")).await;
    }
    until("all are bought", || outside.simulator.stats().accepted == 8).await;
    assert_eq!(outside.journal().await, [] as [String; 0]);
    store.up();
    for _ in 0..500 {
        if outside.journal().await.len() == 8 {
            break;
        }
        crate::outside::pause().await;
    }
    assert_eq!(outside.journal().await.len(), 8, "caught up");
    serve.wait_fine("journal").await;
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_switched_off_is_not_kept_and_switched_on_follows_what_is_open() {
    let mut outside = Outside::with(Options {
        faults: Faults::none(),
        ..Options::default()
    })
    .await;
    outside.set("CATCHMENT_S3__JOURNAL", "false");
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.submit(&task(1, "render=1h")).await;
    serve.wait_status(&uuid(0), "completed").await;
    serve.wait_status(&uuid(1), "submitted").await;
    serve.stop().await;
    assert_eq!(outside.journal().await, [] as [String; 0]);
    outside.settings.pop();
    let mut serve = Serve::start(&outside, None).await;
    for _ in 0..1000 {
        if !outside.journal().await.is_empty() {
            break;
        }
        crate::outside::pause().await;
    }
    assert_eq!(
        outside.journal().await,
        [uuid(1)],
        "what is archived needs no entry"
    );
    serve.stop().await;
}
