//! API keys, known only by their hash.

use super::fault::{Fault, corrupt, is_unique_violation};
use super::rows::{Cells, Sha, ms};
use crate::domain::ids::{Digest, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::store::{ApiKey, NewApiKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

pub(super) fn create_key(conn: &Connection, key: &NewApiKey) -> Result<(), Fault> {
    let inserted = conn
        .prepare_cached(
            "INSERT INTO api_keys (id, tenant, name, sha256, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key.id,
            key.tenant.0,
            key.name,
            Sha(key.sha256),
            ms(key.created_at)
        ]);
    match inserted {
        Ok(_) => Ok(()),
        Err(e) if is_unique_violation(&e) => Err(corrupt("api_keys", &key.id, e)),
        Err(e) => Err(e.into()),
    }
}

/// Oldest first.
pub(super) fn keys(conn: &Connection) -> Result<Vec<ApiKey>, Fault> {
    let keys = conn
        .prepare_cached(
            "SELECT id, tenant, name, created_at, revoked_at FROM api_keys ORDER BY created_at, id",
        )?
        .query_map([], read_key)?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

pub(super) fn revoke_key(conn: &Connection, id_or_name: &str, now: Timestamp) -> Result<bool, Fault> {
    let revoked = conn
        .prepare_cached(
            "UPDATE api_keys SET revoked_at = ?2 WHERE (id = ?1 OR name = ?1) AND revoked_at IS NULL",
        )?
        .execute(params![id_or_name, ms(now)])?;
    Ok(revoked > 0)
}

pub(super) fn key_by_hash(conn: &Connection, sha256: &Digest) -> Result<Option<ApiKey>, Fault> {
    let key = conn
        .prepare_cached(
            "SELECT id, tenant, name, created_at, revoked_at FROM api_keys \
             WHERE sha256 = ?1 AND revoked_at IS NULL",
        )?
        .query_row([Sha(*sha256)], read_key)
        .optional()?;
    Ok(key)
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let mut c = Cells::of(row);
    Ok(ApiKey {
        id: c.next()?,
        tenant: Tenant(c.next()?),
        name: c.next()?,
        created_at: c.at()?,
        revoked_at: c.opt_at()?,
    })
}
