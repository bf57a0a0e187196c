//! Retention beside the daily work: small steps that stall nobody, and a log that stays short.

use super::{NOW, adoption, open};
use crate::adapters::sqlite::SqliteStore;
use crate::domain::time::Timestamp;
use crate::ports::retention::Retention;
use crate::ports::store::TaskStore;
use crate::steps::retain::{self, Keep, Walk};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const TASKS: u32 = 4_000;
/// At 32 MiB the writer itself moves the log's pages; the rest is what is written between two looks, and while a read
/// is just under way. Were nothing moved, it would be 68 MiB.
const WAL: u64 = 56 * 1024 * 1024;
const NOTHING: Keep = Keep {
    documents: Duration::ZERO,
    events: Duration::ZERO,
    tasks: Some(Duration::ZERO),
};

/// Tasks that ended before anyone can remember, with documents, events, timelines and deliveries.
async fn fill(store: &SqliteStore) {
    let sql = format!(
        "INSERT INTO endpoints (id, public_id, tenant, url, types, format, secret, created_at, cursor)
           VALUES (1, 'ep_1', 'default', 'https://x/', '[]', 'standard', x'00', 0, 1000000);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {TASKS})
         INSERT INTO tasks (uuid, tenant, version, status, origin, submission, outcome, model, number_results,
           items_named, labels, ttl_ms, failures, round, event_count, queries, created_at, settled_at, attempts)
         SELECT randomblob(16), 'default', 1, 'completed', 'submitted', 'confirmed', 'known', 'm', 1, 0, '{{}}', 0,
           '[]', 1, 4, 0, 0, 0, 0 FROM i;
         INSERT INTO task_documents (task_id, fingerprint, entry, document) SELECT id, zeroblob(32), '{{}}', hex(zeroblob(1000)) FROM tasks;
         INSERT INTO timeline (task_id, at, kind, detail) SELECT id, 0, 'accepted', '{{}}' FROM tasks;
         INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data)
         SELECT 'evt_' || id || '_' || n, 'asset.archived', 'default', id, n, 0, '{{\"labels\":{{}}}}'
         FROM tasks, (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4);
         INSERT INTO deliveries (event_sequence, endpoint_id, status) SELECT sequence, 1, 'delivered' FROM events;
         INSERT INTO attempts (delivery_id, number, at, duration_ms) SELECT id, 1, 0, 1 FROM deliveries;"
    );
    store
        .write("test", move |conn| Ok(conn.execute_batch(&sql)?))
        .await
        .unwrap();
}

async fn count(store: &SqliteStore, table: &str) -> u32 {
    let sql = format!("SELECT count(*) FROM {table}");
    store
        .read(
            "test",
            move |conn| Ok(conn.query_row(&sql, [], |row| row.get(0))?),
        )
        .await
        .unwrap()
}

fn wal(path: &Path) -> u64 {
    let log = format!("{}-wal", path.display());
    std::fs::metadata(log).unwrap().len()
}

/// A walk over everything, without any rest; the rows of its largest step.
async fn walk(store: &SqliteStore, steps: &AtomicU32, path: &Path, done: &AtomicBool) -> u64 {
    let (mut walk, mut largest, mut longest) = (Walk::start(), 0, 0);
    loop {
        let (on, more) = retain::step(store, NOW, &NOTHING, walk).await.unwrap();
        steps.fetch_add(1, Ordering::Relaxed);
        largest = largest.max(on.removed - walk.removed);
        longest = longest.max(wal(path));
        walk = on;
        if !more {
            done.store(true, Ordering::Relaxed);
            assert!(longest < WAL, "the log grew to {longest} bytes");
            return largest;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_in_small_steps_and_stalls_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    fill(&store).await;
    // What the test wrote at once goes into the file first; the log starts again from the front.
    store
        .write("test", |conn| {
            Ok(conn.execute("UPDATE meta SET value = value", [])?)
        })
        .await
        .unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let (steps, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let working = async {
        let mut n = 0;
        while !done.load(Ordering::Relaxed) {
            let before = steps.load(Ordering::Relaxed);
            assert!(store.adopt(adoption(n)).await.unwrap());
            let waited_for = steps.load(Ordering::Relaxed) - before;
            assert!(waited_for <= 3, "a write had to wait for {waited_for} steps");
            n += 1;
        }
        n
    };
    let (written, largest) = tokio::join!(working, walk(&store, &steps, &path, &done));
    assert!(largest <= 200, "{largest} rows in one step");
    assert!(
        written >= 50,
        "only {written} tasks came in beside {steps:?} steps"
    );
    for (table, rows) in [
        ("tasks", written),
        ("task_documents", 0),
        ("deliveries", 0),
        ("attempts", 0),
    ] {
        assert_eq!(count(&store, table).await, rows, "{table}");
    }
    assert_eq!(count(&store, "tombstones").await, TASKS);
    store.quick_check().unwrap();
    let left = store.remove_events(Timestamp::from_millis(1), 0).await.unwrap();
    assert_eq!(left.rows, 0);
}
