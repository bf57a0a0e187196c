//! Work on an endpoint's whole queue: small steps, other writes between them, and on after a kill.

use super::{NOW, adoption, open};
use crate::adapters::sqlite::{SqliteStore, chores, endpoints};
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{After, Attempt, Outcome};
use crate::domain::endpoint::Change;
use crate::domain::ids::{EndpointId, Tenant};
use crate::ports::endpoints::Endpoints;
use crate::ports::store::{Claim, Leases, Outbox, Queue, SettledDelivery, TaskStore};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROWS: u32 = 5_000;

/// Endpoint 1 with a long queue: each row waits, for hours, to be tried again; of a task of its own.
async fn fill(store: &SqliteStore) {
    let now = NOW.as_millis();
    let sql = format!(
        "INSERT INTO endpoints (id, public_id, tenant, url, types, format, secret, created_at, cursor, failures,
             failing_since, failed_at)
           VALUES (1, 'ep_1', 'default', 'https://x/', '[]', 'standard', x'00', 0, 1000000, 3, {now}, {now});
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {ROWS})
         INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data)
         SELECT 'evt_' || n, 'asset.archived', 'default', NULL, 0, 0, '{{\"labels\":{{}}}}' FROM i;
         INSERT INTO deliveries (event_sequence, endpoint_id, status, attempts, due_at, task_id)
         SELECT sequence, 1, 'waiting', 1, {now} + 36000000 + sequence % 100, sequence FROM events;
         UPDATE deliveries SET due_at = {now} WHERE id = 1;"
    );
    store
        .write("test", move |conn| Ok(conn.execute_batch(&sql)?))
        .await
        .unwrap();
}

async fn count(store: &SqliteStore, condition: &str) -> u32 {
    let sql = format!("SELECT count(*) FROM deliveries WHERE {condition}");
    store
        .read(
            "test",
            move |conn| Ok(conn.query_row(&sql, [], |row| row.get(0))?),
        )
        .await
        .unwrap()
}

fn one() -> (Tenant, EndpointId) {
    (Tenant::default_tenant(), EndpointId("ep_1".to_owned()))
}

fn claim(limit: u32) -> Claim {
    let lease = Duration::from_secs(60);
    Claim {
        now: NOW,
        lease,
        limit,
    }
}

/// The largest change between two of the writes that pass meanwhile, and how many these were.
async fn beside(store: &SqliteStore, done: &AtomicBool, condition: &str) -> (u32, u32) {
    let (mut before, mut largest, mut writes) = (count(store, condition).await, 0, 0);
    while !done.load(Ordering::Relaxed) {
        assert!(store.adopt(adoption(writes)).await.unwrap());
        let after = count(store, condition).await;
        largest = largest.max(before.abs_diff(after));
        before = after;
        writes += 1;
    }
    (largest, writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_removed_in_small_steps_and_other_writes_pass() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    fill(&store).await;
    let (tenant, id) = one();
    let done = AtomicBool::new(false);
    let deleting = async {
        assert!(store.delete_endpoint(&tenant, &id).await.unwrap());
        done.store(true, Ordering::Relaxed);
    };
    let ((largest, writes), ()) = tokio::join!(beside(&store, &done, "true"), deleting);
    // Each commit's rows are counted below; here a slow machine may see several between two writes.
    assert!(largest <= ROWS / 2, "{largest} rows went between two writes");
    assert!(writes >= 2, "only {writes} writes passed");
    assert_eq!(count(&store, "true").await, 0);
    assert_eq!(store.next_due(Queue::Deliveries).await.unwrap(), None);
}

#[tokio::test]
async fn f1_a_removal_cut_off_goes_on_with_the_next_claims() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let store = open(&path);
    fill(&store).await;
    let (tenant, id) = one();
    let key = store
        .write("test", move |conn| endpoints::delete_endpoint(conn, &tenant, &id))
        .await
        .unwrap()
        .unwrap();
    assert!(
        store
            .write("test", move |conn| chores::step(conn, key))
            .await
            .unwrap()
    );
    drop(store); // killed here
    let store = open(&path);
    let mut left = count(&store, "true").await;
    assert_eq!(left, ROWS - chores::STEP);
    while left > 0 {
        assert_eq!(
            store
                .next_due(Queue::Deliveries)
                .await
                .unwrap()
                .map(|at| at <= NOW),
            Some(true)
        );
        assert!(store.claim_deliveries(claim(64), 64).await.unwrap().is_empty());
        let now = count(&store, "true").await;
        assert!(
            left - now <= chores::STEP && now < left,
            "{left} to {now} in one commit"
        );
        left = now;
    }
    store.claim_deliveries(claim(64), 64).await.unwrap();
    assert_eq!(store.next_due(Queue::Deliveries).await.unwrap(), None);
}

#[tokio::test]
async fn f20_a_long_queue_is_due_again_in_small_steps_when_its_endpoint_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    fill(&store).await;
    let lease = store.claim_deliveries(claim(64), 64).await.unwrap().remove(0);
    let settled = SettledDelivery {
        id: lease.item.id,
        epoch: lease.epoch,
        attempt: Attempt {
            number: lease.item.attempt,
            at: NOW,
            duration: Duration::ZERO,
            outcome: Outcome::Delivered { status: 200 },
        },
        after: After::Delivered,
        events: vec![],
        if_disabled: None,
        jitter: Jitter(0.5),
    };
    store.settle_delivery(settled).await.unwrap();
    let due = format!("send_at > {}", NOW.as_millis() + 36_000_000 - 1);
    assert_eq!(
        count(&store, &due).await,
        ROWS - 1,
        "none in the commit of the try"
    );
    all_in_steps(&store, &due).await;
}

#[tokio::test]
async fn a_long_queue_of_an_endpoint_that_moved_is_due_in_small_steps() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    fill(&store).await;
    let behind = "UPDATE deliveries SET due_at = 253402300799999 WHERE id % 2 = 0"; // of each task an earlier one, removed since
    store
        .write("test", move |conn| Ok(conn.execute(behind, [])?))
        .await
        .unwrap();
    let (tenant, id) = one();
    let change = Change {
        url: Some("https://y/".to_owned()),
        ..Change::default()
    };
    store
        .change_endpoint(&tenant, &id, change, NOW)
        .await
        .unwrap()
        .unwrap();
    let due = format!("send_at > {}", NOW.as_millis() + 36_000_000 - 1);
    assert_eq!(
        count(&store, &due).await,
        ROWS - 1,
        "none in the commit of the change"
    );
    all_in_steps(&store, &due).await;
}

async fn all_in_steps(store: &SqliteStore, put_off: &str) {
    let mut left = count(store, put_off).await;
    for commits in 0.. {
        store.claim_deliveries(claim(0), 64).await.unwrap();
        let now = count(store, put_off).await;
        assert!(left - now <= chores::STEP, "{left} to {now} in one commit");
        left = now;
        if left == 0 {
            return;
        }
        assert!(commits < ROWS / chores::STEP + 5, "{left} are never due");
    }
}
