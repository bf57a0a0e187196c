//! What falls due by the clock alone, whatever is down.

use super::fault::Fault;
use super::leases::lease_tasks;
use super::rows::{Cells, ms};
use crate::domain::file::TaskFile;
use crate::domain::ids::{AssetId, ResultId, TaskId};
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::ports::overdue::SendLimits;
use crate::ports::store::Claim;
use rusqlite::{Connection, params};
use uuid::Uuid;

pub(super) const AT_RISK: &str = "SELECT t.uuid, a.result_id FROM \
     (SELECT task_id, result_id, at_risk_at, id FROM assets WHERE at_risk_at <= ?1 ORDER BY at_risk_at, id LIMIT ?2) a \
     JOIN tasks t ON t.id = a.task_id ORDER BY a.at_risk_at, a.id";

pub(super) fn at_risk(conn: &Connection, now: Timestamp, limit: u32) -> Result<Vec<AssetId>, Fault> {
    let found = conn
        .prepare_cached(AT_RISK)?
        .query_map(params![ms(now), limit], |row| {
            let mut c = Cells::of(row);
            Ok(AssetId {
                task: TaskId(Uuid::from_bytes(c.next()?)),
                result: ResultId::stored(c.next()?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Each an index of open rows, so that a hundred thousand tasks that may still be sent are not read. What a restore left
/// in doubt is never among them: it is asked about first.
pub(super) const UNSENDABLE: [&str; 3] = [
    "SELECT id FROM tasks INDEXED BY tasks_in_doubt WHERE submit_at IS NOT NULL AND first_attempt_at <= ?3 \
     AND (lease_until IS NULL OR lease_until <= ?1) ORDER BY first_attempt_at LIMIT ?2",
    "SELECT id FROM tasks INDEXED BY tasks_to_submit WHERE submit_at IS NOT NULL AND created_at <= ?3 \
     AND first_attempt_at IS NULL AND submission <> 'unconfirmed' AND (lease_until IS NULL OR lease_until <= ?1) ORDER BY created_at LIMIT ?2",
    "SELECT id FROM tasks INDEXED BY tasks_unsent_until WHERE submit_at IS NOT NULL AND deadline <= ?3 \
     AND first_attempt_at IS NULL AND submission <> 'unconfirmed' AND (lease_until IS NULL OR lease_until <= ?1) ORDER BY deadline LIMIT ?2",
];

pub(super) fn claim_unsendable(
    conn: &Connection,
    c: &Claim,
    limits: &SendLimits,
) -> Result<Vec<Lease<TaskFile>>, Fault> {
    let mut chosen: Vec<i64> = vec![];
    for (sql, until) in UNSENDABLE
        .iter()
        .zip([limits.attempted_by, limits.created_by, c.now])
    {
        let room = c.limit.saturating_sub(chosen.len() as u32);
        let found = conn
            .prepare_cached(sql)?
            .query_map(params![ms(c.now), room, ms(until)], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        chosen.extend(
            found
                .into_iter()
                .filter(|key| !chosen.contains(key))
                .collect::<Vec<_>>(),
        );
    }
    lease_tasks(conn, chosen, c)
}

/// Those whose last trouble was the store's: `count` in the domain resets the tries of any other kind. The task's version
/// stays: a decision under way that writes the old time back only lets the copy wait as long as it would have.
pub(super) const HASTEN: &str = "UPDATE assets INDEXED BY assets_copy_at SET due_at = ?1 WHERE copy_at > ?1 \
     AND status = 'pending' AND lease_until IS NULL AND trouble IS NOT NULL \
     AND json_extract(trouble, '$.failedTries') > 0 AND json_extract(trouble, '$.sourceTries') = 0 \
     AND json_extract(trouble, '$.refusedTries') = 0 AND json_extract(trouble, '$.deadTries') = 0";

pub(super) fn hasten_copies(conn: &Connection, now: Timestamp) -> Result<u64, Fault> {
    let hastened = conn.prepare_cached(HASTEN)?.execute(params![ms(now)])?;
    Ok(hastened as u64)
}
