//! Subscribers, and turning the log into their deliveries.

use super::chores::{self, Kind};
use super::events::{events_after, last_sequence};
use super::fault::{Fault, corrupt, is_unique_violation};
use super::json;
use super::rows::{Cells, int, ms, opt_ms, word};
use crate::domain::delivery::{Endpoint, Format, Secret};
use crate::domain::endpoint::{Change, Disabled, DisabledReason, Health, OldSecret};
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::{EndpointId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::store::FannedOut;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::collections::HashMap;
use std::time::Duration;

const ENDPOINT_COLUMNS: &str = "id, public_id, tenant, url, types, labels, models, format, secret, old_secret, \
     old_secret_until, created_at, disabled_at, disabled_reason, cursor, failures, failing_since, failed_at, down_since, rests_until";

pub(super) fn create_endpoint(conn: &Connection, endpoint: &Endpoint) -> Result<(), Fault> {
    let inserted = conn
        .prepare_cached(
            "INSERT INTO endpoints (public_id, tenant, url, types, format, secret, created_at, cursor) \
             VALUES (?1, ?2, '', '[]', '', x'', ?3, ?4)",
        )?
        .execute(params![
            endpoint.id.0,
            endpoint.tenant.0,
            ms(endpoint.created_at),
            int(endpoint.cursor),
        ]);
    match inserted {
        Ok(_) => write_endpoint(conn, conn.last_insert_rowid(), endpoint),
        Err(e) if is_unique_violation(&e) => Err(corrupt("endpoints", &endpoint.id, e)),
        Err(e) => Err(e.into()),
    }
}

/// All but what never changes, and the cursor, which the fan-out moves.
fn write_endpoint(conn: &Connection, key: i64, e: &Endpoint) -> Result<(), Fault> {
    let types: Vec<&str> = e.types.iter().map(|k| k.as_str()).collect();
    conn.prepare_cached(
        "UPDATE endpoints SET url = :url, types = :types, labels = :labels, models = :models, format = :format, \
         secret = :secret, old_secret = :old_secret, old_secret_until = :old_secret_until, \
         disabled_at = :disabled_at, disabled_reason = :disabled_reason WHERE id = :id",
    )?
    .execute(named_params! {
        ":id": key,
        ":url": e.url,
        ":types": json::to_text(&types),
        ":labels": json::labels_text(&e.labels),
        ":models": json::to_text(&e.models),
        ":format": e.format.as_str(),
        ":secret": e.secret.0,
        ":old_secret": e.old_secret.as_ref().map(|old| &old.secret.0),
        ":old_secret_until": opt_ms(e.old_secret.as_ref().map(|old| old.until)),
        ":disabled_at": opt_ms(e.disabled.map(|d| d.at)),
        ":disabled_reason": e.disabled.map(|d| d.reason.as_str()),
    })?;
    write_health(conn, key, &e.health)
}

pub(super) fn write_health(conn: &Connection, key: i64, health: &Health) -> Result<(), Fault> {
    conn.prepare_cached(
        "UPDATE endpoints SET failures = ?2, failing_since = ?3, failed_at = ?4, down_since = ?5, rests_until = ?6 \
         WHERE id = ?1",
    )?
    .execute(params![
        key,
        health.failures,
        opt_ms(health.failing_since),
        opt_ms(health.failed_at),
        opt_ms(health.down_since),
        opt_ms(health.rests_until),
    ])?;
    Ok(())
}

/// The last columns of a row that has them.
pub(super) fn read_health(c: &mut Cells<'_, '_>) -> rusqlite::Result<Health> {
    Ok(Health {
        failures: c.next()?,
        failing_since: c.opt_at()?,
        failed_at: c.opt_at()?,
        down_since: c.opt_at()?,
        rests_until: c.opt_at()?,
    })
}

/// The row key with the endpoint.
fn read_endpoint(row: &Row<'_>) -> Result<(i64, Endpoint), Fault> {
    let mut c = Cells::of(row);
    let key = c.next()?;
    let id = EndpointId(c.next()?);
    let unreadable = |e: serde_json::Error| corrupt("endpoints", &id, e);
    let tenant = Tenant(c.next()?);
    let url = c.next()?;
    let types: Vec<String> = serde_json::from_str(&c.next::<String>()?).map_err(unreadable)?;
    let types = types
        .iter()
        .map(|t| word(EventKind::parse, t, "endpoints", &id))
        .collect::<Result<_, _>>()?;
    let endpoint = Endpoint {
        tenant,
        url,
        types,
        labels: serde_json::from_str(&c.next::<String>()?).map_err(unreadable)?,
        models: serde_json::from_str(&c.next::<String>()?).map_err(unreadable)?,
        format: word(Format::parse, &c.next::<String>()?, "endpoints", &id)?,
        secret: Secret(c.next()?),
        old_secret: old_secret(c.next()?, c.opt_at()?),
        created_at: c.at()?,
        disabled: disabled(&id, c.opt_at()?, c.next()?)?,
        cursor: c.count()?,
        health: read_health(&mut c)?,
        id,
    };
    Ok((key, endpoint))
}

fn old_secret(bytes: Option<Vec<u8>>, until: Option<Timestamp>) -> Option<OldSecret> {
    let secret = Secret(bytes?);
    until.map(|until| OldSecret { secret, until })
}

fn disabled(
    id: &EndpointId,
    at: Option<Timestamp>,
    reason: Option<String>,
) -> Result<Option<Disabled>, Fault> {
    let (Some(at), Some(reason)) = (at, reason) else {
        return Ok(None);
    };
    let reason = word(DisabledReason::parse, &reason, "endpoints", id)?;
    Ok(Some(Disabled { at, reason }))
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

/// One that is there, by its row key.
pub(super) fn endpoint_by_key(conn: &Connection, key: i64) -> Result<Endpoint, Fault> {
    let sql = format!("SELECT {ENDPOINT_COLUMNS} FROM endpoints WHERE id = ?1");
    conn.prepare_cached(&sql)?
        .query_row([key], |row| Ok(read_endpoint(row)))?
        .map(|(_, endpoint)| endpoint)
}

pub(super) fn endpoint(
    conn: &Connection,
    tenant: &Tenant,
    id: &EndpointId,
) -> Result<Option<(i64, Endpoint)>, Fault> {
    let sql = format!(
        "SELECT {ENDPOINT_COLUMNS} FROM endpoints WHERE public_id = ?1 AND tenant = ?2 AND deleted = 0"
    );
    conn.prepare_cached(&sql)?
        .query_row(params![id.0, tenant.0], |row| Ok(read_endpoint(row)))
        .optional()?
        .transpose()
}

pub(super) fn change_endpoint(
    conn: &Connection,
    tenant: &Tenant,
    id: &EndpointId,
    change: Change,
    now: Timestamp,
) -> Result<Option<Endpoint>, Fault> {
    let Some((key, mut endpoint)) = endpoint(conn, tenant, id)? else {
        return Ok(None);
    };
    let afresh = endpoint.change(change, now);
    write_endpoint(conn, key, &endpoint)?;
    if afresh {
        chores::call_for(conn, key, Kind::Renew, now)?;
    }
    Ok(Some(endpoint))
}

pub(super) fn rotate_secret(
    conn: &Connection,
    tenant: &Tenant,
    id: &EndpointId,
    new: Secret,
    overlap: Duration,
    now: Timestamp,
) -> Result<Option<Endpoint>, Fault> {
    let Some((key, mut endpoint)) = endpoint(conn, tenant, id)? else {
        return Ok(None);
    };
    endpoint.rotate(new, overlap, now);
    write_endpoint(conn, key, &endpoint)?;
    Ok(Some(endpoint))
}

/// A husk of the row stays to name its settled deliveries, without URL or secret. The open ones are a chore: the row's
/// key tells whose.
pub(super) fn delete_endpoint(
    conn: &Connection,
    tenant: &Tenant,
    id: &EndpointId,
) -> Result<Option<i64>, Fault> {
    let key: Option<i64> = conn
        .prepare_cached(
            "UPDATE endpoints SET deleted = 1, url = '', secret = x'', old_secret = NULL \
             WHERE public_id = ?1 AND tenant = ?2 AND deleted = 0 RETURNING id",
        )?
        .query_row(params![id.0, tenant.0], |row| row.get(0))
        .optional()?;
    if let Some(key) = key {
        chores::call_for(conn, key, Kind::Remove, Timestamp::from_millis(0))?;
    }
    Ok(key)
}

/// `false`: it was disabled before, and keeps its reason.
pub(super) fn disable(
    conn: &Connection,
    key: i64,
    at: Timestamp,
    reason: DisabledReason,
) -> Result<bool, Fault> {
    let changed = conn
        .prepare_cached(
            "UPDATE endpoints SET disabled_at = ?2, disabled_reason = ?3 WHERE id = ?1 AND disabled_at IS NULL",
        )?
        .execute(params![key, ms(at), reason.as_str()])?;
    Ok(changed == 1)
}

/// Deliveries made in one commit before the rest is left to the next: a hundred endpoints that each have a full page
/// of the log before them would otherwise hold up every other write.
const MAX_MADE: u64 = 2_000;

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
    let mut behind = endpoints(conn, None)?;
    behind.retain(|(_, e)| e.disabled.is_none() && e.cursor < last);
    behind.sort_by_key(|(_, e)| e.cursor); // furthest behind first, so that each gets its turn
    for (key, endpoint) in behind {
        if out.deliveries >= MAX_MADE {
            out.more = true;
            break;
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
        "INSERT INTO deliveries (event_sequence, endpoint_id, status, due_at, task_id) \
         SELECT sequence, ?2, 'pending', ?3, task_id FROM events WHERE sequence = ?1",
    )?
    .execute(params![int(sequence), endpoint, ms(due)])?;
    Ok(())
}

fn move_cursor(conn: &Connection, endpoint: i64, to: u64) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE endpoints SET cursor = ?2 WHERE id = ?1")?
        .execute(params![endpoint, int(to)])?;
    Ok(())
}
