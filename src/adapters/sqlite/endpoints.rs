//! Subscribers, and turning the log into their deliveries.

use super::events::{events_after, last_sequence};
use super::fault::{Fault, corrupt, is_unique_violation};
use super::json;
use super::rows::{Cells, int, ms, opt_ms, word};
use crate::domain::delivery::{Endpoint, Format, Secret};
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::{EndpointId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::store::FannedOut;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::time::Duration;

const ENDPOINT_COLUMNS: &str =
    "id, public_id, tenant, url, types, format, secret, created_at, disabled_at, cursor";

pub(super) fn create_endpoint(conn: &Connection, endpoint: &Endpoint) -> Result<(), Fault> {
    let types: Vec<&str> = endpoint.types.iter().map(|k| k.as_str()).collect();
    let inserted = conn
        .prepare_cached(
            "INSERT INTO endpoints (public_id, tenant, url, types, format, secret, created_at, disabled_at, cursor) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            endpoint.id.0,
            endpoint.tenant.0,
            endpoint.url,
            json::to_text(&types),
            endpoint.format.as_str(),
            endpoint.secret.0,
            ms(endpoint.created_at),
            opt_ms(endpoint.disabled_at),
            int(endpoint.cursor),
        ]);
    match inserted {
        Ok(_) => Ok(()),
        Err(e) if is_unique_violation(&e) => Err(corrupt("endpoints", &endpoint.id, e)),
        Err(e) => Err(e.into()),
    }
}

/// The row key with the endpoint.
fn read_endpoint(row: &Row<'_>) -> Result<(i64, Endpoint), Fault> {
    let mut c = Cells::of(row);
    let key = c.next()?;
    let id = EndpointId(c.next()?);
    let tenant = Tenant(c.next()?);
    let url = c.next()?;
    let types: Vec<String> =
        serde_json::from_str(&c.next::<String>()?).map_err(|e| corrupt("endpoints", &id, e))?;
    let types = types
        .iter()
        .map(|t| word(EventKind::parse, t, "endpoints", &id))
        .collect::<Result<_, _>>()?;
    let endpoint = Endpoint {
        tenant,
        url,
        types,
        format: word(Format::parse, &c.next::<String>()?, "endpoints", &id)?,
        secret: Secret(c.next()?),
        created_at: c.at()?,
        disabled_at: c.opt_at()?,
        cursor: c.count()?,
        id,
    };
    Ok((key, endpoint))
}

/// Of one tenant, or of all; oldest first, with their row keys.
pub(super) fn endpoints(conn: &Connection, tenant: Option<&Tenant>) -> Result<Vec<(i64, Endpoint)>, Fault> {
    let sql = format!(
        "SELECT {ENDPOINT_COLUMNS} FROM endpoints \
         WHERE deleted = 0 AND (?1 IS NULL OR tenant = ?1) ORDER BY id"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![tenant.map(|t| &t.0)])?;
    let mut endpoints = vec![];
    while let Some(row) = rows.next()? {
        endpoints.push(read_endpoint(row)?);
    }
    Ok(endpoints)
}

/// Its open deliveries go; the settled ones stay, and a husk of the row to name them, without URL or secret.
pub(super) fn delete_endpoint(conn: &Connection, tenant: &Tenant, id: &EndpointId) -> Result<bool, Fault> {
    let key: Option<i64> = conn
        .prepare_cached(
            "UPDATE endpoints SET deleted = 1, url = '', secret = x'' \
             WHERE public_id = ?1 AND tenant = ?2 AND deleted = 0 RETURNING id",
        )?
        .query_row(params![id.0, tenant.0], |row| row.get(0))
        .optional()?;
    let Some(key) = key else { return Ok(false) };
    conn.prepare_cached("DELETE FROM deliveries WHERE endpoint_id = ?1 AND send_at IS NOT NULL")?
        .execute([key])?;
    Ok(true)
}

pub(super) fn disable(conn: &Connection, key: i64, at: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE endpoints SET disabled_at = ?2 WHERE id = ?1 AND disabled_at IS NULL")?
        .execute(params![key, ms(at)])?;
    Ok(())
}

/// Moves every enabled endpoint's cursor over at most `limit` events. Cursor and deliveries move together, so each
/// event becomes at most one delivery per endpoint, and none is passed over.
pub(super) fn fan_out(
    conn: &Connection,
    now: Timestamp,
    first_wait: Duration,
    limit: u32,
) -> Result<FannedOut, Fault> {
    let last = last_sequence(conn)?;
    let due = now.plus(first_wait);
    // Endpoints mostly stand at the same place; each page of the log is read once.
    let mut pages: HashMap<u64, Vec<Event>> = HashMap::new();
    let mut out = FannedOut {
        deliveries: 0,
        more: false,
    };
    for (key, endpoint) in endpoints(conn, None)? {
        if endpoint.disabled_at.is_some() || endpoint.cursor >= last {
            continue;
        }
        let page = match pages.entry(endpoint.cursor) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(events_after(conn, endpoint.cursor, limit)?)
            }
        };
        // Past the cursor retention may have left nothing.
        let end = page.last().map_or(last, |e| e.sequence);
        for event in page.iter().filter(|e| endpoint.wants(e)) {
            insert_delivery(conn, key, event.sequence, due)?;
            out.deliveries += 1;
        }
        move_cursor(conn, key, end)?;
        out.more |= end < last;
    }
    Ok(out)
}

fn insert_delivery(conn: &Connection, endpoint: i64, sequence: u64, due: Timestamp) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO deliveries (event_sequence, endpoint_id, status, due_at) VALUES (?1, ?2, 'pending', ?3)",
    )?
    .execute(params![int(sequence), endpoint, ms(due)])?;
    Ok(())
}

fn move_cursor(conn: &Connection, endpoint: i64, to: u64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE endpoints SET cursor = ?2 WHERE id = ?1")?
        .execute(params![endpoint, int(to)])?;
    Ok(())
}
