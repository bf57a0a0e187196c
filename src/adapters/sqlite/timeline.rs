//! The lines of a task's story that the steps wrote. A source that is stuck for days, or a provider that is away, adds
//! the same line again and again: past the first hundred, such a line is counted on the one it repeats.

use super::fault::{Fault, corrupt};
use super::json;
use super::rows::{Cells, ms};
use crate::domain::transition::TimelineEntry;
use crate::ports::store::TimelineLine;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};

/// Lines kept one by one: an ordinary task ends with a dozen.
const WHOLE: u32 = 100;
/// How far back a repeated line is looked for: the tries of many results of one task take turns.
const LOOK_BACK: u32 = 64;
/// From here on a line is counted on the last one of its kind, whatever it says: no task's story grows for ever.
const FULL: u32 = 500;
/// A number that grows with each try and does not make it another line.
const COUNTER: &str = "attempt";

pub(super) fn append_timeline(conn: &Connection, key: i64, lines: &[TimelineEntry]) -> Result<(), Fault> {
    if lines.is_empty() {
        return Ok(());
    }
    let folds = has_more_than(conn, key, WHOLE)?;
    let full = folds && has_more_than(conn, key, FULL)?;
    for line in lines {
        let repeats = match folds {
            true => repeated(conn, key, line, full)?,
            false => None,
        };
        match repeats {
            Some(row) => count(conn, row, line)?,
            None => insert(conn, key, line)?,
        }
    }
    Ok(())
}

fn has_more_than(conn: &Connection, key: i64, lines: u32) -> Result<bool, Fault> {
    let more = conn
        .prepare_cached("SELECT 1 FROM timeline WHERE task_id = ?1 LIMIT 1 OFFSET ?2")?
        .exists(params![key, lines])?;
    Ok(more)
}

/// The line that `line` says again.
fn repeated(conn: &Connection, key: i64, line: &TimelineEntry, full: bool) -> Result<Option<i64>, Fault> {
    if full {
        let last = conn
            .prepare_cached(
                "SELECT id FROM timeline WHERE task_id = ?1 AND kind = ?2 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(params![key, line.kind], |row| row.get(0))
            .optional()?;
        return Ok(last);
    }
    let wanted = without_counter(line.detail.clone());
    let mut statement = conn.prepare_cached(
        "SELECT id, detail FROM (SELECT id, kind, detail FROM timeline WHERE task_id = ?1 ORDER BY id DESC LIMIT ?2) \
         WHERE kind = ?3",
    )?;
    let mut rows = statement.query(params![key, LOOK_BACK, line.kind])?;
    while let Some(row) = rows.next()? {
        let (id, detail): (i64, String) = (row.get(0)?, row.get(1)?);
        let told = serde_json::from_str(&detail).map_err(|e| corrupt("timeline", id, e))?;
        if without_counter(told) == wanted {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn without_counter(mut detail: Value) -> Value {
    if let Some(members) = detail.as_object_mut() {
        members.remove(COUNTER);
    }
    detail
}

fn count(conn: &Connection, row: i64, line: &TimelineEntry) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE timeline SET times = times + 1, last_at = ?2, detail = ?3 WHERE id = ?1")?
        .execute(params![row, ms(line.at), json::to_text(&line.detail)])?;
    Ok(())
}

fn insert(conn: &Connection, key: i64, line: &TimelineEntry) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO timeline (task_id, at, kind, detail) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![key, ms(line.at), line.kind, json::to_text(&line.detail)])?;
    Ok(())
}

pub(super) fn written_lines(conn: &Connection, key: i64) -> Result<Vec<TimelineLine>, Fault> {
    let mut statement = conn.prepare_cached(
        "SELECT at, kind, detail, times, last_at FROM timeline WHERE task_id = ?1 ORDER BY id",
    )?;
    let mut rows = statement.query([key])?;
    let mut lines = vec![];
    while let Some(row) = rows.next()? {
        let mut c = Cells::of(row);
        let (at, kind) = (c.at()?, c.next()?);
        let mut detail: Value =
            serde_json::from_str(&c.next::<String>()?).map_err(|e| corrupt("timeline", key, e))?;
        if let (times, Some(until)) = (c.next::<i64>()?, c.opt_at()?) {
            detail["times"] = json!(times);
            detail["until"] = json!(until);
        }
        lines.push(TimelineLine { at, kind, detail });
    }
    Ok(lines)
}
