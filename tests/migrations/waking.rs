//! Version 10: callbacks wake their tasks by themselves.

use super::*;

/// As left by version 6: task 3 was woken, nobody has asked about it yet, and its own time is far away.
fn left_woken(path: &Path, edits: &str) {
    of_version(path, 1);
    edit(path, ROWS);
    edit(
        path,
        "UPDATE tasks SET due_at = 9000000000000, woken_at = 5 WHERE id = 2",
    );
    edit(path, edits);
}

async fn asked_about(store: &SqliteStore) -> Vec<(TaskId, usize)> {
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(1),
        limit: 10,
    };
    let leases = store.claim_queries(claim).await.unwrap();
    leases
        .iter()
        .map(|l| (l.item.file.task.id, l.item.receipts.len()))
        .collect()
}

#[tokio::test]
async fn g11_a_task_woken_before_the_upgrade_is_asked_about_after_it() {
    for (without, receipts) in [("", 1), ("DELETE FROM receipts WHERE task_id = 2", 0)] {
        let (_dir, path) = place();
        left_woken(&path, without);
        let store = serve(&path);
        let woken = TaskId(Uuid::from_u128(3));
        assert!(store.next_due(Queue::Queries).await.unwrap().unwrap() <= NOW);
        assert_eq!(asked_about(&store).await, [(woken, receipts)], "{without}");
        assert!(asked_about(&store).await.is_empty(), "once");
        store.quick_check().unwrap();
    }
}
