//! What people look at: the list of tasks, one task's story, the figures. Short read transactions, whatever is asked.

use super::events::last_sequence;
use super::fault::Fault;
use super::rows::{Cells, int, load_file, ms, task_key, word};
use super::task_webhooks::webhook_lines;
use super::timeline::written_lines;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::file::TaskFile;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::task::TaskStatus;
use crate::domain::time::Timestamp;
use crate::ports::store::{Figures, TaskPage, TaskQuery, TimelineLine};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use serde_json::json;

/// Most tasks looked at by one read with filters, per status: a rare label must not hold a snapshot over ten million
/// rows. The page may then be short, even empty; its cursor goes on where the read stopped.
const WINDOW: u32 = 10_000;

pub(super) fn task(
    conn: &Connection,
    tenant: Option<&Tenant>,
    id: TaskId,
) -> Result<Option<TaskFile>, Fault> {
    let Some(key) = task_key(conn, id)? else {
        return Ok(None);
    };
    let file = load_file(conn, key)?;
    Ok(file.filter(|f| tenant.is_none_or(|t| f.task.tenant == *t)))
}

pub(super) fn tasks(conn: &Connection, query: &TaskQuery) -> Result<TaskPage, Fault> {
    let streams: Vec<Option<TaskStatus>> = match query.statuses.as_slice() {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    // Each status has its own index in row order; their newest rows are merged here rather than sorted there.
    let mut keys = vec![];
    let mut seen_to = 0;
    for status in streams {
        let (found, stream_seen_to) = matching(conn, query, status)?;
        keys.extend(found);
        seen_to = seen_to.max(stream_seen_to);
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    keys.dedup();
    let limit = query.limit as usize;
    let cut = keys
        .get(limit.wrapping_sub(1))
        .copied()
        .filter(|_| keys.len() > limit);
    keys.truncate(limit);
    // Below `seen_to` some status was not looked at yet: those rows wait for the next page.
    let end = cut.unwrap_or(0).max(seen_to);
    keys.retain(|key| *key >= end);
    let tasks = keys
        .into_iter()
        .filter_map(|key| load_file(conn, key).transpose())
        .collect::<Result<_, _>>()?;
    Ok(TaskPage {
        tasks,
        next: (end > 0).then(|| u64::try_from(end).unwrap_or(0)),
    })
}

/// One more row than asked for, newest first, and the row key down to which was looked (0: to the end).
fn matching(
    conn: &Connection,
    query: &TaskQuery,
    status: Option<TaskStatus>,
) -> Result<(Vec<i64>, i64), Fault> {
    let mut window = "SELECT id, model, labels, created_at FROM tasks WHERE tenant = ? AND id < ?".to_owned();
    let mut values: Vec<Value> = vec![
        query.tenant.0.clone().into(),
        query.cursor.map_or(i64::MAX, int).into(),
    ];
    if let Some(status) = status {
        window.push_str(" AND status = ?");
        values.push(status.as_str().to_owned().into());
    }
    window.push_str(&format!(" ORDER BY id DESC LIMIT {WINDOW}"));
    let (filter, filter_values) = filter(query);
    let seen_to = match filter.is_empty() {
        true => 0,
        false => window_end(conn, &window, &values)?,
    };
    let sql = format!("SELECT id FROM ({window}) WHERE true{filter} ORDER BY id DESC LIMIT ?");
    values.extend(filter_values);
    values.push((i64::from(query.limit) + 1).into());
    let keys: Vec<i64> = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok((keys, seen_to))
}

/// The oldest row of a full window; 0 when the window reaches the end. Read from the index alone.
fn window_end(conn: &Connection, window: &str, values: &[Value]) -> Result<i64, Fault> {
    let narrow = window.replace("id, model, labels, created_at", "id");
    let sql = format!("SELECT count(*), coalesce(min(id), 0) FROM ({narrow})");
    let (n, oldest): (u32, i64) = conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if n < WINDOW { 0 } else { oldest })
}

fn filter(query: &TaskQuery) -> (String, Vec<Value>) {
    let mut sql = String::new();
    let mut values: Vec<Value> = vec![];
    if let Some(model) = &query.model {
        sql.push_str(" AND model = ?");
        values.push(model.clone().into());
    }
    if let Some(since) = query.since {
        sql.push_str(" AND created_at >= ?");
        values.push(ms(since).into());
    }
    if let Some(until) = query.until {
        sql.push_str(" AND created_at < ?");
        values.push(ms(until).into());
    }
    for (key, value) in &query.labels {
        sql.push_str(" AND EXISTS (SELECT 1 FROM json_each(labels) l WHERE l.key = ? AND l.value = ?)");
        values.extend([key.clone().into(), value.clone().into()]);
    }
    (sql, values)
}

/// The lines the steps wrote, with the callbacks and the delivery tries that their own tables already tell.
pub(super) fn timeline(conn: &Connection, id: TaskId) -> Result<Vec<TimelineLine>, Fault> {
    let Some(key) = task_key(conn, id)? else {
        return Ok(vec![]);
    };
    let mut lines = written_lines(conn, key)?;
    lines.extend(callback_lines(conn, key)?);
    lines.extend(attempt_lines(conn, key)?);
    lines.extend(webhook_lines(conn, key)?);
    lines.sort_by_key(|line| line.at); // stable: what happened in one millisecond stays in the order above
    Ok(lines)
}

fn callback_lines(conn: &Connection, key: i64) -> Result<Vec<TimelineLine>, Fault> {
    let lines = conn
        .prepare_cached("SELECT at, size FROM receipts WHERE task_id = ?1 ORDER BY id")?
        .query_map([key], |row| {
            let mut c = Cells::of(row);
            Ok(TimelineLine {
                at: c.at()?,
                kind: "callback".to_owned(),
                detail: json!({ "bytes": c.count()? }),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lines)
}

fn attempt_lines(conn: &Connection, key: i64) -> Result<Vec<TimelineLine>, Fault> {
    const SQL: &str = "SELECT a.at, a.number, a.duration_ms, a.http_status, a.code, e.id, e.kind, p.public_id \
         FROM events e JOIN deliveries d ON d.event_sequence = e.sequence \
         JOIN attempts a ON a.delivery_id = d.id JOIN endpoints p ON p.id = d.endpoint_id WHERE e.task_id = ?1 \
         UNION ALL SELECT d.taken_at, d.attempts, d.taken_ms, d.taken_status, NULL, e.id, e.kind, p.public_id \
         FROM events e JOIN deliveries d ON d.event_sequence = e.sequence \
         JOIN endpoints p ON p.id = d.endpoint_id WHERE e.task_id = ?1 AND d.taken_at IS NOT NULL \
         ORDER BY 1, 2";
    let lines = conn
        .prepare_cached(SQL)?
        .query_map([key], |row| {
            let mut c = Cells::of(row);
            let (at, number, duration_ms): (_, u32, u64) = (c.at()?, c.next()?, c.count()?);
            let (status, code): (Option<u16>, Option<String>) = (c.next()?, c.next()?);
            let (event, kind, endpoint): (String, String, String) = (c.next()?, c.next()?, c.next()?);
            let mut detail = json!({ "endpoint": endpoint, "event": event, "type": kind, "number": number,
                "durationMs": duration_ms });
            match (status, code) {
                (Some(status), _) => detail["status"] = json!(status),
                (None, code) => detail["code"] = json!(code),
            }
            Ok(TimelineLine {
                at,
                kind: "delivery_attempt".to_owned(),
                detail,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lines)
}

/// Counts come from the counter table, the rest from the ends of indexes.
pub(super) fn figures(conn: &Connection) -> Result<Figures, Fault> {
    let last = last_sequence(conn)?;
    let oldest: Option<i64> = conn
        .prepare_cached("SELECT min(archive_by) FROM assets WHERE copy_at IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    let furthest_behind: Option<i64> = conn
        .prepare_cached("SELECT min(cursor) FROM endpoints WHERE disabled_at IS NULL AND deleted = 0")?
        .query_row([], |row| row.get(0))?;
    Ok(Figures {
        tasks: counts(conn, "tasks", TaskStatus::parse)?,
        oldest_archive_by: oldest.map(Timestamp::from_millis),
        deliveries: deliveries(conn)?,
        event_lag: furthest_behind.map_or(0, |c| last.saturating_sub(u64::try_from(c).unwrap_or(0))),
        last_sequence: last,
    })
}

/// Those under a lease are few, and counted as what they were before.
fn deliveries(conn: &Connection) -> Result<Vec<(DeliveryStatus, u64)>, Fault> {
    let mut counts = counts(conn, "deliveries", DeliveryStatus::parse)?;
    let leased: Vec<(String, u64)> = conn
        .prepare_cached(
            "SELECT status, count(*) FROM deliveries INDEXED BY deliveries_leased WHERE lease_until IS NOT NULL \
             GROUP BY status",
        )?
        .query_map([], |row| {
            let mut c = Cells::of(row);
            Ok((c.next()?, c.count()?))
        })?
        .collect::<Result<_, _>>()?;
    for (status, n) in leased {
        let was = word(DeliveryStatus::parse, &status, "deliveries", "status")?;
        for (status, count) in &mut counts {
            match *status {
                DeliveryStatus::Sending => *count += n,
                other if other == was => *count = count.saturating_sub(n),
                _ => {}
            }
        }
    }
    Ok(counts)
}

fn counts<T>(conn: &Connection, subject: &str, parse: fn(&str) -> Option<T>) -> Result<Vec<(T, u64)>, Fault> {
    let rows: Vec<(String, u64)> = conn
        .prepare_cached("SELECT status, n FROM counts WHERE subject = ?1 ORDER BY status")?
        .query_map(params![subject], |row| {
            let mut c = Cells::of(row);
            Ok((c.next()?, c.count()?))
        })?
        .collect::<Result<_, _>>()?;
    rows.into_iter()
        .map(|(status, n)| Ok((word(parse, &status, "counts", subject)?, n)))
        .collect()
}
