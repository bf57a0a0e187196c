//! One suite for the object stores: what the service counts on holds on a store that is not ours, and most of it on the
//! embedded one.

#[path = "object_stores/contract.rs"]
mod contract; // keys, races, checksums, parts
#[path = "object_stores/examined.rs"]
mod examined; // what is found out about a store at start
#[path = "support/outside.rs"]
mod outside;

use bytes::Bytes;
use catchment::adapters::s3::{Access, Checksum, CreateOnly, S3Blobs, S3Options};
use catchment::domain::asset::ObjectKey;
use catchment::domain::ids::Digest;
use catchment::ports::blobs::{BlobBody, BlobError, Blobs as _, Compared, Put};
use outside::bucket::Bucket;
use outside::seaweed::{ACCESS_KEY, SECRET_KEY};
use outside::stores::{Kind, ObjectStore};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

const MIB: usize = 1024 * 1024;
const BOTH: [Kind; 2] = [Kind::Embedded, Kind::Seaweed];

/// A store, and our adapter on it.
struct Subject {
    store: ObjectStore,
    blobs: S3Blobs,
    _dir: tempfile::TempDir,
}

impl Subject {
    async fn on(kind: Kind) -> Self {
        Self::with(kind, |_| {}).await
    }

    async fn with(kind: Kind, change: impl FnOnce(&mut S3Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectStore::start(kind, dir.path()).await;
        let mut options = options(&store.bucket, store.endpoint().as_str());
        change(&mut options);
        Self {
            store,
            blobs: S3Blobs::connect(options).await,
            _dir: dir,
        }
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), BlobError> {
        put(&self.blobs, key, bytes).await
    }

    async fn compare(&self, key: &str, bytes: &[u8]) -> Compared {
        compare(&self.blobs, key, bytes).await
    }
}

fn options(bucket: &Bucket, endpoint: &str) -> S3Options {
    S3Options {
        bucket: bucket.name.clone(),
        region: None,
        endpoint: Some(endpoint.parse().unwrap()),
        force_path_style: true,
        credentials: Access::Static {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.into(),
        },
        checksum: Checksum::Sha256,
        create_only: CreateOnly::Native,
        kms_key: None,
        storage_class: None,
        tags: BTreeMap::new(),
        part_size: 5 * MIB,
        unsized_concurrency: 4,
    }
}

async fn put(blobs: &S3Blobs, key: &str, bytes: &[u8]) -> Result<(), BlobError> {
    put_as(blobs, key, bytes, Digest::of(bytes)).await
}

/// As the copier does: it has hashed the bytes by itself, and tells.
async fn put_as(blobs: &S3Blobs, key: &str, bytes: &[u8], digest: Digest) -> Result<(), BlobError> {
    let put = Put {
        sha256: Some(Arc::new(OnceLock::from(digest))),
        ..described(key, Some(bytes.len()))
    };
    blobs.put_stream(put, whole(bytes)).await
}

async fn compare(blobs: &S3Blobs, key: &str, bytes: &[u8]) -> Compared {
    let key = ObjectKey(key.to_owned());
    let compared = blobs.compare(&key, bytes.len() as u64, &Digest::of(bytes)).await;
    compared.unwrap()
}

fn described(key: &str, size: Option<usize>) -> Put {
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
    let (sender, body) = mpsc::channel(bytes.len() / 50_000 + 1);
    for chunk in bytes.chunks(50_000) {
        sender.try_send(Ok(Bytes::copy_from_slice(chunk))).unwrap();
    }
    body
}

/// Bytes in which no two places look alike, each `seed` another film.
fn film(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_add(seed << 20).wrapping_mul(2_654_435_761) >> 13) as u8)
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
