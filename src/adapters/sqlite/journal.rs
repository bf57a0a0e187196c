//! What the journal still needs. A row is there only while something is to be done, so the table is all but empty.

use super::fault::{Fault, corrupt};
use super::rows::load_file;
use crate::domain::file::TaskFile;
use crate::domain::ids::TaskId;
use crate::ports::records::Need;
use rusqlite::{Connection, OptionalExtension, params};

/// Tasks that are not settled, by the indexes that hold only those. One is unsent while no attempt of it can have been
/// accepted.
const OPEN: &str = "SELECT id, iif(first_attempt_at IS NULL, 'first', 'put') FROM tasks WHERE submit_at IS NOT NULL \
     UNION ALL SELECT id, 'put' FROM tasks WHERE query_at IS NOT NULL AND settled_at IS NULL";

/// Answers whether this database is a backup that was put back. It does not know what was sent since: each unsent task
/// is in doubt, whether a journal is kept or not, and is to be put as if for the first time if one is.
pub(super) fn keep(conn: &Connection, on: bool) -> Result<bool, Fault> {
    let restored = conn.execute("DELETE FROM meta WHERE key = 'backup'", [])? > 0;
    if restored {
        conn.execute(
            "UPDATE tasks SET submission = 'unconfirmed', version = version + 1 \
             WHERE submit_at IS NOT NULL AND first_attempt_at IS NULL",
            [],
        )?;
    }
    switch(conn, on)?;
    if restored && on {
        conn.execute(
            "INSERT OR REPLACE INTO journal_work (task_id, need) \
             SELECT id, 'first' FROM tasks WHERE submit_at IS NOT NULL AND first_attempt_at IS NULL",
            [],
        )?;
    }
    Ok(restored)
}

fn switch(conn: &Connection, on: bool) -> Result<(), Fault> {
    let was_on: String = conn.query_row("SELECT value FROM meta WHERE key = 'journal'", [], |row| {
        row.get(0)
    })?;
    match (was_on == "1", on) {
        (_, false) => conn.execute("DELETE FROM journal_work", [])?,
        (false, true) => conn.execute(
            &format!("INSERT OR IGNORE INTO journal_work (task_id, need) {OPEN}"),
            [],
        )?,
        // A process that died between its put and its note, or was told by the provider that it has the task.
        (true, true) => conn.execute(
            "UPDATE journal_work SET need = 'put' WHERE need = 'first' \
             AND NOT EXISTS (SELECT 1 FROM tasks \
               WHERE id = task_id AND submit_at IS NOT NULL AND first_attempt_at IS NULL)",
            [],
        )?,
    };
    let value = if on { "1" } else { "0" };
    conn.execute("UPDATE meta SET value = ?1 WHERE key = 'journal'", [value])?;
    Ok(())
}

pub(super) fn need(conn: &Connection, id: TaskId) -> Result<Option<Need>, Fault> {
    let word: Option<String> = conn
        .prepare_cached(
            "SELECT need FROM journal_work WHERE task_id = (SELECT id FROM tasks WHERE uuid = ?1)",
        )?
        .query_row(params![id.as_bytes()], |row| row.get(0))
        .optional()?;
    word.map(|word| match word.as_str() {
        "first" => Ok(Need::First),
        "put" => Ok(Need::Put),
        "recall" => Ok(Need::Recall),
        _ => Err(corrupt("journal_work", id, format!("unknown word {word:?}"))),
    })
    .transpose()
}

pub(super) fn done(conn: &Connection, ids: &[TaskId]) -> Result<(), Fault> {
    let mut delete = conn
        .prepare_cached("DELETE FROM journal_work WHERE task_id = (SELECT id FROM tasks WHERE uuid = ?1)")?;
    for id in ids {
        delete.execute(params![id.as_bytes()])?;
    }
    Ok(())
}

pub(super) fn later(conn: &Connection, id: TaskId) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE journal_work SET need = 'put' WHERE task_id = (SELECT id FROM tasks WHERE uuid = ?1)",
    )?
    .execute(params![id.as_bytes()])?;
    Ok(())
}

pub(super) fn backlog(conn: &Connection, limit: u32) -> Result<Vec<TaskFile>, Fault> {
    let keys: Vec<i64> = conn
        .prepare_cached("SELECT task_id FROM journal_work WHERE need = 'put' ORDER BY task_id LIMIT ?1")?
        .query_map([limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    keys.into_iter()
        .filter_map(|key| load_file(conn, key).transpose())
        .collect()
}
