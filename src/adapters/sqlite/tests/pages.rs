//! A read with filters looks at a bounded stretch, answers with what it found there, and says where to go on.

use super::{NOW, open};
use crate::adapters::sqlite::SqliteStore;
use crate::domain::event::EventKind;
use crate::domain::ids::Tenant;
use crate::domain::task::TaskStatus;
use crate::ports::store::{EventQuery, Outbox, TaskQuery, TaskStore};

/// Tasks 1 to `n`, one event each. The first, and it alone, is labelled and told as recovered.
async fn fill(store: &SqliteStore, n: u32) {
    let sql = format!(
        "WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < {n}) \
         INSERT INTO tasks (uuid, tenant, version, status, origin, submission, outcome, model, number_results, \
           items_named, labels, ttl_ms, failures, round, event_count, queries, created_at, settled_at, attempts) \
         SELECT randomblob(16), 'default', 1, iif(n % 3, 'completed', 'failed'), 'submitted', 'confirmed', 'known', \
           'm', 1, 0, iif(n = 1, '{{\"rare\":\"yes\"}}', '{{}}'), 0, '[]', 1, 1, 0, {now}, {now}, 0 FROM i;
         INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data) \
         SELECT 'evt_' || id, iif(id = 1, 'task.recovered', 'task.completed'), 'default', id, 1, 0, '{{\"labels\":{{}}}}' \
         FROM tasks ORDER BY id DESC;",
        now = NOW.as_millis()
    );
    store
        .write("test", move |conn| Ok(conn.execute_batch(&sql)?))
        .await
        .unwrap();
}

async fn walk(store: &SqliteStore, mut query: TaskQuery) -> (usize, usize) {
    let (mut found, mut pages) = (0, 0);
    loop {
        let page = store.tasks(&query).await.unwrap();
        found += page.tasks.len();
        pages += 1;
        assert!(
            page.next.is_none_or(|next| query.cursor.is_none_or(|c| next < c)),
            "it must go on"
        );
        query.cursor = page.next;
        if page.next.is_none() {
            return (found, pages);
        }
    }
}

#[tokio::test]
async fn a_rare_label_is_found_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    fill(&store, 25_000).await;
    let query = TaskQuery {
        tenant: Tenant::default_tenant(),
        statuses: vec![],
        model: None,
        labels: [("rare".to_owned(), "yes".to_owned())].into(),
        since: None,
        until: None,
        limit: 10,
        cursor: None,
    };
    assert_eq!(walk(&store, query.clone()).await, (1, 3));
    let statuses = vec![TaskStatus::Failed, TaskStatus::Completed];
    assert_eq!(
        walk(
            &store,
            TaskQuery {
                statuses,
                ..query.clone()
            }
        )
        .await
        .0,
        1
    );
    // Nothing is missed or shown twice where the stretches of two statuses end at different rows.
    let everything = TaskQuery {
        statuses: vec![TaskStatus::Failed, TaskStatus::Completed],
        model: Some("m".to_owned()),
        labels: Default::default(),
        limit: 200,
        ..query
    };
    assert_eq!(walk(&store, everything).await.0, 25_000);
}

#[tokio::test]
async fn a_rare_event_is_found_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    fill(&store, 12_000).await;
    let mut query = EventQuery {
        tenant: Tenant::default_tenant(),
        after: 0,
        limit: 10,
        types: vec![EventKind::TaskRecovered],
        models: vec![],
        labels: Default::default(),
        task: None,
    };
    let mut pages = vec![];
    loop {
        let page = store.events(&query).await.unwrap();
        pages.push(page.events.len());
        query.after = page.next_after;
        if page.done {
            break;
        }
    }
    assert_eq!(pages, [0, 0, 1]);
    assert_eq!(query.after, 12_000);
}
