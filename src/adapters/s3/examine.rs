//! Does the store do what the settings count on? Tried with a few small objects that never change, sent the very way
//! results are sent: stores differ less in what they keep than in which kinds of request they know.

use super::errors::classify;
use super::{Checksum, CreateOnly, LOOK_TIMEOUT, S3Blobs, S3Options, connect, within};
use crate::domain::asset::ObjectKey;
use crate::domain::ids::Digest;
use crate::ports::blobs::{BlobBody, BlobError, Compared, Put};
use crate::ports::promises::{FOLDER, Finding, Promises};
use async_trait::async_trait;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Semaphore, mpsc};

const CONTENT: &[u8] = b"Catchment looks here whether this store keeps what the settings count on.\n";

/// What the checksums are of that do not match.
const OTHER_CONTENT: &[u8] = b"";
const CRC64_OF_OTHER_CONTENT: &str = "AAAAAAAAAAA=";

#[async_trait]
impl Promises for S3Blobs {
    async fn examine(&self, prefix: &str) -> Result<Vec<Finding>, BlobError> {
        let probe = self.probe_put(prefix);
        let written = match self.options.create_only {
            CreateOnly::Native => self.writes_once(&probe).await,
            CreateOnly::Head => self.writes_after_a_look(&probe).await,
        };
        let written = match written {
            Err(e) if is_refusal(&e) => return self.what_is_refused(prefix, e).await,
            written => written?,
        };
        let kept = self.keeps(&probe).await?;
        if let Some(Finding::KeepsNothing | Finding::KeepsOtherBytes) = kept {
            return Ok(kept.into_iter().collect()); // none of its answers means anything
        }
        let joined = match (self.options.create_only, written) {
            (CreateOnly::Native, None) => self.joins_once(&probe).await,
            _ => None, // not asked to decide, or known not to
        };
        let taken = self.takes_wrong_checksum(prefix).await?;
        Ok([written, joined, taken, kept].into_iter().flatten().collect())
    }
}

impl S3Blobs {
    async fn writes_once(&self, probe: &Put) -> Result<Option<Finding>, BlobError> {
        match self.send(probe).await {
            Ok(()) => {}
            Err(BlobError::Exists) => return Ok(None), // it knew, and refused
            Err(e) => return Err(e),
        }
        match self.send(probe).await {
            Ok(()) => Ok(Some(Finding::Overwrites)),
            Err(BlobError::Exists) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn writes_after_a_look(&self, probe: &Put) -> Result<Option<Finding>, BlobError> {
        if self.head(&probe.key).await?.is_none() {
            self.send(probe).await?;
        }
        let decides = self.as_if(self.options.checksum, CreateOnly::Native);
        let decided = matches!(decides.send(probe).await, Err(BlobError::Exists));
        Ok(decided.then_some(Finding::CouldCreateOnly))
    }

    /// What it takes otherwise tells what it refused. The barest request goes first: a store that refuses even that
    /// refuses something else, and has said what.
    async fn what_is_refused(&self, prefix: &str, refusal: BlobError) -> Result<Vec<Finding>, BlobError> {
        let bare = self.as_if(Checksum::None, CreateOnly::Head);
        if !matches!(bare.takes(prefix).await, Ok(true)) {
            return Err(refusal);
        }
        let mut lacks = vec![];
        let with_condition = self.as_if(Checksum::None, self.options.create_only);
        if self.options.create_only == CreateOnly::Native && !with_condition.takes(prefix).await? {
            lacks.push(Finding::KnowsNoCreateOnly);
        }
        let with_checksum = self.as_if(self.options.checksum, CreateOnly::Head);
        if self.options.checksum != Checksum::None && !with_checksum.takes(prefix).await? {
            lacks.push(with_checksum.checksum_or_trailer(prefix).await?);
        }
        if lacks.is_empty() { Err(refusal) } else { Ok(lacks) }
    }

    async fn takes(&self, prefix: &str) -> Result<bool, BlobError> {
        taken(self.send(&self.probe_put(prefix)).await)
    }

    /// The same checksum ahead of the body, as what is sent from memory has it. Under a key of its own: what lies under
    /// the probe's stands for a trailer that was taken.
    async fn checksum_or_trailer(&self, prefix: &str) -> Result<Finding, BlobError> {
        let request = self.put_request(&self.named(prefix, "header", CONTENT));
        Ok(match taken(send_from_memory(request).await)? {
            true => Finding::KnowsNoTrailer,
            false => Finding::KnowsNoChecksum,
        })
    }

    /// The request that joins parts creates, too. Few sources name no length, so a store without uploads in parts, or
    /// one that does not let us, is no fault.
    async fn joins_once(&self, probe: &Put) -> Option<Finding> {
        if let Some(known) = self.joins.get() {
            return *known;
        }
        let found = match within(LOOK_TIMEOUT, self.put_one_part(probe, content())).await {
            Ok(Ok(())) => Some(Finding::OverwritesInParts),
            Ok(Err(BlobError::Exists)) => None,
            Ok(Err(BlobError::Refused { .. } | BlobError::Misconfigured { .. })) => {
                Some(Finding::KnowsNoParts)
            }
            Ok(Err(_)) | Err(_) => return None, // trouble in passing: nothing is known yet
        };
        *self.joins.get_or_init(|| found)
    }

    /// Under a key of its own, which stays empty on a store that checks.
    async fn takes_wrong_checksum(&self, prefix: &str) -> Result<Option<Finding>, BlobError> {
        if self.options.checksum == Checksum::None {
            return Ok(None);
        }
        let wrong = self.named(prefix, "refused", OTHER_CONTENT);
        let answer = match self.send_wrong(&wrong).await {
            // Taken at an earlier start, or kept by a store that says no and keeps it all the same: without the
            // condition it says which.
            Err(BlobError::Exists) => {
                let unconditional = self.as_if(self.options.checksum, CreateOnly::Head);
                unconditional.send_wrong(&wrong).await
            }
            answer => answer,
        };
        let took = match answer {
            Ok(()) => true,
            Err(e) if is_refusal(&e) => false,
            // SeaweedFS may say so of a trailer, and others hang up. Whether this is a no or trouble in passing, there is
            // nothing then.
            Err(BlobError::Unavailable { code, .. }) if may_be_a_no(&code) => {
                self.is_seen(&wrong.key).await?
            }
            Err(e) => return Err(e),
        };
        Ok(took.then_some(Finding::TakesWrongChecksum))
    }

    async fn send_wrong(&self, wrong: &Put) -> Result<(), BlobError> {
        if self.options.checksum == Checksum::Sha256 {
            return self.send(wrong).await; // as a result's digest is told, in the trailer
        }
        // What the SDK puts into a trailer it computes itself; only ahead of the body it takes what it is told.
        let request = self.put_request(wrong).set_checksum_algorithm(None);
        send_from_memory(request.checksum_crc64_nvme(CRC64_OF_OTHER_CONTENT)).await
    }

    /// To a key that may not list the bucket, AWS says of what is absent that it is forbidden.
    async fn is_seen(&self, key: &ObjectKey) -> Result<bool, BlobError> {
        match self.head(key).await {
            Err(BlobError::Misconfigured { code }) if code == "access_denied" => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    /// By the look that results go through.
    async fn keeps(&self, probe: &Put) -> Result<Option<Finding>, BlobError> {
        let Some(found) = self.head(&probe.key).await? else {
            return Ok(Some(Finding::KeepsNothing));
        };
        let tells = found.checksum_sha256().is_some() || is_joined(&found);
        let (size_bytes, sha256) = (CONTENT.len() as u64, Digest::of(CONTENT));
        let compared = self.look_closer(&probe.key, &found, size_bytes, &sha256).await?;
        Ok(match compared {
            Compared::Absent => Some(Finding::KeepsNothing),
            Compared::Other => Some(Finding::KeepsOtherBytes),
            Compared::Same if self.options.checksum != Checksum::Sha256 || tells => None,
            Compared::Same => Some(Finding::KeepsNoChecksum),
        })
    }

    /// The way of a result of known length.
    async fn send(&self, put: &Put) -> Result<(), BlobError> {
        let upload = self.stream_whole(put, CONTENT.len() as u64, content());
        within(LOOK_TIMEOUT, upload).await?
    }

    fn probe_put(&self, prefix: &str) -> Put {
        self.named(prefix, "probe", CONTENT)
    }

    /// As a result is described, its digest told to be that of `hashed`. What was written under another `s3.checksum`
    /// proves nothing about this one, so each has its own keys.
    fn named(&self, prefix: &str, name: &str, hashed: &[u8]) -> Put {
        let kind = match self.options.checksum {
            Checksum::Sha256 => "sha256",
            Checksum::Crc64Nvme => "crc64nvme",
            Checksum::None => "none",
        };
        Put {
            key: ObjectKey(format!("{prefix}{FOLDER}{name}-{kind}")),
            size_bytes: Some(CONTENT.len() as u64),
            content_type: "text/plain".to_owned(),
            metadata: vec![],
            sha256: Some(Arc::new(OnceLock::from(Digest::of(hashed)))),
        }
    }

    /// The same store, asked as other settings would have it. `Head` means no more here than without the condition.
    fn as_if(&self, checksum: Checksum, create_only: CreateOnly) -> Self {
        let options = S3Options {
            checksum,
            create_only,
            ..self.options.clone()
        };
        Self {
            client: connect::as_if(&self.client, &options),
            unsized_turns: Semaphore::new(1),
            options,
            patience: self.patience,
            joins: OnceLock::new(),
        }
    }
}

fn content() -> BlobBody {
    let (sender, body) = mpsc::channel(1);
    let sent = sender.try_send(Ok(Bytes::from_static(CONTENT)));
    sent.expect("a new channel has room for one");
    body
}

async fn send_from_memory(request: PutObjectFluentBuilder) -> Result<(), BlobError> {
    let request = request.body(ByteStream::from_static(CONTENT));
    let answer = within(LOOK_TIMEOUT, request.send()).await?;
    answer.map(drop).map_err(|e| classify(&e))
}

/// A taken key is as good a yes as any.
fn taken(answer: Result<(), BlobError>) -> Result<bool, BlobError> {
    match answer {
        Ok(()) | Err(BlobError::Exists) => Ok(true),
        Err(e) if is_refusal(&e) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A no that may be to the kind of request. Of a streamed body stores without `aws-chunked` say that it does not match
/// its digest or its signature, too.
fn is_refusal(error: &BlobError) -> bool {
    match error {
        BlobError::Refused { .. } => true,
        BlobError::Misconfigured { code } => {
            ["not_implemented", "http_400", "invalid_credentials"].contains(&code.as_str())
        }
        BlobError::Unavailable { code, .. } => code == "checksum_mismatch",
        BlobError::Exists | BlobError::Abandoned => false,
    }
}

/// To bytes that do not match their checksum.
fn may_be_a_no(code: &str) -> bool {
    code.starts_with("http_5") || ["reset", "incomplete_body"].contains(&code)
}

/// By our own try, on a store that wrote over the probe then: S3 keeps no SHA-256 of the whole of such an object, and
/// marks its ETag by the number of parts.
fn is_joined(found: &HeadObjectOutput) -> bool {
    let tag = found.e_tag().unwrap_or_default();
    tag.trim_matches('"').ends_with("-1")
}
