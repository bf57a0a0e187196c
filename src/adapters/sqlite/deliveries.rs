//! Claims on deliveries: the free places are shared out among the endpoints, so that one with a long queue or slow
//! answers costs the others nothing; within an endpoint they go by time, and within a task by its order.

use super::chores;
use super::endpoints::{endpoint_by_key, read_health};
use super::events::{EVENT_COLUMNS, read_event};
use super::fault::{Fault, corrupt};
use super::rows::{Cells, int, ms};
use crate::domain::delivery::{Delivery, Endpoint};
use crate::domain::endpoint::Health;
use crate::domain::event::Event;
use crate::domain::lease::Lease;
use crate::domain::places::{Seat, share};
use crate::domain::time::Timestamp;
use crate::ports::store::{Claim, Held};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A row under a new lease.
pub(super) struct Claimed {
    pub id: i64,
    pub epoch: u64,
    endpoint: i64,
    event: i64,
    attempt: u32,
    step: u32,
}

impl Claimed {
    pub fn held(&self) -> Held {
        let (id, epoch) = (self.id, self.epoch);
        Held::Delivery { id, epoch }
    }
}

/// Each round shares out again what those had no use for whose events wait for one another.
const ROUNDS: u32 = 4;

pub(super) fn claim_deliveries(
    conn: &Connection,
    c: &Claim,
    per_endpoint: u32,
) -> Result<Vec<Claimed>, Fault> {
    if let Some(endpoint) = chores::next(conn)? {
        chores::step(conn, endpoint)?;
    }
    let mut candidates = candidates(conn, c, per_endpoint)?;
    let mut claimed = vec![];
    for _ in 0..ROUNDS {
        let free = c.limit.saturating_sub(claimed.len() as u32);
        let seats: Vec<Seat> = candidates.iter().map(|candidate| candidate.seat).collect();
        let given = share(free, &seats);
        for (candidate, wanted) in candidates.iter_mut().zip(given) {
            let got = claim_of(conn, candidate.key, c, wanted, &mut claimed)?;
            candidate.seat.held += got;
            candidate.seat.room -= got;
            if got < wanted {
                candidate.seat.room = 0; // nothing further of it is due
            }
        }
        candidates.retain(|candidate| candidate.seat.room > 0);
        if candidates.is_empty() || claimed.len() >= c.limit as usize {
            break;
        }
    }
    Ok(claimed)
}

/// An endpoint with something due and room for it.
struct Candidate {
    key: i64,
    seat: Seat,
    due: i64,
}

/// From one endpoint with open deliveries to the next by the index alone: those without cost nothing.
pub(super) const OPEN_ENDPOINTS: &str = "WITH RECURSIVE open (id) AS ( \
       SELECT min(endpoint_id) FROM deliveries WHERE send_at IS NOT NULL \
       UNION ALL SELECT (SELECT min(endpoint_id) FROM deliveries WHERE send_at IS NOT NULL AND endpoint_id > open.id) \
         FROM open WHERE open.id IS NOT NULL) ";

/// Whose first delivery is due first comes first.
fn candidates(conn: &Connection, c: &Claim, per_endpoint: u32) -> Result<Vec<Candidate>, Fault> {
    let in_flight = in_flight(conn, c)?;
    let sql = format!(
        "{OPEN_ENDPOINTS} SELECT e.id, (SELECT min(d.send_at) FROM deliveries d WHERE d.endpoint_id = e.id \
           AND d.send_at IS NOT NULL), e.failures, e.failing_since, e.failed_at, e.down_since, e.rests_until \
         FROM open CROSS JOIN endpoints e ON e.id = open.id WHERE e.disabled_at IS NULL AND e.deleted = 0"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = vec![];
    while let Some(row) = rows.next()? {
        let mut cells = Cells::of(row);
        let (key, due): (i64, i64) = (cells.next()?, cells.next()?);
        let health: Health = read_health(&mut cells)?;
        let held = in_flight.get(&key).copied().unwrap_or(0);
        let room = per_endpoint.min(health.room(c.now)).saturating_sub(held);
        if room > 0 && due <= ms(c.now) {
            let seat = Seat { held, room };
            found.push(Candidate { key, seat, due });
        }
    }
    found.sort_by_key(|candidate| (candidate.due, candidate.key));
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
pub(super) const DUE: &str = "SELECT d.id, d.lease_epoch, d.attempts, d.redriven, d.event_sequence, \
       d.holds = 1 AND EXISTS (SELECT 1 FROM deliveries b INDEXED BY deliveries_in_order WHERE b.endpoint_id = ?1 \
         AND b.task_id = d.task_id AND b.event_sequence < d.event_sequence AND b.holds = 1) \
     FROM deliveries d WHERE d.endpoint_id = ?1 AND d.send_at <= ?2 ORDER BY d.send_at, d.id LIMIT ?3";

/// The `due_at` of a delivery that waits for an earlier one of its task: when that one lets it go, it is due. Far
/// enough to be passed over by every look, near enough to be printed (the end of the year 9999).
pub(super) const BEHIND_MS: i64 = 253_402_300_799_999;

/// Rows looked at in one step, and of one endpoint in one claim: those that must wait are put behind and not looked at
/// again, so a claim that finds nothing else has made way for the next.
const LOOK_AT: (u32, u32) = (16, 256);
const LOOK_AT_IN_ALL: u32 = 1024;

/// Claims up to `wanted` of one endpoint; how many it were.
fn claim_of(
    conn: &Connection,
    endpoint: i64,
    c: &Claim,
    wanted: u32,
    claimed: &mut Vec<Claimed>,
) -> Result<u32, Fault> {
    let (mut got, mut seen) = (0, 0);
    while got < wanted && seen < LOOK_AT_IN_ALL {
        let limit = (wanted - got).max(seen).clamp(LOOK_AT.0, LOOK_AT.1);
        let found = look(conn, endpoint, c, limit)?;
        let was_all = found.len() < limit as usize;
        seen += limit;
        for (row, waits) in found {
            if waits {
                put_behind(conn, row.id)?;
            } else if got < wanted {
                mark(conn, &row, c.now.plus(c.lease))?;
                claimed.push(row);
                got += 1;
            }
        }
        if was_all {
            break;
        }
    }
    Ok(got)
}

fn look(conn: &Connection, endpoint: i64, c: &Claim, limit: u32) -> Result<Vec<(Claimed, bool)>, Fault> {
    let rows = conn
        .prepare_cached(DUE)?
        .query_map(params![endpoint, ms(c.now), limit], |row| {
            let mut cells = Cells::of(row);
            let (id, epoch, attempts): (_, _, u32) = (cells.next()?, cells.count()?, cells.next()?);
            let redriven = cells.next()?;
            let attempt = attempts.saturating_add(1);
            let claimed = Claimed {
                id,
                epoch: epoch + 1,
                endpoint,
                event: cells.next()?,
                attempt,
                step: attempt.saturating_sub(redriven),
            };
            Ok((claimed, cells.next::<Option<bool>>()?.unwrap_or(false)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Its `due_at` stays in the past, so a row whose lease lapses or is released is due at once.
fn mark(conn: &Connection, row: &Claimed, until: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE deliveries SET lease_epoch = ?2, lease_until = ?3, attempts = ?4 WHERE id = ?1",
    )?
    .execute(params![row.id, int(row.epoch), ms(until), row.attempt])?;
    Ok(())
}

fn put_behind(conn: &Connection, id: i64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE deliveries SET due_at = ?2, lease_until = NULL WHERE id = ?1")?
        .execute(params![id, BEHIND_MS])?;
    Ok(())
}

/// What was claimed, with all that is needed to send it. Read aside, so that the writer goes on with other work:
/// events never change, and an endpoint that was changed since is used as it is now.
pub(super) fn with_events(
    conn: &Connection,
    claimed: &[Claimed],
    until: Timestamp,
) -> Result<Vec<Lease<Delivery>>, Fault> {
    let mut endpoints: HashMap<i64, Endpoint> = HashMap::new();
    let lease = |row: &Claimed| {
        let endpoint = match endpoints.entry(row.endpoint) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => new.insert(endpoint_by_key(conn, row.endpoint)?).clone(),
        };
        let item = Delivery {
            id: row.id,
            endpoint,
            event: event(conn, row.event)?,
            attempt: row.attempt,
            step: row.step,
        };
        let epoch = row.epoch;
        Ok(Lease { item, epoch, until })
    };
    claimed.iter().map(lease).collect()
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
