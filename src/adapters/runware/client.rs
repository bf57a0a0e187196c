//! The HTTP side: one URL, one budget, no retries, no redirects; every answer within a time and a size.

use super::budget::Budget;
use super::outcomes::{self, Answer, Broken};
use super::{map, wire};
use crate::adapters::retry_after::retry_after;
use crate::domain::ids::TaskId;
use crate::domain::report::Report;
use crate::ports::clock::Clock;
use crate::ports::provider::{Provider, ProviderError, SubmitOutcome};
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue};
use reqwest::{Client, Response, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Largest answer read, in bytes. Links, not media: a full answer for twenty tasks stays below 100 kB.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Shortest key worth looking for in an answer, in bytes: anything shorter would be found by chance.
const MIN_KEY_BYTES: usize = 8;

/// An idle connection is closed before the provider's side is likely to: a request lost on a stale one is `Unclear`.
const IDLE: Duration = Duration::from_secs(15);

/// What the adapter needs to know. The key is not in its `Debug`.
#[derive(Clone, Debug)]
pub struct RunwareOptions {
    /// The operator's own address, http allowed. The key goes to this URL and to no other.
    pub base_url: Url,
    pub api_key: SecretString,
    /// Concurrent requests of every kind together (`runware.max_in_flight`); at least 1.
    pub max_in_flight: usize,
    /// Requests of every kind together in a second (`runware.max_per_second`); at least 1.
    pub max_per_second: u32,
    /// For name, connection and TLS handshake together.
    pub connect_timeout: Duration,
    /// For a whole submission: a document may hold 16 MiB of inline media.
    pub submit_timeout: Duration,
    /// For a whole query.
    pub query_timeout: Duration,
}

impl RunwareOptions {
    /// With the usual limits: the provider's own clients wait 30 s for an answer (SDK sources), and it advises 2 to 4
    /// requests at a time.
    pub fn new(base_url: Url, api_key: SecretString) -> Self {
        Self {
            base_url,
            api_key,
            max_in_flight: 4,
            max_per_second: 100,
            connect_timeout: Duration::from_secs(10),
            submit_timeout: Duration::from_secs(90),
            query_timeout: Duration::from_secs(30),
        }
    }
}

/// Why the adapter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("runware.api_key holds characters that no HTTP header can")]
    Key(#[source] InvalidHeaderValue),
    #[error("the HTTP client cannot be set up (are CA certificates installed?)")]
    Client(#[source] reqwest::Error),
}

pub struct RunwareClient {
    http: Client,
    base_url: Url,
    api_key: SecretString,
    authorization: HeaderValue,
    budget: Budget,
    submit_timeout: Duration,
    query_timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl RunwareClient {
    /// Needs no network. `clock` tells what a `Retry-After` date is from now.
    ///
    /// # Errors
    /// The key cannot be sent, or the machine has no CA certificates.
    pub fn new(options: RunwareOptions, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let bearer = format!("Bearer {}", options.api_key.expose_secret());
        let mut authorization = HeaderValue::from_str(&bearer).map_err(BuildError::Key)?;
        authorization.set_sensitive(true);
        let http = Client::builder()
            .user_agent(concat!("catchment/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(IDLE)
            // One connection each: a broken one then blurs the outcome of one request, not of all in flight.
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .no_proxy()
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self {
            http,
            base_url: options.base_url,
            api_key: options.api_key,
            authorization,
            budget: Budget::new(options.max_in_flight, options.max_per_second, clock.clone()),
            submit_timeout: options.submit_timeout,
            query_timeout: options.query_timeout,
            clock,
        })
    }

    pub(super) async fn ask(&self, request: String) -> Result<Vec<u8>, ProviderError> {
        let _permit = self.budget.for_query().await.map_err(outcomes::held_back)?;
        let answer = self.post(request, self.query_timeout).await;
        outcomes::queried(answer.map_err(outcomes::unasked)?)
    }

    /// One request. The key travels in a header of this request alone.
    async fn post(&self, request: String, timeout: Duration) -> Result<Answer, Broken> {
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, self.authorization.clone()),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let sent = self
            .http
            .post(self.base_url.clone())
            .headers(headers)
            .timeout(timeout)
            .body(request)
            .send();
        let response = sent.await.map_err(|e| broken(&e))?;
        let (status, wait) = (
            response.status().as_u16(),
            retry_after(response.headers(), self.clock.wall()),
        );
        if let Some(wait) = wait.filter(|_| matches!(status, 429 | 503)) {
            self.budget.hold(wait);
        }
        let body = read_bounded(response).await;
        Ok(Answer {
            status,
            retry_after: wait,
            body: body.map(|body| self.without_key(body)),
        })
    }

    /// An error may quote the key that was refused: it goes no further than here.
    fn without_key(&self, body: Vec<u8>) -> Vec<u8> {
        let key = self.api_key.expose_secret();
        match std::str::from_utf8(&body) {
            Ok(text) if key.len() >= MIN_KEY_BYTES && text.contains(key) => {
                text.replace(key, "[hidden]").into_bytes()
            }
            _ => body,
        }
    }
}

impl fmt::Debug for RunwareClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunwareClient")
            .field("base_url", &self.base_url.as_str())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for RunwareClient {
    async fn submit(&self, id: TaskId, document: &str, webhook_url: &str) -> SubmitOutcome {
        let Some(request) = wire::submission(id, document, webhook_url) else {
            return outcomes::unsendable();
        };
        let _permit = match self.budget.for_submission().await {
            Ok(permit) => permit,
            Err(left) => return outcomes::not_sent(left),
        };
        match self.post(request, self.submit_timeout).await {
            Ok(answer) => outcomes::submitted(id, &answer),
            Err(broken) => outcomes::unanswered(broken),
        }
    }

    async fn query(&self, ids: &[TaskId]) -> Result<Vec<Report>, ProviderError> {
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let body = self.ask(wire::get_response(ids)).await?;
        map::read_query(ids, &body)
    }

    async fn details(&self, id: TaskId) -> Result<Option<Report>, ProviderError> {
        let body = self.ask(wire::get_task_details(id)).await?;
        map::read_details(id, &body)
    }

    fn read_callback(&self, id: TaskId, body: &[u8]) -> Report {
        map::read_callback(id, body)
    }
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, Broken> {
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `is_connect` is certain: the HTTP client says it only when the connector failed (name, TCP or TLS handshake, or its
/// time-out), and it writes to a connection only once the connector has handed one over. Whatever else went wrong may
/// have gone wrong after the request arrived.
fn broken(error: &reqwest::Error) -> Broken {
    if error.is_connect() {
        Broken::Unreachable
    } else if error.is_timeout() {
        Broken::Timeout
    } else {
        Broken::Lost
    }
}
