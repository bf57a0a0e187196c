//! Deliveries: claimed endpoint by endpoint, so that one with a long queue costs the others nothing; settled under
//! their lease.

use super::endpoints::{disable, endpoints};
use super::events::{EVENT_COLUMNS, append_operator_events, read_event};
use super::fault::{Fault, corrupt};
use super::rows::{Cells, int, length_ms, ms};
use crate::domain::delivery::{After, Attempt, Delivery, Endpoint, Outcome};
use crate::domain::event::Event;
use crate::domain::lease::Lease;
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
    let mut by_key: HashMap<i64, Endpoint> = HashMap::new();
    for (key, endpoint) in endpoints(conn, None)? {
        let room = per_endpoint.saturating_sub(in_flight.get(&key).copied().unwrap_or(0));
        if endpoint.disabled_at.is_some() || room == 0 {
            continue;
        }
        due.extend(due_of(conn, key, c, room.min(c.limit))?);
        by_key.insert(key, endpoint);
    }
    due.sort_by_key(|d| (d.at, d.id));
    due.truncate(c.limit as usize);
    due.into_iter()
        .map(|d| {
            let endpoint = by_key[&d.endpoint].clone();
            claim_one(conn, d.id, endpoint, c)
        })
        .collect()
}

struct Due {
    at: i64,
    id: i64,
    endpoint: i64,
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

pub(super) const DUE: &str = "SELECT send_at, id FROM deliveries WHERE endpoint_id = ?1 AND send_at <= ?2 \
     ORDER BY send_at, id LIMIT ?3";

fn due_of(conn: &Connection, endpoint: i64, c: &Claim, room: u32) -> Result<Vec<Due>, Fault> {
    let due = conn
        .prepare_cached(DUE)?
        .query_map(params![endpoint, ms(c.now), room], |row| {
            Ok(Due {
                at: row.get(0)?,
                id: row.get(1)?,
                endpoint,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(due)
}

fn claim_one(conn: &Connection, id: i64, endpoint: Endpoint, c: &Claim) -> Result<Lease<Delivery>, Fault> {
    let until = c.now.plus(c.lease);
    let (epoch, attempt, sequence): (u64, u32, i64) = conn
        .prepare_cached(
            "UPDATE deliveries SET status = 'sending', lease_epoch = lease_epoch + 1, lease_until = ?2, \
             attempts = attempts + 1, due_at = min(due_at, ?3) WHERE id = ?1 \
             RETURNING lease_epoch, attempts, event_sequence",
        )?
        .query_row(params![id, ms(until), ms(c.now)], |row| {
            let mut c = Cells::of(row);
            Ok((c.count()?, c.next()?, c.next()?))
        })?;
    let item = Delivery {
        id,
        endpoint,
        event: event(conn, sequence)?,
        attempt,
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

pub(super) fn settle_delivery(conn: &Connection, settled: &SettledDelivery) -> Result<(), Fault> {
    let (status, due_at) = match &settled.after {
        After::Delivered => ("delivered", None),
        After::RetryAt(at) => ("waiting", Some(ms(*at))),
        After::Dead | After::Gone => ("dead", None),
    };
    let endpoint: Option<i64> = conn
        .prepare_cached(
            "UPDATE deliveries SET status = ?3, due_at = ?4, lease_until = NULL \
             WHERE id = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL RETURNING endpoint_id",
        )?
        .query_row(params![settled.id, int(settled.epoch), status, due_at], |row| {
            row.get(0)
        })
        .optional()?;
    let Some(endpoint) = endpoint else {
        return Err(StoreError::LeaseLost.into());
    };
    insert_attempt(conn, settled.id, &settled.attempt)?;
    if settled.after == After::Gone {
        disable(conn, endpoint, settled.attempt.at)?;
    }
    append_operator_events(conn, &settled.events)
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
