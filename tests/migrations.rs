//! F6, F24: what a file must be to be opened, and that nothing is lost or touched when it is not.

use catchment::adapters::sqlite::{OpenError, OpenOptions, Role, SqliteStore, migrate};
use catchment::domain::delivery::{Endpoint, Secret};
use catchment::domain::endpoint::DisabledReason;
use catchment::domain::file::{Policy, TaskFile};
use catchment::domain::ids::{Digest, EndpointId, TaskId, Tenant};
use catchment::domain::task::Origin;
use catchment::domain::time::Timestamp;
use catchment::ports::endpoints::*;
use catchment::ports::overdue::Overdue as _;
use catchment::ports::store::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

#[path = "migrations/deliveries.rs"]
mod deliveries; // version 9
#[path = "migrations/fair_calls.rs"]
mod fair_calls; // version 8
#[path = "migrations/waking.rs"]
mod waking; // version 10
#[path = "migrations/ways_out.rs"]
mod ways_out; // version 3

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// The newest schema.
const LATEST: i32 = 10;

fn try_open(path: &Path, role: Role) -> Result<Arc<SqliteStore>, OpenError> {
    SqliteStore::open(OpenOptions {
        path: path.to_owned(),
        now: NOW,
        role,
    })
}

fn serve(path: &Path) -> Arc<SqliteStore> {
    try_open(path, Role::Serve).unwrap()
}

/// A directory and the path of a database in it, not made yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data").join("catchment.db");
    (dir, path)
}

fn side_file(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Changes a closed database by hand.
fn edit(path: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(sql).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}

/// Refused with an error that names the file; not one byte of it differs afterwards.
fn refused(path: &Path, role: Role) -> OpenError {
    let before = fs::read(path).unwrap();
    let error = try_open(path, role).err().expect("it must be refused");
    assert_eq!(fs::read(path).unwrap(), before, "untouched");
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    error
}

fn adoption() -> catchment::domain::transition::Transition {
    let s = Duration::from_secs;
    let policy = Policy {
        poll_first_after: s(1),
        poll_max_interval: s(1),
        poll_deadline: s(1),
        trust_after: s(1),
        retry_max_interval: s(1),
        resend_window: s(1),
        max_hold: s(1),
        at_risk_after: 0.5,
        default_ttl: s(1),
    };
    let id = TaskId(Uuid::from_u128(1));
    TaskFile::adopt(id, Tenant::default_tenant(), Origin::Imported, &policy, NOW)
}

#[tokio::test]
async fn a_new_database_is_made_for_its_owner_alone() {
    let (_dir, path) = place();
    let store = serve(&path);
    store.check_writable().await.unwrap();
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mode = fs::metadata(side_file(&path, suffix))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    let upgrade = store.opened().upgrade.clone().unwrap();
    assert_eq!((upgrade.from, upgrade.to, upgrade.backup), (0, LATEST, None));
    drop(store);
    let header = fs::read(&path).unwrap();
    assert_eq!(&header[68..72], b"CTCH");
    assert_eq!(header[60..64], LATEST.to_be_bytes());
}

/// A database as a service of schema `version` left it, with these rows.
fn left_by(version: i32, path: &Path, rows: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut conn = rusqlite::Connection::open(path).unwrap();
    let all =
        refinery::load_sql_migrations(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    refinery::Runner::new(&all)
        .set_target(refinery::Target::Version(version))
        .run(&mut conn)
        .unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    drop(conn);
    edit(path, rows);
}

/// Each schema is kept here with rows of every kind: the first one by `ROWS`.
#[tokio::test]
async fn g11_a_database_of_the_first_schema_is_brought_up_to_date_with_all_its_rows() {
    let (_dir, path) = place();
    left_by(1, &path, ROWS);
    let store = serve(&path);
    let upgrade = store.opened().upgrade.clone().unwrap();
    assert_eq!((upgrade.from, upgrade.to), (1, LATEST));
    assert!(upgrade.backup.is_some_and(|copy| copy.exists()));
    let ids = [2, 3].map(|n| TaskId(Uuid::from_u128(n)));
    let done = store.task(None, ids[0]).await.unwrap().unwrap();
    assert_eq!((done.archived(), done.task.labels["shot"].as_str()), (1, "1"));
    let open = store.task(None, ids[1]).await.unwrap().unwrap();
    assert_eq!(open.assets[0].trouble.dead_tries, 2);
    assert!(open.assets[0].intent.is_some());
    assert_eq!(store.document(ids[0]).await.unwrap(), None, "erased");
    assert_eq!(store.document(ids[1]).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(*store.last_sequence().borrow(), 2);
    let lines = store.timeline(ids[0]).await.unwrap();
    let kinds: Vec<&str> = lines.iter().map(|l| l.kind.as_str()).collect();
    assert_eq!(kinds, ["accepted", "callback", "delivery_attempt"]);
    let endpoints = store.endpoints(None).await.unwrap();
    assert_eq!(endpoints.len(), 2);
    assert_eq!((endpoints[0].disabled, endpoints[0].labels.len()), (None, 0));
    assert_eq!(endpoints[1].disabled.unwrap().reason, DisabledReason::Gone);
    assert_eq!(store.keys().await.unwrap().len(), 1);
    let query = DeliveryQuery {
        tenant: Tenant::default_tenant(),
        endpoint: EndpointId("ep_1".to_owned()),
        statuses: vec![],
        since: None,
        until: None,
        event: None,
        limit: 10,
        cursor: None,
    };
    let waiting = store
        .deliveries(&query)
        .await
        .unwrap()
        .unwrap()
        .deliveries
        .remove(0);
    assert_eq!((waiting.task, waiting.attempts.len()), (Some(ids[0]), 1));
    let claim = Claim {
        now: NOW,
        lease: Duration::from_secs(1),
        limit: 10,
    };
    assert_eq!(store.claim_copies(claim).await.unwrap().len(), 1);
    assert_eq!(store.claim_deliveries(claim, 10).await.unwrap().len(), 1);
    let figures = store.figures(NOW).await.unwrap();
    assert_eq!(figures.tasks.iter().map(|(_, n)| n).sum::<u64>(), 2);
    let log = EventQuery {
        tenant: Tenant::default_tenant(),
        after: 0,
        limit: 10,
        types: vec![],
        models: vec![],
        labels: Default::default(),
        task: None,
    };
    let log = store.events(&log).await.unwrap();
    assert_eq!((log.events.len(), log.oldest), (2, 0), "nothing was removed yet");
    store.quick_check().unwrap();
}

/// What a task or an event is made of goes with it: a table that keeps a reference must say how.
#[test]
fn whatever_refers_to_a_task_or_an_event_goes_with_it() {
    let (_dir, path) = place();
    drop(serve(&path));
    let conn = rusqlite::Connection::open(&path).unwrap();
    let sql = "SELECT m.name, f.\"from\", f.\"table\" FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f \
         WHERE m.type = 'table' AND f.\"table\" IN ('tasks', 'events') AND f.on_delete = 'NO ACTION' ORDER BY 1";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
    let kept: Vec<[String; 3]> = rows.unwrap().map(Result::unwrap).collect();
    // Both are let go of by the statements of retention.
    let known = [
        ["deliveries", "event_sequence", "events"],
        ["events", "task_id", "tasks"],
    ];
    assert_eq!(kept, known);
}

const ROWS: &str = r#"
INSERT INTO tasks (id, uuid, tenant, version, status, origin, submission, outcome, model, number_results, items_named,
  labels, ttl_ms, cost, failures, round, event_count, queries, created_at, submitted_at, deadline, settled_at, attempts,
  due_at, receipt_count)
VALUES
  (1, x'00000000000000000000000000000002', 'default', 9, 'completed', 'submitted', 'confirmed', 'known', 'm', 1, 1,
   '{"shot":"1"}', 1000, 4.35, '[]', 1, 1, 0, 0, 0, 0, 5, 0, NULL, 1),
  (2, x'00000000000000000000000000000003', 'default', 3, 'archiving', 'submitted', 'confirmed', 'open', 'm', 2, 0,
   '{}', 1000, NULL, '[{"code":"c","message":"m","contentPolicy":false}]', 1, 1, 2, 0, 0, 0, NULL, 0, 7, 0);
INSERT INTO task_documents (task_id, fingerprint, entry, document) VALUES (1, zeroblob(32), '{}', NULL), (2, zeroblob(32), '{}', '{}');
INSERT INTO idempotency_keys VALUES (1, 'default', 'k', zeroblob(32));
INSERT INTO idempotency_tasks VALUES (1, 0, 1), (1, 1, 2);
INSERT INTO assets (task_id, result_id, status, round, source_url, archive_by, confirmed, nsfw, cost, discovered_at,
  object_bucket, object_key, object_size, object_sha256, object_content_type, archived_at, intent, trouble, attempts,
  due_at)
VALUES
  (1, 'a', 'archived', 1, 'https://x/', 0, 1, 0, 4.35, 0, 'b', 'k', 5, zeroblob(32), 'video/mp4', 5, NULL, NULL, 1, NULL),
  (2, 'b', 'archiving', 1, 'https://x/', 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL,
   '{"key":"k","size":5,"sha256":"0000000000000000000000000000000000000000000000000000000000000000",
     "contentType":"video/mp4","durationMs":null,"width":null,"height":null,"unverified":false}',
   '{"deadTries":2,"deadSince":1,"badTries":0,"badSince":null,"failedTries":0,"wantsFresh":true,"refreshed":false}',
   1, 3);
INSERT INTO receipts VALUES (1, 1, zeroblob(32), 2, 7, NULL), (2, 2, zeroblob(32), 2, 1, x'00');
INSERT INTO events VALUES
  (1, 'evt_1', 'asset.archived', 'default', 1, 1, 5, '{"taskUUID":"x","labels":{}}'),
  (2, 'evt_2', 'asset.discovered', 'default', 2, 1, 5, '{"labels":{}}');
INSERT INTO timeline (id, task_id, at, kind, detail) VALUES (1, 1, 1, 'accepted', '{}');
INSERT INTO endpoints VALUES (1, 'ep_1', 'default', 'https://hooks/', '["asset.archived"]', 'standard', x'00', 0, NULL, 0, 2),
  (2, 'ep_2', 'default', '', '[]', 'standard', x'', 0, 5, 1, 2),
  (3, 'ep_3', 'default', 'https://gone/', '[]', 'standard', x'00', 0, 5, 0, 2);
INSERT INTO deliveries (id, event_sequence, endpoint_id, status, attempts, due_at) VALUES
  (1, 1, 1, 'waiting', 1, 9), (2, 1, 2, 'dead', 1, NULL);
INSERT INTO attempts VALUES (1, 1, 1, 6, 12, 503, NULL, 7000, 'busy');
INSERT INTO api_keys VALUES ('key_1', 'default', 'first', zeroblob(32), 0, NULL);
INSERT INTO operator_log VALUES (1, 0, 'default', 'key_1', 'retry', 'x', '{}');
INSERT INTO tombstones VALUES (zeroblob(16), 0);
"#;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// A database as the program with this newest migration left it.
fn of_version(path: &Path, version: i32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    embedded::migrations::runner()
        .set_grouped(true)
        .set_target(refinery::Target::Version(version))
        .run(&mut conn)
        .unwrap();
}

#[tokio::test]
async fn v0005_what_waits_already_is_told_as_at_risk_after_half_of_its_time() {
    let (_dir, path) = place();
    of_version(&path, 1);
    edit(&path, ROWS);
    edit(
        &path,
        "UPDATE assets SET discovered_at = 1000, archive_by = 9000 WHERE result_id = 'b'",
    );
    let store = serve(&path);
    assert!(store.opened().upgrade.as_ref().unwrap().backup.is_some(), "G11");
    let at = |ms| Timestamp::from_millis(ms);
    assert!(store.at_risk(at(4999), 10).await.unwrap().is_empty());
    let due = store.at_risk(at(5000), 10).await.unwrap();
    assert_eq!(due.len(), 1, "and what is archived never: {due:?}");
    assert_eq!(due[0].result.as_str(), "b");
    let lines = store.timeline(TaskId(Uuid::from_u128(2))).await.unwrap();
    assert_eq!(
        lines[0].detail,
        serde_json::json!({}),
        "a line that happened once says nothing of it"
    );
}

#[tokio::test]
async fn v0007_objects_of_before_are_of_their_own_round_and_imports_are_put_in_order() {
    let (_dir, path) = place();
    of_version(&path, 1);
    edit(&path, ROWS);
    // Imported by the program before, and not asked about yet: the first in the queue is dead, the second is not.
    edit(
        &path,
        "UPDATE tasks SET status = 'submitted', origin = 'imported', queries = 0, due_at = 7 WHERE id = 2; \
         INSERT INTO tasks (id, uuid, tenant, version, status, origin, submission, outcome, model, number_results, \
           items_named, labels, ttl_ms, failures, round, event_count, queries, created_at, submitted_at, deadline, \
           attempts, due_at) \
         VALUES (3, x'00000000000000000000000000000004', 'default', 1, 'submitted', 'imported', 'confirmed', 'open', \
           'm', 1, 0, '{}', 100000, '[]', 1, 0, 0, 0, 0, 9000, 0, 8000)",
    );
    let store = serve(&path);
    assert!(store.opened().upgrade.as_ref().unwrap().backup.is_some(), "G11");
    let done = store
        .task(None, TaskId(Uuid::from_u128(2)))
        .await
        .unwrap()
        .unwrap();
    assert!(done.assets[0].state.stored().is_some() && done.assets[0].left.is_none());
    let claim = Claim {
        now: Timestamp::from_millis(7000),
        lease: Duration::from_secs(1),
        limit: 1,
    };
    let first = store.claim_queries(claim).await.unwrap().remove(0);
    assert_eq!(first.item.file.task.id, TaskId(Uuid::from_u128(4)));
    store.quick_check().unwrap();
}

#[tokio::test]
async fn a_newer_database_is_refused_untouched() {
    let (_dir, path) = place();
    drop(serve(&path));
    edit(&path, &format!("PRAGMA user_version = {}", LATEST + 1));
    for role in [Role::Serve, Role::Beside] {
        let error = refused(&path, role);
        let newer =
            matches!(error, OpenError::Newer { found, known, .. } if (found, known) == (LATEST + 1, LATEST));
        assert!(newer, "{error}");
    }
    assert!(matches!(migrate(&path), Err(OpenError::Newer { .. })));
    edit(&path, &format!("PRAGMA user_version = {LATEST}"));
    serve(&path);
}

#[test]
fn f6_another_applications_database_is_refused() {
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    edit(&path, "CREATE TABLE theirs (x); PRAGMA application_id = 7");
    assert!(matches!(refused(&path, Role::Serve), OpenError::Foreign { .. }));
    edit(&path, "PRAGMA application_id = 0; PRAGMA user_version = 3");
    assert!(
        matches!(refused(&path, Role::Serve), OpenError::Foreign { .. }),
        "unnamed, but not empty"
    );
}

#[test]
fn f6_a_file_that_is_no_database_is_refused() {
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "TASKS,1,2,3\n".repeat(400)).unwrap();
    assert!(matches!(
        refused(&path, Role::Serve),
        OpenError::NotADatabase { .. }
    ));
    fs::write(&path, "short").unwrap();
    assert!(matches!(
        refused(&path, Role::Beside),
        OpenError::NotADatabase { .. }
    ));
}

/// Damage in the middle is found after an unclean stop; the file is left for whoever repairs it.
#[tokio::test]
async fn f6_a_damaged_database_is_refused_after_an_unclean_stop() {
    let (_dir, path) = place();
    let store = serve(&path);
    store.adopt(adoption()).await.unwrap();
    drop(store);
    edit(&path, "UPDATE meta SET value = '0' WHERE key = 'clean_stop'");
    let mut bytes = fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(2).take(30) {
        page[..200].fill(0xA5);
    }
    fs::write(&path, bytes).unwrap();
    let error = refused(&path, Role::Serve);
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn f6_a_read_only_database_is_refused() {
    let (_dir, path) = place();
    drop(serve(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(refused(&path, Role::Serve), OpenError::ReadOnly { .. }));
}

#[tokio::test]
async fn two_services_on_one_file_are_refused_and_a_command_beside_is_not() {
    let (_dir, path) = place();
    let first = serve(&path);
    assert!(matches!(
        try_open(&path, Role::Serve),
        Err(OpenError::Locked { .. })
    ));
    assert!(matches!(migrate(&path), Err(OpenError::Locked { .. })));
    let beside = try_open(&path, Role::Beside).unwrap();
    let key = NewApiKey {
        id: "key_1".to_owned(),
        tenant: Tenant::default_tenant(),
        name: "first".to_owned(),
        sha256: Digest([1; 32]),
        created_at: NOW,
    };
    beside.create_key(key).await.unwrap();
    assert_eq!(first.keys().await.unwrap().len(), 1, "seen at once");
    drop(beside);
    first.adopt(adoption()).await.unwrap();
    drop(first);
    let next = serve(&path);
    assert!(
        !next.opened().unclean_stop,
        "the command beside did not spoil the mark"
    );
}

#[tokio::test]
async fn a_command_may_come_before_the_first_service() {
    let (_dir, path) = place();
    let beside = try_open(&path, Role::Beside).unwrap();
    assert_eq!(beside.opened().upgrade.as_ref().unwrap().to, LATEST);
    let service = serve(&path);
    service.check_writable().await.unwrap();
}

#[test]
fn f6_a_schema_version_nobody_wrote_is_refused() {
    let (_dir, path) = place();
    drop(serve(&path));
    edit(&path, "PRAGMA user_version = 0");
    for role in [Role::Serve, Role::Beside] {
        let error = refused(&path, role);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    }
}

/// F24: killed before the first schema was committed.
#[tokio::test]
async fn f24_an_interrupted_first_start_is_taken_up() {
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    serve(&path).check_writable().await.unwrap();
    let (_dir, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    edit(
        &path,
        "PRAGMA journal_mode = WAL; CREATE TABLE x (y); DROP TABLE x",
    );
    serve(&path).check_writable().await.unwrap();
}

#[test]
fn migrate_makes_the_schema_and_then_has_nothing_to_do() {
    let (_dir, path) = place();
    let first = migrate(&path).unwrap().unwrap();
    assert_eq!((first.from, first.to), (0, LATEST));
    assert_eq!(migrate(&path).unwrap(), None);
}

#[tokio::test]
async fn a_backup_is_a_whole_database_and_overwrites_nothing() {
    let (dir, path) = place();
    let store = serve(&path);
    store.adopt(adoption()).await.unwrap();
    let endpoint = Endpoint::new(
        EndpointId::new([1; 16]),
        Tenant::default_tenant(),
        "https://hooks.example.com/".to_owned(),
        Secret(vec![1]),
        NOW,
    );
    store.create_endpoint(endpoint).await.unwrap();
    let target = dir.path().join("backup.db");
    store.back_up(&target).unwrap();
    let mode = fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&target).unwrap();
    assert!(store.back_up(&target).is_err());
    assert_eq!(fs::read(&target).unwrap(), before);
    let restored = serve(&target);
    assert!(
        restored
            .task(None, TaskId(Uuid::from_u128(1)))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(restored.endpoints(None).await.unwrap().len(), 1);
}
