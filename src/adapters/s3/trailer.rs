//! A body whose SHA-256 its sender tells at its end. The copier has hashed the bytes already, since it must know their
//! digest before it lets the last one go; left alone, the SDK hashes them once more for the store's checksum, and over
//! plain http a third time, chunk by chunk, for the signature. Hashing is the larger part of what a copy costs.
//!
//! So the SDK prepares and signs the request as for any streamed body with a checksum in its trailer, and this puts the
//! body into `aws-chunked` form, with the digest that was told. What is between the network and the store is checked as
//! before: the store compares the bytes it got with the trailer, and we compare the object with the digest.
//!
//! Over plain http the body is therefore covered by its checksum, and no longer by the signature too, as over https.

use super::body::SizedBody;
use crate::ports::blobs::{BodyAbandoned, DigestToCome};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// Bytes in one `aws-chunked` chunk. The SDK cuts them at 64 KiB; each costs both sides a line to write or parse and
/// cuts pieces in two. With 1 MiB the copy of a GB costs us and the store a tenth of a second less each, measured.
/// Stores bound a chunk; a megabyte is far below any bound that is known to us.
const CHUNK: u64 = 1024 * 1024;
const NAME: &str = "x-amz-checksum-sha256";
/// `:` and 32 bytes in base64.
const VALUE_BYTES: u64 = 1 + 44;

/// Stands for the body while the SDK works on the request, and is exchanged for it at the end: neither is hashed.
pub struct Placeholder(pub u64);

impl Body for Placeholder {
    type Data = Bytes;
    type Error = BodyAbandoned;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAbandoned>>> {
        Poll::Ready(Some(Err(BodyAbandoned)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// Puts the real body in, after the SDK's own interceptors.
#[derive(Debug)]
pub struct PutInTrailer {
    encoded_bytes: u64,
    body: Mutex<Option<Chunked>>,
}

impl PutInTrailer {
    pub fn of(body: SizedBody, size_bytes: u64, digest: DigestToCome) -> Self {
        Self {
            encoded_bytes: encoded_bytes(size_bytes),
            body: Mutex::new(Some(Chunked::new(body, size_bytes, digest))),
        }
    }
}

impl Intercept for PutInTrailer {
    fn name(&self) -> &'static str {
        "PutInTrailer"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let length = self.encoded_bytes.to_string();
        context
            .request_mut()
            .headers_mut()
            .insert("content-length", length);
        cfg.interceptor_state()
            .store_put(PayloadSigningOverride::StreamingUnsignedPayloadTrailer);
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let body = body.ok_or("a streamed body is sent once")?;
        *context.request_mut().body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}

/// `aws-chunked`: each chunk after its length in hex, then an empty one, then the trailer. Nothing is copied.
#[derive(Debug)]
struct Chunked {
    body: SizedBody,
    digest: DigestToCome,
    /// Of the whole.
    left: u64,
    /// Of the chunk under way.
    left_in_chunk: u64,
    /// A chunk was begun.
    begun: bool,
    /// Received, and too much for the chunk before.
    spare: Bytes,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Data,
    Trailer,
    Done,
}

impl Chunked {
    fn new(body: SizedBody, size_bytes: u64, digest: DigestToCome) -> Self {
        Self {
            body,
            digest,
            left: size_bytes,
            left_in_chunk: 0,
            begun: false,
            spare: Bytes::new(),
            stage: if size_bytes == 0 {
                Stage::Trailer
            } else {
                Stage::Head
            },
        }
    }

    /// The end of the chunk before goes with the head of the next: one small buffer fewer.
    fn head(&mut self) -> Bytes {
        self.left_in_chunk = self.left.min(CHUNK);
        self.stage = Stage::Data;
        let before = self.end_of_chunk();
        self.begun = true;
        format!("{before}{:x}\r\n", self.left_in_chunk).into()
    }

    fn end_of_chunk(&self) -> &'static str {
        if self.begun { "\r\n" } else { "" }
    }

    /// As much of the spare as belongs to this chunk.
    fn data(&mut self) -> Bytes {
        let fitting =
            usize::try_from(self.left_in_chunk).map_or(self.spare.len(), |n| n.min(self.spare.len()));
        let data = self.spare.split_to(fitting);
        self.left_in_chunk -= fitting as u64;
        self.left -= fitting as u64;
        if self.left_in_chunk == 0 {
            self.stage = if self.left == 0 {
                Stage::Trailer
            } else {
                Stage::Head
            };
        }
        data
    }

    /// The sender tells the digest before it sends the last byte.
    fn trailer(&mut self) -> Result<Bytes, BodyAbandoned> {
        self.stage = Stage::Done;
        let digest = self.digest.get().ok_or_else(|| self.body.give_up())?;
        let before = self.end_of_chunk();
        let value = STANDARD.encode(digest.0);
        Ok(format!("{before}0\r\n{NAME}:{value}\r\n\r\n").into())
    }
}

impl Body for Chunked {
    type Data = Bytes;
    type Error = BodyAbandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAbandoned>>> {
        let this = &mut *self;
        let bytes = match this.stage {
            Stage::Head => this.head(),
            Stage::Data => {
                if this.spare.is_empty() {
                    match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                        Some(Ok(frame)) => this.spare = frame.into_data().map_err(|_| BodyAbandoned)?,
                        Some(Err(abandoned)) => return Poll::Ready(Some(Err(abandoned))),
                        None => return Poll::Ready(Some(Err(BodyAbandoned))),
                    }
                }
                this.data()
            }
            Stage::Trailer => match this.trailer() {
                Ok(trailer) => trailer,
                Err(abandoned) => return Poll::Ready(Some(Err(abandoned))),
            },
            Stage::Done => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Done
    }
}

/// The whole length on the wire, which the store is told before.
fn encoded_bytes(size_bytes: u64) -> u64 {
    let chunk = |n: u64| format!("{n:x}").len() as u64 + 2 + n + 2;
    let rest = match size_bytes % CHUNK {
        0 => 0,
        rest => chunk(rest),
    };
    let end = "0\r\n".len() as u64 + NAME.len() as u64 + VALUE_BYTES + 4;
    size_bytes / CHUNK * chunk(CHUNK) + rest + end
}
