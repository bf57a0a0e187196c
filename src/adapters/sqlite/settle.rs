//! What tries of deliveries came to: many at once, under their leases, with what they say of their endpoints' health.

use super::attempts::{self, Of};
use super::chores;
use super::deliveries::BEHIND_MS;
use super::endpoints::{disable, read_health, write_health};
use super::events::append_operator_events;
use super::fault::Fault;
use super::rows::{Cells, int, length_ms, ms, opt_ms};
use super::together::{Answered, Kind};
use crate::domain::delivery::{After, Outcome};
use crate::domain::endpoint::{DisabledReason, Health};
use crate::domain::time::Timestamp;
use crate::ports::store::{SettledDelivery, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// Tries that ended, on their way to the writer: with one look at each endpoint for all of them.
pub(super) struct Settlements;

impl Kind for Settlements {
    type Item = SettledDelivery;
    /// `Some`: it disabled its endpoint. `LeaseLost`: it changed nothing.
    type Answer = Option<DisabledReason>;
    const DURING: &'static str = "settle_delivery";

    fn write(conn: &Connection, tries: &[SettledDelivery]) -> Result<Vec<Answered<Self>>, Fault> {
        settle_all(conn, tries)
    }
}

fn settle_all(conn: &Connection, batch: &[SettledDelivery]) -> Result<Vec<Answered<Settlements>>, Fault> {
    let mut books = Books::default();
    let mut answers = Vec::with_capacity(batch.len());
    for one in batch {
        let settled = settle(conn, &mut books, one);
        answers.push(match settled {
            Ok(disabled) => Ok(disabled),
            Err(Fault::Store(StoreError::LeaseLost)) => Err(StoreError::LeaseLost),
            Err(fault) => return Err(fault),
        });
    }
    books.close(conn)?;
    Ok(answers)
}

/// What is written once for all of them.
#[derive(Default)]
struct Books {
    /// As it is in the row, and as it shall be.
    health: HashMap<i64, (Health, Health)>,
    /// Taken, by the status each had before: no trigger counts them.
    taken: HashMap<String, u32>,
}

impl Books {
    /// `None`: the endpoint is deleted.
    fn health(&mut self, conn: &Connection, endpoint: i64) -> Result<Option<Health>, Fault> {
        if let Some((_, known)) = self.health.get(&endpoint) {
            return Ok(Some(*known));
        }
        let found = conn
            .prepare_cached(
                "SELECT failures, failing_since, failed_at, down_since, rests_until FROM endpoints \
                 WHERE id = ?1 AND deleted = 0",
            )?
            .query_row([endpoint], |row| read_health(&mut Cells::of(row)))
            .optional()?;
        if let Some(health) = found {
            self.health.insert(endpoint, (health, health));
        }
        Ok(found)
    }

    fn close(self, conn: &Connection) -> Result<(), Fault> {
        for (endpoint, (was, is)) in self.health {
            if is != was {
                write_health(conn, endpoint, &is)?;
            }
        }
        let add = "UPDATE counts SET n = n + ?2 WHERE subject = 'deliveries' AND status = ?1";
        for (status, n) in self.taken {
            conn.prepare_cached(add)?
                .execute(params![status, -i64::from(n)])?;
            conn.prepare_cached(add)?.execute(params!["delivered", n])?;
        }
        Ok(())
    }
}

fn settle(
    conn: &Connection,
    books: &mut Books,
    settled: &SettledDelivery,
) -> Result<Option<DisabledReason>, Fault> {
    let row = held(conn, settled)?.ok_or(StoreError::LeaseLost)?;
    let was = books.health(conn, row.endpoint)?.ok_or(StoreError::LeaseLost)?;
    let (attempt, outcome) = (&settled.attempt, &settled.attempt.outcome);
    let now = attempt.at.plus(attempt.duration);
    let health = was.after(outcome, now, settled.jitter);
    books
        .health
        .entry(row.endpoint)
        .and_modify(|(_, is)| *is = health);
    let holds = match &settled.after {
        After::Delivered => {
            take(conn, settled)?;
            *books.taken.entry(row.status.clone()).or_default() += 1;
            false
        }
        After::RetryAt(at) => {
            let holds = !row.let_go && !was.is_own_trouble(outcome, row.step);
            put_off(conn, settled, *at, holds, now)?;
            holds
        }
        After::Dead | After::Gone => {
            bury(conn, settled)?;
            false
        }
    };
    if !holds {
        row.let_next_go(conn, now)?;
    }
    if was.failing_since.is_some() && health.failing_since.is_none() {
        chores::hasten(conn, row.endpoint, now)?;
    }
    if was.down_since.is_none() && health.down_since.is_some() {
        chores::call_for(conn, row.endpoint, chores::Kind::KeepOrder, now)?;
    }
    append_operator_events(conn, &settled.events)?;
    let reason = match settled.after {
        After::Gone => DisabledReason::Gone,
        _ if health != was && health.is_given_up() => DisabledReason::Failing,
        _ => return Ok(None),
    };
    if !disable(conn, row.endpoint, now, reason)? {
        return Ok(None);
    }
    append_operator_events(conn, settled.if_disabled.as_slice())?;
    Ok(Some(reason))
}

struct Row {
    endpoint: i64,
    task: Option<i64>,
    event: i64,
    status: String,
    step: u32,
    /// Nothing waits for it.
    let_go: bool,
}

/// A delivery whose lease still stands.
fn held(conn: &Connection, settled: &SettledDelivery) -> Result<Option<Row>, Fault> {
    let row = conn
        .prepare_cached(
            "SELECT endpoint_id, task_id, event_sequence, status, attempts - redriven, holds = 0 FROM deliveries \
             WHERE id = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL",
        )?
        .query_row(params![settled.id, int(settled.epoch)], |row| {
            let mut c = Cells::of(row);
            Ok(Row {
                endpoint: c.next()?,
                task: c.next()?,
                event: c.next()?,
                status: c.next()?,
                step: c.next()?,
                let_go: c.next()?,
            })
        })
        .optional()?;
    Ok(row)
}

impl Row {
    fn let_next_go(&self, conn: &Connection, now: Timestamp) -> Result<(), Fault> {
        let_next_go(conn, self.endpoint, self.task, self.event, now)
    }
}

/// The first of the later events of a task that keep its order.
pub(super) const NEXT: &str = "SELECT id, due_at FROM deliveries INDEXED BY deliveries_in_order \
     WHERE endpoint_id = ?1 AND task_id = ?2 AND event_sequence > ?3 AND holds = 1 ORDER BY event_sequence LIMIT 1";

/// Lets the next event of the task go, once the one before it holds it no more.
pub(super) fn let_next_go(
    conn: &Connection,
    endpoint: i64,
    task: Option<i64>,
    event: i64,
    now: Timestamp,
) -> Result<(), Fault> {
    let next: Option<(i64, Option<i64>)> = conn
        .prepare_cached(NEXT)?
        .query_row(params![endpoint, task, event], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    if let Some((id, Some(BEHIND_MS))) = next {
        conn.prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE id = ?1")?
            .execute(params![id, ms(now)])?;
    }
    Ok(())
}

/// Its last try stays in the row: of most deliveries it is the only one.
fn take(conn: &Connection, settled: &SettledDelivery) -> Result<(), Fault> {
    let attempt = &settled.attempt;
    let status = match attempt.outcome {
        Outcome::Delivered { status } => Some(status),
        _ => None,
    };
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'delivered', due_at = NULL, lease_until = NULL, holds = 0, \
         not_before = NULL, reason = NULL, taken_at = ?2, taken_ms = ?3, taken_status = ?4 WHERE id = ?1",
    )?
    .execute(params![
        settled.id,
        ms(attempt.at),
        length_ms(attempt.duration),
        status
    ])?;
    Ok(())
}

fn put_off(
    conn: &Connection,
    settled: &SettledDelivery,
    until: Timestamp,
    holds: bool,
    now: Timestamp,
) -> Result<(), Fault> {
    let not_before = settled.attempt.outcome.not_before(now);
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'waiting', due_at = ?2, lease_until = NULL, holds = ?3, not_before = ?4 \
         WHERE id = ?1",
    )?
    .execute(params![settled.id, ms(until), holds, opt_ms(not_before)])?;
    keep_try(conn, settled)
}

fn bury(conn: &Connection, settled: &SettledDelivery) -> Result<(), Fault> {
    let reason = settled.after.dead_reason().map(|reason| reason.as_str());
    conn.prepare_cached(
        "UPDATE deliveries SET status = 'dead', due_at = NULL, lease_until = NULL, holds = 0, not_before = NULL, \
         reason = ?2 WHERE id = ?1",
    )?
    .execute(params![settled.id, reason])?;
    keep_try(conn, settled)
}

fn keep_try(conn: &Connection, settled: &SettledDelivery) -> Result<(), Fault> {
    let attempt = &settled.attempt;
    attempts::insert(conn, Of::Endpoint, settled.id, attempt.number, attempt)
}
