//! The event log. A sequence is given inside the one writer's transaction, so it becomes visible in order.

use super::fault::{Fault, corrupt, is_unique_violation};
use super::json;
use super::retention::removed_to;
use super::rows::{Cells, int, ms, word};
use crate::domain::event::{Event, EventKind, NewEvent};
use crate::domain::ids::{EventId, TaskId, Tenant};
use crate::ports::store::{EventPage, EventQuery};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use uuid::Uuid;

/// Most sequences looked at by one read with filters: keeps its transaction short, and the answer says where to go on.
const WINDOW: u64 = 5_000;

/// Gives each event the next sequence. An id that exists already fails the whole commit: ids are a pure function of
/// what they tell, decisions are guarded by the task's version, so a second telling would be a fault of ours, and
/// swallowing it would leave a change without its event (I8) and a gap in the task's own count (I9).
pub(super) fn append_events(
    conn: &Connection,
    task_key: Option<i64>,
    events: &[NewEvent],
) -> Result<(), Fault> {
    for event in events {
        insert_event(conn, task_key, event, INSERT)?;
    }
    Ok(())
}

/// Operator events are named for the try that called for them. One that was told all the same stops no settlement: the
/// delivery would be tried for ever.
pub(super) fn append_operator_events(conn: &Connection, events: &[NewEvent]) -> Result<(), Fault> {
    for event in events {
        insert_event(conn, None, event, INSERT_UNLESS_TOLD)?;
    }
    Ok(())
}

const INSERT: &str = "INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const INSERT_UNLESS_TOLD: &str = "INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING";

fn insert_event(conn: &Connection, task_key: Option<i64>, event: &NewEvent, sql: &str) -> Result<(), Fault> {
    let inserted = conn.prepare_cached(sql)?.execute(params![
        event.id.as_str(),
        event.kind.as_str(),
        event.tenant.0,
        task_key,
        event.task_sequence,
        ms(event.at),
        json::to_text(&event.data),
    ]);
    match inserted {
        Ok(_) => Ok(()),
        Err(e) if is_unique_violation(&e) => Err(corrupt("events", &event.id, e)),
        Err(e) => Err(e.into()),
    }
}

pub(super) const EVENT_COLUMNS: &str =
    "e.sequence, e.id, e.kind, e.tenant, coalesce(t.uuid, e.removed_task), e.task_sequence, e.at, e.data";

pub(super) fn read_event(row: &Row<'_>) -> Result<Event, Fault> {
    let mut c = Cells::of(row);
    let sequence = c.count()?;
    let id: String = c.next()?;
    let kind: String = c.next()?;
    Ok(Event {
        sequence,
        kind: word(EventKind::parse, &kind, "events", sequence)?,
        id: EventId::stored(id),
        tenant: Tenant(c.next()?),
        task: c.next::<Option<[u8; 16]>>()?.map(|b| TaskId(Uuid::from_bytes(b))),
        task_sequence: c.next()?,
        at: c.at()?,
        data: serde_json::from_str(&c.next::<String>()?).map_err(|e| corrupt("events", sequence, e))?,
    })
}

/// The last sequence given, also when its event is gone; 0 before the first.
pub(super) fn last_sequence(conn: &Connection) -> Result<u64, Fault> {
    let last: Option<i64> = conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(0, |n| u64::try_from(n).unwrap_or(0)))
}

/// Every event after a position, whoever it belongs to.
pub(super) fn events_after(conn: &Connection, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events e LEFT JOIN tasks t ON t.id = e.task_id \
         WHERE e.sequence > ?1 ORDER BY e.sequence LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![int(after), limit])?;
    let mut events = vec![];
    while let Some(row) = rows.next()? {
        events.push(read_event(row)?);
    }
    Ok(events)
}

pub(super) fn events(conn: &Connection, query: &EventQuery) -> Result<EventPage, Fault> {
    let (last, oldest) = (last_sequence(conn)?, removed_to(conn)?);
    let after = query.after.max(oldest); // what lies below was kept for deliveries alone
    // One task's events are found by their own index, however far apart they lie.
    let window_end = match query.task {
        Some(_) => last,
        None => last.min(after.saturating_add(WINDOW)),
    };
    let (sql, values) = filtered(query, after, window_end);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut events = vec![];
    while let Some(row) = rows.next()? {
        events.push(read_event(row)?);
    }
    let full = events.len() as u64 >= u64::from(query.limit);
    let seen = match events.last() {
        Some(event) if full => event.sequence,
        _ => window_end,
    };
    let next_after = seen.max(after); // a reader ahead of the log stays where it is
    Ok(EventPage {
        events,
        next_after,
        done: next_after >= last,
        oldest,
    })
}

fn filtered(query: &EventQuery, after: u64, window_end: u64) -> (String, Vec<Value>) {
    let mut sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events e LEFT JOIN tasks t ON t.id = e.task_id \
         WHERE e.sequence > ? AND e.sequence <= ? AND e.tenant = ?"
    );
    let mut values: Vec<Value> = vec![
        int(after).into(),
        int(window_end).into(),
        query.tenant.0.clone().into(),
    ];
    if let Some(task) = query.task {
        let uuid = Value::from(task.as_bytes().to_vec());
        sql.push_str(" AND (e.task_id = (SELECT id FROM tasks WHERE uuid = ?) OR e.removed_task = ?)");
        values.extend([uuid.clone(), uuid]);
    }
    one_of(
        &mut sql,
        &mut values,
        "e.kind",
        query.types.iter().map(|k| k.as_str().to_owned()),
    );
    let model = "json_extract(e.data, '$.model')";
    one_of(&mut sql, &mut values, model, query.models.iter().cloned());
    for (key, value) in &query.labels {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM json_each(e.data, '$.labels') l WHERE l.key = ? AND l.value = ?)",
        );
        values.extend([key.clone().into(), value.clone().into()]);
    }
    sql.push_str(" ORDER BY e.sequence LIMIT ?");
    values.push(i64::from(query.limit).into());
    (sql, values)
}

/// Nothing wanted is no condition.
fn one_of(
    sql: &mut String,
    values: &mut Vec<Value>,
    what: &str,
    wanted: impl ExactSizeIterator<Item = String>,
) {
    if wanted.len() > 0 {
        let marks = vec!["?"; wanted.len()].join(", ");
        sql.push_str(&format!(" AND {what} IN ({marks})"));
        values.extend(wanted.map(Value::from));
    }
}
