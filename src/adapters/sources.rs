//! Links at the provider, read over HTTP through the network guard.
//!
//! A stranger's server on the other side: what it says about length, range and sameness is believed only where it is
//! consistent, and it is waited for only so long.

mod answer;
#[cfg(test)]
mod tests;

use super::guard::{Answer, GuardSettings, GuardedReader, Pieces, ReadError};
use crate::domain::address::{AddressRule, GuardError, HostPattern, Purpose};
use crate::domain::asset::SourceUrl;
use crate::ports::BoxError;
use crate::ports::source::{Opened, Resume, SourceBody, SourceError, Sources};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use std::error::Error;
use std::io;
use std::time::Duration;
use url::Url;

#[derive(Clone, Debug)]
pub struct SourceOptions {
    pub user_agent: String,
    /// Hosts that results are read from.
    pub allowed_hosts: Vec<HostPattern>,
    pub patience: Patience,
}

/// How long a source is waited for. Monotonic time, and only time spent waiting for the source: a copy that is held up
/// by the object store is not the source's fault.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Name lookup, TCP and TLS. A media host is a large CDN: what takes longer is not coming.
    pub connect: Duration,
    /// From the request to the head of the answer, connecting included. Long enough for a CDN that fetches from its
    /// origin first.
    pub head: Duration,
    /// Between two chunks. A connection without a byte for so long is mostly a dead one.
    pub idle: Duration,
    /// The floor: at least `floor_bytes` in each `floor_window` of waiting. 16 KiB/s by default; a 100 MiB video would
    /// take two hours at that rate, and a trickle of bytes must not hold a copy for ever.
    pub floor_window: Duration,
    pub floor_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            floor_window: Duration::from_secs(60),
            floor_bytes: 60 * 16 * 1024,
        }
    }
}

pub struct HttpSources {
    reader: GuardedReader,
    options: SourceOptions,
}

impl HttpSources {
    /// # Errors
    /// As [`GuardedReader::new`].
    pub fn new(rule: AddressRule, options: SourceOptions) -> Result<Self, BoxError> {
        let settings = GuardSettings {
            user_agent: options.user_agent.clone(),
            connect_timeout: options.patience.connect,
            read_timeout: options.patience.idle,
        };
        let reader = GuardedReader::new(rule, &settings)?;
        Ok(Self { reader, options })
    }

    async fn get(&self, url: &SourceUrl, resume: Option<&Resume>) -> Result<Answer, SourceError> {
        let url = Url::parse(&url.0).map_err(|_| SourceError::Forbidden { code: "invalid_url" })?;
        let purpose = Purpose::Source(&self.options.allowed_hosts);
        let answer = self.reader.get(&url, purpose, range(resume)?);
        match tokio::time::timeout(self.options.patience.head, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ReadError::Refused(refusal))) => Err(refused(refusal)),
            Ok(Err(error)) => Err(unavailable(transport_code(&error))),
            Err(_) => Err(unavailable("timeout")),
        }
    }
}

#[async_trait]
impl Sources for HttpSources {
    async fn open(&self, url: &SourceUrl, resume: Option<&Resume>) -> Result<Opened, SourceError> {
        let answer = self.get(url, resume).await?;
        let read = answer::read(&answer, resume)?;
        Ok(Opened {
            start: read.start,
            total: read.total,
            etag: read.etag,
            content_type: read.content_type,
            body: Box::new(HttpBody {
                pieces: answer.body,
                pace: Pace::new(self.options.patience),
            }),
        })
    }
}

/// `If-Range` makes the server itself decide: the rest if nothing changed, else the whole.
fn range(resume: Option<&Resume>) -> Result<HeaderMap, SourceError> {
    let mut headers = HeaderMap::new();
    if let Some(resume) = resume {
        let from = format!("bytes={}-", resume.from);
        headers.insert(
            RANGE,
            HeaderValue::from_str(&from).expect("digits are header text"),
        );
        if let Some(etag) = &resume.etag {
            // A tag that came out of a header goes into one; any other is no tag of theirs.
            let tag = HeaderValue::from_str(etag).map_err(|error| SourceError::Broken(error.into()))?;
            headers.insert(IF_RANGE, tag);
        }
    }
    Ok(headers)
}

struct HttpBody {
    pieces: Pieces,
    pace: Pace,
}

#[async_trait]
impl SourceBody for HttpBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let waiting_since = monotonic_now();
            let chunk = tokio::time::timeout(self.pace.patience.idle, self.pieces.next())
                .await
                .map_err(|_| broken("the source fell silent"))?
                // A body that ends before its Content-Length is an error here, never an end.
                .map_err(|error| SourceError::Broken(error.into()))?;
            let Some(chunk) = chunk else { return Ok(None) };
            if !self.pace.keeps_up(waiting_since.elapsed(), chunk.len() as u64) {
                return Err(broken("the source is too slow"));
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a socket was waited for is this adapter's own affair and decides nothing in the domain"
)]
fn monotonic_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The rate floor, judged window by window.
struct Pace {
    patience: Patience,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(patience: Patience) -> Self {
        Self {
            patience,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Notes a chunk; `false` when a window has passed with too little in it.
    fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.patience.floor_window {
            return true;
        }
        let enough = self.bytes >= self.patience.floor_bytes;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough
    }
}

fn refused(refusal: GuardError) -> SourceError {
    match refusal.is_retryable() {
        true => unavailable(refusal.code()),
        false => SourceError::Forbidden { code: refusal.code() },
    }
}

fn unavailable(code: &str) -> SourceError {
    SourceError::Unavailable {
        code: code.to_owned(),
        retry_after: None,
    }
}

fn broken(why: &'static str) -> SourceError {
    SourceError::Broken(why.into())
}

/// No answer at all.
fn transport_code(error: &ReadError) -> &'static str {
    match error {
        ReadError::ConnectTimeout => "timeout",
        _ if causes(error).any(|cause| cause.is::<rustls::Error>()) => "tls",
        ReadError::Refused(_) | ReadError::Connect(_) => "connect",
        ReadError::NoAnswer(_) => "reset",
    }
}

/// All errors inside an error. An `io::Error` names as its source the source of what it wraps, not what it wraps.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}
