//! The journal as small JSON objects beside the results.

use super::errors::{classify, refused};
use super::{CreateOnly, LOOK_TIMEOUT, S3Blobs, within};
use crate::domain::asset::{ObjectExt, ObjectKey};
use crate::domain::identity::Identity;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::blobs::BlobError;
use crate::ports::journal::{Journal, JournalNames, Kept, Recalled};
use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Largest entry read, in bytes: labels are at most 1 KiB, escaped at most six times that.
const MAX_ENTRY_BYTES: u64 = 64 * 1024;

/// Entries read at once: small requests, mostly waiting for their answers.
const READS_AT_ONCE: usize = 32;

/// The form of the entries. A reader refuses a later one by name.
const VERSION: u32 = 1;

pub struct S3Journal {
    blobs: Arc<S3Blobs>,
    /// `{s3.prefix}.journal/`
    folder: String,
}

impl S3Journal {
    pub fn new(blobs: Arc<S3Blobs>, prefix: &str) -> Self {
        Self {
            blobs,
            folder: format!("{prefix}.journal/"),
        }
    }

    fn key(&self, id: TaskId) -> ObjectKey {
        ObjectKey(format!("{}{id}", self.folder))
    }
}

#[async_trait]
impl Journal for S3Journal {
    async fn keep(&self, identity: &Identity) -> Result<Kept, BlobError> {
        let (key, s3) = (self.key(identity.id), &self.blobs);
        if s3.options.create_only == CreateOnly::Head && s3.head(&key).await?.is_some() {
            return Ok(Kept::Before);
        }
        // Neither class nor tags: an entry must be readable at once, and outlive what a rule removes by its tag.
        let request = s3
            .client
            .put_object()
            .bucket(&s3.options.bucket)
            .key(&key.0)
            .content_type("application/json")
            .set_if_none_match(s3.if_none_match())
            .set_checksum_algorithm(s3.algorithm())
            .set_server_side_encryption(s3.options.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(s3.options.kms_key.clone())
            .body(ByteStream::from(Entry::of(identity).text()));
        match within(LOOK_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))
        {
            Ok(_) => Ok(Kept::New),
            Err(BlobError::Exists) => Ok(Kept::Before),
            Err(e) => Err(e),
        }
    }

    async fn recall(&self, id: TaskId) -> Result<Option<Identity>, BlobError> {
        let Some(bytes) = self.blobs.read_small(&self.key(id), MAX_ENTRY_BYTES).await? else {
            return Ok(None);
        };
        let entry: Option<Entry> = serde_json::from_slice(&bytes).ok();
        let identity = entry
            .filter(|entry| entry.version == VERSION)
            .and_then(Entry::identity);
        match identity {
            Some(identity) if identity.id == id => Ok(Some(identity)),
            _ => Err(refused("unreadable_journal_entry")),
        }
    }

    async fn recall_all(&self, ids: &[TaskId]) -> Result<Recalled, BlobError> {
        let mut reads = vec![];
        for id in ids {
            reads.push(self.recall(*id));
        }
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        let mut recalled = Recalled::default();
        while let Some(read) = reads.next().await {
            match read {
                Ok(identity) => recalled.identities.extend(identity),
                Err(BlobError::Refused { .. }) => recalled.unreadable += 1,
                Err(e) => return Err(e),
            }
        }
        Ok(recalled)
    }

    async fn list(&self, after: Option<TaskId>, limit: u32) -> Result<JournalNames, BlobError> {
        let mut start_after = after.map(|id| self.key(id).0);
        loop {
            let page = self.keys(start_after.as_deref(), limit).await?;
            // Anything else in the folder is not ours.
            let own = |key: &String| TaskId::parse(key.strip_prefix(&self.folder)?);
            let ids: Vec<TaskId> = page.keys.iter().filter_map(own).collect();
            if ids.is_empty() && page.more {
                let further = page.keys.into_iter().next_back();
                if further <= start_after {
                    return Err(BlobError::Refused {
                        code: "listing_goes_in_circles".to_owned(),
                    });
                }
                start_after = further;
                continue;
            }
            return Ok(JournalNames {
                next: ids.last().copied().filter(|_| page.more),
                ids,
            });
        }
    }
}

struct Keys {
    keys: Vec<String>,
    more: bool,
}

impl S3Journal {
    async fn keys(&self, start_after: Option<&str>, limit: u32) -> Result<Keys, BlobError> {
        let request = self
            .blobs
            .client
            .list_objects_v2()
            .bucket(&self.blobs.options.bucket)
            .prefix(&self.folder)
            .max_keys(i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000))
            .set_start_after(start_after.map(str::to_owned));
        let page = within(LOOK_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))?;
        let named = |object: &aws_sdk_s3::types::Object| object.key().map(str::to_owned);
        Ok(Keys {
            keys: page.contents().iter().filter_map(named).collect(),
            more: page.is_truncated().unwrap_or(false),
        })
    }
}

/// An entry as it is written. No prompt, no link, no secret: whoever may list the bucket may read it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    version: u32,
    #[serde(rename = "taskUUID")]
    task_uuid: String,
    tenant: String,
    created_at: Timestamp,
    model: String,
    number_results: u32,
    labels: BTreeMap<String, String>,
    key_prefix: Option<String>,
    ext: Option<String>,
    /// Seconds.
    ttl: Option<u64>,
}

impl Entry {
    fn of(identity: &Identity) -> Self {
        Self {
            version: VERSION,
            task_uuid: identity.id.to_string(),
            tenant: identity.tenant.0.clone(),
            created_at: identity.created_at,
            model: identity.model.clone(),
            number_results: identity.number_results,
            labels: identity.labels.clone(),
            key_prefix: identity.key_prefix.clone(),
            ext: identity.ext.as_ref().map(|ext| ext.as_str().to_owned()),
            ttl: identity.ttl.map(|ttl| ttl.as_secs()),
        }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers serialize")
    }

    fn identity(self) -> Option<Identity> {
        Some(Identity {
            id: TaskId::parse(&self.task_uuid)?,
            tenant: Tenant(self.tenant),
            created_at: self.created_at,
            model: self.model,
            number_results: self.number_results,
            labels: self.labels,
            key_prefix: self.key_prefix,
            ext: self.ext.as_deref().and_then(ObjectExt::new),
            ttl: self.ttl.map(Duration::from_secs),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let id = TaskId::parse("0c0ffee0-0000-4000-8000-000000000001").unwrap();
        let identity = Identity {
            model: "m".to_owned(),
            number_results: 4,
            labels: BTreeMap::from([("shot".to_owned(), "é\"1".to_owned())]),
            key_prefix: Some("a/b/".to_owned()),
            ext: ObjectExt::new("mp4"),
            ttl: Some(Duration::from_secs(60)),
            ..Identity::bare(id, Tenant("media".to_owned()), Timestamp::from_millis(5))
        };
        let text = Entry::of(&identity).text();
        let read: Entry = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.identity(), Some(identity));
    }
}
