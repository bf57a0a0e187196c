//! Upgrades: a check and a backup first when there is something to lose, then every missing migration in one
//! transaction. Cut off anywhere, the file has the old schema or the new one, entire (F24).

use super::checkpoint::checkpoint;
use super::open::{OpenError, connect, create_private, quick_check, sql, with_suffix};
use rusqlite::Connection;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// The newest schema this program knows: the number of the last file under `migrations/sqlite`.
pub(super) const LATEST: i32 = 10;
/// The same, for those who show it.
pub const SCHEMA: u32 = LATEST.unsigned_abs();

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// 0: there was none.
    pub from: i32,
    pub to: i32,
    /// A copy from before, when there was something to lose.
    pub backup: Option<PathBuf>,
}

pub(super) fn upgrade(path: &Path, from: i32) -> Result<Upgrade, OpenError> {
    let mut conn = connect(path).map_err(|e| sql(path, e))?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(|e| sql(path, e))?;
    if mode != "wal" {
        return Err(failed(
            path,
            format!("the file system cannot hold a write-ahead log ({mode})"),
        ));
    }
    let mut backup_path = None;
    if from > 0 {
        quick_check(path, &conn)?;
        backup_path = Some(back_up_before(path, &conn)?);
    }
    embedded::migrations::runner()
        .set_grouped(true)
        .run(&mut conn)
        .map_err(|e| failed(path, e.to_string()))?;
    // Nobody is served yet. The header in the file itself now tells the version, also to a program that refuses it.
    checkpoint(&conn, "TRUNCATE").map_err(|e| sql(path, e))?;
    Ok(Upgrade {
        from,
        to: LATEST,
        backup: backup_path,
    })
}

fn failed(path: &Path, what: String) -> OpenError {
    OpenError::Migration {
        path: path.to_owned(),
        what,
    }
}

/// Never overwrites an older backup: a restore followed by another upgrade keeps both.
fn back_up_before(path: &Path, conn: &Connection) -> Result<PathBuf, OpenError> {
    let mut n = 1;
    let target = loop {
        let suffix = match n {
            1 => format!(".before-v{LATEST}"),
            n => format!(".before-v{LATEST}.{n}"),
        };
        let target = with_suffix(path, &suffix);
        if !target.exists() {
            break target;
        }
        n += 1;
    };
    back_up(path, conn, &target)?;
    Ok(target)
}

/// Copies the database as of now into `target`, which must not exist. A copy that was cut off is never found under
/// its final name.
pub(super) fn back_up(path: &Path, conn: &Connection, target: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: target.to_owned(),
        source,
    };
    if target.exists() {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    let part = with_suffix(target, ".part");
    match fs::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
        _ => {} // what an earlier, interrupted backup left
    }
    create_private(&part).map_err(io)?; // VACUUM INTO takes an empty file and keeps its mode
    conn.execute("VACUUM INTO ?1", [part.to_string_lossy()])
        .map_err(|e| sql(path, e))?;
    mark_as_backup(&part).map_err(|e| sql(&part, e))?;
    fs::File::open(&part).and_then(|f| f.sync_all()).map_err(io)?;
    fs::rename(&part, target).map_err(io)?;
    sync_dir(target).map_err(io)
}

/// So that a service which finds it in the database's place knows that time has passed without it.
fn mark_as_backup(part: &Path) -> rusqlite::Result<()> {
    let copy = Connection::open(part)?;
    copy.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('backup', '1')",
        [],
    )?;
    copy.close().map_err(|(_, e)| e)
}

fn sync_dir(path: &Path) -> io::Result<()> {
    match path.parent().filter(|d| !d.as_os_str().is_empty()) {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_version_is_that_of_the_last_migration() {
        let last = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(refinery::Migration::version)
            .max();
        assert_eq!(last, Some(LATEST));
    }

    #[test]
    fn each_migration_names_its_own_version() {
        for m in embedded::migrations::runner().get_migrations() {
            let sql = m.sql().unwrap_or_default();
            assert!(
                sql.contains(&format!("PRAGMA user_version = {};", m.version())),
                "{}",
                m.name()
            );
        }
    }

    /// From the newest schema to itself: the steps around an upgrade are the same.
    #[test]
    fn g11_an_upgrade_checks_and_backs_up_first_and_keeps_every_backup() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        super::super::open::create_private(&path).unwrap();
        assert_eq!(upgrade(&path, 0).unwrap().backup, None);
        let conn = connect(&path).unwrap();
        conn.execute("UPDATE meta SET value = 'kept' WHERE key = 'instance_id'", [])
            .unwrap();
        let backups: Vec<PathBuf> = (0..2)
            .map(|_| upgrade(&path, LATEST).unwrap().backup.unwrap())
            .collect();
        assert_ne!(backups[0], backups[1]);
        for backup in backups {
            assert_eq!(super::super::open::inspect(&backup).unwrap(), LATEST);
            let kept: String = connect(&backup)
                .unwrap()
                .query_row("SELECT value FROM meta WHERE key = 'instance_id'", [], |row| {
                    row.get(0)
                })
                .unwrap();
            assert_eq!(kept, "kept");
        }
    }
}
