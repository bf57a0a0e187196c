//! One try, as it is kept for people to read.

use super::fault::Fault;
use super::rows::{length_ms, ms};
use crate::domain::delivery::{Attempt, Outcome};
use rusqlite::{Connection, params};

/// Whose tries; the tables have the same columns.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Endpoint,
    TaskWebhook,
}

pub(super) fn insert(
    conn: &Connection,
    of: Of,
    delivery: i64,
    number: u32,
    attempt: &Attempt,
) -> Result<(), Fault> {
    let (status, code, retry_after, excerpt) = match &attempt.outcome {
        Outcome::Delivered { status } => (Some(*status), None, None, None),
        Outcome::Refused {
            status,
            retry_after,
            excerpt,
        } => (
            Some(*status),
            None,
            retry_after.map(length_ms),
            Some(excerpt.as_str()),
        ),
        Outcome::Unreached { code } => (None, Some(*code), None, None),
    };
    let table = match of {
        Of::Endpoint => "attempts",
        Of::TaskWebhook => "task_attempts",
    };
    conn.prepare_cached(&format!(
        "INSERT INTO {table} (delivery_id, number, at, duration_ms, http_status, code, retry_after_ms, excerpt) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    ))?
    .execute(params![
        delivery,
        number,
        ms(attempt.at),
        length_ms(attempt.duration),
        status,
        code,
        retry_after,
        excerpt,
    ])?;
    Ok(())
}
