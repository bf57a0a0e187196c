//! Tries that end while the writer is busy are settled together, and none suffers for another.

use super::{NOW, block_writer, open};
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{After, Attempt, DeliveryStatus, Outcome};
use crate::ports::store::{Claim, Leases, Outbox, SettledDelivery, StoreError, TaskStore};
use futures_util::future::join_all;
use std::time::Duration;

const ROWS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn f27_of_tries_settled_together_one_that_cannot_be_written_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let sql = format!(
        "INSERT INTO endpoints (id, public_id, tenant, url, types, format, secret, created_at, cursor)
           VALUES (1, 'ep_1', 'default', 'https://x/', '[]', 'standard', x'00', 0, 1000000);
         WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {ROWS})
         INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data)
         SELECT 'evt_' || n, 'asset.archived', 'default', NULL, 0, 0, '{{\"labels\":{{}}}}' FROM i;
         INSERT INTO deliveries (event_sequence, endpoint_id, status, due_at) SELECT sequence, 1, 'pending', 0 FROM events;"
    );
    store
        .write("test", move |conn| Ok(conn.execute_batch(&sql)?))
        .await
        .unwrap();
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(60),
        limit: 100,
    };
    let leases = store.claim_deliveries(claim, 100).await.unwrap();
    assert_eq!(leases.len(), ROWS as usize);
    let settled = |n: usize| {
        let refused = Outcome::Refused {
            status: 500,
            retry_after: None,
            excerpt: String::new(),
        };
        SettledDelivery {
            id: leases[n].item.id,
            epoch: leases[n].epoch + u64::from(n == 1), // another one's lease
            attempt: Attempt {
                number: u32::from(n != 0), // no such try: the table refuses it
                at: NOW,
                duration: Duration::ZERO,
                outcome: if n == 0 {
                    refused
                } else {
                    Outcome::Delivered { status: 200 }
                },
            },
            after: if n == 0 {
                After::RetryAt(NOW)
            } else {
                After::Delivered
            },
            events: vec![],
            if_disabled: None,
            jitter: Jitter(0.5),
        }
    };
    let go_on = block_writer(&store).await;
    let settling = join_all((0..ROWS as usize).map(|n| store.settle_delivery(settled(n))));
    let (answers, _) = tokio::join!(settling, async { go_on.send(()).unwrap() });
    assert!(
        answers[0].is_err() && !matches!(answers[0], Err(StoreError::LeaseLost)),
        "{:?}",
        answers[0]
    );
    assert!(
        matches!(answers[1], Err(StoreError::LeaseLost)),
        "{:?}",
        answers[1]
    );
    assert!(
        answers[2..].iter().all(|answer| matches!(answer, Ok(None))),
        "{answers:?}"
    );
    let counts = store.figures(NOW).await.unwrap().deliveries;
    let count = |status| counts.iter().find(|(s, _)| *s == status).map(|(_, n)| *n);
    assert_eq!(count(DeliveryStatus::Delivered), Some(u64::from(ROWS) - 2));
    assert_eq!(
        count(DeliveryStatus::Sending),
        Some(2),
        "they keep their leases, and lapse"
    );
}
