//! What is to be done with an endpoint's whole queue, however long: a few rows in each commit, so that other writes
//! pass between; noted beforehand, so that a killed service goes on where it was.

use super::deliveries::BEHIND_MS;
use super::fault::Fault;
use super::rows::ms;
use crate::domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

/// Rows in one commit: a few milliseconds, which a callback that is to be stored meanwhile can wait.
pub(super) const STEP: u32 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is well again: what it did not take while it was not is due now, or when its Retry-After is over.
    Hasten,
    /// It is held to be down: nothing that waits is overtaken by a later event of its task any more.
    KeepOrder,
    /// It is somewhere else now, or enabled again: all that waits is due, and what stands behind an earlier event of
    /// its task is looked at anew, since retention may have removed that one.
    Renew,
    /// It was deleted: its open deliveries go. The settled ones stay.
    Remove,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hasten => "hasten",
            Self::KeepOrder => "keep_order",
            Self::Renew => "renew",
            Self::Remove => "remove",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "hasten" => Self::Hasten,
            "keep_order" => Self::KeepOrder,
            "remove" => Self::Remove,
            _ => Self::Renew, // the table holds no other
        }
    }
}

/// Notes that it is to be done. One chore an endpoint: a later one begins anew, and includes the one before.
pub(super) fn call_for(conn: &Connection, endpoint: i64, kind: Kind, now: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO endpoint_chores (endpoint_id, kind, at, past, past_id) VALUES (?1, ?2, ?3, ?3, 0) \
         ON CONFLICT (endpoint_id) DO UPDATE SET at = excluded.at, past = excluded.past, past_id = 0, \
           kind = CASE WHEN kind = 'renew' AND excluded.kind <> 'remove' THEN kind ELSE excluded.kind END",
    )?
    .execute(params![endpoint, kind.as_str(), ms(now)])?;
    Ok(())
}

/// As `Hasten`, unless nothing waits for it.
pub(super) fn hasten(conn: &Connection, endpoint: i64, now: Timestamp) -> Result<(), Fault> {
    let any = conn
        .prepare_cached(PUT_OFF)?
        .exists(params![endpoint, ms(now), 0, BEHIND_MS, 1])?;
    match any {
        true => call_for(conn, endpoint, Kind::Hasten, now),
        false => Ok(()),
    }
}

/// The endpoint with something to do.
pub(super) fn next(conn: &Connection) -> Result<Option<i64>, Fault> {
    let next = conn
        .prepare_cached("SELECT endpoint_id FROM endpoint_chores LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(next)
}

struct Chore {
    endpoint: i64,
    kind: Kind,
    at: i64,
    past: i64,
    past_id: i64,
}

/// Does some of what is to be done with this endpoint's queue: at most [`STEP`] rows. Answers whether more is left.
pub(super) fn step(conn: &Connection, endpoint: i64) -> Result<bool, Fault> {
    let Some(chore) = chore(conn, endpoint)? else {
        return Ok(false);
    };
    let more = match chore.kind {
        Kind::Remove => remove(conn, endpoint)?,
        Kind::Hasten => on(conn, &chore, PUT_OFF, DUE_NOW)?,
        Kind::KeepOrder => on(conn, &chore, WAITING, HOLDS)?,
        Kind::Renew if chore.past < BEHIND_MS => {
            if !on(conn, &chore, WAITING, DUE_NOW)? {
                move_on(conn, endpoint, BEHIND_MS, 0)?;
            }
            true
        }
        Kind::Renew => look_again(conn, &chore)?,
    };
    if !more {
        conn.prepare_cached("DELETE FROM endpoint_chores WHERE endpoint_id = ?1")?
            .execute([endpoint])?;
    }
    Ok(more)
}

fn chore(conn: &Connection, endpoint: i64) -> Result<Option<Chore>, Fault> {
    let chore = conn
        .prepare_cached("SELECT kind, at, past, past_id FROM endpoint_chores WHERE endpoint_id = ?1")?
        .query_row([endpoint], |row| {
            Ok(Chore {
                endpoint,
                kind: Kind::parse(&row.get::<_, String>(0)?),
                at: row.get(1)?,
                past: row.get(2)?,
                past_id: row.get(3)?,
            })
        })
        .optional()?;
    Ok(chore)
}

/// From ?2 on, and there after ?3.
pub(super) const PUT_OFF: &str = "SELECT id, due_at FROM deliveries INDEXED BY deliveries_put_off \
     WHERE endpoint_id = ?1 AND holds = 1 AND status = 'waiting' AND due_at >= ?2 AND (due_at > ?2 OR id > ?3) \
     AND due_at < ?4 ORDER BY due_at, id LIMIT ?5";
pub(super) const WAITING: &str = "SELECT id, send_at FROM deliveries INDEXED BY deliveries_send_at \
     WHERE endpoint_id = ?1 AND send_at >= ?2 AND (send_at > ?2 OR id > ?3) AND send_at < ?4 \
     ORDER BY send_at, id LIMIT ?5";
pub(super) const BEHIND: &str = "SELECT id, send_at FROM deliveries INDEXED BY deliveries_send_at \
     WHERE endpoint_id = ?1 AND send_at = ?4 AND id > ?3 AND ?2 <= ?4 ORDER BY id LIMIT ?5";

/// Of one under a lease, its try decides.
const DUE_NOW: &str = "UPDATE deliveries SET due_at = max(?2, coalesce(not_before, 0)) \
     WHERE id = ?1 AND status = 'waiting' AND lease_until IS NULL";
const HOLDS: &str =
    "UPDATE deliveries SET holds = 1 WHERE id = ?1 AND status = 'waiting' AND holds = 0 AND ?2 > 0";

/// The next rows. The place in the queue only moves forward, so a row that stays where it is (under a lease, or for its
/// Retry-After) is met once.
fn on(conn: &Connection, chore: &Chore, rows: &str, what: &str) -> Result<bool, Fault> {
    let found = found(conn, chore, rows)?;
    for (id, _) in &found {
        conn.prepare_cached(what)?.execute(params![id, chore.at])?;
    }
    went_on(conn, chore, &found)
}

fn look_again(conn: &Connection, chore: &Chore) -> Result<bool, Fault> {
    let found = found(conn, chore, BEHIND)?;
    for (id, _) in &found {
        conn.prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE id = ?1")?
            .execute(params![id, chore.at])?;
    }
    went_on(conn, chore, &found)
}

fn found(conn: &Connection, chore: &Chore, rows: &str) -> Result<Vec<(i64, i64)>, Fault> {
    let from = params![chore.endpoint, chore.past, chore.past_id, BEHIND_MS, STEP];
    let found = conn
        .prepare_cached(rows)?
        .query_map(from, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn went_on(conn: &Connection, chore: &Chore, found: &[(i64, i64)]) -> Result<bool, Fault> {
    match found.last() {
        Some((id, at)) if found.len() == STEP as usize => {
            move_on(conn, chore.endpoint, *at, *id)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn move_on(conn: &Connection, endpoint: i64, past: i64, past_id: i64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE endpoint_chores SET past = ?2, past_id = ?3 WHERE endpoint_id = ?1")?
        .execute(params![endpoint, past, past_id])?;
    Ok(())
}

fn remove(conn: &Connection, endpoint: i64) -> Result<bool, Fault> {
    let gone = conn
        .prepare_cached(
            "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries INDEXED BY deliveries_send_at \
             WHERE endpoint_id = ?1 AND send_at IS NOT NULL LIMIT ?2)",
        )?
        .execute(params![endpoint, STEP])?;
    Ok(gone == STEP as usize)
}
