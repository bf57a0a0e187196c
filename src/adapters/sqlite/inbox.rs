//! The hot path: a callback's body becomes a row, which itself wakes its task. Two statements, no JSON; the only page
//! that is not written one after the other is one of the index of digests.

use super::fault::Fault;
use super::rows::{Ms, Sha, int, ms};
use super::tasks::has_tombstone;
use super::together::{Answered, Kind};
use crate::domain::task::TaskStatus;
use crate::ports::store::{MAX_RECEIPTS, NewReceipt, Receipt, Recorded};
use rusqlite::{Connection, OptionalExtension, params};

/// Callbacks on their way to the writer.
pub(super) struct Receipts;

impl Kind for Receipts {
    type Item = NewReceipt;
    type Answer = Recorded;
    const DURING: &'static str = "record";

    fn write(conn: &Connection, receipts: &[NewReceipt]) -> Result<Vec<Answered<Self>>, Fault> {
        receipts.iter().map(|one| record(conn, one).map(Ok)).collect()
    }
}

fn record(conn: &Connection, receipt: &NewReceipt) -> Result<Recorded, Fault> {
    let found: Option<(i64, bool, u32)> = conn
        .prepare_cached(
            "SELECT id, status = ?2, (SELECT count(*) FROM receipts r WHERE r.task_id = t.id) \
             FROM tasks t WHERE uuid = ?1",
        )?
        .query_row(
            params![receipt.task.as_bytes(), TaskStatus::Completed.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((task, completed, count)) = found else {
        return Ok(match has_tombstone(conn, receipt.task)? {
            true => Recorded::Tombstone,
            false => Recorded::UnknownTask,
        });
    };
    if count >= MAX_RECEIPTS {
        return full(conn, task, completed, receipt);
    }
    match insert(conn, task, completed, receipt)? {
        true => Ok(Recorded::New),
        false => Ok(Recorded::Duplicate), // not one byte is written: a replay does not grow the file (T6)
    }
}

/// `false`: this body is stored already. Nobody will look into a completed task's receipts, so their bodies go.
fn insert(conn: &Connection, task: i64, completed: bool, receipt: &NewReceipt) -> Result<bool, Fault> {
    let body = (!completed).then_some(receipt.body.as_slice());
    let inserted = conn
        .prepare_cached(
            "INSERT INTO receipts (task_id, sha256, at, size, body, waking) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (task_id, sha256) DO NOTHING",
        )?
        .execute(params![
            task,
            Sha(receipt.sha256),
            ms(receipt.at),
            int(receipt.body.len() as u64),
            body,
            (!completed).then_some(1)
        ])?;
    Ok(inserted == 1)
}

/// Nothing is stored, but the task is woken all the same: its last receipt wakes it again.
fn full(conn: &Connection, task: i64, completed: bool, receipt: &NewReceipt) -> Result<Recorded, Fault> {
    let known = conn
        .prepare_cached("SELECT 1 FROM receipts WHERE task_id = ?1 AND sha256 = ?2")?
        .exists(params![task, Sha(receipt.sha256)])?;
    if known {
        return Ok(Recorded::Duplicate);
    }
    if !completed {
        conn.prepare_cached(
            "UPDATE receipts SET waking = 1 WHERE id = (SELECT max(id) FROM receipts WHERE task_id = ?1) \
             AND waking IS NULL",
        )?
        .execute([task])?;
    }
    Ok(Recorded::Full)
}

/// A query is claimed, or will not be wanted: the receipts so far wake the task no more.
pub(super) fn let_sleep(conn: &Connection, task: i64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE receipts SET waking = NULL WHERE task_id = ?1 AND waking IS NOT NULL")?
        .execute([task])?;
    Ok(())
}

pub(super) const OPEN: &str =
    "SELECT id, body, at FROM receipts WHERE task_id = ?1 AND body IS NOT NULL ORDER BY id LIMIT ?2";

/// The receipts of a task that still want a look, oldest first.
pub(super) fn open_receipts(conn: &Connection, task: i64) -> Result<Vec<Receipt>, Fault> {
    let receipts = conn
        .prepare_cached(OPEN)?
        .query_map(params![task, MAX_RECEIPTS], |row| {
            Ok(Receipt {
                id: row.get(0)?,
                body: row.get(1)?,
                at: row.get::<_, Ms>(2)?.0,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(receipts)
}
