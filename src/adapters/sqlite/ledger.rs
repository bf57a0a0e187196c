//! Imports, the walk of the audit, and the cost ledger.

use super::fault::Fault;
use super::rows::{Cells, int, load_file, ms, task_key, word};
use super::tasks::{adopt, has_tombstone};
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::task::{Origin, TaskStatus};
use crate::domain::transition::Transition;
use crate::ports::records::{Adopted, LedgerQuery, LedgerRow, Sums, Walk, WalkPage};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use std::collections::BTreeMap;

pub(super) fn adopt_all(
    conn: &Connection,
    adoptions: &[Transition],
    journalled: bool,
) -> Result<Vec<Adopted>, Fault> {
    let one = |adoption: &Transition| {
        let id = adoption.task.id;
        if !adopt(conn, adoption)? {
            return known(conn, &adoption.task.tenant, id);
        }
        if journalled {
            super::journal::done(conn, &[id])?;
        }
        Ok(Adopted::New)
    };
    adoptions.iter().map(one).collect()
}

fn known(conn: &Connection, tenant: &Tenant, id: TaskId) -> Result<Adopted, Fault> {
    let own: Option<(String, String)> = conn
        .prepare_cached("SELECT status, origin FROM tasks WHERE uuid = ?1 AND tenant = ?2")?
        .query_row(params![id.as_bytes(), tenant.0], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((status, origin)) = own else {
        return Ok(Adopted::Refused);
    };
    Ok(Adopted::Known {
        status: word(TaskStatus::parse, &status, "tasks", id)?,
        origin: word(Origin::parse, &origin, "tasks", id)?,
    })
}

pub(super) fn standings(
    conn: &Connection,
    tenant: &Tenant,
    ids: &[TaskId],
) -> Result<Vec<Option<Adopted>>, Fault> {
    let standing = |id: &TaskId| match task_key(conn, *id)?.is_some() || has_tombstone(conn, *id)? {
        true => known(conn, tenant, *id).map(Some),
        false => Ok(None),
    };
    ids.iter().map(standing).collect()
}

/// The times are looked at row by row: a page of a narrow span may be empty, and its position goes on all the same.
pub(super) fn walk(conn: &Connection, walk: &Walk) -> Result<WalkPage, Fault> {
    let rows: Vec<(i64, i64)> = conn
        .prepare_cached(
            "SELECT id, created_at FROM tasks WHERE tenant = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?
        .query_map(params![walk.tenant.0, int(walk.after), walk.limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let full = rows.len() == walk.limit as usize;
    let next = rows.last().filter(|_| full).map(|(key, _)| position(*key));
    let wanted = |at: i64| {
        walk.since.is_none_or(|since| at >= ms(since)) && walk.until.is_none_or(|until| at < ms(until))
    };
    let mut tasks = vec![];
    for (key, _) in rows.into_iter().filter(|(_, at)| wanted(*at)) {
        if let Some(file) = load_file(conn, key)? {
            tasks.push((position(key), file));
        }
    }
    Ok(WalkPage { tasks, next })
}

fn position(key: i64) -> u64 {
    u64::try_from(key).unwrap_or(0)
}

/// Costs are per result, so they are summed over assets; a task without any still counts as a task.
pub(super) fn ledger(conn: &Connection, query: &LedgerQuery) -> Result<Vec<LedgerRow>, Fault> {
    let mut groups: Vec<String> = vec![];
    let mut values: Vec<Value> = vec![];
    if query.by_model {
        groups.push("t.model".to_owned());
    }
    for label in &query.by_labels {
        groups.push("(SELECT l.value FROM json_each(t.labels) l WHERE l.key = ?)".to_owned());
        values.push(label.clone().into());
    }
    let columns: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(n, g)| format!("{g} AS g{n}"))
        .collect();
    let names: Vec<String> = (0..groups.len()).map(|n| format!("g{n}")).collect();
    let select = columns.iter().fold(String::new(), |all, c| all + c + ", ");
    let group = match names.is_empty() {
        true => String::new(),
        false => format!("GROUP BY {0} ORDER BY {0}", names.join(", ")),
    };
    let sql = format!(
        "SELECT {select}count(DISTINCT t.id), count(a.id), \
         coalesce(sum(a.status = 'archived'), 0), coalesce(sum(iif(a.status = 'archived', a.object_size, 0)), 0), \
         coalesce(sum(a.cost), 0.0), coalesce(sum(a.id IS NOT NULL AND a.cost IS NULL), 0) \
         FROM tasks t LEFT JOIN assets a ON a.task_id = t.id \
         WHERE t.tenant = ? AND t.created_at >= ? AND t.created_at < ? {group}"
    );
    values.push(query.tenant.0.clone().into());
    values.push(ms(query.since).into());
    values.push(ms(query.until).into());
    let rows = conn
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), |row| read_row(row, query))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter(|row| row.sums.tasks > 0).collect())
}

fn read_row(row: &Row<'_>, query: &LedgerQuery) -> rusqlite::Result<LedgerRow> {
    let mut c = Cells::of(row);
    let model = match query.by_model {
        true => Some(c.next()?),
        false => None,
    };
    let mut labels = BTreeMap::new();
    for label in &query.by_labels {
        if let Some(value) = c.next::<Option<String>>()? {
            labels.insert(label.clone(), value);
        }
    }
    let sums = Sums {
        tasks: c.count()?,
        results: c.count()?,
        archived: c.count()?,
        bytes: c.count()?,
        cost: c.next()?,
        unpriced: c.count()?,
    };
    Ok(LedgerRow { model, labels, sums })
}
