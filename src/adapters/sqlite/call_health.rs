//! How the receivers of tasks' own webhooks are doing, tenant by tenant: one that is well has no row.

use super::endpoints::read_health;
use super::fault::Fault;
use super::rows::{Cells, ms, opt_ms};
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{After, Attempt};
use crate::domain::endpoint::Health;
use crate::domain::fair_share::Line;
use crate::domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// From one receiver with open calls to the next by the index alone, however long its queue.
pub(super) const OPEN_RECEIVERS: &str = "WITH RECURSIVE open (tenant, origin) AS ( \
       SELECT * FROM (SELECT tenant, origin FROM task_deliveries WHERE send_at IS NOT NULL \
         ORDER BY tenant, origin LIMIT 1) \
       UNION ALL SELECT d.tenant, d.origin FROM open JOIN task_deliveries d ON d.id = (SELECT n.id \
         FROM task_deliveries n WHERE n.send_at IS NOT NULL AND (n.tenant, n.origin) > (open.tenant, open.origin) \
         ORDER BY n.tenant, n.origin LIMIT 1)) ";

/// A receiver with what it holds and what it may hold; nothing that is due yet.
pub(super) struct Receiver {
    pub origin: String,
    pub line: Line,
}

pub(super) fn receivers(conn: &Connection, now: Timestamp) -> Result<Vec<Receiver>, Fault> {
    let in_flight = in_flight(conn, now)?;
    let sql = format!(
        "{OPEN_RECEIVERS} SELECT open.tenant, open.origin, coalesce(h.failures, 0), h.failing_since, h.failed_at, \
           h.down_since, h.rests_until FROM open LEFT JOIN call_health h ON h.tenant = open.tenant AND h.origin = open.origin"
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_map([], |row| {
            let mut c = Cells::of(row);
            let key: (String, String) = (c.next()?, c.next()?);
            let health = read_health(&mut c)?;
            let in_flight = in_flight.get(&key).copied().unwrap_or(0);
            let (tenant, origin) = key;
            let line = Line {
                tenant,
                in_flight,
                room: health.room(now),
                due: vec![],
            };
            Ok(Receiver { origin, line })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Live leases.
fn in_flight(conn: &Connection, now: Timestamp) -> Result<HashMap<(String, String), u32>, Fault> {
    let counts = conn
        .prepare_cached(
            "SELECT tenant, origin, count(*) FROM task_deliveries WHERE lease_until > ?1 GROUP BY tenant, origin",
        )?
        .query_map([ms(now)], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(counts)
}

/// What a try says of its receiver. A 410 is one task's word, said by a receiver that is there.
pub(super) fn note(
    conn: &Connection,
    delivery: i64,
    (attempt, after): (&Attempt, &After),
    jitter: Jitter,
) -> Result<(), Fault> {
    if *after == After::Gone {
        return Ok(());
    }
    let (tenant, origin): (String, String) = conn
        .prepare_cached("SELECT tenant, origin FROM task_deliveries WHERE id = ?1")?
        .query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let was = conn
        .prepare_cached(
            "SELECT failures, failing_since, failed_at, down_since, rests_until FROM call_health \
             WHERE tenant = ?1 AND origin = ?2",
        )?
        .query_row(params![tenant, origin], |row| read_health(&mut Cells::of(row)))
        .optional()?
        .unwrap_or_default();
    let health = was.after(&attempt.outcome, attempt.at.plus(attempt.duration), jitter);
    match health == Health::default() {
        true if was == health => Ok(()),
        true => forget(conn, &tenant, &origin),
        false => write(conn, &tenant, &origin, &health),
    }
}

fn forget(conn: &Connection, tenant: &str, origin: &str) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM call_health WHERE tenant = ?1 AND origin = ?2")?
        .execute([tenant, origin])?;
    Ok(())
}

fn write(conn: &Connection, tenant: &str, origin: &str, health: &Health) -> Result<(), Fault> {
    conn.prepare_cached("INSERT OR REPLACE INTO call_health VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![
            tenant,
            origin,
            health.failures,
            opt_ms(health.failing_since),
            opt_ms(health.failed_at),
            opt_ms(health.down_since),
            opt_ms(health.rests_until),
        ])?;
    Ok(())
}

/// Bad news of receivers that nobody is to call any more: the table holds no more rows than there are open queues.
pub(super) fn forget_unused(conn: &Connection, delivery: i64) -> Result<(), Fault> {
    conn.prepare_cached(
        "DELETE FROM call_health WHERE (tenant, origin) = (SELECT tenant, origin FROM task_deliveries WHERE id = ?1) \
           AND NOT EXISTS (SELECT 1 FROM task_deliveries d WHERE d.tenant = call_health.tenant \
             AND d.origin = call_health.origin AND d.send_at IS NOT NULL)",
    )?
    .execute([delivery])?;
    Ok(())
}
