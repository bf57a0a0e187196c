//! Is what lies under a key what we meant to put there?

use super::errors::{classify, unavailable};
use super::{Checksum, LOOK_TIMEOUT, PATIENCE, S3Blobs, within};
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::ports::blobs::{BlobError, Compared};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

impl S3Blobs {
    pub(super) async fn look(
        &self,
        key: &ObjectKey,
        size_bytes: u64,
        sha256: &Digest,
    ) -> Result<Compared, BlobError> {
        match self.head(key).await? {
            Some(found) => self.look_closer(key, &found, size_bytes, sha256).await,
            None => Ok(Compared::Absent),
        }
    }

    /// At an object that HEAD has found.
    pub(super) async fn look_closer(
        &self,
        key: &ObjectKey,
        found: &HeadObjectOutput,
        size_bytes: u64,
        sha256: &Digest,
    ) -> Result<Compared, BlobError> {
        if found.content_length().and_then(|n| u64::try_from(n).ok()) != Some(size_bytes) {
            return Ok(Compared::Other);
        }
        match sha256_of_the_whole(found) {
            Some(stored) => Ok(same_if(stored == BASE64_STANDARD.encode(sha256.0))),
            None => self.read_back(key, sha256).await,
        }
    }

    /// `None` when there is no object. A HEAD cannot tell a missing bucket from a missing key, and without leave to
    /// list the bucket AWS answers 403 for a missing key.
    pub(super) async fn head(&self, key: &ObjectKey) -> Result<Option<HeadObjectOutput>, BlobError> {
        let mut request = self.client.head_object().bucket(&self.options.bucket).key(&key.0);
        if self.options.checksum == Checksum::Sha256 {
            request = request.checksum_mode(ChecksumMode::Enabled);
        }
        match within(LOOK_TIMEOUT, request.send()).await? {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(&error)),
        }
    }

    /// Whether the bucket answers to our credentials. HEAD says no more than a status about expired keys or a foreign
    /// region, so what it refuses is asked again by GET, whose answer names the reason.
    pub(super) async fn bucket_answers(&self) -> Result<(), BlobError> {
        let head = self.client.head_bucket().bucket(&self.options.bucket);
        let refused = match within(LOOK_TIMEOUT, head.send()).await? {
            Ok(_) => return Ok(()),
            Err(error) => classify(&error),
        };
        if !matches!(refused, BlobError::Misconfigured { .. }) {
            return Err(refused);
        }
        let get = self.client.get_bucket_location().bucket(&self.options.bucket);
        match within(LOOK_TIMEOUT, get.send()).await?.map_err(|e| classify(&e)) {
            // A right of its own, which says nothing about the others.
            Ok(_) => Err(refused),
            Err(BlobError::Misconfigured { code }) if code == "access_denied" => Err(refused),
            Err(named) => Err(named),
        }
    }

    /// Reads the object once, hashing as it flows: for stores, checksum settings and multipart objects without a
    /// SHA-256 of the whole.
    async fn read_back(&self, key: &ObjectKey, sha256: &Digest) -> Result<Compared, BlobError> {
        let request = self.client.get_object().bucket(&self.options.bucket).key(&key.0);
        match within(LOOK_TIMEOUT, request.send()).await? {
            Ok(object) => Ok(same_if(hash(object.body).await? == *sha256)),
            Err(error) if is_absent(&error) => Ok(Compared::Absent),
            Err(error) => Err(classify(&error)),
        }
    }
}

/// The checksum of an object that went up in parts is one over its parts' checksums, marked by `-<parts>`.
pub(super) fn sha256_of_the_whole(found: &HeadObjectOutput) -> Option<&str> {
    found.checksum_sha256().filter(|sum| !sum.contains('-'))
}

pub(super) async fn hash(mut body: ByteStream) -> Result<Digest, BlobError> {
    let mut hash = Sha256::new();
    while let Some(chunk) = within(PATIENCE, body.next()).await? {
        hash.update(chunk.map_err(|_| unavailable("reset"))?);
    }
    Ok(Digest(hash.finalize().into()))
}

pub(super) fn is_absent<E>(error: &SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|answer| answer.status().as_u16() == 404)
}

fn same_if(same: bool) -> Compared {
    if same { Compared::Same } else { Compared::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_over_parts_is_not_one_of_the_whole() {
        let found = |sum: &str| HeadObjectOutput::builder().checksum_sha256(sum).build();
        assert_eq!(sha256_of_the_whole(&found("4Ij3=")), Some("4Ij3="));
        assert_eq!(sha256_of_the_whole(&found("4Ij3=-2")), None);
    }
}
