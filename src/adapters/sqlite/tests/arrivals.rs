//! Callbacks that arrive together are stored together, and fail alone.

use super::*;
use crate::ports::store::{Claim, Leases};
use futures_util::future::join_all;

async fn adopted(store: &SqliteStore, tasks: u32) {
    for n in 0..tasks {
        store.adopt(adoption(n)).await.unwrap();
    }
}

#[tokio::test]
async fn i1_callbacks_that_arrive_together_are_one_job_and_all_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    adopted(&store, 3).await;
    let go = block_writer(&store).await;
    let waiting: Vec<_> = (0..300_u32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.record(receipt(n % 3, &(n / 2).to_be_bytes())).await })
        })
        .collect();
    while store.receipts.waiting() < 300 {
        tokio::task::yield_now().await;
    }
    let jobs = super::super::writer::QUEUE - store.writer.room();
    assert_eq!(jobs, 2, "300 callbacks, 256 a job");
    drop(go);
    let answers = join_all(waiting).await;
    let new = answers
        .into_iter()
        .map(|a| a.unwrap().unwrap())
        .filter(|r| *r == Recorded::New)
        .count();
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(1),
        limit: 10,
    };
    let woken = store.claim_queries(claim).await.unwrap();
    assert_eq!(woken.len(), 3, "each task once, however many callbacks it has");
    let stored: usize = woken.iter().map(|l| l.item.receipts.len()).sum();
    assert_eq!((stored, new), (3 * 64, 3 * 64), "as many as a task may have");
}

#[tokio::test]
async fn a_callback_that_cannot_be_stored_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    adopted(&store, 9).await;
    let trap = "CREATE TEMP TRIGGER trap AFTER INSERT ON receipts WHEN new.size = 13 \
         BEGIN SELECT RAISE(FAIL, 'on purpose'); END";
    store
        .write("test", move |conn| Ok(conn.execute_batch(trap)?))
        .await
        .unwrap();
    let go = block_writer(&store).await;
    let all = join_all((0..9_u32).map(|n| {
        let body = if n == 4 { vec![0; 13] } else { vec![0; 12] };
        let store = Arc::clone(&store);
        async move { store.record(receipt(n, &body)).await }
    }));
    let (answers, ()) = futures_util::future::join(all, async { drop(go) }).await;
    for (n, answer) in answers.iter().enumerate() {
        match n {
            4 => assert!(answer.is_err(), "{answer:?}"),
            _ => assert!(matches!(answer, Ok(Recorded::New)), "{n}: {answer:?}"),
        }
    }
    let stored: u32 = store
        .read("test", |conn| {
            Ok(conn.query_row("SELECT count(*) FROM receipts", [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(
        stored, 8,
        "what failed left nothing, although its row was written first"
    );
}

#[tokio::test]
async fn callbacks_that_wait_when_the_writer_ends_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    adopted(&store, 1).await;
    store.close().await;
    let late = store.record(receipt(0, b"x")).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
}
