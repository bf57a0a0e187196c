//! How far logs outside have got, and what tells this database from any other.

use super::fault::{Fault, corrupt};
use super::rows::{Cells, int};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn use_only(conn: &Connection, names: &[&str]) -> Result<(), Fault> {
    conn.execute("UPDATE sinks SET in_use = 0 WHERE in_use = 1", [])?;
    for name in names {
        conn.execute(
            "INSERT INTO sinks (name, position, in_use) VALUES (?1, 0, 1) \
             ON CONFLICT (name) DO UPDATE SET in_use = 1",
            [name],
        )?;
    }
    Ok(())
}

pub(super) fn position(conn: &Connection, name: &str) -> Result<u64, Fault> {
    let position = conn
        .prepare_cached("SELECT position FROM sinks WHERE name = ?1")?
        .query_row([name], |row| Cells::of(row).count())
        .optional()?;
    Ok(position.unwrap_or(0))
}

pub(super) fn advance(conn: &Connection, name: &str, to: u64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE sinks SET position = ?2 WHERE name = ?1 AND position < ?2")?
        .execute(params![name, int(to)])?;
    Ok(())
}

pub(super) fn instance_id(conn: &Connection) -> Result<String, Fault> {
    let id = conn
        .prepare_cached("SELECT value FROM meta WHERE key = 'instance_id'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    id.ok_or_else(|| corrupt("meta", "instance_id", "the row is missing"))
}
