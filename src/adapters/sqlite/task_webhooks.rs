//! A task's own webhook and its deliveries: made with their events, claimed receiver by receiver, so that one with a
//! long queue costs the others nothing; settled under their lease, with what the try says of the receiver's health.

use super::attempts::{self, Of};
use super::call_health::{self, Receiver, receivers};
use super::events::{EVENT_COLUMNS, append_operator_events, read_event};
use super::fault::{Fault, corrupt};
use super::json;
use super::rows::{Cells, int, length_ms, ms, task_key};
use crate::domain::delivery::{After, DeadReason, Delivery};
use crate::domain::event::{Event, NewEvent};
use crate::domain::fair_share::{self, Places};
use crate::domain::ids::{EventId, TaskId, Tenant};
use crate::domain::lease::Lease;
use crate::domain::task_webhook::{self, TaskWebhook, dead_call, gone_with_id};
use crate::domain::time::Timestamp;
use crate::ports::store::{Claim, StoreError, TimelineLine};
use crate::ports::task_webhooks::{SettledTaskDelivery, TaskBrief};
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

pub(super) fn insert_webhook(conn: &Connection, task: i64, webhook: &TaskWebhook) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO task_webhooks (task_id, url, origin) VALUES (?1, ?2, ?3)")?
        .execute(params![task, webhook.url, webhook.origin()])?;
    Ok(())
}

/// Makes the deliveries of a commit's events, after the assets and the events themselves were written. For a receiver
/// that is gone they are born dead, and told as such: a redrive may still send them.
pub(super) fn tell_webhook(conn: &Connection, task: i64, events: &[NewEvent]) -> Result<(), Fault> {
    let candidates = events.iter().filter(|e| task_webhook::has_provider_shape(e.kind));
    for event in candidates {
        let found: Option<(u32, bool)> = conn
            .prepare_cached(
                "SELECT (SELECT count(*) FROM assets a WHERE a.task_id = w.task_id), w.gone_at IS NOT NULL \
                 FROM task_webhooks w WHERE w.task_id = ?1",
            )?
            .query_row([task], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((assets, is_gone)) = found else {
            return Ok(()); // the task brought no webhook
        };
        if task_webhook::is_told(event, assets) {
            insert_delivery(conn, task, event)?;
            if is_gone {
                let by = GoneBy {
                    event: event.id.clone(), // nothing was said about it: its own birth
                    attempt: 0,
                    at: event.at,
                };
                give_up(conn, task, &by)?;
            }
        }
    }
    Ok(())
}

fn insert_delivery(conn: &Connection, task: i64, event: &NewEvent) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO task_deliveries (task_id, event_sequence, tenant, origin, status, due_at) \
         SELECT w.task_id, e.sequence, e.tenant, w.origin, 'new', e.at FROM task_webhooks w, events e \
         WHERE w.task_id = ?1 AND e.id = ?2",
    )?
    .execute(params![task, event.id.as_str()])?;
    Ok(())
}

pub(super) fn claim(
    conn: &Connection,
    c: &Claim,
    places: Places,
    first_wait: Duration,
) -> Result<Vec<Lease<Delivery>>, Fault> {
    add_first_wait(conn, first_wait)?;
    let mut lines = vec![];
    for Receiver { origin, mut line } in receivers(conn, c.now)? {
        let room = line.room.min(places.per_origin).saturating_sub(line.in_flight);
        if room > 0 {
            line.due = due_of(conn, &line.tenant, &origin, c, room.min(c.limit))?;
        }
        lines.push(line);
    }
    let due = fair_share::share(places, c.limit, &mut lines);
    due.into_iter().map(|id| claim_one(conn, id, c)).collect()
}

/// The wait is a setting, which a commit of the core does not know.
fn add_first_wait(conn: &Connection, first_wait: Duration) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE task_deliveries SET status = 'pending', due_at = due_at + ?1 WHERE status = 'new'",
    )?
    .execute([length_ms(first_wait)])?;
    Ok(())
}

fn due_of(
    conn: &Connection,
    tenant: &str,
    origin: &str,
    c: &Claim,
    room: u32,
) -> Result<Vec<(i64, i64)>, Fault> {
    let due = conn
        .prepare_cached(
            "SELECT send_at, id FROM task_deliveries WHERE tenant = ?1 AND origin = ?2 AND send_at <= ?3 \
             ORDER BY send_at, id LIMIT ?4",
        )?
        .query_map(params![tenant, origin, ms(c.now), room], |row| {
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
    let now = settled.attempt.at.plus(settled.attempt.duration);
    let reason = settled.after.dead_reason();
    let held: Option<(i64, u32, i64)> = conn
        .prepare_cached(
            "UPDATE task_deliveries SET status = ?3, due_at = ?4, lease_until = NULL, reason = ?5, died_at = ?6 \
             WHERE id = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL \
             RETURNING task_id, attempts, event_sequence",
        )?
        .query_row(
            params![
                settled.id,
                int(settled.epoch),
                status,
                due_at,
                reason.map(|r| r.as_str()),
                reason.map(|_| ms(now)),
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((task, number, sequence)) = held else {
        return Err(StoreError::LeaseLost.into());
    };
    attempts::insert(conn, Of::TaskWebhook, settled.id, number, &settled.attempt)?;
    call_health::note(
        conn,
        settled.id,
        (&settled.attempt, &settled.after),
        settled.jitter,
    )?;
    append_operator_events(conn, &settled.events)?;
    let waits_in_vain = due_at.is_some() && is_gone(conn, task)?;
    if settled.after == After::Gone || waits_in_vain {
        let by = GoneBy {
            event: event(conn, sequence)?.id,
            attempt: number,
            at: now,
        };
        give_up(conn, task, &by)?;
    }
    call_health::forget_unused(conn, settled.id)
}

fn is_gone(conn: &Connection, task: i64) -> Result<bool, Fault> {
    let gone = conn
        .prepare_cached("SELECT gone_at IS NOT NULL FROM task_webhooks WHERE task_id = ?1")?
        .query_row([task], |row| row.get(0))?;
    Ok(gone)
}

/// Whose word it is that the receiver is gone: about which event, at which try.
struct GoneBy {
    event: EventId,
    attempt: u32,
    at: Timestamp,
}

/// The receiver said that it is gone: what is open for it is dead, and so is what comes later. One that is under way
/// elsewhere ends by its own answer.
fn give_up(conn: &Connection, task: i64, by: &GoneBy) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE task_webhooks SET gone_at = ?2 WHERE task_id = ?1 AND gone_at IS NULL")?
        .execute(params![task, ms(by.at)])?;
    let died: Vec<i64> = conn
        .prepare_cached(
            "UPDATE task_deliveries SET status = 'dead', due_at = NULL, reason = ?2, died_at = ?3 \
             WHERE task_id = ?1 AND send_at IS NOT NULL AND lease_until IS NULL RETURNING event_sequence",
        )?
        .query_map(params![task, DeadReason::Gone.as_str(), ms(by.at)], |row| {
            row.get(0)
        })?
        .collect::<Result<_, _>>()?;
    for sequence in died {
        let event = event(conn, sequence)?;
        tell_death(conn, &event.id, &event.tenant, event.data.task_uuid, by)?;
    }
    Ok(())
}

fn tell_death(
    conn: &Connection,
    about: &EventId,
    tenant: &Tenant,
    task_uuid: Option<String>,
    by: &GoneBy,
) -> Result<(), Fault> {
    let id = gone_with_id(about, &by.event, by.attempt);
    let told = dead_call(id, tenant.clone(), task_uuid, about, DeadReason::Gone, by.at);
    append_operator_events(conn, &[told])
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
            "UPDATE task_deliveries SET status = 'waiting', due_at = ?2, spared = attempts, reason = NULL, died_at = NULL \
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
    let mut lines = conn
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
        .collect::<Result<Vec<_>, _>>()?;
    lines.extend(deaths(conn, task)?);
    Ok(lines)
}

/// Calls that are made no more, and why; one whose receiver was gone may never have been tried.
fn deaths(conn: &Connection, task: i64) -> Result<Vec<TimelineLine>, Fault> {
    const SQL: &str = "SELECT d.died_at, e.id, e.kind, d.origin, d.reason \
         FROM task_deliveries d JOIN events e ON e.sequence = d.event_sequence \
         WHERE d.task_id = ?1 AND d.status = 'dead' ORDER BY d.id";
    let lines = conn
        .prepare_cached(SQL)?
        .query_map([task], |row| {
            let mut c = Cells::of(row);
            let at = c.at()?;
            let (event, kind, origin, reason): (String, String, String, String) =
                (c.next()?, c.next()?, c.next()?, c.next()?);
            Ok(TimelineLine {
                at,
                kind: "delivery_dead".to_owned(),
                detail: serde_json::json!({ "endpoint": task_webhook::NAME, "origin": origin, "event": event,
                    "type": kind, "reason": reason }),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(lines)
}
