//! A task's own webhook and its deliveries: made with their events, claimed origin by origin, so that a receiver with a
//! long queue costs the others nothing; settled under their lease.

use super::events::{EVENT_COLUMNS, append_operator_events, read_event};
use super::fault::{Fault, corrupt};
use super::json;
use super::rows::{Cells, int, length_ms, ms, task_key};
use crate::domain::delivery::{After, Delivery, Outcome};
use crate::domain::event::{Event, NewEvent};
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::lease::Lease;
use crate::domain::task_webhook::{self, TaskWebhook};
use crate::domain::time::Timestamp;
use crate::ports::store::{Claim, StoreError, TimelineLine};
use crate::ports::task_webhooks::{SettledTaskDelivery, TaskBrief};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn insert_webhook(conn: &Connection, task: i64, webhook: &TaskWebhook) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO task_webhooks (task_id, url, origin) VALUES (?1, ?2, ?3)")?
        .execute(params![task, webhook.url, webhook.origin()])?;
    Ok(())
}

/// Makes the deliveries of a commit's events, after the assets and the events themselves were written.
pub(super) fn tell_webhook(conn: &Connection, task: i64, events: &[NewEvent]) -> Result<(), Fault> {
    let candidates = events.iter().filter(|e| task_webhook::has_provider_shape(e.kind));
    for event in candidates {
        let assets: Option<u32> = conn
            .prepare_cached(
                "SELECT (SELECT count(*) FROM assets a WHERE a.task_id = w.task_id) FROM task_webhooks w \
                 WHERE w.task_id = ?1 AND w.gone_at IS NULL",
            )?
            .query_row([task], |row| row.get(0))
            .optional()?;
        let Some(assets) = assets else {
            return Ok(()); // the task brought no webhook
        };
        if task_webhook::is_told(event, assets) {
            insert_delivery(conn, task, event)?;
        }
    }
    Ok(())
}

fn insert_delivery(conn: &Connection, task: i64, event: &NewEvent) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO task_deliveries (task_id, event_sequence, origin, status, due_at) \
         SELECT w.task_id, e.sequence, w.origin, 'new', e.at FROM task_webhooks w, events e \
         WHERE w.task_id = ?1 AND e.id = ?2",
    )?
    .execute(params![task, event.id.as_str()])?;
    Ok(())
}

pub(super) fn claim(
    conn: &Connection,
    c: &Claim,
    per_origin: u32,
    first_wait: Duration,
) -> Result<Vec<Lease<Delivery>>, Fault> {
    add_first_wait(conn, first_wait)?;
    let in_flight = in_flight(conn, c)?;
    let mut due: Vec<(i64, i64)> = vec![];
    for origin in open_origins(conn)? {
        let room = per_origin.saturating_sub(in_flight.get(&origin).copied().unwrap_or(0));
        due.extend(due_of(conn, &origin, c, room.min(c.limit))?);
    }
    due.sort_unstable();
    due.truncate(c.limit as usize);
    due.into_iter().map(|(_, id)| claim_one(conn, id, c)).collect()
}

/// The wait is a setting, which a commit of the core does not know.
fn add_first_wait(conn: &Connection, first_wait: Duration) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE task_deliveries SET status = 'pending', due_at = due_at + ?1 WHERE status = 'new'",
    )?
    .execute([length_ms(first_wait)])?;
    Ok(())
}

/// Live leases per origin.
fn in_flight(conn: &Connection, c: &Claim) -> Result<HashMap<String, u32>, Fault> {
    let counts = conn
        .prepare_cached(
            "SELECT origin, count(*) FROM task_deliveries WHERE lease_until > ?1 GROUP BY origin",
        )?
        .query_map([ms(c.now)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}

/// Origins with open deliveries, each found by one step down the index, however long its queue.
fn open_origins(conn: &Connection) -> Result<Vec<String>, Fault> {
    const SQL: &str = "WITH RECURSIVE o (origin) AS ( \
         SELECT min(origin) FROM task_deliveries WHERE send_at IS NOT NULL UNION ALL \
         SELECT (SELECT min(d.origin) FROM task_deliveries d WHERE d.send_at IS NOT NULL AND d.origin > o.origin) \
           FROM o WHERE o.origin IS NOT NULL) \
         SELECT origin FROM o WHERE origin IS NOT NULL";
    let origins = conn
        .prepare_cached(SQL)?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(origins)
}

fn due_of(conn: &Connection, origin: &str, c: &Claim, room: u32) -> Result<Vec<(i64, i64)>, Fault> {
    let due = conn
        .prepare_cached(
            "SELECT send_at, id FROM task_deliveries WHERE origin = ?1 AND send_at <= ?2 \
             ORDER BY send_at, id LIMIT ?3",
        )?
        .query_map(params![origin, ms(c.now), room], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(due)
}

fn claim_one(conn: &Connection, id: i64, c: &Claim) -> Result<Lease<Delivery>, Fault> {
    let until = c.now.plus(c.lease);
    let (epoch, attempt, task, sequence): (u64, u32, i64, i64) = conn
        .prepare_cached(
            "UPDATE task_deliveries SET status = 'sending', lease_epoch = lease_epoch + 1, lease_until = ?2, \
             attempts = attempts + 1, due_at = min(due_at, ?3) WHERE id = ?1 \
             RETURNING lease_epoch, attempts - spared, task_id, event_sequence",
        )?
        .query_row(params![id, ms(until), ms(c.now)], |row| {
            let mut c = Cells::of(row);
            Ok((c.count()?, c.next()?, c.next()?, c.next()?))
        })?;
    let url = conn
        .prepare_cached("SELECT url FROM task_webhooks WHERE task_id = ?1")?
        .query_row([task], |row| row.get(0))?;
    let event = event(conn, sequence)?;
    let item = Delivery {
        id,
        endpoint: TaskWebhook { url }.endpoint(event.tenant.clone(), event.at),
        event,
        attempt,
        step: attempt,
    };
    Ok(Lease { item, epoch, until })
}

fn event(conn: &Connection, sequence: i64) -> Result<Event, Fault> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events e LEFT JOIN tasks t ON t.id = e.task_id WHERE e.sequence = ?1"
    );
    conn.prepare_cached(&sql)?
        .query_row([sequence], |row| Ok(read_event(row)))
        .optional()?
        .ok_or_else(|| corrupt("events", sequence, "a delivery names an event that is not there"))?
}

pub(super) fn settle(conn: &Connection, settled: &SettledTaskDelivery) -> Result<(), Fault> {
    let (status, due_at) = match &settled.after {
        After::Delivered => ("delivered", None),
        After::RetryAt(at) => ("waiting", Some(ms(*at))),
        After::Dead | After::Gone => ("dead", None),
    };
    let held: Option<(i64, u32)> = conn
        .prepare_cached(
            "UPDATE task_deliveries SET status = ?3, due_at = ?4, lease_until = NULL \
             WHERE id = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL RETURNING task_id, attempts",
        )?
        .query_row(params![settled.id, int(settled.epoch), status, due_at], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((task, number)) = held else {
        return Err(StoreError::LeaseLost.into());
    };
    insert_attempt(conn, settled, number)?;
    if settled.after == After::Gone {
        give_up(conn, task, settled.attempt.at)?;
    }
    append_operator_events(conn, &settled.events)
}

fn insert_attempt(conn: &Connection, settled: &SettledTaskDelivery, number: u32) -> Result<(), Fault> {
    let attempt = &settled.attempt;
    let (status, code, retry_after, excerpt) = match &attempt.outcome {
        Outcome::Delivered { status } => (Some(*status), None, None, None),
        Outcome::Refused {
            status,
            retry_after,
            excerpt,
        } => (
            Some(*status),
            None,
            retry_after.map(length_ms),
            Some(excerpt.as_str()),
        ),
        Outcome::Unreached { code } => (None, Some(*code), None, None),
    };
    conn.prepare_cached(
        "INSERT INTO task_attempts (delivery_id, number, at, duration_ms, http_status, code, retry_after_ms, excerpt) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        settled.id,
        number,
        ms(attempt.at),
        length_ms(attempt.duration),
        status,
        code,
        retry_after,
        excerpt,
    ])?;
    Ok(())
}

/// The receiver said that it is gone: what is open for it is dead, and nothing more is made.
fn give_up(conn: &Connection, task: i64, at: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE task_webhooks SET gone_at = ?2 WHERE task_id = ?1 AND gone_at IS NULL")?
        .execute(params![task, ms(at)])?;
    // One under way elsewhere ends by its own answer.
    conn.prepare_cached(
        "UPDATE task_deliveries SET status = 'dead', due_at = NULL \
         WHERE task_id = ?1 AND send_at IS NOT NULL AND lease_until IS NULL",
    )?
    .execute([task])?;
    Ok(())
}

pub(super) fn redrive(
    conn: &Connection,
    tenant: &Tenant,
    id: TaskId,
    now: Timestamp,
) -> Result<Option<u64>, Fault> {
    let task: Option<i64> = conn
        .prepare_cached("SELECT id FROM tasks WHERE uuid = ?1 AND tenant = ?2")?
        .query_row(params![id.as_bytes(), tenant.0], |row| row.get(0))
        .optional()?;
    let Some(task) = task else { return Ok(None) };
    conn.prepare_cached("UPDATE task_webhooks SET gone_at = NULL WHERE task_id = ?1")?
        .execute([task])?;
    let redriven = conn
        .prepare_cached(
            "UPDATE task_deliveries SET status = 'waiting', due_at = ?2, spared = attempts \
             WHERE task_id = ?1 AND status = 'dead'",
        )?
        .execute(params![task, ms(now)])?;
    Ok(Some(redriven as u64))
}

pub(super) fn brief(conn: &Connection, id: TaskId) -> Result<Option<TaskBrief>, Fault> {
    let Some(key) = task_key(conn, id)? else {
        return Ok(None);
    };
    let (task_type, failures): (Option<String>, String) = conn
        .prepare_cached(
            "SELECT d.task_type, t.failures FROM tasks t LEFT JOIN task_documents d ON d.task_id = t.id \
             WHERE t.id = ?1",
        )?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Some(TaskBrief {
        task_type,
        failures: json::failures(&failures).map_err(|e| corrupt("tasks", id, e))?,
    }))
}

/// The tries of a task's own webhook, for its timeline. Of the URL only the origin is told.
pub(super) fn webhook_lines(conn: &Connection, task: i64) -> Result<Vec<TimelineLine>, Fault> {
    const SQL: &str = "SELECT a.at, a.number, a.duration_ms, a.http_status, a.code, e.id, e.kind, d.origin \
         FROM task_deliveries d JOIN events e ON e.sequence = d.event_sequence \
         JOIN task_attempts a ON a.delivery_id = d.id WHERE d.task_id = ?1 ORDER BY a.id";
    let lines = conn
        .prepare_cached(SQL)?
        .query_map([task], |row| {
            let mut c = Cells::of(row);
            let (at, number, duration_ms): (_, u32, u64) = (c.at()?, c.next()?, c.count()?);
            let (status, code): (Option<u16>, Option<String>) = (c.next()?, c.next()?);
            let (event, kind, origin): (String, String, String) = (c.next()?, c.next()?, c.next()?);
            let mut detail = serde_json::json!({ "endpoint": task_webhook::NAME, "origin": origin, "event": event,
                "type": kind, "number": number, "durationMs": duration_ms });
            match (status, code) {
                (Some(status), _) => detail["status"] = status.into(),
                (None, code) => detail["code"] = code.into(),
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
