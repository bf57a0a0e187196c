//! Backups: a consistent copy of the database while all goes on, into a file or into the bucket.

use super::assemble::{open_error, open_store};
use super::wanted::s3_options;
use super::{AppError, clock};
use crate::adapters::s3::{Access, S3Blobs};
use crate::adapters::sqlite;
use crate::config::Settings;
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::domain::time::Timestamp;
use crate::ports::blobs::{BlobError, Blobs as _, BodyAbandoned, Compared, Put};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Where a backup goes.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupTo {
    /// Must not exist.
    File(PathBuf),
    /// `{s3.prefix}.backup/<time>.db`
    Bucket,
}

/// A finished backup.
#[derive(Clone, Debug, PartialEq)]
pub struct BackedUp {
    /// The file, or the key.
    pub place: String,
    /// `None`: a file.
    pub bucket: Option<String>,
    pub size_bytes: u64,
    pub sha256: Digest,
}

/// Bytes read at once, on their way to the bucket.
const CHUNK: usize = 256 * 1024;

/// Copies the database as of now, beside a service that may be running on it.
///
/// # Errors
/// `Failed`: there is no database, the target exists or cannot be written, the bucket refuses.
/// `Busy`: the bucket does not answer now.
pub async fn backup(settings: &Settings, to: BackupTo) -> Result<BackedUp, AppError> {
    let database = settings.database_path();
    if !database.exists() {
        return Err(AppError::Failed {
            what: format!("there is no database at {}", database.display()),
            source: None,
        });
    }
    match to {
        BackupTo::File(target) if target.exists() => Err(AppError::Failed {
            what: format!(
                "{} exists already; a backup writes over nothing",
                target.display()
            ),
            source: None,
        }),
        BackupTo::File(target) => {
            let (size_bytes, sha256) = copy(settings, target.clone()).await?;
            Ok(BackedUp {
                place: target.display().to_string(),
                bucket: None,
                size_bytes,
                sha256,
            })
        }
        BackupTo::Bucket => into_bucket(settings, &database).await,
    }
}

/// `VACUUM INTO`: one read transaction, so a copy of one instant, without what was deleted.
async fn copy(settings: &Settings, target: PathBuf) -> Result<(u64, Digest), AppError> {
    let store = open_store(settings, sqlite::Role::Beside, &*clock())?;
    let copied = tokio::task::spawn_blocking(move || {
        store.back_up(&target).map_err(open_error)?;
        digest(&target).map_err(|e| AppError::failed(format!("{} cannot be read", target.display()), e))
    });
    copied
        .await
        .map_err(|e| AppError::failed("the backup was cut off", e))?
}

async fn into_bucket(settings: &Settings, database: &Path) -> Result<BackedUp, AppError> {
    let bucket = settings.s3.bucket.clone().ok_or_else(|| AppError::Failed {
        what: "s3.bucket is missing".to_owned(),
        source: None,
    })?;
    let now = clock().now();
    // Beside the database, where there is room for one; removed whatever happens.
    let part = Removed(database.with_file_name(format!("backup-{}.tmp", stamp(now))));
    let (size_bytes, sha256) = copy(settings, part.0.clone()).await?;
    let key = ObjectKey(format!("{}.backup/{}.db", settings.s3.prefix, stamp(now)));
    let blobs = S3Blobs::connect(s3_options(settings, Access::DefaultChain)).await;
    let (sender, body) = mpsc::channel(2);
    let file = part.0.clone();
    let reader = tokio::task::spawn_blocking(move || feed(&file, &sender));
    let put = Put {
        key: key.clone(),
        size_bytes: Some(size_bytes),
        content_type: "application/vnd.sqlite3".to_owned(),
        metadata: vec![("sha256".to_owned(), sha256.hex())],
        sha256: None,
    };
    let stored = blobs.put_stream(put, body).await;
    reader
        .await
        .map_err(|e| AppError::failed("the backup was cut off", e))?;
    stored.map_err(|e| refused(&bucket, &e))?;
    match blobs.compare(&key, size_bytes, &sha256).await {
        Ok(Compared::Same) => Ok(BackedUp {
            place: key.0,
            bucket: Some(bucket),
            size_bytes,
            sha256,
        }),
        Ok(Compared::Absent | Compared::Other) => Err(AppError::Failed {
            what: format!("the bucket {bucket} took the backup and does not hold it"),
            source: None,
        }),
        Err(e) => Err(refused(&bucket, &e)),
    }
}

fn feed(file: &Path, body: &mpsc::Sender<Result<Bytes, BodyAbandoned>>) {
    let sent = File::open(file).and_then(|mut file| {
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                n => {
                    let chunk = Bytes::copy_from_slice(&buffer[..n]);
                    if body.blocking_send(Ok(chunk)).is_err() {
                        return Ok(()); // the upload has ended, and says why itself
                    }
                }
            }
        }
    });
    if sent.is_err() {
        let _ = body.blocking_send(Err(BodyAbandoned)); // closed is as good
    }
}

fn refused(bucket: &str, error: &BlobError) -> AppError {
    let what = format!("the bucket {bucket} did not take the backup: {error}");
    match error {
        BlobError::Unavailable { .. } => AppError::Busy { what },
        _ => AppError::Failed { what, source: None },
    }
}

fn digest(path: &Path) -> io::Result<(u64, Digest)> {
    let (mut file, mut hash, mut size) = (File::open(path)?, Sha256::new(), 0);
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, Digest(hash.finalize().into()))),
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// `20260131T120000Z-123`: sorts by time, and is a plain key.
fn stamp(now: Timestamp) -> String {
    let plain: String = now
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    plain.replace('.', "-").replace('Z', "") + "Z"
}

/// A file that is gone when this is.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // it may never have been made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backups_name_sorts_by_time_and_needs_no_escape() {
        assert_eq!(
            stamp(Timestamp::from_millis(1_767_323_045_678)),
            "20260102T030405-678Z"
        );
    }
}
