//! Bodies that name no length, and those beyond what one request may hold: part after part, one in memory.

use super::errors::{classify, refused, unavailable};
use super::{CreateOnly, LOOK_TIMEOUT, S3Blobs, within};
use crate::ports::blobs::{BlobBody, BlobError, Put};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// S3's limit; with parts of 5 MiB it is reached at 48 GiB.
const MAX_PARTS: i32 = 10_000;

/// For one part, in memory and of a few MiB: below about 28 KiB/s the link is as good as broken.
const PART_TIMEOUT: Duration = Duration::from_secs(300);

/// S3 may take minutes to join the parts (its CompleteMultipartUpload page).
const COMPLETE_TIMEOUT: Duration = Duration::from_secs(300);

impl S3Blobs {
    pub(super) async fn put_parts(&self, put: &Put, body: BlobBody) -> Result<(), BlobError> {
        let _turn = self
            .unsized_turns
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let mut parts = Parts::new(body, self.options.part_size, put.size_bytes);
        let first = parts.next().await?;
        if parts.ended {
            return self.put_small(put, first).await;
        }
        self.put_joined(put, first, &mut parts).await
    }

    /// As one part what would go as one request: for the look at what a store does where parts are joined.
    pub(super) async fn put_one_part(&self, put: &Put, body: BlobBody) -> Result<(), BlobError> {
        let mut parts = Parts::new(body, self.options.part_size, put.size_bytes);
        let only = parts.next().await?;
        self.put_joined(put, only, &mut parts).await
    }

    async fn put_joined(&self, put: &Put, first: Bytes, parts: &mut Parts) -> Result<(), BlobError> {
        self.abort_leftovers(put).await;
        let upload_id = self.begin(put).await?;
        let stored = self.send_parts(put, &upload_id, first, parts).await;
        if stored.is_err() {
            self.abort(put, &upload_id).await;
        }
        stored
    }

    async fn put_small(&self, put: &Put, whole: Bytes) -> Result<(), BlobError> {
        self.refuse_taken_key(put).await?;
        let request = self.put_request(put).body(ByteStream::from(whole));
        within(PART_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))?;
        Ok(())
    }

    async fn begin(&self, put: &Put) -> Result<String, BlobError> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.options.bucket)
            .key(&put.key.0)
            .content_type(&put.content_type)
            .set_metadata(Some(put.metadata.iter().cloned().collect()))
            .set_checksum_algorithm(self.algorithm())
            .set_server_side_encryption(
                self.options
                    .kms_key
                    .as_ref()
                    .map(|_| ServerSideEncryption::AwsKms),
            )
            .set_ssekms_key_id(self.options.kms_key.clone())
            .set_storage_class(self.options.storage_class.as_deref().map(StorageClass::from))
            .set_tagging(self.tagging());
        let begun = within(LOOK_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))?;
        begun.upload_id.ok_or_else(|| unavailable("bad_answer"))
    }

    async fn send_parts(
        &self,
        put: &Put,
        upload_id: &str,
        first: Bytes,
        parts: &mut Parts,
    ) -> Result<(), BlobError> {
        let mut sent = vec![self.send_part(put, upload_id, 1, first).await?];
        for number in 2.. {
            if parts.ended {
                break;
            }
            if number > MAX_PARTS {
                return Err(refused("entity_too_large"));
            }
            let part = parts.next().await?;
            sent.push(self.send_part(put, upload_id, number, part).await?);
        }
        self.complete(put, upload_id, sent).await
    }

    async fn send_part(
        &self,
        put: &Put,
        upload_id: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, BlobError> {
        let request = self
            .client
            .upload_part()
            .bucket(&self.options.bucket)
            .key(&put.key.0)
            .upload_id(upload_id)
            .part_number(number)
            .set_checksum_algorithm(self.algorithm())
            .body(ByteStream::from(part));
        let stored = within(PART_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(stored.e_tag)
            .set_checksum_sha256(stored.checksum_sha256)
            .set_checksum_crc64_nvme(stored.checksum_crc64_nvme)
            .build())
    }

    async fn complete(&self, put: &Put, upload_id: &str, sent: Vec<CompletedPart>) -> Result<(), BlobError> {
        self.refuse_taken_key(put).await?;
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.options.bucket)
            .key(&put.key.0)
            .upload_id(upload_id)
            .set_if_none_match(self.if_none_match())
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(sent)).build());
        within(COMPLETE_TIMEOUT, request.send())
            .await?
            .map_err(|e| classify(&e))?;
        Ok(())
    }

    /// Parts that an earlier try left under this very key when it was killed (I17). Whoever copies an asset holds its
    /// lease, so an upload found here has lost its own. A store or a policy that lists no uploads leaves them to the
    /// bucket's lifecycle rule.
    async fn abort_leftovers(&self, put: &Put) {
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(&self.options.bucket)
            .prefix(&put.key.0);
        let Ok(Ok(found)) = within(LOOK_TIMEOUT, request.send()).await else {
            return;
        };
        let ours = found.uploads().iter().filter(|u| u.key() == Some(&put.key.0));
        for upload_id in ours.filter_map(|upload| upload.upload_id()) {
            self.abort(put, upload_id).await;
        }
    }

    /// Best effort: what is left behind all the same falls to the next try, or to the bucket's lifecycle rule.
    async fn abort(&self, put: &Put, upload_id: &str) {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.options.bucket)
            .key(&put.key.0)
            .upload_id(upload_id);
        if !matches!(within(LOOK_TIMEOUT, request.send()).await, Ok(Ok(_))) {
            tracing::warn!(object.key = %put.key.0, "an unfinished multipart upload could not be aborted");
        }
    }

    /// The look before the write, for stores that cannot decide by themselves.
    pub(super) async fn refuse_taken_key(&self, put: &Put) -> Result<(), BlobError> {
        match self.options.create_only {
            CreateOnly::Native => Ok(()),
            CreateOnly::Head if self.head(&put.key).await?.is_none() => Ok(()),
            CreateOnly::Head => Err(BlobError::Exists),
        }
    }
}

/// Cuts a body into parts of exactly `part_bytes`, the last one excepted.
struct Parts {
    body: BlobBody,
    part_bytes: usize,
    /// The whole length, if the sender named it.
    size_bytes: Option<u64>,
    seen: u64,
    /// Received, and too much for the part before.
    spare: Bytes,
    ended: bool,
}

impl Parts {
    fn new(body: BlobBody, part_bytes: usize, size_bytes: Option<u64>) -> Self {
        Self {
            body,
            part_bytes,
            size_bytes,
            seen: 0,
            spare: Bytes::new(),
            ended: false,
        }
    }

    /// The next part. Looks one chunk ahead, so that `ended` is true with the last part and not after it.
    async fn next(&mut self) -> Result<Bytes, BlobError> {
        let mut part = BytesMut::with_capacity(self.part_bytes);
        while part.len() < self.part_bytes && self.fill().await? {
            let fitting = self.spare.len().min(self.part_bytes - part.len());
            part.extend_from_slice(&self.spare.split_to(fitting));
        }
        self.fill().await?;
        Ok(part.freeze())
    }

    /// Whether there is more.
    async fn fill(&mut self) -> Result<bool, BlobError> {
        while self.spare.is_empty() && !self.ended {
            match self.body.recv().await {
                Some(chunk) => self.spare = chunk.map_err(|_| BlobError::Abandoned)?,
                None => self.end()?,
            }
            self.seen += self.spare.len() as u64;
        }
        Ok(!self.spare.is_empty())
    }

    /// An empty file is never stored, so a sender that goes away before its first byte has given up. After that, going
    /// away is the end unless a length was named.
    fn end(&mut self) -> Result<(), BlobError> {
        self.ended = true;
        if self.seen == 0 || self.size_bytes.is_some_and(|size| size != self.seen) {
            return Err(BlobError::Abandoned);
        }
        Ok(())
    }
}
