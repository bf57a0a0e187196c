//! The object store: any S3 API.
//!
//! Nothing is retried here. A body that streams from a source cannot be sent twice, and when to try again is for the
//! worker to decide; the SDK's own retries are off.

mod body;
mod connect;
mod errors;
mod examine;
mod holdings;
mod journal;
mod links;
mod look;
mod options;
mod parts;
#[cfg(all(test, feature = "dev"))]
mod tests;
mod trailer;

pub use journal::S3Journal;
pub use options::{Access, Checksum, CreateOnly, S3Options};

use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::ports::blobs::{BlobBody, BlobError, Blobs, Compared, Put};
use crate::ports::promises::Finding;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass};
use body::SizedBody;
use errors::{classify, unavailable};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::Semaphore;
use trailer::{Placeholder, PutInTrailer};
use url::form_urlencoded;

/// How long the store may neither take a byte nor answer. Generous: giving up on a large upload costs all of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// For a request without a body to speak of.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// The most that one PutObject may hold (S3's quota page).
const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

pub struct S3Blobs {
    client: Client,
    options: S3Options,
    unsized_turns: Semaphore,
    patience: Duration,
    /// What came of the look at uploads in parts: tried once, since each try leaves one to abort.
    joins: OnceLock<Option<Finding>>,
}

impl S3Blobs {
    /// Sends nothing to the store: the service starts with the store down.
    pub async fn connect(options: S3Options) -> Self {
        Self {
            client: connect::client(&options).await,
            unsized_turns: Semaphore::new(options.unsized_concurrency.max(1)),
            options,
            patience: PATIENCE,
            joins: OnceLock::new(),
        }
    }

    /// The same store over connections of its own. A connection lives on the threads that opened it, so what copies send
    /// over one that somebody else opened is sent by those threads.
    pub fn apart(&self) -> Self {
        Self {
            client: connect::apart(&self.client),
            options: self.options.clone(),
            unsized_turns: Semaphore::new(self.options.unsized_concurrency.max(1)),
            patience: self.patience,
            joins: OnceLock::new(),
        }
    }

    async fn put_whole(&self, put: &Put, size_bytes: u64, chunks: BlobBody) -> Result<(), BlobError> {
        self.refuse_taken_key(put).await?;
        self.stream_whole(put, size_bytes, chunks).await
    }

    /// One PutObject. The answer is returned as soon as it comes, even before the body is through: a store that sees a
    /// taken key says so at once, and the copier can go on draining its source.
    async fn stream_whole(&self, put: &Put, size_bytes: u64, chunks: BlobBody) -> Result<(), BlobError> {
        let (body, upload) = body::sized(chunks, size_bytes);
        let answer = tokio::select! {
            biased; // an answer that is there counts, however late
            answer = self.send_whole(put, body, size_bytes) => answer,
            () = upload.stalled(self.patience) => return Err(unavailable("timeout")),
        };
        match answer {
            Ok(_) => Ok(()),
            Err(_) if upload.was_abandoned() => Err(BlobError::Abandoned),
            Err(error) => Err(classify(&error)),
        }
    }

    /// With the checksum that the sender tells, where it tells the one that the store is to keep.
    async fn send_whole(
        &self,
        put: &Put,
        body: SizedBody,
        size_bytes: u64,
    ) -> Result<PutObjectOutput, SdkError<PutObjectError, HttpResponse>> {
        let request = self.put_request(put);
        let streamed = |body| ByteStream::new(body);
        match (&put.sha256, self.options.checksum) {
            (Some(digest), Checksum::Sha256) => {
                let placeholder = Placeholder(size_bytes);
                let trailer = PutInTrailer::of(body, size_bytes, digest.clone());
                let request = request.body(streamed(SdkBody::from_body_1_x(placeholder)));
                request.customize().interceptor(trailer).send().await
            }
            _ => request.body(streamed(SdkBody::from_body_1_x(body))).send().await,
        }
    }

    fn put_request(&self, put: &Put) -> PutObjectFluentBuilder {
        self.client
            .put_object()
            .bucket(&self.options.bucket)
            .key(&put.key.0)
            .content_type(&put.content_type)
            .set_metadata(Some(put.metadata.iter().cloned().collect()))
            .set_if_none_match(self.if_none_match())
            .set_checksum_algorithm(self.algorithm())
            .set_server_side_encryption(
                self.options
                    .kms_key
                    .as_ref()
                    .map(|_| ServerSideEncryption::AwsKms),
            )
            .set_ssekms_key_id(self.options.kms_key.clone())
            .set_storage_class(self.options.storage_class.as_deref().map(StorageClass::from))
            .set_tagging(self.tagging())
    }

    fn if_none_match(&self) -> Option<String> {
        (self.options.create_only == CreateOnly::Native).then(|| "*".to_owned())
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        match self.options.checksum {
            Checksum::Sha256 => Some(ChecksumAlgorithm::Sha256),
            Checksum::Crc64Nvme => Some(ChecksumAlgorithm::Crc64Nvme),
            Checksum::None => None,
        }
    }

    /// `a=1&b=2`, as the header wants it.
    fn tagging(&self) -> Option<String> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(&self.options.tags);
        Some(pairs.finish()).filter(|tags| !tags.is_empty())
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    fn bucket(&self) -> &str {
        &self.options.bucket
    }

    async fn put_stream(&self, put: Put, body: BlobBody) -> Result<(), BlobError> {
        match put.size_bytes {
            Some(size_bytes) if size_bytes <= MAX_PUT_BYTES => self.put_whole(&put, size_bytes, body).await,
            _ => self.put_parts(&put, body).await,
        }
    }

    async fn compare(
        &self,
        key: &ObjectKey,
        size_bytes: u64,
        sha256: &Digest,
    ) -> Result<Compared, BlobError> {
        self.look(key, size_bytes, sha256).await
    }

    async fn probe(&self) -> Result<(), BlobError> {
        self.bucket_answers().await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, BlobError> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| unavailable("timeout"))
}
