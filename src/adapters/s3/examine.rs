//! Does the store do what the settings count on? Tried with two small objects that never change.

use super::errors::classify;
use super::{Checksum, CreateOnly, LOOK_TIMEOUT, S3Blobs, within};
use crate::domain::asset::ObjectKey;
use crate::ports::blobs::{BlobError, Put};
use crate::ports::promises::{FOLDER, Finding, Promises};
use async_trait::async_trait;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;

const CONTENT: &[u8] = b"Catchment looks here whether this store keeps what the settings count on.\n";

/// Well-formed, and of other bytes than [`CONTENT`].
const WRONG_SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
const WRONG_CRC64: &str = "AAAAAAAAAAA=";

#[async_trait]
impl Promises for S3Blobs {
    async fn examine(&self, prefix: &str) -> Result<Vec<Finding>, BlobError> {
        // What was written under other settings proves nothing about these.
        let kind = match self.options.checksum {
            Checksum::Sha256 => "sha256",
            Checksum::Crc64Nvme => "crc64nvme",
            Checksum::None => "none",
        };
        let kept = ObjectKey(format!("{prefix}{FOLDER}probe-{kind}"));
        let refused = ObjectKey(format!("{prefix}{FOLDER}refused-{kind}"));
        let written = match self.options.create_only {
            CreateOnly::Native => self.writes_once(&kept).await?,
            CreateOnly::Head => self.writes_after_a_look(&kept).await?,
        };
        if let Some(Finding::KnowsNoCreateOnly | Finding::KnowsNoChecksum) = written {
            return Ok(written.into_iter().collect()); // nothing was stored that could be looked at
        }
        let kept = self.keeps(&kept).await?;
        if let Some(Finding::KeepsNothing) = kept {
            return Ok(kept.into_iter().collect()); // none of its answers means anything
        }
        let taken = self.takes_wrong_checksum(&refused).await?;
        Ok([written, taken, kept].into_iter().flatten().collect())
    }
}

impl S3Blobs {
    async fn writes_once(&self, key: &ObjectKey) -> Result<Option<Finding>, BlobError> {
        match send(self.probe_request(key)).await {
            Ok(()) => {}
            Err(BlobError::Exists) => return Ok(None), // it knew, and refused
            Err(BlobError::Misconfigured { code }) if code == "not_implemented" => {
                return self.what_is_not_implemented(key).await.map(Some);
            }
            Err(e) => return Err(e),
        }
        match send(self.probe_request(key)).await {
            Ok(()) => Ok(Some(Finding::Overwrites)),
            Err(BlobError::Exists) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The condition or the checksum: whichever it takes without the other.
    async fn what_is_not_implemented(&self, key: &ObjectKey) -> Result<Finding, BlobError> {
        match send(self.probe_request(key).set_if_none_match(None)).await {
            Ok(()) => Ok(Finding::KnowsNoCreateOnly),
            Err(BlobError::Misconfigured { code }) if code == "not_implemented" => {
                Ok(Finding::KnowsNoChecksum)
            }
            Err(e) => Err(e),
        }
    }

    async fn writes_after_a_look(&self, key: &ObjectKey) -> Result<Option<Finding>, BlobError> {
        if self.head(key).await?.is_none() {
            send(self.probe_request(key)).await?;
        }
        let decides = send(self.probe_request(key).if_none_match("*")).await;
        Ok(matches!(decides, Err(BlobError::Exists)).then_some(Finding::CouldCreateOnly))
    }

    /// Under a key of its own: a store that takes it, takes it once.
    async fn takes_wrong_checksum(&self, key: &ObjectKey) -> Result<Option<Finding>, BlobError> {
        let request = self.probe_request(key).set_checksum_algorithm(None);
        let request = match self.options.checksum {
            Checksum::Sha256 => request.checksum_sha256(WRONG_SHA256),
            Checksum::Crc64Nvme => request.checksum_crc64_nvme(WRONG_CRC64),
            Checksum::None => return Ok(None),
        };
        if self.options.create_only == CreateOnly::Head && self.head(key).await?.is_some() {
            return Ok(Some(Finding::TakesWrongChecksum));
        }
        match send(request).await {
            Ok(()) => Ok(Some(Finding::TakesWrongChecksum)),
            // Taken at an earlier start, if the store keeps what it refuses; what matters is that it said no to it.
            Err(BlobError::Exists | BlobError::Refused { .. }) => Ok(None),
            Err(BlobError::Unavailable { code, .. }) if code == "checksum_mismatch" => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn keeps(&self, key: &ObjectKey) -> Result<Option<Finding>, BlobError> {
        let Some(found) = self.head(key).await? else {
            return Ok(Some(Finding::KeepsNothing));
        };
        let untold = self.options.checksum == Checksum::Sha256 && found.checksum_sha256().is_none();
        Ok(untold.then_some(Finding::KeepsNoChecksum))
    }

    /// As a result is sent: with its encryption, class and tags.
    fn probe_request(&self, key: &ObjectKey) -> PutObjectFluentBuilder {
        let put = Put {
            key: key.clone(),
            size_bytes: Some(CONTENT.len() as u64),
            content_type: "text/plain".to_owned(),
            metadata: vec![],
            sha256: None,
        };
        self.put_request(&put).body(ByteStream::from_static(CONTENT))
    }
}

async fn send(request: PutObjectFluentBuilder) -> Result<(), BlobError> {
    let answer = within(LOOK_TIMEOUT, request.send()).await?;
    answer.map(drop).map_err(|e| classify(&e))
}
