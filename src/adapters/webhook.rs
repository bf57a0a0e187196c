//! Webhooks: one signed POST a try, through the network guard.

mod bodies; // one event in a format
mod ping; // a test of an endpoint
mod runware; // the provider's own shape

pub use runware::ProviderShape;

use super::guard::{GuardedClient, SendError};
use super::retry_after::retry_after;
use crate::domain::address::{GuardError, Purpose};
use crate::domain::delivery::{Delivery, Endpoint, Outcome, UNSENDABLE};
use crate::domain::ids::EventId;
use crate::domain::redact::redact;
use crate::domain::signature::sign;
use crate::ports::clock::Clock;
use crate::ports::sink::Sink;
use async_trait::async_trait;
use bodies::Body;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

#[cfg(test)]
mod tests;

/// Longest excerpt of an answer, in bytes: enough for an error's first sentence.
const MAX_EXCERPT_BYTES: usize = 512;
/// Read of it: what is hidden may make room for more.
const MAX_READ_BYTES: usize = 2 * MAX_EXCERPT_BYTES;

pub struct WebhookSink {
    client: GuardedClient,
    clock: Arc<dyn Clock>,
    /// `events.timeout`: for a whole try, the reading of the answer included.
    timeout: Duration,
    /// CloudEvents `source`: `/catchment/<instance>`.
    source: String,
    shape: ProviderShape,
}

impl WebhookSink {
    pub fn new(
        client: GuardedClient,
        clock: Arc<dyn Clock>,
        timeout: Duration,
        instance: &str,
        shape: ProviderShape,
    ) -> Self {
        Self {
            client,
            clock,
            timeout,
            source: format!("/catchment/{instance}"),
            shape,
        }
    }

    async fn body(&self, delivery: &Delivery) -> Result<Body, &'static str> {
        let event = &delivery.event;
        match bodies::plain(event, delivery.endpoint.format, &self.source) {
            Some(body) => body,
            None => self.shape.body(event).await,
        }
    }

    /// Which event, at which try. Signed by every secret in force, the newest first: a task's own webhook has none.
    fn headers(&self, endpoint: &Endpoint, id: &EventId, body: &Body) -> Result<HeaderMap, &'static str> {
        let timestamp_s = self.clock.wall().as_millis().div_euclid(1000);
        let mut told = vec![
            ("webhook-id", id.as_str().to_owned()),
            ("webhook-timestamp", timestamp_s.to_string()),
        ];
        let secrets = endpoint.secrets(self.clock.now()).filter(|s| !s.0.is_empty());
        let sign = |secret| sign(secret, id.as_str(), timestamp_s, &body.bytes);
        let signatures: Vec<String> = secrets.map(sign).collect();
        if !signatures.is_empty() {
            told.push(("webhook-signature", signatures.join(" ")));
        }
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(body.content_type))]);
        for (name, value) in told {
            let value = HeaderValue::from_str(&value).map_err(|_| UNSENDABLE)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    async fn send(
        &self,
        endpoint: &Endpoint,
        id: &EventId,
        body: Result<Body, &'static str>,
    ) -> Result<Response, &'static str> {
        let body = body?;
        let headers = self.headers(endpoint, id, &body)?;
        let url = Url::parse(&endpoint.url).map_err(|_| "invalid_url")?;
        let request = self.client.request(Method::POST, url, Purpose::Endpoint);
        let request = request.map_err(refusal_code)?.headers(headers);
        let sent = request.body(body.bytes).timeout(self.timeout).send();
        sent.await.map_err(|error| match error {
            SendError::Refused(refusal) => refusal_code(refusal),
            SendError::Failed(error) => failure_code(&error),
        })
    }

    async fn outcome(&self, sent: Result<Response, &'static str>) -> Outcome {
        let answer = match sent {
            Ok(answer) => answer,
            Err(code) => return Outcome::Unreached { code },
        };
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Outcome::Delivered { status };
        }
        Outcome::Refused {
            status,
            retry_after: retry_after(answer.headers(), self.clock.wall()),
            excerpt: excerpt(answer).await,
        }
    }
}

#[async_trait]
impl Sink for WebhookSink {
    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let body = self.body(delivery).await;
        let sent = self.send(&delivery.endpoint, &delivery.event.id, body).await;
        self.outcome(sent).await
    }

    async fn ping(&self, endpoint: &Endpoint, id: &EventId) -> Outcome {
        let body = ping::body(endpoint, id, &self.source, self.clock.wall());
        let sent = self.send(endpoint, id, body).await;
        self.outcome(sent).await
    }
}

fn refusal_code(refusal: GuardError) -> &'static str {
    match refusal {
        GuardError::Unresolvable => "dns",
        other => other.code(),
    }
}

fn failure_code(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if is_tls(error) {
        "tls"
    } else if error.is_connect() {
        "connect"
    } else {
        "connection_lost"
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(error.source(), |cause| beneath(*cause));
    causes.any(|cause| cause.is::<rustls::Error>())
}

/// What an error was caused by. An I/O error hides what it wraps from `source()`.
fn beneath<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|inner| inner as _).or_else(|| cause.source())
}

/// The beginning of an answer as one line of printable text, without what looks like a secret. An answer that breaks
/// off is read as far as it came.
async fn excerpt(mut answer: Response) -> String {
    let mut bytes = vec![];
    while bytes.len() < MAX_READ_BYTES {
        let Ok(Some(chunk)) = answer.chunk().await else {
            break;
        };
        let room = MAX_READ_BYTES - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if bytes.len() == MAX_READ_BYTES {
        // The last word may be the beginning of a secret, too short to be known as one.
        text.truncate(text.rfind(char::is_whitespace).unwrap_or(MAX_READ_BYTES / 2));
    }
    let printable = text
        .chars()
        .filter(|c| *c != char::REPLACEMENT_CHARACTER)
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut kept = redact(printable.collect::<String>().trim());
    kept.truncate(kept.floor_char_boundary(MAX_EXCERPT_BYTES));
    kept
}
