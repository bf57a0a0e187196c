//! Version 3: tasks' own webhooks, and how far logs outside have got.

use super::*;
use catchment::ports::sinks::Sinks as _;
use catchment::ports::task_webhooks::TaskWebhooks as _;

#[tokio::test]
async fn g11_a_database_of_version_1_keeps_its_tasks_and_learns_their_types() {
    const ROWS: &str = r#"
INSERT INTO tasks (id, uuid, tenant, version, status, origin, submission, outcome, model, number_results, items_named,
  labels, ttl_ms, failures, round, event_count, queries, created_at, attempts, due_at)
VALUES (1, x'00000000000000000000000000000002', 'default', 1, 'accepted', 'submitted', 'none', 'open', 'm', 1, 0, '{}',
   1000, '[{"code":"c","message":"m","contentPolicy":false}]', 1, 1, 0, 0, 0, 7),
  (2, x'00000000000000000000000000000003', 'default', 1, 'accepted', 'submitted', 'none', 'open', 'm', 1, 0, '{}',
   1000, '[]', 1, 1, 0, 0, 0, 7);
INSERT INTO task_documents (task_id, fingerprint, entry, document) VALUES
  (1, zeroblob(32), '{}', '{"taskType":"imageInference"}'), (2, zeroblob(32), '{}', NULL);
INSERT INTO events VALUES (1, 'evt_1', 'task.accepted', 'default', 1, 1, 5, '{"labels":{}}');
"#;
    let (_dir, path) = place();
    left_by(1, &path, ROWS);
    let store = serve(&path);
    let upgrade = store.opened().upgrade.clone().unwrap();
    assert_eq!((upgrade.from, upgrade.to), (1, LATEST));
    assert!(upgrade.backup.unwrap().exists());
    let id = |n| TaskId(Uuid::from_u128(n));
    let brief = store.brief(id(2)).await.unwrap().unwrap();
    assert_eq!(brief.task_type.as_deref(), Some("imageInference"));
    assert_eq!(brief.failures[0].code, "c");
    assert_eq!(
        store.brief(id(3)).await.unwrap().unwrap().task_type,
        None,
        "erased before"
    );
    assert_eq!(store.brief(id(4)).await.unwrap(), None);
    // The log from before is there for a sink that comes now.
    store.use_sinks(&["nats"]).await.unwrap();
    let position = store.sink_position("nats").await.unwrap();
    assert_eq!(store.log_after(position, 10).await.unwrap().len(), 1);
    assert_eq!(store.instance_id().await.unwrap().len(), 32);
    store.quick_check().unwrap();
}
