//! A copy of the database taken while all goes on, and the drill: restored, everything bought since is learned again
//! from callbacks, journal and audit; nothing is archived or bought twice.

use crate::journal::{cli, said};
use crate::outside::fault_store::{Act, FaultStore};
use crate::outside::{Outside, Serve, until};
use crate::wire::Wire;
use crate::world::{task, uuid};
use base64::Engine as _;
use catchment::simulator::{Faults, Options};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const BEFORE: usize = 20;
const SINCE: usize = 1000;
/// Of those, so many are still rendering when the database is put back.
const RENDERING: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn f28_after_a_restore_a_thousand_tasks_are_learned_again_and_none_is_bought_or_archived_twice() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__MAX_IN_FLIGHT", "64");
    outside.set("CATCHMENT_ARCHIVE__CONCURRENCY", "32");
    outside.set("CATCHMENT_LIMITS__REQUESTS_PER_SECOND", "10000");
    let mut serve = Serve::start(&outside, None).await;
    let submit = async |serve: &Serve, range: std::ops::Range<usize>, simulate: &str| {
        let all: Vec<Value> = range.map(|n| task(n, simulate)).collect();
        for some in all.chunks(100) {
            serve.submit(&json!(some)).await;
        }
    };
    submit(&serve, 0..BEFORE, "").await;
    serve.wait_settled(BEFORE).await;
    let file = outside.dir.path().join("backup.db");
    let done = outside
        .command()
        .args(["backup", file.to_str().unwrap(), "--json"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["size"], std::fs::metadata(&file).unwrap().len());

    let finished = SINCE - RENDERING;
    submit(&serve, BEFORE..BEFORE + finished, "").await;
    submit(&serve, BEFORE + finished..BEFORE + SINCE, "render=1h").await;
    until("all are bought", || {
        outside.simulator.stats().accepted == (BEFORE + SINCE) as u64
    })
    .await;
    wait_completed(&serve, BEFORE + finished).await;
    let archived = outside.s3.count().await;
    assert_eq!(archived, BEFORE + finished);

    serve.stop().await;
    put_back(&outside, "backup.db");
    // One of the tasks that came later was removed by retention in the meantime, let us say.
    let removed = uuid(BEFORE);
    let conn = rusqlite::Connection::open(outside.dir.path().join("data/catchment.db")).unwrap();
    conn.execute(
        "INSERT INTO tombstones VALUES (?1, 0)",
        [uuid::Uuid::parse_str(&removed).unwrap().as_bytes()],
    )
    .unwrap();
    drop(conn);

    let mut serve = Serve::start(&outside, None).await;
    let late = outside.callback_url(&serve, &removed).await;
    outside.simulator.advance(Duration::from_secs(2 * 3600));
    let recovered = |n: usize| uuid(BEFORE + finished + n);
    for n in 0..RENDERING {
        let task = serve.wait_status(&recovered(n), "completed").await;
        assert_eq!(task["origin"], "recovered", "learned from its callback");
    }
    let audit = cli(&outside, &serve, &["audit", "--repair", "--yes", "--json"]).await;
    assert!(audit.status.success(), "{}", said(&audit));
    let found: Value = serde_json::from_slice(&audit.stdout).unwrap();
    assert_eq!(
        found["summary"]["repaired"],
        finished - 1,
        "from the journal: {}",
        found["summary"]
    );
    wait_completed(&serve, BEFORE + SINCE - 1).await;

    outside.assert_bought_once(BEFORE + SINCE);
    assert_eq!(outside.s3.count().await, outside.paid(), "G5: no second object");
    for g in outside.simulator.generations() {
        assert_eq!(
            g.results[0].downloads, 1,
            "what lies in the bucket is not fetched again"
        );
    }
    assert_eq!(serve.call_back(&late, &json!({"data": []})).await, 200);
    assert_eq!(
        serve.task(&removed).await["status"],
        404,
        "a tombstone revives nothing"
    );
    let clean = cli(&outside, &serve, &["audit"]).await;
    let sentence = format!("{0} paid, {0} archived, 0 missing", BEFORE + SINCE - 1);
    assert!(said(&clean).contains(&sentence), "{}", said(&clean));
    println!(
        "restore of {SINCE}: VmHWM {} KiB, database {} bytes",
        serve.peak_kib(),
        done["size"]
    );
    serve.stop().await;
}

async fn wait_completed(serve: &Serve, count: usize) {
    let wanted = format!("catchment_tasks{{status=\"completed\"}} {count}");
    for _ in 0..4500 {
        if serve.metrics().await.lines().any(|line| line == wanted) {
            return;
        }
        crate::outside::pause().await;
    }
    let page = serve.metrics().await;
    let tasks: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("catchment_tasks{"))
        .collect();
    panic!("never {wanted}: {tasks:#?}");
}

/// What stands in the way of the question, when the backup is put back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    BucketDown,
    /// Takes the journal's requests and never answers them.
    BucketSilent,
    JournalOff,
    /// `deadline` of two of the tasks, `runware.max_hold` of the others.
    TimeIsOver,
}

/// What the backup holds as unsent was sent since: it is asked about, not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_task_unsent_in_the_backup_and_sent_since_is_not_bought_again() {
    unsent_in_the_backup_and_sent_since(Trouble::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_nor_is_it_when_the_bucket_is_down_at_the_restore() {
    unsent_in_the_backup_and_sent_since(Trouble::BucketDown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_nor_is_it_when_the_journal_cannot_be_put_in_time() {
    unsent_in_the_backup_and_sent_since(Trouble::BucketSilent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_nor_is_it_without_a_journal() {
    unsent_in_the_backup_and_sent_since(Trouble::JournalOff).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f28_a_task_whose_time_is_over_at_the_restore_is_asked_about_before_it_is_given_up() {
    unsent_in_the_backup_and_sent_since(Trouble::TimeIsOver).await;
}

async fn unsent_in_the_backup_and_sent_since(trouble: Trouble) {
    let mut refusing = Faults::none();
    refusing.refuse_submit = 1.0;
    refusing.set("refuse-submit-with", Some("503")).unwrap();
    let mut outside = Outside::with(Options {
        faults: refusing,
        ..Options::default()
    })
    .await;
    let fault = FaultStore::before(&outside.s3.bucket).await;
    let mut store = Wire::to(&fault.url());
    store.up();
    outside.set("CATCHMENT_S3__ENDPOINT", store.url());
    if trouble == Trouble::JournalOff {
        outside.set("CATCHMENT_S3__JOURNAL", "false");
    }
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..4 {
        serve.submit(&task(n, "")).await;
    }
    serve.wait_degraded("provider").await;
    until("each was tried", || {
        outside.simulator.stats().submissions_refused >= 8
    })
    .await;
    let made = outside.command().args(["backup", "b.db"]).output().unwrap();
    assert!(made.status.success(), "{}", said(&made));
    outside.simulator.set_faults(Faults::none());
    serve.wait_settled(4).await;
    serve.signal("KILL");
    serve.child.wait().unwrap();
    put_back(&outside, "b.db");
    match trouble {
        Trouble::None | Trouble::JournalOff => {}
        Trouble::BucketDown => store.down().await,
        Trouble::BucketSilent => fault.script(|asked| match asked.is_own() {
            true => Act::Hang,
            false => Act::Forward,
        }),
        Trouble::TimeIsOver => {
            outside.set("CATCHMENT_RUNWARE__MAX_HOLD", "1s");
            let conn = rusqlite::Connection::open(outside.dir.path().join("data/catchment.db")).unwrap();
            conn.execute("UPDATE tasks SET deadline = created_at + 1 WHERE id <= 2", [])
                .unwrap();
        }
    }
    let mut serve = Serve::start(&outside, None).await;
    if trouble == Trouble::BucketDown {
        for n in 0..4 {
            let known = |t: &Value| ["submitted", "archiving"].contains(&t["status"].as_str().unwrap());
            serve.wait_task(&uuid(n), "known to the provider", known).await;
        }
        outside.assert_bought_once(4);
        store.up();
    }
    serve.wait_settled(4).await;
    let tasks = serve.tasks().await;
    assert!(
        tasks.iter().all(|t| t["status"] == "completed"),
        "{trouble:?}: {tasks:#?}"
    );
    outside.assert_bought_once(4);
    assert_eq!(outside.s3.count().await, 4, "{trouble:?}: no second object");
    serve.stop().await;
}

/// As the documentation says.
fn put_back(outside: &Outside, backup: &str) {
    let data = outside.dir.path().join("data");
    for name in ["catchment.db", "catchment.db-wal", "catchment.db-shm"] {
        let _absent = std::fs::remove_file(data.join(name));
    }
    std::fs::copy(outside.dir.path().join(backup), data.join("catchment.db")).unwrap();
}

/// The key that submitted them is only the door.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_revoked_with_tasks_in_flight_loses_nothing() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..6 {
        serve.submit(&task(n, "render=1h")).await;
    }
    until("all are bought", || outside.simulator.stats().accepted == 6).await;
    let revoked = outside
        .command()
        .args(["keys", "revoke", "tests", "--yes"])
        .output()
        .unwrap();
    assert!(revoked.status.success());
    assert_eq!(serve.get("/v1/tasks").await.unwrap()["code"], "unauthorized");
    outside.simulator.advance(Duration::from_secs(7200));
    let made = outside
        .command()
        .args(["keys", "create", "second", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    serve.key = made["key"].as_str().unwrap().to_owned();
    serve.wait_settled(6).await;
    assert!(serve.tasks().await.iter().all(|t| t["status"] == "completed"));
    outside.assert_bought_once(6);
    assert_eq!(outside.s3.count().await, outside.paid());
    serve.stop().await;
}

/// Nor do the keys that signed their callback addresses: it costs the fast path, not the results.
#[tokio::test(flavor = "multi_thread")]
async fn callback_keys_replaced_with_tasks_in_flight_lose_nothing() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_CALLBACK__KEYS", base64_of([1; 32]));
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..6 {
        serve.submit(&task(n, "render=1h")).await;
    }
    until("all are bought", || outside.simulator.stats().accepted == 6).await;
    let old = outside.callback_url(&serve, &uuid(0)).await;
    serve.stop().await;
    outside.set("CATCHMENT_CALLBACK__KEYS", base64_of([2; 32]));
    let mut serve = Serve::start(&outside, None).await;
    let refused = serve.call_back(&old, &json!({"data": []})).await;
    assert_eq!(refused, 404, "its callbacks are nobody's");
    outside.simulator.advance(Duration::from_secs(7200));
    serve.wait_settled(6).await;
    assert!(serve.tasks().await.iter().all(|t| t["status"] == "completed"));
    outside.assert_bought_once(6);
    assert_eq!(outside.s3.count().await, outside.paid());
    serve.stop().await;
}

fn base64_of(key: [u8; 32]) -> String {
    base64::engine::general_purpose::STANDARD.encode(key)
}

/// Into the bucket while submissions, callbacks and copies go on: it holds what was acknowledged before, and it is put
/// back from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_is_put_back_from_the_bucket() {
    const BEFORE_IT: usize = 100;
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__MAX_IN_FLIGHT", "64");
    outside.set("CATCHMENT_ARCHIVE__CONCURRENCY", "32");
    let mut serve = Serve::start(&outside, None).await;
    let (acknowledged, is_made) = (AtomicUsize::new(0), AtomicBool::new(false));
    let submissions = async {
        let mut n = 0;
        while !is_made.load(Ordering::SeqCst) {
            serve.submit(&task(n, "")).await; // acknowledged when it returns
            n += 1;
            acknowledged.store(n, Ordering::SeqCst);
        }
        n
    };
    let backup = async {
        until("some are acknowledged", || {
            acknowledged.load(Ordering::SeqCst) >= BEFORE_IT
        })
        .await;
        let mut command = outside.command();
        command.args(["backup", "--to-bucket", "--json"]);
        let made = tokio::task::spawn_blocking(move || command.output().unwrap());
        let made = made.await.unwrap();
        is_made.store(true, Ordering::SeqCst);
        made
    };
    let (tasks, made) = tokio::join!(submissions, backup);
    assert!(made.status.success(), "{}", said(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    wait_completed(&serve, tasks).await;
    serve.stop().await;

    let file = outside.dir.path().join("from-the-bucket.db");
    std::fs::write(&file, outside.s3.get(key).await.unwrap()).unwrap();
    let conn = rusqlite::Connection::open(&file).unwrap();
    let sound: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    for n in 0..BEFORE_IT {
        let id = uuid::Uuid::parse_str(&uuid(n)).unwrap();
        let known: bool = conn
            .query_row(
                "SELECT count(*) FROM tasks WHERE uuid = ?1",
                [id.as_bytes()],
                |row| row.get(0),
            )
            .unwrap();
        assert!(known, "{n} was acknowledged before the backup");
    }
    let held: u32 = conn
        .query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))
        .unwrap();
    assert!((held as usize) <= tasks, "it is of the time it was taken");
    drop(conn);
    put_back(&outside, "from-the-bucket.db");

    let mut serve = Serve::start(&outside, None).await;
    let audit = cli(&outside, &serve, &["audit", "--repair", "--yes", "--json"]).await;
    assert!(audit.status.success(), "{}", said(&audit));
    wait_completed(&serve, tasks).await;
    outside.assert_bought_once(tasks);
    let objects = outside.s3.bucket.keys().await;
    let results = objects.iter().filter(|key| key.ends_with(".mp4")).count();
    assert_eq!(results, outside.paid(), "G5: no second object");
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_private_overwrites_nothing_and_may_go_to_the_bucket() {
    let outside = Outside::start().await;
    let early = outside.command().args(["backup", "early.db"]).output().unwrap();
    assert_eq!(early.status.code(), Some(1), "nothing to copy: {}", said(&early));
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.wait_status(&uuid(0), "completed").await;
    let file = outside.dir.path().join("b.db");
    let backup = || outside.command().args(["backup", "b.db"]).output().unwrap();
    let made = backup();
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bytes = std::fs::read(&file).unwrap();
    assert!(
        said(&made).contains(&crate::outside::sha256_hex(&bytes)),
        "{}",
        said(&made)
    );
    assert_eq!(backup().status.code(), Some(1));
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "untouched");

    let command = {
        let mut command = outside.command();
        command.args(["backup", "--to-bucket", "--json"]);
        command
    };
    let mut command = command;
    let made = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with(".backup/") && key.ends_with("Z.db"), "{key}");
    let stored = outside.s3.get(key).await.unwrap();
    assert_eq!(made["sha256"], crate::outside::sha256_hex(&stored));
    assert!(stored.starts_with(b"SQLite format 3"));
    let left: Vec<_> = std::fs::read_dir(outside.dir.path().join("data"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.contains("tmp") || n.contains("part"))
        .collect();
    assert_eq!(left, [] as [String; 0], "nothing left behind");
    serve.stop().await;
}
