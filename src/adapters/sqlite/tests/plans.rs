//! How SQLite compiles the statements that run all the time.

use super::open;
use crate::adapters::sqlite::{chores, deliveries, events, inbox, learning, leases, overdue, settle};
use crate::ports::store::Queue;

/// Claims and pages stay cheap with millions of finished rows: each uses the index made for it.
#[tokio::test]
async fn hot_statements_use_their_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let page = "SELECT id FROM tasks WHERE tenant = ?1 AND id < ?2 ORDER BY id DESC LIMIT 5";
    let page_of_status =
        "SELECT id FROM tasks WHERE tenant = ?1 AND id < ?2 AND status = ?3 ORDER BY id DESC LIMIT 5";
    for (sql, index) in [
        ("SELECT id FROM tasks WHERE uuid = ?1", "sqlite_autoindex_tasks_1"),
        (leases::SUBMISSIONS, "INDEX tasks_to_submit"),
        (leases::WOKEN, "INDEX receipts_waking"),
        (leases::QUERIES, "tasks_query_at"),
        (learning::DYING_FIRST, "INDEX tasks_to_learn"),
        (leases::COPIES, "INDEX assets_to_copy"),
        (deliveries::DUE, "INDEX deliveries_send_at"),
        (deliveries::DUE, "INDEX deliveries_in_order"),
        (settle::NEXT, "INDEX deliveries_in_order"),
        (chores::PUT_OFF, "INDEX deliveries_put_off"),
        (chores::WAITING, "INDEX deliveries_send_at"),
        (chores::BEHIND, "INDEX deliveries_send_at"),
        (&leases::next_due_sql(Queue::Submissions), "INDEX tasks_submit_at"),
        (&leases::next_due_sql(Queue::Queries), "INDEX tasks_query_at"),
        (&leases::next_due_sql(Queue::Queries), "INDEX receipts_waking"),
        (&leases::next_due_sql(Queue::Queries), "INDEX tasks_leased"),
        (&leases::next_due_sql(Queue::Copies), "INDEX assets_copy_at"),
        (
            &leases::next_due_sql(Queue::Deliveries),
            "INDEX deliveries_send_at",
        ),
        (overdue::AT_RISK, "INDEX assets_at_risk"),
        (overdue::HASTEN, "INDEX assets_copy_at"),
        (overdue::UNSENDABLE[0], "INDEX tasks_in_doubt"),
        (overdue::UNSENDABLE[1], "INDEX tasks_to_submit"),
        (overdue::UNSENDABLE[2], "INDEX tasks_unsent_until"),
        (inbox::OPEN, "INDEX sqlite_autoindex_receipts_1"),
        (page, "INDEX tasks_of_tenant"),
        (page_of_status, "INDEX tasks_of_tenant_by_status"),
    ] {
        let text = sql.to_owned();
        let plan: Vec<String> = store
            .read("test", move |conn| {
                let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}"))?;
                let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
                let plan = statement
                    .query_map(rusqlite::params_from_iter(unbound), |row| row.get(3))?
                    .collect::<Result<_, _>>()?;
                Ok(plan)
            })
            .await
            .unwrap();
        let plan = plan.join("; ");
        let whole_table = plan
            .split("; ")
            .any(|step| ["SCAN tasks", "SCAN assets", "SCAN deliveries", "SCAN endpoints"].contains(&step));
        assert!(!whole_table, "{sql}: {plan}");
        assert!(plan.contains(index), "{sql}: {plan}");
        let may_sort = sql == inbox::OPEN; // at most MAX_RECEIPTS rows
        assert!(may_sort || !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// The planner does not look at the values: else every new value has the statement compiled again, which costs more
/// than running it.
#[tokio::test]
async fn hot_statements_are_compiled_once_whatever_they_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("db"));
    let event = format!(
        "SELECT {} FROM events e LEFT JOIN tasks t ON t.id = e.task_id WHERE e.sequence = ?1",
        events::EVENT_COLUMNS
    );
    for sql in [
        settle::NEXT,
        deliveries::DUE,
        leases::QUERIES,
        leases::COPIES,
        inbox::OPEN,
        &event,
    ] {
        let text = sql.to_owned();
        let again = store
            .write("test", move |conn| {
                let mut statement = conn.prepare(&text)?;
                for value in 1..5 {
                    let values = vec![value; statement.parameter_count()];
                    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
                    while rows.next()?.is_some() {}
                }
                Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
            })
            .await
            .unwrap();
        assert_eq!(again, 0, "{sql}");
    }
}
