//! Submissions, adoptions, and the one commit every decision goes through. Each function runs inside the caller's
//! transaction.

use super::events::append_events;
use super::fault::{Fault, corrupt};
use super::inbox::let_sleep;
use super::rows::{Sha, insert_task, int, put_asset, task_key, update_task};
use super::task_webhooks::{insert_webhook, tell_webhook};
use super::timeline::append_timeline;
use crate::domain::ids::{AssetId, Digest, TaskId, Tenant};
use crate::domain::lease::Fence;
use crate::domain::task::TaskState;
use crate::domain::transition::Transition;
use crate::ports::store::{Accepted, IdempotencyKey, NewSubmission, NewTask, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

pub(super) fn accept(conn: &Connection, submission: &NewSubmission) -> Result<Accepted, Fault> {
    if let Some(key) = &submission.idempotency
        && let Some(answer) = known_key(conn, &submission.tenant, key)?
    {
        return Ok(answer);
    }
    // All are checked before the first is written, so a conflict leaves nothing behind.
    if let Some((index, task)) = first_conflict(conn, submission)? {
        return Ok(Accepted::TaskConflict { index, task });
    }
    let mut keys = vec![];
    let mut entries = vec![];
    let mut any_new = false;
    for new in &submission.tasks {
        let (key, entry) = match known_task(conn, new.transition.task.id)? {
            Some(known) => (known.key, known.entry),
            None => {
                any_new = true;
                (insert_new(conn, new)?, new.entry.clone())
            }
        };
        keys.push(key);
        entries.push(entry);
    }
    if let Some(key) = &submission.idempotency {
        remember_key(conn, &submission.tenant, key, &keys)?;
    }
    Ok(if any_new {
        Accepted::Stored(entries)
    } else {
        Accepted::Replayed(entries)
    })
}

fn known_key(conn: &Connection, tenant: &Tenant, key: &IdempotencyKey) -> Result<Option<Accepted>, Fault> {
    let found: Option<(i64, Sha)> = conn
        .prepare_cached("SELECT id, fingerprint FROM idempotency_keys WHERE tenant = ?1 AND key = ?2")?
        .query_row(params![tenant.0, key.key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, fingerprint)) = found else {
        return Ok(None);
    };
    if fingerprint.0 != key.fingerprint {
        return Ok(Some(Accepted::KeyReused));
    }
    let entries = conn
        .prepare_cached(
            "SELECT d.entry FROM idempotency_tasks i JOIN task_documents d ON d.task_id = i.task_id \
             WHERE i.key_id = ?1 ORDER BY i.position",
        )?
        .query_map([id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(Accepted::Replayed(entries)))
}

fn remember_key(
    conn: &Connection,
    tenant: &Tenant,
    key: &IdempotencyKey,
    tasks: &[i64],
) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO idempotency_keys (tenant, key, fingerprint) VALUES (?1, ?2, ?3)")?
        .execute(params![tenant.0, key.key, Sha(key.fingerprint)])?;
    let id = conn.last_insert_rowid();
    let mut link =
        conn.prepare_cached("INSERT INTO idempotency_tasks (key_id, position, task_id) VALUES (?1, ?2, ?3)")?;
    for (position, task) in tasks.iter().enumerate() {
        link.execute(params![id, int(position as u64), task])?;
    }
    Ok(())
}

/// The first task that is known with another body, belongs to someone else, was removed by retention, or differs from
/// an earlier one of the same id in the same submission.
fn first_conflict(conn: &Connection, submission: &NewSubmission) -> Result<Option<(usize, TaskId)>, Fault> {
    let mut seen: HashMap<TaskId, Digest> = HashMap::new();
    for (index, new) in submission.tasks.iter().enumerate() {
        let id = new.transition.task.id;
        let twin_differs = seen
            .insert(id, new.fingerprint)
            .is_some_and(|f| f != new.fingerprint);
        let clashes = match known_task(conn, id)? {
            Some(known) => known.tenant != submission.tenant.0 || known.fingerprint != Some(new.fingerprint),
            None => has_tombstone(conn, id)?,
        };
        if twin_differs || clashes {
            return Ok(Some((index, id)));
        }
    }
    Ok(None)
}

struct KnownTask {
    key: i64,
    tenant: String,
    /// `None`: adopted, its body was never seen here.
    fingerprint: Option<Digest>,
    entry: String,
}

fn known_task(conn: &Connection, id: TaskId) -> Result<Option<KnownTask>, Fault> {
    let found = conn
        .prepare_cached(
            "SELECT t.id, t.tenant, d.fingerprint, d.entry FROM tasks t \
             LEFT JOIN task_documents d ON d.task_id = t.id WHERE t.uuid = ?1",
        )?
        .query_row(params![id.as_bytes()], |row| {
            Ok(KnownTask {
                key: row.get(0)?,
                tenant: row.get(1)?,
                fingerprint: row.get::<_, Option<Sha>>(2)?.map(|f| f.0),
                entry: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            })
        })
        .optional()?;
    Ok(found)
}

pub(super) fn has_tombstone(conn: &Connection, id: TaskId) -> Result<bool, Fault> {
    let found = conn
        .prepare_cached("SELECT 1 FROM tombstones WHERE uuid = ?1")?
        .exists(params![id.as_bytes()])?;
    Ok(found)
}

fn insert_new(conn: &Connection, new: &NewTask) -> Result<i64, Fault> {
    let key = insert_whole(conn, &new.transition)?;
    conn.prepare_cached(
        "INSERT INTO task_documents (task_id, fingerprint, entry, document, task_type) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![key, Sha(new.fingerprint), new.entry, new.document, new.task_type])?;
    if let Some(webhook) = &new.webhook {
        insert_webhook(conn, key, webhook)?;
    }
    Ok(key)
}

fn insert_whole(conn: &Connection, transition: &Transition) -> Result<i64, Fault> {
    let key = insert_task(conn, &transition.task)?;
    for asset in &transition.assets {
        put_asset(conn, key, asset)?;
    }
    append_events(conn, Some(key), &transition.events)?;
    append_timeline(conn, key, &transition.timeline)?;
    Ok(key)
}

pub(super) fn adopt(conn: &Connection, transition: &Transition) -> Result<bool, Fault> {
    let id = transition.task.id;
    if task_key(conn, id)?.is_some() || has_tombstone(conn, id)? {
        return Ok(false);
    }
    insert_whole(conn, transition)?;
    Ok(true)
}

/// Whether the lease goes with the commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    Release,
    Keep,
}

/// Writes a transition whole; the task's new version.
pub(super) fn commit(
    conn: &Connection,
    transition: &Transition,
    fence: &Fence,
    hold: Hold,
) -> Result<u64, Fault> {
    let task = &transition.task;
    // Before the version: whoever lost the lease must drop the work, not decide again.
    check_fence(conn, task.id, fence)?;
    let key = task_key(conn, task.id)?.ok_or(StoreError::Conflict { task: task.id })?;
    if !update_task(conn, task)? {
        return Err(StoreError::Conflict { task: task.id }.into());
    }
    for asset in &transition.assets {
        put_asset(conn, key, asset)?;
    }
    if hold == Hold::Release {
        give_up_lease(conn, key, fence)?;
    }
    append_events(conn, Some(key), &transition.events)?;
    tell_webhook(conn, key, &transition.events)?;
    append_timeline(conn, key, &transition.timeline)?;
    close_receipts(conn, key, transition)?;
    Ok(task.version + 1)
}

/// A lease counts while the row still has one under this epoch, lapsed or not: only another claim, a release, a commit
/// that gave it up or a voiding at start ends it.
fn check_fence(conn: &Connection, task: TaskId, fence: &Fence) -> Result<(), Fault> {
    let held = match fence {
        Fence::Version => true,
        Fence::Task { id, epoch } => *id == task
            && conn
                .prepare_cached(
                    "SELECT 1 FROM tasks WHERE uuid = ?1 AND lease_epoch = ?2 AND lease_until IS NOT NULL",
                )?
                .exists(params![id.as_bytes(), int(*epoch)])?,
        Fence::Asset { id, epoch } => id.task == task && asset_is_held(conn, id, *epoch)?,
    };
    if held {
        Ok(())
    } else {
        Err(StoreError::LeaseLost.into())
    }
}

fn asset_is_held(conn: &Connection, id: &AssetId, epoch: u64) -> Result<bool, Fault> {
    let held = conn
        .prepare_cached(
            "SELECT 1 FROM assets WHERE task_id = (SELECT id FROM tasks WHERE uuid = ?1) AND result_id = ?2 \
             AND lease_epoch = ?3 AND lease_until IS NOT NULL",
        )?
        .exists(params![id.task.as_bytes(), id.result.as_str(), int(epoch)])?;
    Ok(held)
}

fn give_up_lease(conn: &Connection, key: i64, fence: &Fence) -> Result<(), Fault> {
    match fence {
        Fence::Version => {}
        Fence::Task { .. } => {
            conn.prepare_cached("UPDATE tasks SET lease_until = NULL WHERE id = ?1")?
                .execute([key])?;
        }
        Fence::Asset { id, .. } => {
            conn.prepare_cached(
                "UPDATE assets SET lease_until = NULL WHERE task_id = ?1 AND result_id = ?2",
            )?
            .execute(params![key, id.result.as_str()])?;
        }
    }
    Ok(())
}

/// A receipt that is done keeps its digest, so that its repeats are still known, and loses its body. A completed task
/// that nobody will ask about again is through with all of them.
fn close_receipts(conn: &Connection, key: i64, transition: &Transition) -> Result<(), Fault> {
    if !transition.receipts_done.is_empty() {
        let mut close =
            conn.prepare_cached("UPDATE receipts SET body = NULL WHERE id = ?1 AND task_id = ?2")?;
        for id in &transition.receipts_done {
            close.execute([*id, key])?;
        }
    }
    if transition.task.state == TaskState::Completed && transition.task.due_at.is_none() {
        conn.prepare_cached("UPDATE receipts SET body = NULL WHERE task_id = ?1 AND body IS NOT NULL")?
            .execute([key])?;
        let_sleep(conn, key)?;
    }
    Ok(())
}

pub(super) fn document(conn: &Connection, id: TaskId) -> Result<Option<String>, Fault> {
    let found: Option<Option<String>> = conn
        .prepare_cached(
            "SELECT document FROM task_documents WHERE task_id = (SELECT id FROM tasks WHERE uuid = ?1)",
        )?
        .query_row(params![id.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}

/// Raises a counter, so that there is something to make durable.
pub(super) fn probe_write(conn: &Connection) -> Result<(), Fault> {
    let changed = conn
        .prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'write_probe'")?
        .execute([])?;
    match changed {
        1 => Ok(()),
        _ => Err(corrupt("meta", "write_probe", "the row is missing")),
    }
}
