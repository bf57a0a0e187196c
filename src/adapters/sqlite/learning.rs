//! Imported tasks are asked about at a pace: their times are the places in a queue, given out as they arrive. Whoever is
//! first in it by name may have been dead for months; so each place, when its time comes, goes to the task whose links
//! die next, and the one that had it waits in that one's place.

use super::fault::Fault;
use super::rows::{int, ms};
use crate::domain::time::Timestamp;
use rusqlite::{Connection, params};

/// Those that wait in the queue and whose links may be alive, the first to die first.
pub(super) const DYING_FIRST: &str = "SELECT id FROM tasks INDEXED BY tasks_to_learn \
     WHERE origin = 'imported' AND status = 'submitted' AND queries = 0 AND query_at IS NOT NULL \
     AND submitted_at + ttl_ms > ?1 AND (lease_until IS NULL OR lease_until <= ?1) \
     AND NOT EXISTS (SELECT 1 FROM receipts WHERE task_id = tasks.id AND waking IS NOT NULL) \
     ORDER BY submitted_at + ttl_ms LIMIT ?2";

/// Gives the places among `chosen`, whose time has come, to those that need them most.
pub(super) fn dying_first(conn: &Connection, chosen: &mut [i64], now: Timestamp) -> Result<(), Fault> {
    let mut urgent: Vec<i64> = conn
        .prepare_cached(DYING_FIRST)?
        .query_map(params![ms(now), int(chosen.len() as u64)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if urgent.is_empty() {
        return Ok(()); // nearly always
    }
    let mut places = vec![];
    for (place, key) in chosen.iter().enumerate() {
        if waits_in_the_queue(conn, *key)? {
            places.push(place);
        }
    }
    urgent.truncate(places.len());
    let is_urgent = |place: &usize| urgent.contains(&chosen[*place]);
    let (served, mut others): (Vec<usize>, Vec<usize>) = places.into_iter().partition(is_urgent);
    let served: Vec<i64> = served.into_iter().map(|place| chosen[place]).collect();
    for newcomer in urgent.into_iter().filter(|key| !served.contains(key)) {
        // From the end: who has waited longest stays longest.
        if let Some(place) = others.pop() {
            wait_in_place_of(conn, chosen[place], newcomer)?;
            chosen[place] = newcomer;
        }
    }
    Ok(())
}

fn waits_in_the_queue(conn: &Connection, key: i64) -> Result<bool, Fault> {
    let waits = conn
        .prepare_cached(
            "SELECT origin = 'imported' AND status = 'submitted' AND queries = 0 FROM tasks WHERE id = ?1",
        )?
        .query_row([key], |row| row.get(0))?;
    Ok(waits)
}

/// Its outcome is waited for from when it is asked about. The version stays: a decision under way that writes the old
/// time back only asks a little early.
fn wait_in_place_of(conn: &Connection, key: i64, newcomer: i64) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE tasks SET due_at = n.due_at, deadline = tasks.deadline + n.due_at - tasks.due_at \
         FROM (SELECT due_at FROM tasks WHERE id = ?2) n WHERE tasks.id = ?1",
    )?
    .execute([key, newcomer])?;
    Ok(())
}
