//! Against the embedded store for the walk, and against canned answers for what a well-behaved store never does.

mod faults;
mod parts;
mod trailer;
mod whole;

use super::{Access, Checksum, CreateOnly, S3Blobs, S3Options};
use crate::adapters::embedded_s3::EmbeddedS3;
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::ports::blobs::{BlobBody, BlobError, Blobs, BodyAbandoned, Compared, DigestToCome, Put};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tokio::sync::mpsc;
use url::Url;

const BUCKET: &str = "videos";
const MIB: usize = 1024 * 1024;

struct Store {
    dir: TempDir,
    server: EmbeddedS3,
    blobs: S3Blobs,
}

impl Store {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut S3Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = EmbeddedS3::start(dir.path(), "dev", "dev-secret").await.unwrap();
        server.create_bucket(BUCKET).unwrap();
        let mut options = options(server.endpoint());
        change(&mut options);
        let blobs = S3Blobs::connect(options).await;
        Self { dir, server, blobs }
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), BlobError> {
        self.put_told(key, bytes, Some(Digest::of(bytes))).await
    }

    /// As the copier does: the digest is known once all was read.
    async fn put_told(&self, key: &str, bytes: &[u8], digest: Option<Digest>) -> Result<(), BlobError> {
        let told: DigestToCome = Arc::new(digest.map_or_else(OnceLock::new, OnceLock::from));
        let put = Put {
            sha256: Some(told),
            ..put(key, Some(bytes.len()))
        };
        self.blobs.put_stream(put, whole(bytes)).await
    }

    async fn compare(&self, key: &str, bytes: &[u8]) -> Compared {
        let key = ObjectKey(key.to_owned());
        let digest = Digest::of(bytes);
        let compared = self.blobs.compare(&key, bytes.len() as u64, &digest).await;
        compared.unwrap()
    }

    fn holds(&self, key: &str) -> bool {
        self.dir.path().join(BUCKET).join(key).exists()
    }
}

/// What the server keeps beside objects: unfinished files, parts, records of uploads.
fn leftovers(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.contains(".tmp") || name.contains("upload"))
        .collect()
}

fn options(endpoint: Url) -> S3Options {
    S3Options {
        bucket: BUCKET.to_owned(),
        region: None,
        endpoint: Some(endpoint),
        force_path_style: true,
        credentials: Access::Static {
            access_key: "dev".to_owned(),
            secret_key: "dev-secret".into(),
        },
        checksum: Checksum::Sha256,
        create_only: CreateOnly::Native,
        kms_key: None,
        storage_class: None,
        tags: BTreeMap::new(),
        part_size: 5 * MIB,
        unsized_concurrency: 2,
    }
}

fn put(key: &str, size: Option<usize>) -> Put {
    Put {
        key: ObjectKey(key.to_owned()),
        size_bytes: size.map(|n| n as u64),
        content_type: "video/mp4".to_owned(),
        metadata: vec![("task-uuid".to_owned(), "t-1".to_owned())],
        sha256: None,
    }
}

/// All of it, in one go, the sender gone.
fn whole(bytes: &[u8]) -> BlobBody {
    chunks(
        bytes
            .chunks(48 * 1024)
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
            .collect(),
    )
}

fn chunks(all: Vec<Result<Bytes, BodyAbandoned>>) -> BlobBody {
    let (sender, body) = mpsc::channel(all.len().max(1));
    for chunk in all {
        sender.try_send(chunk).unwrap();
    }
    body
}

/// Bytes in which no two places look alike, so that a swapped or repeated part shows.
fn film(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

fn code(error: &BlobError) -> &str {
    match error {
        BlobError::Exists => "exists",
        BlobError::Abandoned => "abandoned",
        BlobError::Refused { code }
        | BlobError::Unavailable { code, .. }
        | BlobError::Misconfigured { code } => code,
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
