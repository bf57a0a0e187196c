//! The object stores a story can run on.

use super::bucket::Bucket;
use super::seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed};
use catchment::adapters::embedded_s3::EmbeddedS3;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In this process, over a directory; starts at once, and proves no more than the walk.
    Embedded,
    /// In its own process, shared by the test binary; a bucket for each world.
    Seaweed,
}

pub struct ObjectStore {
    pub bucket: Bucket,
    server: Server,
}

enum Server {
    Embedded { _running: EmbeddedS3, folder: PathBuf },
    Seaweed { _running: Arc<Seaweed> },
}

impl ObjectStore {
    pub async fn start(kind: Kind, dir: &Path) -> Self {
        match kind {
            Kind::Embedded => Self::embedded(dir).await,
            Kind::Seaweed => Self::of(Seaweed::shared().await).await,
        }
    }

    /// A new bucket of this server.
    pub async fn of(running: Arc<Seaweed>) -> Self {
        Self {
            bucket: running.bucket().await,
            server: Server::Seaweed { _running: running },
        }
    }

    async fn embedded(dir: &Path) -> Self {
        const NAME: &str = "films";
        let running = EmbeddedS3::start(dir, ACCESS_KEY, SECRET_KEY).await.unwrap();
        running.create_bucket(NAME).unwrap();
        Self {
            bucket: Bucket::at(running.endpoint().as_str(), NAME, ACCESS_KEY, SECRET_KEY),
            server: Server::Embedded {
                _running: running,
                folder: dir.join(NAME),
            },
        }
    }

    pub fn endpoint(&self) -> Url {
        self.bucket.endpoint.parse().unwrap()
    }

    /// Where the embedded store keeps the bucket's files.
    pub fn folder(&self) -> &Path {
        match &self.server {
            Server::Embedded { folder, .. } => folder,
            Server::Seaweed { .. } => panic!("this store keeps no files to look at: ask the bucket"),
        }
    }

    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.bucket.get(key).await
    }

    /// How many objects there are beside those that the service keeps for itself, behind a dot.
    pub async fn count(&self) -> usize {
        match &self.server {
            // Its listing shows unfinished files, too.
            Server::Embedded { folder, .. } => super::files(folder).len(),
            Server::Seaweed { .. } => {
                let keys = self.bucket.keys().await;
                keys.iter().filter(|key| !is_own(key)).count()
            }
        }
    }
}

/// Under `.catchment/` and its like.
pub fn is_own(key: &str) -> bool {
    key.split('/').any(|part| part.starts_with('.'))
}
