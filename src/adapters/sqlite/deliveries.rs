//! Deliveries: claimed endpoint by endpoint, so that one with a long queue costs the others nothing; settled under
//! their lease, together with what the try says of the endpoint's health.

use super::endpoints::{disable, endpoint_by_key, hasten, keep_order, read_health, write_health};
use super::events::{EVENT_COLUMNS, append_operator_events, read_event};
use super::fault::{Fault, corrupt};
use super::rows::{Cells, int, length_ms, ms, opt_ms};
use crate::domain::delivery::{After, Attempt, Delivery, Endpoint, Outcome};
use crate::domain::endpoint::{DisabledReason, Health};
use crate::domain::event::Event;
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::store::{Claim, SettledDelivery, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

pub(super) fn claim_deliveries(
    conn: &Connection,
    c: &Claim,
    per_endpoint: u32,
) -> Result<Vec<Lease<Delivery>>, Fault> {
    let in_flight = in_flight(conn, c)?;
    let mut due: Vec<Due> = vec![];
    for (key, health) in with_open_deliveries(conn)? {
        let most = per_endpoint.min(health.room(c.now));
        let room = most.saturating_sub(in_flight.get(&key).copied().unwrap_or(0));
        if room > 0 {
            due.extend(due_of(conn, key, c, room.min(c.limit))?);
        }
    }
    due.sort_by_key(|d| (d.at, d.id));
    due.truncate(c.limit as usize);
    let mut by_key: HashMap<i64, Endpoint> = HashMap::new();
    due.into_iter()
        .map(|d| {
            let endpoint = match by_key.entry(d.endpoint) {
                std::collections::hash_map::Entry::Occupied(known) => known.get().clone(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    new.insert(endpoint_by_key(conn, d.endpoint)?).clone()
                }
            };
            claim_one(conn, d.id, endpoint, c)
        })
        .collect()
}

struct Due {
    at: i64,
    id: i64,
    endpoint: i64,
}

/// From one endpoint with open deliveries to the next by the index alone: those without cost nothing.
pub(super) const OPEN_ENDPOINTS: &str = "WITH RECURSIVE open (id) AS ( \
       SELECT min(endpoint_id) FROM deliveries WHERE send_at IS NOT NULL \
       UNION ALL SELECT (SELECT min(endpoint_id) FROM deliveries WHERE send_at IS NOT NULL AND endpoint_id > open.id) \
         FROM open WHERE open.id IS NOT NULL) ";

fn with_open_deliveries(conn: &Connection) -> Result<Vec<(i64, Health)>, Fault> {
    let sql = format!(
        "{OPEN_ENDPOINTS} SELECT e.id, e.failures, e.failing_since, e.down_since, e.rests_until \
         FROM open CROSS JOIN endpoints e ON e.id = open.id WHERE e.disabled_at IS NULL AND e.deleted = 0"
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_map([], |row| {
            let mut c = Cells::of(row);
            Ok((c.next()?, read_health(&mut c)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Live leases per endpoint.
fn in_flight(conn: &Connection, c: &Claim) -> Result<HashMap<i64, u32>, Fault> {
    let counts = conn
        .prepare_cached(
            "SELECT endpoint_id, count(*) FROM deliveries WHERE lease_until > ?1 GROUP BY endpoint_id",
        )?
        .query_map([ms(c.now)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}

/// What is due, and whether it must wait for an earlier event of its task.
pub(super) const DUE: &str = "SELECT d.send_at, d.id, d.holds = 1 AND EXISTS (SELECT 1 \
       FROM deliveries b INDEXED BY deliveries_in_order WHERE b.endpoint_id = ?1 AND b.task_id = d.task_id \
       AND b.event_sequence < d.event_sequence AND b.holds = 1 AND b.send_at IS NOT NULL) \
     FROM deliveries d WHERE d.endpoint_id = ?1 AND d.send_at <= ?2 ORDER BY d.send_at, d.id LIMIT ?3";

/// The `due_at` of a delivery that waits for an earlier one of its task: when that one lets it go, it is due. Far
/// enough to be passed over by every look, near enough to be printed (the end of the year 9999).
pub(super) const BEHIND_MS: i64 = 253_402_300_799_999;

/// Rows looked at in one step, and steps of one claim: those that must wait are put behind and not looked at again, so
/// a claim that finds nothing else has made way for the next.
const LOOK_AT: u32 = 256;
const LOOKS: u32 = 4;

fn due_of(conn: &Connection, endpoint: i64, c: &Claim, room: u32) -> Result<Vec<Due>, Fault> {
    let mut due = vec![];
    for _ in 0..LOOKS {
        due.clear(); // a further look shows those that were found again
        let looked_at = look(conn, endpoint, c)?;
        let was_all = looked_at.len() < LOOK_AT as usize;
        let mut any_behind = false;
        for (at, id, waits) in looked_at {
            if waits {
                put_behind(conn, id)?;
                any_behind = true;
            } else if due.len() < room as usize {
                due.push(Due { at, id, endpoint });
            }
        }
        if was_all || !any_behind || due.len() == room as usize {
            break;
        }
    }
    Ok(due)
}

fn look(conn: &Connection, endpoint: i64, c: &Claim) -> Result<Vec<(i64, i64, bool)>, Fault> {
    let rows = conn
        .prepare_cached(DUE)?
        .query_map(params![endpoint, ms(c.now), LOOK_AT], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, Option<bool>>(2)?.unwrap_or(false),
            ))
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

fn put_behind(conn: &Connection, id: i64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE deliveries SET due_at = ?2, lease_until = NULL WHERE id = ?1")?
        .execute(params![id, BEHIND_MS])?;
    Ok(())
}

/// Lets the next event of the task go, once the one before it holds it no more.
pub(super) fn let_next_go(conn: &Connection, id: i64, now: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE deliveries SET due_at = ?2 WHERE due_at = ?3 AND id = (SELECT n.id FROM deliveries x \
           JOIN deliveries n INDEXED BY deliveries_in_order ON n.endpoint_id = x.endpoint_id \
             AND n.task_id = x.task_id AND n.event_sequence > x.event_sequence AND n.holds = 1 \
             AND n.send_at IS NOT NULL \
           WHERE x.id = ?1 ORDER BY n.event_sequence LIMIT 1)",
    )?
    .execute(params![id, ms(now), BEHIND_MS])?;
    Ok(())
}

fn claim_one(conn: &Connection, id: i64, endpoint: Endpoint, c: &Claim) -> Result<Lease<Delivery>, Fault> {
    let until = c.now.plus(c.lease);
    let (epoch, attempt, redriven, sequence): (u64, u32, u32, i64) = conn
        .prepare_cached(
            "UPDATE deliveries SET status = 'sending', lease_epoch = lease_epoch + 1, lease_until = ?2, \
             attempts = attempts + 1, due_at = min(due_at, ?3) WHERE id = ?1 \
             RETURNING lease_epoch, attempts, redriven, event_sequence",
        )?
        .query_row(params![id, ms(until), ms(c.now)], |row| {
            let mut c = Cells::of(row);
            Ok((c.count()?, c.next()?, c.next()?, c.next()?))
        })?;
    let item = Delivery {
        id,
        endpoint,
        event: event(conn, sequence)?,
        attempt,
        step: attempt.saturating_sub(redriven),
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

pub(super) fn settle_delivery(
    conn: &Connection,
    settled: &SettledDelivery,
) -> Result<Option<DisabledReason>, Fault> {
    let (endpoint, was) = held(conn, settled)?;
    let attempt = &settled.attempt;
    let now = attempt.at.plus(attempt.duration);
    let health = was.after(&attempt.outcome, now, settled.jitter);
    settle_row(conn, settled, &health, now)?;
    insert_attempt(conn, settled.id, attempt)?;
    if health != was {
        write_health(conn, endpoint, &health)?;
    }
    match (was.down_since, health.down_since) {
        (None, Some(_)) => keep_order(conn, endpoint)?,
        (Some(_), None) => hasten(conn, endpoint, now)?,
        _ => {}
    }
    append_operator_events(conn, &settled.events)?;
    let reason = match settled.after {
        After::Gone => DisabledReason::Gone,
        _ if health.is_given_up(now) => DisabledReason::Failing,
        _ => return Ok(None),
    };
    if !disable(conn, endpoint, now, reason)? {
        return Ok(None);
    }
    append_operator_events(conn, settled.if_disabled.as_slice())?;
    Ok(Some(reason))
}

/// The endpoint of a delivery whose lease still stands, and its health.
fn held(conn: &Connection, settled: &SettledDelivery) -> Result<(i64, Health), Fault> {
    conn.prepare_cached(
        "SELECT e.id, e.failures, e.failing_since, e.down_since, e.rests_until \
         FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id \
         WHERE d.id = ?1 AND d.lease_epoch = ?2 AND d.lease_until IS NOT NULL",
    )?
    .query_row(params![settled.id, int(settled.epoch)], |row| {
        let mut c = Cells::of(row);
        Ok((c.next()?, read_health(&mut c)?))
    })
    .optional()?
    .ok_or_else(|| StoreError::LeaseLost.into())
}

/// After a failed try the later events of its task go on without it, unless the endpoint is down: then it is not this
/// event's fault, and their order is kept.
fn settle_row(
    conn: &Connection,
    settled: &SettledDelivery,
    health: &Health,
    now: Timestamp,
) -> Result<(), Fault> {
    let (status, due_at) = match &settled.after {
        After::Delivered => ("delivered", None),
        After::RetryAt(at) => ("waiting", Some(ms(*at))),
        After::Dead | After::Gone => ("dead", None),
    };
    let holds_on = due_at.is_some() && health.down_since.is_some();
    conn.prepare_cached(
        "UPDATE deliveries SET status = ?2, due_at = ?3, lease_until = NULL, holds = ?4, not_before = ?5, \
         reason = ?6 WHERE id = ?1",
    )?
    .execute(params![
        settled.id,
        status,
        due_at,
        holds_on,
        opt_ms(settled.attempt.outcome.not_before(now)),
        settled.after.dead_reason().map(|r| r.as_str()),
    ])?;
    match holds_on {
        true => Ok(()),
        false => let_next_go(conn, settled.id, now),
    }
}

fn insert_attempt(conn: &Connection, delivery: i64, attempt: &Attempt) -> Result<(), Fault> {
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
        "INSERT INTO attempts (delivery_id, number, at, duration_ms, http_status, code, retry_after_ms, excerpt) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        delivery,
        attempt.number,
        ms(attempt.at),
        length_ms(attempt.duration),
        status,
        code,
        retry_after,
        excerpt,
    ])?;
    Ok(())
}
