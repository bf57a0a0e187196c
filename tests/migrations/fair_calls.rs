//! Version 8: calls of tasks' own webhooks have a tenant, and the dead ones a reason.

use super::*;
use catchment::domain::fair_share::Places;
use catchment::ports::task_webhooks::TaskWebhooks as _;

#[tokio::test]
async fn g11_calls_from_before_belong_to_their_tenant_and_the_dead_ones_have_a_reason() {
    const ROWS: &str = r#"
INSERT INTO tasks (id, uuid, tenant, version, status, origin, submission, outcome, model, number_results, items_named,
  labels, ttl_ms, failures, round, event_count, queries, created_at, attempts, due_at)
VALUES (1, x'00000000000000000000000000000002', 'films', 1, 'accepted', 'submitted', 'none', 'open', 'm', 1, 0, '{}',
   1000, '[]', 1, 1, 0, 0, 0, 7),
  (2, x'00000000000000000000000000000003', 'default', 1, 'accepted', 'submitted', 'none', 'open', 'm', 1, 0, '{}',
   1000, '[]', 1, 2, 0, 0, 0, 7);
INSERT INTO events (sequence, id, kind, tenant, task_id, task_sequence, at, data) VALUES (1, 'evt_1', 'task.rejected', 'films', 1, 1, 5, '{"labels":{}}'),
  (2, 'evt_2', 'task.rejected', 'default', 2, 1, 5, '{"labels":{}}'),
  (3, 'evt_3', 'asset.failed', 'films', 1, 2, 6, '{"labels":{}}');
INSERT INTO task_webhooks (task_id, url, origin, gone_at) VALUES
  (1, 'https://a.example/1', 'https://a.example', NULL), (2, 'https://a.example/2', 'https://a.example', 9);
INSERT INTO task_deliveries (id, task_id, event_sequence, origin, status, attempts, due_at) VALUES
  (1, 1, 1, 'https://a.example', 'waiting', 1, 20), (2, 2, 2, 'https://a.example', 'dead', 0, NULL),
  (3, 1, 3, 'https://a.example', 'dead', 1, NULL);
INSERT INTO task_attempts (delivery_id, number, at, duration_ms, http_status) VALUES (3, 1, 30, 4, 500);
"#;
    let (_dir, path) = place();
    left_by(7, &path, ROWS);
    let store = serve(&path);
    assert!(store.opened().upgrade.as_ref().unwrap().backup.is_some());
    let deaths = async |n: u128| {
        let lines = store.timeline(TaskId(Uuid::from_u128(n))).await.unwrap();
        let dead = lines.into_iter().filter(|l| l.kind == "delivery_dead");
        dead.map(|l| (l.at.as_millis(), l.detail["reason"].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(deaths(3).await, [(9, "gone".to_owned())]);
    assert_eq!(deaths(2).await, [(34, "out_of_tries".to_owned())]);
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(1),
        limit: 10,
    };
    let places = Places {
        all: 10,
        per_origin: 8,
    };
    let calls = store
        .claim_task_deliveries(claim, places, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].item.endpoint.tenant, Tenant("films".to_owned()));
    store.quick_check().unwrap();
}
