//! What lies in the bucket.

use super::errors::{classify, refused, unavailable};
use super::look::{hash, is_absent, sha256_of_the_whole};
use super::{LOOK_TIMEOUT, PATIENCE, S3Blobs, within};
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::ports::blobs::BlobError;
use crate::ports::holdings::{Found, Holdings};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

#[async_trait]
impl Holdings for S3Blobs {
    async fn find(&self, key: &ObjectKey) -> Result<Option<Found>, BlobError> {
        let Some(head) = self.head(key).await? else {
            return Ok(None);
        };
        let size_bytes = head
            .content_length()
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| unavailable("bad_answer"))?;
        let of = |name: &str| head.metadata().and_then(|all| all.get(name)).cloned();
        Ok(Some(Found {
            size_bytes,
            sha256: sha256_of_the_whole(&head).and_then(digest),
            content_type: head.content_type().map(str::to_owned),
            task: of("task-uuid"),
            result: of("result-id"),
        }))
    }

    async fn digest(&self, key: &ObjectKey) -> Result<Option<Digest>, BlobError> {
        let request = self.client.get_object().bucket(&self.options.bucket).key(&key.0);
        match within(LOOK_TIMEOUT, request.send()).await? {
            Ok(object) => hash(object.body).await.map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(&error)),
        }
    }
}

impl S3Blobs {
    /// A small object's bytes; `None`: there is none.
    pub(super) async fn read_small(&self, key: &ObjectKey, most: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let request = self.client.get_object().bucket(&self.options.bucket).key(&key.0);
        let mut object = match within(LOOK_TIMEOUT, request.send()).await? {
            Ok(object) => object,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(classify(&error)),
        };
        let mut bytes = vec![];
        while let Some(chunk) = within(PATIENCE, object.body.next()).await? {
            bytes.extend_from_slice(&chunk.map_err(|_| unavailable("reset"))?);
            if bytes.len() as u64 > most {
                return Err(refused("entity_too_large"));
            }
        }
        Ok(Some(bytes))
    }
}

fn digest(base64: &str) -> Option<Digest> {
    let bytes = BASE64_STANDARD.decode(base64).ok()?;
    bytes.try_into().ok().map(Digest)
}
