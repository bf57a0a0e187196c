//! What goes when its time is over. Each step first looks, in a read of its own: the writer is asked only when there
//! is something to remove, and decides anew what may go.

use super::fault::{Fault, corrupt};
use super::rows::{int, ms};
use crate::domain::time::Timestamp;
use crate::ports::retention::{Removed, STEP};
use rusqlite::{Connection, OptionalExtension, params};

/// Tasks removed in one commit: each takes its assets, receipts and timeline along.
const TASKS: usize = 25;

/// A stretch of rows in the order of arrival: those old enough to go, and where the next stretch begins.
pub(super) struct Stretch {
    pub old: Vec<i64>,
    next: Option<u64>,
}

impl Stretch {
    /// `rows` holds each row's key and whether it is old enough. Keys follow time but for a jump of the wall clock
    /// between two starts, so a full stretch with nothing old in it is the end.
    fn of(rows: &[(i64, bool)]) -> Self {
        let old: Vec<i64> = rows.iter().filter(|(_, old)| *old).map(|(key, _)| *key).collect();
        let full = rows.len() == STEP as usize && !old.is_empty();
        let next = rows.last().filter(|_| full).map(|(key, _)| key.unsigned_abs());
        Self { old, next }
    }

    pub fn removed(&self, rows: u64) -> Removed {
        Removed {
            rows,
            next: self.next,
        }
    }
}

/// Documents of open tasks are passed over, so a stretch without an old one is not the end.
pub(super) fn documents(conn: &Connection, settled_before: Timestamp, after: u64) -> Result<Stretch, Fault> {
    let rows: Vec<(i64, bool)> = conn
        .prepare_cached(
            "SELECT d.task_id, coalesce(t.settled_at < ?1, 0) \
             FROM task_documents d INDEXED BY documents_kept JOIN tasks t ON t.id = d.task_id \
             WHERE d.document IS NOT NULL AND d.task_id > ?2 ORDER BY d.task_id LIMIT ?3",
        )?
        .query_map(params![ms(settled_before), int(after), STEP], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let next = rows.last().filter(|_| rows.len() == STEP as usize);
    Ok(Stretch {
        next: next.map(|(key, _)| key.unsigned_abs()),
        ..Stretch::of(&rows)
    })
}

pub(super) fn erase_documents(
    conn: &Connection,
    settled_before: Timestamp,
    tasks: &[i64],
) -> Result<u64, Fault> {
    let mut erase = conn.prepare_cached(
        "UPDATE task_documents SET document = NULL WHERE task_id = ?1 AND document IS NOT NULL \
         AND EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND settled_at < ?2)",
    )?;
    let mut erased = 0;
    for task in tasks {
        erased += erase.execute(params![task, ms(settled_before)])?;
    }
    Ok(erased as u64)
}

/// The log is read from after this sequence.
pub(super) fn removed_to(conn: &Connection) -> Result<u64, Fault> {
    let found: Option<u64> = conn
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'events_removed_to'")?
        .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
        .optional()?;
    found.ok_or_else(|| corrupt("meta", "events_removed_to", "the row is missing"))
}

/// Events below the log's oldest position were kept for a delivery, and go whatever their stamp says.
pub(super) fn events(conn: &Connection, written_before: Timestamp, after: u64) -> Result<Stretch, Fault> {
    let (removed_to, floor) = (int(removed_to(conn)?), floor(conn)?);
    let rows: Vec<(i64, bool)> = conn
        .prepare_cached(
            "SELECT sequence, at < ?1 OR sequence <= ?2 FROM events WHERE sequence > ?3 AND sequence <= ?4 \
             ORDER BY sequence LIMIT ?5",
        )?
        .query_map(
            params![ms(written_before), removed_to, int(after), floor, STEP],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    Ok(Stretch::of(&rows))
}

/// Nothing is removed that has not yet been made into the deliveries of every enabled endpoint, or that a log outside
/// has still to get.
fn floor(conn: &Connection) -> Result<i64, Fault> {
    let cursor: Option<i64> = conn
        .prepare_cached(
            "SELECT min(n) FROM (SELECT min(cursor) AS n FROM endpoints WHERE disabled_at IS NULL AND deleted = 0 \
             UNION ALL SELECT min(position) FROM sinks WHERE in_use = 1)",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(cursor.unwrap_or(i64::MAX))
}

/// Moves the oldest position over the old events and removes those that nobody waits for.
pub(super) fn remove_events(conn: &Connection, old: &[i64]) -> Result<u64, Fault> {
    let floor = floor(conn)?; // an endpoint may have come since the look
    let old: Vec<i64> = old.iter().copied().filter(|s| *s <= floor).collect();
    let Some(last) = old.last() else { return Ok(0) };
    conn.prepare_cached(
        "UPDATE meta SET value = max(CAST(value AS INTEGER), ?1) WHERE key = 'events_removed_to'",
    )?
    .execute([last])?;
    let mut removed = 0;
    for sequence in old {
        if is_awaited(conn, sequence)? {
            continue;
        }
        conn.prepare_cached("DELETE FROM deliveries WHERE event_sequence = ?1")?
            .execute([sequence])?;
        removed += conn
            .prepare_cached("DELETE FROM events WHERE sequence = ?1")?
            .execute([sequence])?;
    }
    Ok(removed as u64)
}

/// Whether an enabled endpoint, or its task's own webhook, still has to get it. A disabled one may never come back: what it has not got goes with
/// the event.
fn is_awaited(conn: &Connection, sequence: i64) -> Result<bool, Fault> {
    let awaited = conn
        .prepare_cached(
            "SELECT 1 FROM deliveries d JOIN endpoints p ON p.id = d.endpoint_id \
             WHERE d.event_sequence = ?1 AND d.send_at IS NOT NULL AND p.disabled_at IS NULL \
             UNION ALL SELECT 1 FROM task_deliveries WHERE event_sequence = ?1 AND send_at IS NOT NULL",
        )?
        .exists([sequence])?;
    Ok(awaited)
}

/// Tasks that may go. A stretch ends early when enough for one commit were found.
pub(super) fn tasks(conn: &Connection, settled_before: Timestamp, after: u64) -> Result<Stretch, Fault> {
    let rows: Vec<(i64, bool)> = conn
        .prepare_cached("SELECT id, created_at < ?1 FROM tasks WHERE id > ?2 ORDER BY id LIMIT ?3")?
        .query_map(params![ms(settled_before), int(after), STEP], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut stretch = Stretch::of(&rows);
    let mut found = vec![];
    for key in stretch.old {
        if may_go(conn, settled_before, key)? {
            found.push(key);
        }
        if found.len() == TASKS {
            stretch.next = Some(key.unsigned_abs());
            break;
        }
    }
    stretch.old = found;
    Ok(stretch)
}

/// Settled long enough, with everyone submitted under the same key; nobody works on it, asks about it or copies for
/// it, and everything it told was delivered or given up.
fn may_go(conn: &Connection, settled_before: Timestamp, key: i64) -> Result<bool, Fault> {
    let may_go = conn
        .prepare_cached(
            "SELECT 1 FROM tasks t WHERE t.id = ?1 AND t.settled_at < ?2 AND t.due_at IS NULL \
               AND t.lease_until IS NULL \
             AND NOT EXISTS (SELECT 1 FROM receipts WHERE task_id = ?1 AND waking IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM assets WHERE task_id = ?1 AND copy_at IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM task_deliveries WHERE task_id = ?1 AND send_at IS NOT NULL) \
             AND NOT EXISTS (SELECT 1 FROM idempotency_tasks i JOIN idempotency_tasks j ON j.key_id = i.key_id \
               JOIN tasks s ON s.id = j.task_id \
               WHERE i.task_id = ?1 AND (s.settled_at IS NULL OR s.settled_at >= ?2)) \
             AND NOT EXISTS (SELECT 1 FROM events e JOIN deliveries d ON d.event_sequence = e.sequence \
               JOIN endpoints p ON p.id = d.endpoint_id \
               WHERE e.task_id = ?1 AND d.send_at IS NOT NULL AND p.disabled_at IS NULL)",
        )?
        .exists(params![key, ms(settled_before)])?;
    Ok(may_go)
}

pub(super) fn remove_tasks(
    conn: &Connection,
    settled_before: Timestamp,
    now: Timestamp,
    tasks: &[i64],
) -> Result<u64, Fault> {
    let mut removed = 0;
    for key in tasks {
        if may_go(conn, settled_before, *key)? {
            remove_task(conn, now, *key)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The events stay: they have a time of their own.
fn remove_task(conn: &Connection, now: Timestamp, key: i64) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO tombstones (uuid, removed_at) SELECT uuid, ?2 FROM tasks WHERE id = ?1 ON CONFLICT DO NOTHING",
    )?
    .execute(params![key, ms(now)])?;
    conn.prepare_cached(
        "UPDATE events SET removed_task = (SELECT uuid FROM tasks WHERE id = ?1), task_id = NULL WHERE task_id = ?1",
    )?
    .execute([key])?;
    conn.prepare_cached(
        "DELETE FROM idempotency_keys WHERE id IN (SELECT key_id FROM idempotency_tasks WHERE task_id = ?1)",
    )?
    .execute([key])?;
    conn.prepare_cached("DELETE FROM tasks WHERE id = ?1")?
        .execute([key])?;
    Ok(())
}
