//! What came of an endpoint's deliveries, for people; and sending them again.

use super::deliveries::BEHIND_MS;
use super::endpoints::endpoint;
use super::fault::Fault;
use super::operator;
use super::rows::{Cells, Count, int, ms, opt_ms, word};
use super::settle::let_next_go;
use crate::domain::delivery::{DeadReason, DeliveryStatus};
use crate::domain::event::EventKind;
use crate::domain::ids::{EventId, TaskId};
use crate::domain::time::Timestamp;
use crate::ports::endpoints::{
    DeliveryPage, DeliveryQuery, MAX_TRIES_SHOWN, PastAttempt, PastDelivery, REDRIVE_BATCH, Redrive,
    Redriven, Which,
};
use crate::ports::operator::OperatorEntry;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// Most deliveries looked at by one read with filters: a rare status must not hold a snapshot over millions of rows.
const WINDOW: u32 = 10_000;

pub(super) fn deliveries(conn: &Connection, query: &DeliveryQuery) -> Result<Option<DeliveryPage>, Fault> {
    let Some((key, _)) = endpoint(conn, &query.tenant, &query.endpoint)? else {
        return Ok(None);
    };
    let before = query.cursor.map_or(i64::MAX, int);
    let window = window(conn, key, before)?;
    let (sql, values) = matching(query, key, before, window.unwrap_or(0));
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut deliveries = vec![];
    while let Some(row) = rows.next()? {
        deliveries.push(read_delivery(row)?);
    }
    let is_full = deliveries.len() > query.limit as usize;
    deliveries.truncate(query.limit as usize);
    for delivery in &mut deliveries {
        delivery.attempts = attempts(conn, delivery.id)?;
    }
    let last = deliveries.last().map(|d| d.id).filter(|_| is_full);
    let next = last.or(window).map(i64::unsigned_abs);
    Ok(Some(DeliveryPage { deliveries, next }))
}

/// The lowest key of a window that does not reach the end.
fn window(conn: &Connection, endpoint: i64, before: i64) -> Result<Option<i64>, Fault> {
    let (lowest, count): (Option<i64>, u32) = conn
        .prepare_cached(
            "SELECT min(id), count(*) FROM (SELECT id FROM deliveries WHERE endpoint_id = ?1 AND id < ?2 \
             ORDER BY id DESC LIMIT ?3)",
        )?
        .query_row(params![endpoint, before, WINDOW], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(lowest.filter(|_| count == WINDOW))
}

/// A lease tells that it is under way, whatever it was before.
pub(super) const STATUS: &str = "iif(d.lease_until IS NULL, d.status, 'sending')";

fn matching(query: &DeliveryQuery, endpoint: i64, before: i64, from: i64) -> (String, Vec<Value>) {
    let mut sql = format!(
        "SELECT d.id, e.id, e.kind, e.sequence, coalesce(t.uuid, e.removed_task), e.at, {STATUS}, d.reason, d.attempts, d.due_at \
         FROM deliveries d JOIN events e ON e.sequence = d.event_sequence LEFT JOIN tasks t ON t.id = e.task_id \
         WHERE d.endpoint_id = ? AND d.id < ? AND d.id >= ?"
    );
    let mut values: Vec<Value> = vec![endpoint.into(), before.into(), from.into()];
    if !query.statuses.is_empty() {
        let marks = vec!["?"; query.statuses.len()].join(", ");
        sql.push_str(&format!(" AND {STATUS} IN ({marks})"));
        values.extend(query.statuses.iter().map(|s| s.as_str().to_owned().into()));
    }
    for (condition, value) in [
        (" AND e.at >= ?", query.since.map(|at| ms(at).into())),
        (" AND e.at < ?", query.until.map(|at| ms(at).into())),
        (
            " AND e.id = ?",
            query.event.as_ref().map(|id| id.as_str().to_owned().into()),
        ),
    ] {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    sql.push_str(" ORDER BY d.id DESC LIMIT ?");
    values.push((i64::from(query.limit) + 1).into());
    (sql, values)
}

fn read_delivery(row: &Row<'_>) -> Result<PastDelivery, Fault> {
    let mut c = Cells::of(row);
    let id: i64 = c.next()?;
    let read = |text: Option<String>| text.map(|r| word(DeadReason::parse, &r, "deliveries", id));
    Ok(PastDelivery {
        id,
        event: EventId::stored(c.next()?),
        kind: word(EventKind::parse, &c.next::<String>()?, "events", id)?,
        sequence: c.count()?,
        task: c.next::<Option<[u8; 16]>>()?.map(|b| TaskId(Uuid::from_bytes(b))),
        at: c.at()?,
        status: word(DeliveryStatus::parse, &c.next::<String>()?, "deliveries", id)?,
        reason: read(c.next()?).transpose()?,
        tries: c.next()?,
        due_at: c.opt_at()?.filter(|at| ms(*at) < BEHIND_MS),
        attempts: vec![],
    })
}

fn attempts(conn: &Connection, delivery: i64) -> Result<Vec<PastAttempt>, Fault> {
    let mut latest: Vec<PastAttempt> = conn
        .prepare_cached(
            "SELECT number, at, duration_ms, http_status, code, retry_after_ms, excerpt FROM attempts \
             WHERE delivery_id = ?1 UNION ALL SELECT attempts, taken_at, taken_ms, taken_status, NULL, NULL, NULL \
             FROM deliveries WHERE id = ?1 AND taken_at IS NOT NULL ORDER BY number DESC LIMIT ?2",
        )?
        .query_map(params![delivery, MAX_TRIES_SHOWN], |row| {
            let mut c = Cells::of(row);
            let length = |ms: Option<Count>| ms.map(|ms| Duration::from_millis(ms.0));
            Ok(PastAttempt {
                number: c.next()?,
                at: c.at()?,
                duration: Duration::from_millis(c.count()?),
                status: c.next()?,
                code: c.next()?,
                retry_after: length(c.next()?),
                excerpt: c.next()?,
            })
        })?
        .collect::<Result<_, _>>()?;
    latest.reverse();
    Ok(latest)
}

pub(super) fn redrive(conn: &Connection, redrive: &Redrive) -> Result<Option<Redriven>, Fault> {
    let Some((key, _)) = endpoint(conn, &redrive.tenant, &redrive.endpoint)? else {
        return Ok(None);
    };
    let Some(chosen) = chosen(conn, key, redrive)? else {
        return Ok(None);
    };
    for id in &chosen {
        send_again(conn, *id, redrive.now)?;
    }
    if !chosen.is_empty() {
        note(conn, redrive, chosen.len())?;
    }
    let is_full = chosen.len() == REDRIVE_BATCH as usize;
    Ok(Some(Redriven {
        count: chosen.len() as u64,
        next: chosen.last().copied().filter(|_| is_full),
    }))
}

/// A whole schedule again; its order within the task is history.
fn send_again(conn: &Connection, id: i64, now: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO attempts (delivery_id, number, at, duration_ms, http_status) \
         SELECT id, attempts, taken_at, taken_ms, taken_status FROM deliveries WHERE id = ?1 AND taken_at IS NOT NULL",
    )?
    .execute([id])?;
    let (endpoint, task, event) = conn
        .prepare_cached(
            "UPDATE deliveries SET status = 'pending', due_at = ?2, redriven = attempts, reason = NULL, \
             not_before = NULL, holds = 0, taken_at = NULL, taken_ms = NULL, taken_status = NULL WHERE id = ?1 \
             RETURNING endpoint_id, task_id, event_sequence",
        )?
        .query_row(params![id, ms(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let_next_go(conn, endpoint, task, event, now)
}

/// `None`: the one named is not there.
fn chosen(conn: &Connection, endpoint: i64, redrive: &Redrive) -> Result<Option<Vec<i64>>, Fault> {
    match &redrive.which {
        Which::Delivery(id) => one(conn, endpoint, "d.id", (*id).into()),
        Which::Event(id) => one(conn, endpoint, "e.id", id.as_str().to_owned().into()),
        Which::Dead { since, until } => {
            let ids = conn
                .prepare_cached(
                    "SELECT d.id FROM deliveries d INDEXED BY deliveries_dead \
                     JOIN events e ON e.sequence = d.event_sequence \
                     WHERE d.endpoint_id = ?1 AND d.status = 'dead' AND d.id > ?2 AND (?3 IS NULL OR e.at >= ?3) \
                     AND (?4 IS NULL OR e.at < ?4) ORDER BY d.id LIMIT ?5",
                )?
                .query_map(
                    params![
                        endpoint,
                        redrive.after.unwrap_or(0),
                        opt_ms(*since),
                        opt_ms(*until),
                        REDRIVE_BATCH
                    ],
                    |row| row.get(0),
                )?
                .collect::<Result<_, _>>()?;
            Ok(Some(ids))
        }
    }
}

/// One that is on its way already is left to it.
fn one(conn: &Connection, endpoint: i64, named_by: &str, name: Value) -> Result<Option<Vec<i64>>, Fault> {
    let sql = format!(
        "SELECT d.id, {STATUS} IN ('pending', 'sending') FROM deliveries d \
         JOIN events e ON e.sequence = d.event_sequence WHERE d.endpoint_id = ?1 AND {named_by} = ?2"
    );
    let found: Option<(i64, bool)> = conn
        .prepare_cached(&sql)?
        .query_row(params![endpoint, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(id, on_its_way)| if on_its_way { vec![] } else { vec![id] }))
}

fn note(conn: &Connection, redrive: &Redrive, count: usize) -> Result<(), Fault> {
    let detail = match &redrive.which {
        Which::Delivery(id) => json!({ "delivery": id }),
        Which::Event(id) => json!({ "event": id.as_str() }),
        Which::Dead { since, until } => json!({ "count": count, "since": since, "until": until }),
    };
    let entry = OperatorEntry {
        at: redrive.now,
        tenant: redrive.tenant.clone(),
        actor: redrive.actor.clone(),
        action: "redrive",
        subject: redrive.endpoint.0.clone(),
        detail,
    };
    operator::log(conn, &entry)
}
