//! What only this adapter promises: group commit, its failures, and recovery from them.

mod arrivals; // callbacks that come together
mod old; // retention beside the daily work
mod pages; // reads that stop short and go on
mod plans; // how the hot statements are compiled
mod queues; // an endpoint's whole queue, step by step
mod together; // tries settled by one job

use super::fault::Fault;
use super::{OpenOptions, Role, SqliteStore};
use crate::domain::file::TaskFile;
use crate::domain::ids::{Digest, TaskId, Tenant};
use crate::domain::task::Origin;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use crate::ports::store::{Inbox, NewReceipt, Outbox, Recorded, StoreError, TaskStore};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn open(path: &Path) -> Arc<SqliteStore> {
    let options = OpenOptions {
        path: path.to_owned(),
        now: NOW,
        role: Role::Serve,
    };
    SqliteStore::open(options).unwrap()
}

fn id(n: u32) -> TaskId {
    TaskId(Uuid::from_u128(u128::from(n)))
}

fn adoption(n: u32) -> Transition {
    let s = Duration::from_secs;
    let policy = crate::domain::file::Policy {
        poll_first_after: s(180),
        poll_max_interval: s(300),
        poll_deadline: s(86_400),
        trust_after: s(120),
        retry_max_interval: s(60),
        resend_window: s(600),
        max_hold: s(86_400),
        at_risk_after: 0.5,
        default_ttl: s(86_400),
    };
    TaskFile::adopt(id(n), Tenant::default_tenant(), Origin::Imported, &policy, NOW)
}

fn receipt(n: u32, body: &[u8]) -> NewReceipt {
    NewReceipt {
        task: id(n),
        sha256: Digest::of(body),
        body: body.to_vec(),
        at: NOW,
    }
}

/// Keeps the writer busy until the answer is dropped, so that what comes meanwhile shares the next transaction.
async fn block_writer(store: &Arc<SqliteStore>) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let store = Arc::clone(store);
    tokio::spawn(async move {
        store
            .write("block", move |_| {
                let _ = begun.send(());
                let _ = wait.recv(); // ends when the test drops its side
                Ok(())
            })
            .await
    });
    has_begun.await.unwrap();
    go
}

fn constraint_broken(conn: &Connection) -> Result<(), Fault> {
    conn.execute("INSERT INTO meta (key, value) VALUES ('half', 'done')", [])?;
    conn.execute("INSERT INTO meta (key, value) VALUES ('half', 'again')", [])?;
    Ok(())
}

#[tokio::test]
async fn i1_many_writers_at_once_are_all_durable_when_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    let writes = (0..500).map(|n| store.adopt(adoption(n)));
    let answers = futures_util::future::join_all(writes).await;
    assert!(answers.into_iter().all(|a| a.unwrap()));
    // As after a kill: the file as it is now, without an orderly close.
    let copy = dir.path().join("copy");
    for suffix in ["", "-wal"] {
        let from = super::open::with_suffix(&path, suffix);
        std::fs::copy(from, super::open::with_suffix(&copy, suffix)).unwrap();
    }
    let revived = open(&copy);
    assert!(revived.opened().unclean_stop && revived.opened().checked);
    for n in 0..500 {
        assert!(revived.task(None, id(n)).await.unwrap().is_some(), "task {n}");
    }
}

#[tokio::test]
async fn an_answer_comes_after_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    let other = super::open::connect_reader(&path).unwrap();
    for n in 0..50 {
        store.adopt(adoption(n)).await.unwrap();
        let seen: u32 = other
            .query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))
            .unwrap();
        assert_eq!(seen, n + 1);
    }
}

#[tokio::test]
async fn a_failing_job_is_undone_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let go = block_writer(&store).await;
    let before = store.adopt(adoption(1));
    let failing = store.write("test", constraint_broken);
    let panicking = store.write("test", |conn| -> Result<(), Fault> {
        conn.execute("INSERT INTO meta (key, value) VALUES ('panicked', '1')", [])?;
        panic!("on purpose");
    });
    let after = store.adopt(adoption(2));
    let all = futures_util::future::join4(before, failing, panicking, after);
    let release = async {
        // All four are in the queue, so they share one transaction.
        drop(go);
    };
    let ((before, failing, panicking, after), ()) = futures_util::future::join(all, release).await;
    assert!(before.unwrap() && after.unwrap());
    assert!(matches!(failing, Err(StoreError::Corrupt { .. })), "{failing:?}");
    assert!(
        matches!(panicking, Err(StoreError::Unavailable { .. })),
        "{panicking:?}"
    );
    let left: u32 = store
        .read("test", |conn| {
            Ok(conn.query_row(
                "SELECT count(*) FROM meta WHERE key IN ('half', 'panicked')",
                [],
                |row| row.get(0),
            )?)
        })
        .await
        .unwrap();
    assert_eq!(left, 0, "what a failed job wrote is gone");
    assert!(store.task(None, id(1)).await.unwrap().is_some());
    assert!(store.task(None, id(2)).await.unwrap().is_some());
}

#[tokio::test]
async fn g9_a_full_queue_refuses_at_once_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let go = block_writer(&store).await;
    let waiting: Vec<_> = (0..super::writer::QUEUE)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.check_writable().await })
        })
        .collect();
    tokio::task::yield_now().await; // every spawned call has put its job down
    while store.writer.room() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = store.adopt(adoption(1)).await;
    assert!(matches!(refused, Err(StoreError::Overloaded)), "{refused:?}");
    drop(go);
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(store.task(None, id(1)).await.unwrap(), None);
    store.adopt(adoption(1)).await.unwrap();
}

#[tokio::test]
async fn f3_a_full_disk_is_unavailable_reads_go_on_and_it_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    store.adopt(adoption(1)).await.unwrap();
    let limit = |pages: u32| {
        store.write("test", move |conn| {
            Ok(conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)
        })
    };
    limit(1).await.unwrap(); // means: not one page more than there is
    let mut refused = None;
    for n in 0..64 {
        match store.record(receipt(1, &[n; 9000])).await {
            Ok(Recorded::New) => {}
            other => {
                refused = Some((n, other));
                break;
            }
        }
    }
    let (n, answer) = refused.expect("the disk is full");
    let Err(StoreError::Unavailable { during, .. }) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(during, "record");
    assert!(store.task(None, id(1)).await.unwrap().is_some(), "reads go on");
    limit(1_000_000).await.unwrap();
    let again = store.record(receipt(1, &[n; 9000])).await.unwrap();
    assert_eq!(again, Recorded::New, "nothing of it had been stored");
}

#[tokio::test]
async fn f5_a_locked_database_is_unavailable_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = store.adopt(adoption(1)).await;
    assert!(
        matches!(locked, Err(StoreError::Unavailable { during: "adopt", .. })),
        "{locked:?}"
    );
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.adopt(adoption(1)).await.unwrap());
}

#[tokio::test]
async fn every_connection_is_set_up_as_promised() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let settings = |conn: &Connection| {
        let mut all = vec![];
        for name in ["synchronous", "mmap_size", "foreign_keys", "wal_autocheckpoint"] {
            all.push(conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?);
        }
        let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok((all, mode))
    };
    let expected = (vec![2, 0, 1, 0], "wal".to_owned()); // 2: FULL
    assert_eq!(store.write("test", settings).await.unwrap(), expected);
    assert_eq!(store.read("test", settings).await.unwrap(), expected);
    let written = store
        .read("test", |conn| Ok(conn.execute("DELETE FROM meta", [])?))
        .await;
    assert!(written.is_err(), "a reader cannot write");
}

#[tokio::test]
async fn the_log_is_moved_into_the_file_while_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    store.adopt(adoption(1)).await.unwrap();
    // 128 MiB of receipts, through a log that starts again at 32 MiB.
    for round in 0..32u32 {
        let writes = (0..64u32).map(|n| {
            let task = round * 64 + n + 10;
            let store = Arc::clone(&store);
            async move {
                store.adopt(adoption(task)).await.unwrap();
                store.record(receipt(task, &vec![7; 65_536])).await.unwrap()
            }
        });
        futures_util::future::join_all(writes).await;
    }
    let wal = std::fs::metadata(super::open::with_suffix(&path, "-wal"))
        .unwrap()
        .len();
    eprintln!("WAL {}", wal >> 10);
    assert!(wal < 96 << 20, "the log is {} MiB", wal >> 20);
    assert!(std::fs::metadata(&path).unwrap().len() > 64 << 20);
}

#[tokio::test]
async fn a_stop_finishes_what_is_queued_and_marks_the_file_clean() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    let go = block_writer(&store).await;
    let queued = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.adopt(adoption(1)).await })
    };
    while store.writer.room() == super::writer::QUEUE {
        tokio::task::yield_now().await;
    }
    let closing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.close().await })
    };
    drop(go);
    closing.await.unwrap();
    assert!(queued.await.unwrap().unwrap());
    let late = store.adopt(adoption(2)).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    assert!(
        store.task(None, id(1)).await.unwrap().is_some(),
        "reads still work"
    );
    drop(store);
    assert!(!open(&path).opened().unclean_stop);
}

#[tokio::test]
async fn last_sequence_follows_the_commits_and_starts_where_the_log_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    let mut last = store.last_sequence();
    assert_eq!(*last.borrow_and_update(), 0);
    store
        .write("test", |conn| {
            conn.execute(
                "INSERT INTO events (id, kind, tenant, task_sequence, at, data) \
                 VALUES ('evt_1', 'delivery.dead', 'default', 0, 0, '{\"labels\":{}}')",
                [],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(last.has_changed().unwrap());
    assert_eq!(*last.borrow_and_update(), 1);
    store.adopt(adoption(1)).await.unwrap();
    assert!(!last.has_changed().unwrap(), "no event, no wake-up");
    drop(store);
    assert_eq!(*open(&path).last_sequence().borrow(), 1);
}

#[tokio::test]
async fn a_tombstone_is_not_revived() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    store
        .write("test", |conn| {
            conn.execute(
                "INSERT INTO tombstones (uuid, removed_at) VALUES (?1, 0)",
                [id(1).as_bytes()],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(store.record(receipt(1, b"x")).await.unwrap(), Recorded::Tombstone);
    assert!(!store.adopt(adoption(1)).await.unwrap());
    assert_eq!(store.task(None, id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn f6_a_row_nobody_can_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    store.adopt(adoption(1)).await.unwrap();
    store
        .write("test", |conn| {
            conn.execute("UPDATE tasks SET reason = 'no such word'", [])?;
            Ok(())
        })
        .await
        .unwrap();
    match store.task(None, id(1)).await {
        Err(StoreError::Corrupt { table, id: row, .. }) => {
            assert_eq!((table, row), ("tasks", id(1).to_string()));
        }
        other => panic!("{other:?}"),
    }
}

/// T6: a replay ×1000 leaves the file as it was.
#[tokio::test]
async fn t6_replays_do_not_grow_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    store.adopt(adoption(1)).await.unwrap();
    store.record(receipt(1, b"x")).await.unwrap();
    let wal = super::open::with_suffix(&path, "-wal");
    let before = std::fs::metadata(&wal).unwrap().len();
    for _ in 0..1000 {
        assert_eq!(store.record(receipt(1, b"x")).await.unwrap(), Recorded::Duplicate);
    }
    assert_eq!(std::fs::metadata(&wal).unwrap().len(), before);
}

fn failed_sync() -> Fault {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    Fault::Sql(rusqlite::Error::SqliteFailure(code, None))
}

#[tokio::test]
async fn f4_a_failed_fsync_is_fatal_and_nothing_more_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    store.adopt(adoption(1)).await.unwrap();
    let mut fatal = store.fatal();
    let go = block_writer(&store).await;
    let batch = futures_util::future::join3(
        store.adopt(adoption(2)),
        store.write("test", |_| -> Result<(), Fault> { Err(failed_sync()) }),
        async { drop(go) },
    );
    let (mate, failed, ()) = batch.await;
    for answer in [mate.map(drop), failed] {
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
    }
    fatal.wait_for(Option::is_some).await.unwrap();
    let late = store.adopt(adoption(3)).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    drop(store);
    let restarted = open(&path);
    assert!(restarted.opened().unclean_stop);
    for (n, there) in [(1, true), (2, false), (3, false)] {
        assert_eq!(
            restarted.task(None, id(n)).await.unwrap().is_some(),
            there,
            "task {n}"
        );
    }
}
