//! Rows as the service would have left them, into a database that the service has migrated: settled tasks with their
//! archived asset, open tasks that callbacks are about, and events to be delivered.

use crate::Outcome;
use catchment::domain::ids::EventId;
use rusqlite::{Connection, Transaction, params};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use uuid::Uuid;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    database: PathBuf,
    /// Completed tasks, each with one archived asset.
    #[arg(long, default_value_t = 0)]
    settled: u64,
    /// Submitted tasks; their ids are written to `--ids`, one a line.
    #[arg(long, default_value_t = 0)]
    open: u64,
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Events in the log, each of an open task of its own.
    #[arg(long, default_value_t = 0)]
    events: u64,
}

const PER_TRANSACTION: u64 = 100_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

pub fn run(args: Args) -> Outcome {
    let mut conn = Connection::open(&args.database)?;
    // A file that breaks here is made anew.
    conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;")?;
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
    in_steps(&mut conn, args.settled, |tx, n| settled(tx, n, args.settled, now))?;
    in_steps(&mut conn, args.open, |tx, n| open(tx, n, now))?;
    in_steps(&mut conn, args.events.min(args.open), |tx, n| event(tx, n, now))?;
    // All of them were put into the journal in the bucket when they came: nothing is left to do for it.
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'journal'", [])?;
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    if let Some(path) = args.ids {
        write_ids(&path, args.open)?;
    }
    Ok(())
}

fn in_steps(
    conn: &mut Connection,
    count: u64,
    mut one: impl FnMut(&Transaction<'_>, u64) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut n = 0;
    while n < count {
        let tx = conn.transaction()?;
        for _ in 0..PER_TRANSACTION.min(count - n) {
            one(&tx, n)?;
            n += 1;
        }
        tx.commit()?;
        if n % (10 * PER_TRANSACTION) == 0 {
            eprintln!("{n} of {count} rows");
        }
    }
    Ok(())
}

const TASK: &str = "INSERT INTO tasks (uuid, tenant, version, status, origin, submission, outcome, model, \
     number_results, items_named, labels, ttl_ms, cost, failures, round, event_count, queries, created_at, \
     first_attempt_at, submitted_at, deadline, settled_at, attempts, due_at) \
     VALUES (?1, 'default', 5, ?2, 'submitted', 'confirmed', ?3, 'klingai:avatar@2.0-pro', 1, ?4, \
     '{\"customer\":\"acme\"}', 604800000, 4.35, '[]', 1, ?5, 1, ?6, ?6, ?6, ?7, ?8, 0, ?9)";

/// Random ids as clients make them, but in order, so that ten million go in within minutes.
fn settled(tx: &Transaction<'_>, n: u64, of: u64, now: i64) -> rusqlite::Result<()> {
    let uuid = spread(n, of);
    let created =
        now - 90 * DAY_MS + i64::try_from(n).unwrap_or(0) * 89 * DAY_MS / i64::try_from(of).unwrap_or(1);
    tx.prepare_cached(TASK)?.execute(params![
        uuid.as_bytes(),
        "completed",
        "known",
        1,
        5,
        created,
        created + DAY_MS,
        created + 200_000,
        None::<i64>
    ])?;
    let task = tx.last_insert_rowid();
    let entry = json!({ "taskUUID": uuid, "status": "accepted", "origin": "submitted", "createdAt": "2026-01-02T03:04:05.678Z", "adjusted": [] });
    document(tx, task, &uuid, &entry.to_string(), None)?;
    let result = Uuid::from_u128(uuid.as_u128().rotate_left(64));
    tx.prepare_cached(
        "INSERT INTO assets (task_id, result_id, status, round, source_url, archive_by, confirmed, nsfw, cost, \
         discovered_at, object_bucket, object_key, object_size, object_sha256, object_content_type, \
         object_duration_ms, object_width, object_height, archived_at, attempts) \
         VALUES (?1, ?2, 'archived', 1, ?3, ?4, 1, 0, 4.35, ?5, 'bench', ?6, 209715200, ?7, 'video/mp4', 5000, 1080, \
         1920, ?8, 1)",
    )?
    .execute(params![
        task,
        result.to_string(),
        format!("https://vm.runware.ai/video/os/a11d18/ws/5/vi/{result}.mp4"),
        created + 7 * DAY_MS,
        created + 190_000,
        format!("{uuid}/{result}.mp4"),
        digest("object", n),
        created + 195_000,
    ])?;
    Ok(())
}

fn open(tx: &Transaction<'_>, n: u64, now: i64) -> rusqlite::Result<()> {
    let uuid = open_id(n);
    // Polling is for callbacks that stay away: here none do.
    let due = now + DAY_MS;
    tx.prepare_cached(TASK)?.execute(params![
        uuid.as_bytes(),
        "submitted",
        "open",
        0,
        2,
        now,
        now + 30 * DAY_MS,
        None::<i64>,
        due
    ])?;
    let task = tx.last_insert_rowid();
    document(tx, task, &uuid, "{}", Some("{}"))
}

fn document(
    tx: &Transaction<'_>,
    task: i64,
    uuid: &Uuid,
    entry: &str,
    document: Option<&str>,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO task_documents (task_id, fingerprint, entry, document) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        task,
        Sha256::digest(uuid.as_bytes()).as_slice(),
        entry,
        document
    ])?;
    Ok(())
}

/// The event that endpoints get most often.
fn event(tx: &Transaction<'_>, n: u64, now: i64) -> rusqlite::Result<()> {
    let uuid = open_id(n);
    let (task, id) = (
        uuid.to_string(),
        EventId::derive(&[&uuid.to_string(), "asset.archived"]),
    );
    let data = json!({
        "taskUUID": task, "resultId": task, "model": "klingai:avatar@2.0-pro", "labels": { "customer": "acme" },
        "round": 1, "bucket": "bench", "key": format!("{task}/{task}.mp4"), "size": 209_715_200,
        "sha256": hex(&digest("event", n)), "contentType": "video/mp4", "duration": 5.0, "width": 1080,
        "height": 1920, "cost": 4.35, "nsfw": false,
    });
    tx.prepare_cached(
        "INSERT INTO events (id, kind, tenant, task_id, task_sequence, at, data) \
         VALUES (?1, 'asset.archived', 'default', (SELECT id FROM tasks WHERE uuid = ?2), 2, ?3, ?4)",
    )?
    .execute(params![id.as_str(), uuid.as_bytes(), now, data.to_string()])?;
    Ok(())
}

fn write_ids(path: &Path, count: u64) -> std::io::Result<()> {
    let mut text = String::new();
    for n in 0..count {
        let _ = writeln!(text, "{}", open_id(n)); // text never refuses
    }
    std::fs::write(path, text)
}

/// The n-th of so many ids that lie evenly in the whole space.
fn spread(n: u64, of: u64) -> Uuid {
    let mut bytes: [u8; 16] = digest("settled", n)[..16].try_into().expect("a digest is longer");
    let place = (u128::from(n) << 64) / u128::from(of.max(1));
    bytes[..6].copy_from_slice(&(place as u64).to_be_bytes()[..6]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Anywhere in the space, the same in every database.
fn open_id(n: u64) -> Uuid {
    let bytes = digest("open", n)[..16].try_into().expect("a digest is longer");
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn digest(what: &str, n: u64) -> Vec<u8> {
    Sha256::digest(format!("{what} {n}").as_bytes()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
