//! Claims on tasks and assets, and the life of every lease. The one writer makes "choose, then mark" race-free.
//!
//! A claim leaves `due_at` in the past, so a row whose lease lapses or is released is due at once.

use super::chores;
use super::deliveries::OPEN_ENDPOINTS;
use super::fault::{Fault, corrupt};
use super::inbox::{let_sleep, open_receipts};
use super::learning;
use super::rows::{Cells, int, load_file, ms};
use crate::domain::file::TaskFile;
use crate::domain::ids::{AssetId, ResultId};
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::store::{Claim, CopyJob, Held, Inquiry, Queue, StoreError};
use rusqlite::{Connection, Params, params};
use std::collections::HashSet;

/// Oldest first: rows that are not ready (held, or waiting to be tried again) are passed over within the index.
pub(super) const SUBMISSIONS: &str = "SELECT id FROM tasks INDEXED BY tasks_to_submit WHERE submit_at <= ?1 \
     ORDER BY created_at, submit_at, id LIMIT ?2";
/// In the order of their callbacks. What came before the submission was acknowledged waits until it is.
pub(super) const WOKEN: &str = "SELECT r.task_id FROM receipts r INDEXED BY receipts_waking \
     CROSS JOIN tasks t ON t.id = r.task_id \
     WHERE r.waking IS NOT NULL AND t.status NOT IN ('accepted', 'submitting', 'completed') \
     AND (t.lease_until IS NULL OR t.lease_until <= ?1) ORDER BY r.id LIMIT ?2";
pub(super) const QUERIES: &str = "SELECT id FROM tasks WHERE query_at <= ?1 ORDER BY query_at, id LIMIT ?2";
pub(super) const COPIES: &str = "SELECT id FROM assets INDEXED BY assets_to_copy WHERE copy_at <= ?1 \
     ORDER BY archive_by, copy_at, id LIMIT ?2";

pub(super) fn claim_submissions(conn: &Connection, c: &Claim) -> Result<Vec<Lease<TaskFile>>, Fault> {
    let keys = keys(conn, SUBMISSIONS, params![ms(c.now), c.limit])?;
    lease_tasks(conn, keys, c)
}

/// Claims on tasks that are not submitted yet.
pub(super) fn lease_tasks(
    conn: &Connection,
    keys: Vec<i64>,
    c: &Claim,
) -> Result<Vec<Lease<TaskFile>>, Fault> {
    keys.into_iter()
        .map(|key| {
            // A callback that came before the submission was acknowledged stays for the query to come.
            let epoch = lease_task(conn, key, c)?;
            Ok(lease(file(conn, key)?, epoch, c))
        })
        .collect()
}

pub(super) fn claim_queries(conn: &Connection, c: &Claim) -> Result<Vec<Lease<Inquiry>>, Fault> {
    let mut chosen = keys(conn, WOKEN, params![ms(c.now), c.limit])?;
    let mut seen = HashSet::new();
    chosen.retain(|key| seen.insert(*key)); // several callbacks may wake one task
    if chosen.len() < c.limit as usize {
        let mut silent = keys(conn, QUERIES, params![ms(c.now), c.limit])?;
        silent.retain(|key| seen.insert(*key)); // woken and due
        silent.truncate(c.limit as usize - chosen.len());
        learning::dying_first(conn, &mut silent, c.now)?;
        chosen.extend(silent);
    }
    chosen
        .into_iter()
        .map(|key| {
            let epoch = lease_task(conn, key, c)?;
            let_sleep(conn, key)?;
            let inquiry = Inquiry {
                file: file(conn, key)?,
                receipts: open_receipts(conn, key)?,
            };
            Ok(lease(inquiry, epoch, c))
        })
        .collect()
}

pub(super) fn claim_copies(conn: &Connection, c: &Claim) -> Result<Vec<Lease<CopyJob>>, Fault> {
    let chosen = keys(conn, COPIES, params![ms(c.now), c.limit])?;
    let claimed = chosen
        .into_iter()
        .map(|key| lease_asset(conn, key, c))
        .collect::<Result<Vec<_>, _>>()?;
    // Files are read after the last claim: siblings claimed together have raised the same task's version.
    claimed
        .into_iter()
        .map(|(task, result, epoch)| {
            let file = file(conn, task)?;
            let asset = AssetId {
                task: file.task.id,
                result,
            };
            Ok(lease(CopyJob { file, asset }, epoch, c))
        })
        .collect()
}

/// Marks the task; its new epoch.
fn lease_task(conn: &Connection, key: i64, c: &Claim) -> Result<u64, Fault> {
    const SQL: &str = "UPDATE tasks SET lease_epoch = lease_epoch + 1, lease_until = ?2, attempts = attempts + 1, \
         version = version + 1, due_at = min(coalesce(due_at, ?3), ?3) WHERE id = ?1 RETURNING lease_epoch";
    let until = c.now.plus(c.lease);
    let epoch = conn
        .prepare_cached(SQL)?
        .query_row(params![key, ms(until), ms(c.now)], |row| Cells::of(row).count())?;
    Ok(epoch)
}

/// Marks the asset and its task; the task's row key, the result, the asset's new epoch.
fn lease_asset(conn: &Connection, key: i64, c: &Claim) -> Result<(i64, ResultId, u64), Fault> {
    let until = c.now.plus(c.lease);
    let claimed: (i64, ResultId, u64) = conn
        .prepare_cached(
            "UPDATE assets SET status = 'archiving', lease_epoch = lease_epoch + 1, lease_until = ?2, \
             attempts = attempts + 1, due_at = min(due_at, ?3) WHERE id = ?1 \
             RETURNING task_id, result_id, lease_epoch",
        )?
        .query_row(params![key, ms(until), ms(c.now)], |row| {
            let mut c = Cells::of(row);
            Ok((c.next()?, ResultId::stored(c.next()?), c.count()?))
        })?;
    raise_version(conn, claimed.0)?;
    Ok(claimed)
}

fn raise_version(conn: &Connection, task: i64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE tasks SET version = version + 1 WHERE id = ?1")?
        .execute([task])?;
    Ok(())
}

fn lease<T>(item: T, epoch: u64, c: &Claim) -> Lease<T> {
    Lease {
        item,
        epoch,
        until: c.now.plus(c.lease),
    }
}

fn keys(conn: &Connection, sql: &str, params: impl Params) -> Result<Vec<i64>, Fault> {
    let keys = conn
        .prepare_cached(sql)?
        .query_map(params, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

fn file(conn: &Connection, key: i64) -> Result<TaskFile, Fault> {
    load_file(conn, key)?.ok_or_else(|| corrupt("tasks", key, "the row vanished within one transaction"))
}

const TASK_HELD: &str = "uuid = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL";
const ASSET_HELD: &str = "task_id = (SELECT id FROM tasks WHERE uuid = ?1) AND result_id = ?2 AND lease_epoch = ?3 \
     AND lease_until IS NOT NULL";
const DELIVERY_HELD: &str = "id = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL";

pub(super) fn renew(conn: &Connection, held: &Held, until: Timestamp) -> Result<(), Fault> {
    let changed = match held {
        Held::Task { id, epoch } => conn
            .prepare_cached(&format!("UPDATE tasks SET lease_until = ?3 WHERE {TASK_HELD}"))?
            .execute(params![id.as_bytes(), int(*epoch), ms(until)])?,
        Held::Asset { id, epoch } => conn
            .prepare_cached(&format!("UPDATE assets SET lease_until = ?4 WHERE {ASSET_HELD}"))?
            .execute(params![
                id.task.as_bytes(),
                id.result.as_str(),
                int(*epoch),
                ms(until)
            ])?,
        Held::Delivery { id, epoch } => conn
            .prepare_cached(&format!(
                "UPDATE deliveries SET lease_until = ?3 WHERE {DELIVERY_HELD}"
            ))?
            .execute(params![id, int(*epoch), ms(until)])?,
        Held::TaskDelivery { id, epoch } => conn
            .prepare_cached(&format!(
                "UPDATE task_deliveries SET lease_until = ?3 WHERE {DELIVERY_HELD}"
            ))?
            .execute(params![id, int(*epoch), ms(until)])?,
    };
    still_held(changed)
}

/// A lease given up unused gives its attempt back: an orderly stop must not use up a delivery's schedule.
pub(super) fn release(conn: &Connection, held: &Held) -> Result<(), Fault> {
    let changed = match held {
        Held::Task { id, epoch } => conn
            .prepare_cached(&format!(
                "UPDATE tasks SET lease_until = NULL, attempts = max(attempts - 1, 0), version = version + 1 \
                 WHERE {TASK_HELD}"
            ))?
            .execute(params![id.as_bytes(), int(*epoch)])?,
        Held::Asset { id, epoch } => release_asset(conn, id, *epoch)?,
        Held::Delivery { id, epoch } => conn
            .prepare_cached(&format!(
                "UPDATE deliveries SET lease_until = NULL, attempts = max(attempts - 1, 0) WHERE {DELIVERY_HELD}"
            ))?
            .execute(params![id, int(*epoch)])?,
        Held::TaskDelivery { id, epoch } => conn
            .prepare_cached(&format!(
                "UPDATE task_deliveries SET lease_until = NULL, attempts = max(attempts - 1, 0), \
                 status = iif(attempts > 1, 'waiting', 'pending') WHERE {DELIVERY_HELD}"
            ))?
            .execute(params![id, int(*epoch)])?,
    };
    still_held(changed)
}

fn release_asset(conn: &Connection, id: &AssetId, epoch: u64) -> Result<usize, Fault> {
    let changed = conn
        .prepare_cached(&format!(
            "UPDATE assets SET lease_until = NULL, attempts = max(attempts - 1, 0), \
             status = iif(status = 'archiving', 'pending', status) WHERE {ASSET_HELD}"
        ))?
        .execute(params![id.task.as_bytes(), id.result.as_str(), int(epoch)])?;
    if changed > 0 {
        conn.prepare_cached("UPDATE tasks SET version = version + 1 WHERE uuid = ?1")?
            .execute(params![id.task.as_bytes()])?;
    }
    Ok(changed)
}

fn still_held(changed: usize) -> Result<(), Fault> {
    if changed == 0 {
        Err(StoreError::LeaseLost.into())
    } else {
        Ok(())
    }
}

pub(super) fn next_due(conn: &Connection, queue: Queue) -> Result<Option<Timestamp>, Fault> {
    if queue == Queue::Deliveries && chores::next(conn)?.is_some() {
        return Ok(Some(Timestamp::from_millis(0))); // a claim does some of it
    }
    let at: Option<i64> = conn
        .prepare_cached(&next_due_sql(queue))?
        .query_row([], |row| row.get(0))?;
    Ok(at.map(Timestamp::from_millis))
}

pub(super) fn next_due_sql(queue: Queue) -> String {
    match queue {
        Queue::Submissions => "SELECT min(submit_at) FROM tasks WHERE submit_at IS NOT NULL".to_owned(),
        // A woken task that somebody holds comes up again when that lease lapses, not before.
        Queue::Queries => {
            "SELECT min(at) FROM (SELECT min(query_at) AS at FROM tasks WHERE query_at IS NOT NULL \
             UNION ALL SELECT * FROM (SELECT r.at FROM receipts r INDEXED BY receipts_waking \
               CROSS JOIN tasks t ON t.id = r.task_id WHERE r.waking IS NOT NULL \
               AND t.status NOT IN ('accepted', 'submitting', 'completed') AND t.lease_until IS NULL \
               ORDER BY r.id LIMIT 1) \
             UNION ALL SELECT min(lease_until) FROM tasks WHERE lease_until IS NOT NULL \
               AND EXISTS (SELECT 1 FROM receipts WHERE task_id = tasks.id AND waking IS NOT NULL))"
                .to_owned()
        }
        Queue::Copies => "SELECT min(copy_at) FROM assets WHERE copy_at IS NOT NULL".to_owned(),
        // An endpoint that rests is looked at when its rest is over, however much is due there.
        Queue::Deliveries => format!(
            "{OPEN_ENDPOINTS} SELECT min(max(coalesce(e.rests_until, 0), (SELECT min(d.send_at) FROM deliveries d \
               WHERE d.endpoint_id = e.id AND d.send_at IS NOT NULL))) \
             FROM open CROSS JOIN endpoints e ON e.id = open.id WHERE e.disabled_at IS NULL AND e.deleted = 0"
        ),
        Queue::TaskDeliveries => {
            "SELECT min(send_at) FROM task_deliveries WHERE send_at IS NOT NULL".to_owned()
        }
    }
}

/// The old holders' writes find no lease any more; what they held is due at once.
pub(super) fn void_leases(conn: &Connection) -> Result<u64, Fault> {
    let mut voided = 0;
    for table in ["tasks", "assets", "deliveries", "task_deliveries"] {
        let sql = format!("UPDATE {table} SET lease_until = NULL WHERE lease_until IS NOT NULL");
        voided += conn.execute(&sql, [])?;
    }
    Ok(voided as u64)
}
