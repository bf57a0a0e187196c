//! Rows to domain values and back. The column lists here are the only ones; readers take the cells in their order.

use super::fault::{Fault, corrupt};
use super::json;
use crate::domain::asset::{
    Asset, AssetReason, AssetState, AssetStatus, Left, ObjectExt, ObjectKey, SourceUrl, Stored,
};
use crate::domain::file::TaskFile;
use crate::domain::ids::{AssetId, Digest, ResultId, TaskId, Tenant};
use crate::domain::task::{Origin, Outcome, Submission, Task, TaskReason, TaskState, TaskStatus, Verdict};
use crate::domain::time::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use std::fmt::Display;
use std::time::Duration;
use uuid::Uuid;

/// An instant, as Unix milliseconds.
pub(super) struct Ms(pub Timestamp);

impl FromSql for Ms {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|ms| Self(Timestamp::from_millis(ms)))
    }
}

pub(super) fn ms(t: Timestamp) -> i64 {
    t.as_millis()
}

pub(super) fn opt_ms(t: Option<Timestamp>) -> Option<i64> {
    t.map(Timestamp::as_millis)
}

/// A length of time in whole milliseconds.
pub(super) fn length_ms(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// SQLite's integers are signed; none of our counts comes near the difference.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A count or sequence; never negative in our tables.
pub(super) struct Count(pub u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let n = i64::column_result(value)?;
        u64::try_from(n)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(n))
    }
}

pub(super) struct Sha(pub Digest);

impl FromSql for Sha {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        <[u8; 32]>::column_result(value).map(|bytes| Self(Digest(bytes)))
    }
}

impl ToSql for Sha {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0.0)))
    }
}

/// The cells of a row, one after the other.
pub(super) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
}

impl<'r, 's> Cells<'r, 's> {
    pub fn of(row: &'r Row<'s>) -> Self {
        Self { row, at: 0 }
    }

    pub fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let cell = self.row.get(self.at);
        self.at += 1;
        cell
    }

    pub fn at(&mut self) -> rusqlite::Result<Timestamp> {
        self.next::<Ms>().map(|t| t.0)
    }

    pub fn opt_at(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        self.next::<Option<Ms>>().map(|t| t.map(|t| t.0))
    }

    pub fn count(&mut self) -> rusqlite::Result<u64> {
        self.next::<Count>().map(|n| n.0)
    }
}

/// One of a closed set of words.
pub(super) fn word<T>(
    parse: fn(&str) -> Option<T>,
    word: &str,
    table: &'static str,
    id: impl Display,
) -> Result<T, Fault> {
    parse(word).ok_or_else(|| corrupt(table, id, format!("unknown word {word:?}")))
}

pub(super) const TASK_COLUMNS: &str = "id, uuid, tenant, version, status, reason, provider_code, origin, submission, \
     outcome, model, number_results, items_named, labels, key_prefix, ext, ttl_ms, cost, failures, round, \
     event_count, queries, created_at, first_attempt_at, submitted_at, deadline, settled_at, attempts, due_at";

/// The row key with the task.
pub(super) fn read_task(row: &Row<'_>) -> Result<(i64, Task), Fault> {
    let mut c = Cells::of(row);
    let key: i64 = c.next()?;
    let id = TaskId(Uuid::from_bytes(c.next()?));
    let tenant = Tenant(c.next()?);
    let version = c.count()?;
    let state = task_state(id, &c.next::<String>()?, c.next()?, c.next()?)?;
    let task = Task {
        id,
        tenant,
        version,
        state,
        origin: word(Origin::parse, &c.next::<String>()?, "tasks", id)?,
        submission: word(Submission::parse, &c.next::<String>()?, "tasks", id)?,
        outcome: word(Outcome::parse, &c.next::<String>()?, "tasks", id)?,
        model: c.next()?,
        number_results: c.next()?,
        items_named: c.next()?,
        labels: serde_json::from_str(&c.next::<String>()?).map_err(|e| corrupt("tasks", id, e))?,
        key_prefix: c.next()?,
        ext: c.next::<Option<String>>()?.as_deref().and_then(ObjectExt::new),
        ttl: Duration::from_millis(c.count()?),
        cost: c.next()?,
        failures: json::failures(&c.next::<String>()?).map_err(|e| corrupt("tasks", id, e))?,
        round: c.next()?,
        event_count: c.next()?,
        queries: c.next()?,
        created_at: c.at()?,
        first_attempt_at: c.opt_at()?,
        submitted_at: c.opt_at()?,
        deadline: c.opt_at()?,
        settled_at: c.opt_at()?,
        attempts: c.next()?,
        due_at: c.opt_at()?,
    };
    Ok((key, task))
}

fn task_state(
    id: TaskId,
    status: &str,
    reason: Option<String>,
    provider_code: Option<String>,
) -> Result<TaskState, Fault> {
    let status = word(TaskStatus::parse, status, "tasks", id)?;
    let reason = reason
        .map(|r| word(TaskReason::parse, &r, "tasks", id))
        .transpose()?;
    let judged = status.is_terminal() && status != TaskStatus::Completed;
    let verdict = judged.then_some(Verdict {
        reason,
        provider_code,
    });
    TaskState::from_parts(status, verdict).ok_or_else(|| corrupt("tasks", id, "status without its verdict"))
}

/// Stores a new task; its row key.
pub(super) fn insert_task(conn: &Connection, task: &Task) -> Result<i64, Fault> {
    const SQL: &str = "INSERT INTO tasks (uuid, tenant, version, status, reason, provider_code, origin, submission, \
         outcome, model, number_results, items_named, labels, key_prefix, ext, ttl_ms, cost, failures, round, \
         event_count, queries, created_at, first_attempt_at, submitted_at, deadline, settled_at, attempts, due_at) \
         VALUES (:uuid, :tenant, :version + 1, :status, :reason, :provider_code, :origin, :submission, :outcome, \
         :model, :number_results, :items_named, :labels, :key_prefix, :ext, :ttl_ms, :cost, :failures, :round, \
         :event_count, :queries, :created_at, :first_attempt_at, :submitted_at, :deadline, :settled_at, :attempts, \
         :due_at)";
    write_task(conn, SQL, task)?;
    Ok(conn.last_insert_rowid())
}

/// Overwrites a task if its version is still the one that was read, and raises it. Never touches the lease, the
/// waking or the receipts. `false`: the version has moved on.
pub(super) fn update_task(conn: &Connection, task: &Task) -> Result<bool, Fault> {
    const SQL: &str = "UPDATE tasks SET tenant = :tenant, version = :version + 1, status = :status, \
         reason = :reason, provider_code = :provider_code, origin = :origin, submission = :submission, \
         outcome = :outcome, model = :model, number_results = :number_results, items_named = :items_named, \
         labels = :labels, key_prefix = :key_prefix, ext = :ext, ttl_ms = :ttl_ms, cost = :cost, \
         failures = :failures, round = :round, event_count = :event_count, queries = :queries, \
         created_at = :created_at, first_attempt_at = :first_attempt_at, submitted_at = :submitted_at, \
         deadline = :deadline, settled_at = :settled_at, attempts = :attempts, due_at = :due_at \
         WHERE uuid = :uuid AND version = :version";
    Ok(write_task(conn, SQL, task)? == 1)
}

fn write_task(conn: &Connection, sql: &str, task: &Task) -> Result<usize, Fault> {
    let verdict = task.state.verdict();
    let changed = conn.prepare_cached(sql)?.execute(named_params! {
        ":uuid": task.id.as_bytes(),
        ":tenant": task.tenant.0,
        ":version": int(task.version),
        ":status": task.state.status().as_str(),
        ":reason": verdict.and_then(|v| v.reason).map(|r| r.as_str()),
        ":provider_code": verdict.and_then(|v| v.provider_code.as_deref()),
        ":origin": task.origin.as_str(),
        ":submission": task.submission.as_str(),
        ":outcome": task.outcome.as_str(),
        ":model": task.model,
        ":number_results": task.number_results,
        ":items_named": task.items_named,
        ":labels": json::labels_text(&task.labels),
        ":key_prefix": task.key_prefix,
        ":ext": task.ext.as_ref().map(ObjectExt::as_str),
        ":ttl_ms": length_ms(task.ttl),
        ":cost": task.cost,
        ":failures": json::failures_text(&task.failures),
        ":round": task.round,
        ":event_count": task.event_count,
        ":queries": task.queries,
        ":created_at": ms(task.created_at),
        ":first_attempt_at": opt_ms(task.first_attempt_at),
        ":submitted_at": opt_ms(task.submitted_at),
        ":deadline": opt_ms(task.deadline),
        ":settled_at": opt_ms(task.settled_at),
        ":attempts": task.attempts,
        ":due_at": opt_ms(task.due_at),
    })?;
    Ok(changed)
}

const ASSET_COLUMNS: &str = "result_id, round, status, reason, object_bucket, object_key, object_size, \
     object_sha256, object_content_type, object_duration_ms, object_width, object_height, archived_at, object_left, \
     source_url, archive_by, confirmed, nsfw, cost, discovered_at, at_risk_at, intent, trouble, due_at, attempts";

fn read_asset(task: TaskId, row: &Row<'_>) -> Result<Asset, Fault> {
    let mut c = Cells::of(row);
    let id = AssetId {
        task,
        result: ResultId::stored(c.next()?),
    };
    let name = format!("{task}/{}", id.result);
    let round = c.next()?;
    let (status, reason): (String, Option<String>) = (c.next()?, c.next()?);
    let (stored, left) = whose(&name, read_stored(&mut c)?, c.next()?)?;
    Ok(Asset {
        round,
        state: asset_state(&name, &status, reason, stored)?,
        source: SourceUrl(c.next()?),
        archive_by: c.at()?,
        confirmed: c.next()?,
        nsfw: c.next()?,
        cost: c.next()?,
        discovered_at: c.at()?,
        at_risk_at: c.opt_at()?,
        left,
        intent: json_cell(&mut c, json::intent, &name)?,
        trouble: json_cell(&mut c, json::trouble, &name)?.unwrap_or_default(),
        due_at: c.opt_at()?,
        attempts: c.next()?,
        id,
    })
}

fn json_cell<T>(
    c: &mut Cells<'_, '_>,
    parse: fn(&str) -> Result<T, serde_json::Error>,
    name: &str,
) -> Result<Option<T>, Fault> {
    let text: Option<String> = c.next()?;
    text.map(|t| parse(&t))
        .transpose()
        .map_err(|e| corrupt("assets", name, e))
}

fn read_stored(c: &mut Cells<'_, '_>) -> Result<Option<Stored>, Fault> {
    let (bucket, key): (Option<String>, Option<String>) = (c.next()?, c.next()?);
    let (size, sha256): (Option<Count>, Option<Sha>) = (c.next()?, c.next()?);
    let content_type: Option<String> = c.next()?;
    let duration_ms = c.next::<Option<Count>>()?.map(|n| n.0);
    let (width, height) = (c.next()?, c.next()?);
    let archived_at = c.opt_at()?;
    let whole = (bucket, key, size, sha256, content_type, archived_at);
    let (Some(bucket), Some(key), Some(size), Some(sha256), Some(content_type), Some(archived_at)) = whole
    else {
        return Ok(None);
    };
    Ok(Some(Stored {
        bucket,
        key: ObjectKey(key),
        size_bytes: size.0,
        sha256: sha256.0,
        content_type,
        duration_ms,
        width,
        height,
        archived_at,
    }))
}

/// The object of this round, or of an earlier one.
fn whose(
    name: &str,
    stored: Option<Stored>,
    left: Option<String>,
) -> Result<(Option<Stored>, Option<Left>), Fault> {
    match (left.as_deref(), stored) {
        (None, stored) => Ok((stored, None)),
        (Some("kept"), Some(stored)) => Ok((None, Some(Left::Kept(stored)))),
        (Some("gone"), Some(stored)) => Ok((None, Some(Left::Gone(stored)))),
        (Some(_), _) => Err(corrupt(
            "assets",
            name,
            "an earlier round's object without what belongs to it",
        )),
    }
}

fn asset_state(
    name: &str,
    status: &str,
    reason: Option<String>,
    stored: Option<Stored>,
) -> Result<AssetState, Fault> {
    let reason = reason
        .map(|r| word(AssetReason::parse, &r, "assets", name))
        .transpose()?;
    Ok(
        match (word(AssetStatus::parse, status, "assets", name)?, reason, stored) {
            (AssetStatus::Pending, None, _) => AssetState::Pending,
            (AssetStatus::Archiving, None, _) => AssetState::Archiving,
            (AssetStatus::Archived, None, Some(stored)) => AssetState::Archived(stored),
            (AssetStatus::Expired, Some(reason), _) => AssetState::Expired(reason),
            (AssetStatus::Failed, Some(reason), kept) => AssetState::Failed { reason, kept },
            _ => return Err(corrupt("assets", name, "status without what belongs to it")),
        },
    )
}

/// Inserts an asset or overwrites it whole, all but its lease.
pub(super) fn put_asset(conn: &Connection, task_key: i64, asset: &Asset) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO assets (task_id, result_id, round, status, reason, object_bucket, object_key, \
         object_size, object_sha256, object_content_type, object_duration_ms, object_width, object_height, \
         archived_at, object_left, source_url, archive_by, confirmed, nsfw, cost, discovered_at, at_risk_at, intent, \
         trouble, due_at, attempts) \
         VALUES (:task_id, :result_id, :round, :status, :reason, :bucket, :key, :size, :sha256, :content_type, \
         :duration_ms, :width, :height, :archived_at, :left, :source_url, :archive_by, :confirmed, :nsfw, :cost, \
         :discovered_at, :at_risk_at, :intent, :trouble, :due_at, :attempts) \
         ON CONFLICT (task_id, result_id) DO UPDATE SET round = excluded.round, status = excluded.status, \
         reason = excluded.reason, object_bucket = excluded.object_bucket, object_key = excluded.object_key, \
         object_size = excluded.object_size, object_sha256 = excluded.object_sha256, \
         object_content_type = excluded.object_content_type, object_duration_ms = excluded.object_duration_ms, \
         object_width = excluded.object_width, object_height = excluded.object_height, \
         archived_at = excluded.archived_at, object_left = excluded.object_left, source_url = excluded.source_url, \
         archive_by = excluded.archive_by, \
         confirmed = excluded.confirmed, nsfw = excluded.nsfw, cost = excluded.cost, \
         discovered_at = excluded.discovered_at, at_risk_at = excluded.at_risk_at, intent = excluded.intent, \
         trouble = excluded.trouble, due_at = excluded.due_at, attempts = excluded.attempts";
    let (stored, left) = match (asset.state.stored(), &asset.left) {
        (Some(stored), _) => (Some(stored), None),
        (None, Some(Left::Kept(stored))) => (Some(stored), Some("kept")),
        (None, Some(Left::Gone(stored))) => (Some(stored), Some("gone")),
        (None, None) => (None, None),
    };
    conn.prepare_cached(SQL)?.execute(named_params! {
        ":task_id": task_key,
        ":result_id": asset.id.result.as_str(),
        ":round": asset.round,
        ":status": asset.state.status().as_str(),
        ":reason": asset.state.reason().map(|r| r.as_str()),
        ":bucket": stored.map(|s| s.bucket.as_str()),
        ":key": stored.map(|s| s.key.0.as_str()),
        ":size": stored.map(|s| int(s.size_bytes)),
        ":sha256": stored.map(|s| Sha(s.sha256)),
        ":content_type": stored.map(|s| s.content_type.as_str()),
        ":duration_ms": stored.and_then(|s| s.duration_ms).map(int),
        ":width": stored.and_then(|s| s.width),
        ":height": stored.and_then(|s| s.height),
        ":archived_at": stored.map(|s| ms(s.archived_at)),
        ":left": left,
        ":source_url": asset.source.0,
        ":archive_by": ms(asset.archive_by),
        ":confirmed": asset.confirmed,
        ":nsfw": asset.nsfw,
        ":cost": asset.cost,
        ":discovered_at": ms(asset.discovered_at),
        ":at_risk_at": opt_ms(asset.at_risk_at),
        ":intent": asset.intent.as_ref().map(json::intent_text),
        ":trouble": json::trouble_text(&asset.trouble),
        ":due_at": opt_ms(asset.due_at),
        ":attempts": asset.attempts,
    })?;
    Ok(())
}

/// A task with its assets, in the order they were discovered.
pub(super) fn load_file(conn: &Connection, task_key: i64) -> Result<Option<TaskFile>, Fault> {
    let sql = format!("SELECT {TASK_COLUMNS} FROM tasks WHERE id = ?1");
    let found = conn
        .prepare_cached(&sql)?
        .query_row([task_key], |row| Ok(read_task(row)))
        .optional()?;
    let Some(task) = found.transpose()? else {
        return Ok(None);
    };
    let (_, task) = task;
    let assets = load_assets(conn, task_key, task.id)?;
    Ok(Some(TaskFile { task, assets }))
}

fn load_assets(conn: &Connection, task_key: i64, task: TaskId) -> Result<Vec<Asset>, Fault> {
    let sql = format!("SELECT {ASSET_COLUMNS} FROM assets WHERE task_id = ?1 ORDER BY id");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([task_key])?;
    let mut assets = vec![];
    while let Some(row) = rows.next()? {
        assets.push(read_asset(task, row)?);
    }
    Ok(assets)
}

/// The row key of a task.
pub(super) fn task_key(conn: &Connection, id: TaskId) -> Result<Option<i64>, Fault> {
    let key = conn
        .prepare_cached("SELECT id FROM tasks WHERE uuid = ?1")?
        .query_row(params![id.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(key)
}
