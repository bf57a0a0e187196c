//! What operators did by hand, in the commit that did it.

use super::fault::Fault;
use super::json;
use super::rows::ms;
use super::tasks::{Hold, commit};
use crate::domain::lease::Fence;
use crate::domain::transition::Transition;
use crate::ports::operator::OperatorEntry;
use rusqlite::{Connection, params};

pub(super) fn commit_by_operator(
    conn: &Connection,
    transition: &Transition,
    entry: &OperatorEntry,
) -> Result<(), Fault> {
    commit(conn, transition, &Fence::Version, Hold::Keep)?;
    log(conn, entry)
}

pub(super) fn log(conn: &Connection, entry: &OperatorEntry) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO operator_log (at, tenant, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        ms(entry.at),
        entry.tenant.0,
        entry.actor,
        entry.action,
        entry.subject,
        json::to_text(&entry.detail)
    ])?;
    Ok(())
}
