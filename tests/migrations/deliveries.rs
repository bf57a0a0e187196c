//! Version 9: deliveries under a lease show it by the lease alone, and their last try may be told in their own row.

use super::*;
use catchment::domain::delivery::{After, Attempt, DeliveryStatus, Outcome};

const ROWS: &str = r#"
INSERT INTO tasks (id, uuid, tenant, version, status, origin, submission, outcome, model, number_results, items_named,
  labels, ttl_ms, failures, round, event_count, queries, created_at, settled_at, attempts)
VALUES (1, x'00000000000000000000000000000002', 'default', 1, 'completed', 'submitted', 'confirmed', 'known', 'm', 1, 1,
  '{}', 1000, '[]', 1, 5, 0, 0, 9, 0);
INSERT INTO events (sequence, id, kind, tenant, task_id, task_sequence, at, data) VALUES
  (1, 'evt_1', 'task.accepted', 'default', 1, 1, 5, '{"labels":{}}'),
  (2, 'evt_2', 'task.submitted', 'default', 1, 2, 5, '{"labels":{}}'),
  (3, 'evt_3', 'asset.discovered', 'default', 1, 3, 5, '{"labels":{}}'),
  (4, 'evt_4', 'asset.archived', 'default', 1, 4, 5, '{"labels":{}}'),
  (5, 'evt_5', 'task.completed', 'default', 1, 5, 5, '{"labels":{}}');
INSERT INTO endpoints (id, public_id, tenant, url, types, format, secret, created_at, cursor, failures, failing_since)
  VALUES (1, 'ep_1', 'default', 'https://x/', '[]', 'standard', x'00', 0, 9, 2, 1700000000000);
INSERT INTO deliveries (id, event_sequence, endpoint_id, status, attempts, due_at, lease_until, lease_epoch, task_id, holds)
VALUES (1, 1, 1, 'delivered', 2, NULL, NULL, 2, 1, 1), (2, 2, 1, 'dead', 12, NULL, NULL, 12, 1, 0),
  (3, 3, 1, 'sending', 2, 7, 8, 2, 1, 1), (4, 4, 1, 'sending', 1, 7, 8, 1, 1, 1),
  (5, 5, 1, 'pending', 0, 253402300799999, NULL, 0, 1, 1);
INSERT INTO attempts (delivery_id, number, at, duration_ms, http_status, code, retry_after_ms, excerpt) VALUES
  (1, 1, 6, 3, 500, NULL, NULL, 'no'), (1, 2, 7, 3, 204, NULL, NULL, NULL), (3, 1, 6, 3, NULL, 'timeout', NULL, NULL);
"#;

async fn counts(store: &SqliteStore) -> Vec<(DeliveryStatus, u64)> {
    let mut counts = store.figures(NOW).await.unwrap().deliveries;
    counts.retain(|(_, n)| *n > 0);
    counts.sort_by_key(|(status, _)| status.as_str());
    counts
}

#[tokio::test]
async fn g11_deliveries_of_version_6_go_on_where_they_were_and_keep_what_is_told_of_them() {
    let (_dir, path) = place();
    left_by(6, &path, ROWS);
    let store = serve(&path);
    assert_eq!(store.opened().upgrade.as_ref().unwrap().from, 6);
    let (dead, delivered, pending, sending) = (
        (DeliveryStatus::Dead, 1),
        (DeliveryStatus::Delivered, 1),
        (DeliveryStatus::Pending, 1),
        (DeliveryStatus::Sending, 2),
    );
    assert_eq!(counts(&store).await, [dead, delivered, pending, sending]);
    let query = DeliveryQuery {
        tenant: Tenant::default_tenant(),
        endpoint: EndpointId("ep_1".to_owned()),
        statuses: vec![],
        since: None,
        until: None,
        event: None,
        limit: 9,
        cursor: None,
    };
    let told = store.deliveries(&query).await.unwrap().unwrap().deliveries;
    let tries: Vec<usize> = told.iter().map(|d| d.attempts.len()).collect();
    assert_eq!(tries, [0, 0, 1, 0, 2], "newest first");
    // What was under way is claimed again, in its task's order; each that is taken calls the next one.
    let mut taken = vec![];
    for _ in 0..3 {
        let claim = Claim {
            now: NOW,
            lease: Duration::from_secs(60),
            limit: 9,
        };
        let mut leases = store.claim_deliveries(claim, 9).await.unwrap();
        assert_eq!(leases.len(), 1);
        let lease = leases.remove(0);
        taken.push((lease.item.id, lease.item.attempt));
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
            jitter: catchment::domain::backoff::Jitter(0.5),
        };
        store.settle_delivery(settled).await.unwrap();
    }
    assert_eq!(taken, [(3, 3), (4, 2), (5, 1)]);
    assert_eq!(counts(&store).await, [dead, (DeliveryStatus::Delivered, 4)]);
    store.quick_check().unwrap();
}
