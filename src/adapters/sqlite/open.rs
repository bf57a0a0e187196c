//! Opening the file: nothing is served, changed or deleted before it is known to be ours, whole and of our version.

use super::migrate::{self, LATEST, Upgrade};
use super::writer::set_clean_stop;
use crate::domain::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// "CTCH", in the header of every file of ours.
pub(super) const APPLICATION_ID: i32 = 0x4354_4348;
/// Older libraries can corrupt a database when the write-ahead log is reset under load.
const MIN_LIBRARY: (i32, &str) = (3_051_003, "3.51.3");
/// How long a statement waits for another process's lock before it is `Unavailable`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Files below this size are checked whole after an unclean stop; larger ones would keep the service down too long.
const CHECK_BELOW_BYTES: u64 = 256 * 1024 * 1024;
const HEADER_BYTES: usize = 100;

#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub path: PathBuf,
    pub now: Timestamp,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The service: holds the lock on `<db>.lock` and migrates.
    Serve,
    /// A command beside a running service: no lock, and no migration of what is there.
    Beside,
}

/// What was found and done on the way.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    pub upgrade: Option<Upgrade>,
    /// The last service on this file did not stop in order.
    pub unclean_stop: bool,
    /// The whole file was checked.
    pub checked: bool,
}

/// Each names the file and what to do. Nothing was changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the SQLite library is {found}, which can corrupt a database; build with {} or newer",
        MIN_LIBRARY.1
    )]
    OldLibrary { found: &'static str },
    #[error("{path}: another catchment has it open (lock file {lock}); stop that one first")]
    Locked { path: PathBuf, lock: PathBuf },
    #[error("{path} is not a SQLite database; move it away or set store.url to another file")]
    NotADatabase { path: PathBuf },
    #[error("{path} is another application's database; set store.url to another file")]
    Foreign { path: PathBuf },
    #[error(
        "{path} was written by a newer catchment (schema {found}, this one knows {known}); \
         run that version, or restore the backup it made (<database>.before-v{found})"
    )]
    Newer { path: PathBuf, found: i32, known: i32 },
    #[error("{path} has schema {found} and needs {known}; start the service or run `catchment migrate` once")]
    NeedsMigration { path: PathBuf, found: i32, known: i32 },
    #[error("{path} cannot be written; make file and directory writable for this user")]
    ReadOnly { path: PathBuf },
    #[error(
        "{path} is damaged ({what}); restore a backup, or recover what is readable with `sqlite3 {path} .recover`"
    )]
    Corrupt { path: PathBuf, what: String },
    #[error("{path}: the upgrade failed and was rolled back: {what}")]
    Migration { path: PathBuf, what: String },
    #[error("{path} cannot be opened; check the directory, its permissions and the free space")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be opened; check the directory, its permissions and the free space")]
    Sql {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
}

/// A file that may be used, and the lock that says so.
pub(super) struct Prepared {
    pub writer: Connection,
    pub opened: Opened,
    pub lock: Option<File>,
}

pub(super) fn prepare(options: &OpenOptions) -> Result<Prepared, OpenError> {
    let path = options.path.as_path();
    require_library()?;
    create_if_missing(path)?;
    let lock = match options.role {
        Role::Serve => Some(take_lock(path)?),
        Role::Beside => None,
    };
    let found = inspect(path)?;
    let upgrade = match (found, options.role) {
        (LATEST, _) => None,
        (0, Role::Beside) => first_schema_beside(path)?,
        (found, Role::Beside) => {
            return Err(OpenError::NeedsMigration {
                path: path.to_owned(),
                found,
                known: LATEST,
            });
        }
        (_, Role::Serve) => Some(migrate::upgrade(path, found)?),
    };
    let writer = connect(path).map_err(|e| sql(path, e))?;
    let mut opened = Opened {
        upgrade,
        ..Opened::default()
    };
    if options.role == Role::Serve {
        begin_service(path, &writer, options.now, &mut opened)?;
    }
    Ok(Prepared { writer, opened, lock })
}

/// Brings the file to the newest schema, after a backup when there is something to lose. For the command line: needs
/// the service to be down.
pub fn migrate(path: &Path) -> Result<Option<Upgrade>, OpenError> {
    require_library()?;
    create_if_missing(path)?;
    let _lock = take_lock(path)?;
    match inspect(path)? {
        LATEST => Ok(None),
        found => migrate::upgrade(path, found).map(Some),
    }
}

/// `keys create` comes before the first `serve`. Under the lock, or two of them would race for it.
fn first_schema_beside(path: &Path) -> Result<Option<Upgrade>, OpenError> {
    let _lock = take_lock(path)?;
    match inspect(path)? {
        LATEST => Ok(None),
        found => migrate::upgrade(path, found).map(Some),
    }
}

fn begin_service(
    path: &Path,
    conn: &Connection,
    now: Timestamp,
    opened: &mut Opened,
) -> Result<(), OpenError> {
    let clean: String = conn
        .query_row("SELECT value FROM meta WHERE key = 'clean_stop'", [], |row| {
            row.get(0)
        })
        .map_err(|e| sql(path, e))?;
    opened.unclean_stop = clean != "1";
    let small = fs::metadata(path).is_ok_and(|m| m.len() < CHECK_BELOW_BYTES);
    opened.checked = opened.upgrade.is_some();
    if opened.unclean_stop && small {
        quick_check(path, conn)?;
        opened.checked = true;
    }
    set_clean_stop(conn, false).map_err(|e| sql(path, e))?;
    conn.execute(
        "INSERT INTO meta (key, value) VALUES ('opened_at', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [now.as_millis().to_string()],
    )
    .map_err(|e| sql(path, e))?;
    Ok(())
}

fn require_library() -> Result<(), OpenError> {
    if rusqlite::version_number() < MIN_LIBRARY.0 {
        return Err(OpenError::OldLibrary {
            found: rusqlite::version(),
        });
    }
    Ok(())
}

/// Only the owner may read it: it holds keys' hashes, prompts and links (T16). SQLite gives its side files the same mode.
fn create_if_missing(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io)?;
    }
    match create_private(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(io(e)),
        _ => Ok(()),
    }
}

pub(super) fn create_private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Held until the file is closed, by this process's end at the latest; a lock file left behind locks nothing.
fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock = with_suffix(path, ".lock");
    let io = |source| OpenError::Io {
        path: lock.clone(),
        source,
    };
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            path: path.to_owned(),
            lock,
        }),
        Err(TryLockError::Error(e)) => Err(io(e)),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The schema version of a file that is ours; 0 for an empty one. The header is read by hand first, so that a file we
/// refuse is not even opened.
pub(super) fn inspect(path: &Path) -> Result<i32, OpenError> {
    if is_read_only(path)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    match read_header(path)? {
        Header::Empty => return Ok(0),
        Header::Other => {
            return Err(OpenError::NotADatabase {
                path: path.to_owned(),
            });
        }
        Header::Sqlite {
            application_id,
            version,
        } => judge(path, application_id, version)?,
    };
    // What the header says may be older than what the log holds, so ask the library too.
    let conn = connect_reader(path).map_err(|e| sql(path, e))?;
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i32>(0));
    let application_id = pragma("application_id").map_err(|e| sql(path, e))?;
    let version = pragma("user_version").map_err(|e| sql(path, e))?;
    judge(path, application_id, version)?;
    if application_id == APPLICATION_ID {
        return match version {
            1.. => Ok(version),
            _ => Err(OpenError::Corrupt {
                path: path.to_owned(),
                what: format!("schema version {version}, which was never written"),
            }),
        };
    }
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| sql(path, e))?;
    if tables == 0 {
        return Ok(0); // a first start that was cut off before its schema was committed
    }
    Err(OpenError::Foreign {
        path: path.to_owned(),
    })
}

fn judge(path: &Path, application_id: i32, version: i32) -> Result<(), OpenError> {
    let path = path.to_owned();
    match application_id {
        0 => Ok(()),
        APPLICATION_ID if version <= LATEST => Ok(()),
        APPLICATION_ID => Err(OpenError::Newer {
            path,
            found: version,
            known: LATEST,
        }),
        _ => Err(OpenError::Foreign { path }),
    }
}

enum Header {
    Empty,
    Sqlite { application_id: i32, version: i32 },
    Other,
}

/// Offsets as in SQLite's description of its file format: user version at 60, application id at 68, big-endian.
fn read_header(path: &Path) -> Result<Header, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = File::open(path).map_err(io)?;
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(io)?;
    if header.is_empty() {
        return Ok(Header::Empty);
    }
    if header.len() < HEADER_BYTES || !header.starts_with(b"SQLite format 3\0") {
        return Ok(Header::Other);
    }
    let int = |at: usize| i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Ok(Header::Sqlite {
        application_id: int(68),
        version: int(60),
    })
}

/// By its mode, and by trying: the administrator may write to anything, but a file marked read-only was meant so.
fn is_read_only(path: &Path) -> Result<bool, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(io)?.permissions().readonly() {
        return Ok(true);
    }
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(false),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(true)
        }
        Err(e) => Err(io(e)),
    }
}

/// Reads the whole file's structure; minutes for a large one.
pub(super) fn quick_check(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let first: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| sql(path, e))?;
    match first.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::Corrupt {
            path: path.to_owned(),
            what: first,
        }),
    }
}

pub(super) fn sql(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotADatabase { path },
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => OpenError::Corrupt {
            path,
            what: source.to_string(),
        },
        Some(rusqlite::ErrorCode::ReadOnly) => OpenError::ReadOnly { path },
        _ => OpenError::Sql { path, source },
    }
}

/// A connection that writes. FULL: every commit is on the disk before it is answered. No mmap: an I/O error would be
/// a signal instead of an error. Checkpoints are the checkpointer's.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(128);
    // Plans do not look at the values: a statement would be compiled again for each new one.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 32 * 1024 * 1024)?; // bytes: what a spike left of the log is given back
    conn.pragma_update(None, "temp_store", "MEMORY")?; // savepoints' undo pages stay off the disk
    conn.pragma_update(None, "cache_size", -32_768)?; // KiB at most; it grows with what is touched
    Ok(conn)
}

pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(path)?;
    conn.pragma_update(None, "cache_size", -2048)?; // KiB
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}
