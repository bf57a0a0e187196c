//! The one HTTP client of the commands that talk to a running service.

use super::exit::{CliError, Exit, chain};
use super::problem::Problem;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::convert::Infallible;
use std::time::Duration;
use url::{Host, Url};

#[derive(Clone, Debug, clap::Args)]
pub struct ClientFlags {
    /// Address of the service
    #[arg(
        long,
        value_name = "URL",
        env = "CATCHMENT_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: String,

    /// API key; prefer the variable, a command line is visible to others
    #[arg(long, value_name = "KEY", env = "CATCHMENT_KEY", hide_env_values = true, value_parser = secret)]
    pub key: Option<SecretString>,
}

/// A parser that cannot fail: clap quotes values that it refuses.
pub fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

/// How long a plain answer may take. A submission of the largest body over a slow line fits.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the service may hold a long poll.
pub const LONG_POLL: Duration = Duration::from_secs(30);

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer read, in bytes. A page of the largest tasks is well below; more is not our service.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Name and value in a query string.
pub type Parameter = (String, String);

pub struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

/// A 2xx answer.
#[derive(Debug)]
pub struct Answer {
    /// Null without a body.
    pub body: Value,
    /// `Idempotent-Replayed: true`: nothing new was made.
    pub replayed: bool,
}

#[derive(Debug)]
pub enum ClientError {
    /// The service said no.
    Refused(Box<Problem>),
    /// The request never arrived.
    Unreached { address: String, why: String },
    /// It may have arrived; no whole answer came back.
    Broken { why: String },
    /// What came back is not what this service says.
    Foreign { why: String },
}

impl Client {
    /// # Errors
    /// `Usage` for an address or key that cannot be one. Neither is quoted: addresses may hold passwords.
    pub fn new(flags: &ClientFlags) -> Result<Self, CliError> {
        let base = base_url(&flags.url).map_err(|why| CliError::usage(format!("--url {why}")))?;
        let authorization = flags.key.as_ref().map(bearer).transpose()?;
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("catchment/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_PATIENCE)
            .redirect(redirect::Policy::none()); // the key goes where it was sent, nowhere else
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|fault| {
            let message = format!("the HTTP client cannot start: {}", chain(&fault));
            CliError::new(Exit::Failure, message)
                .next("install the system's CA certificates (ca-certificates)")
        })?;
        Ok(Self {
            http,
            base,
            authorization,
        })
    }

    /// `hold` is how long the service was asked to wait before it answers.
    pub async fn get(
        &self,
        path: &[&str],
        query: &[Parameter],
        hold: Option<Duration>,
    ) -> Result<Answer, ClientError> {
        let mut query = query.to_vec();
        query.extend(hold.map(|hold| ("wait".to_owned(), format!("{}s", hold.as_secs()))));
        let patience = PATIENCE + hold.unwrap_or_default();
        self.send(self.request(Method::GET, path, &query).timeout(patience))
            .await
    }

    pub async fn post(
        &self,
        path: &[&str],
        json: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let mut request = self
            .request(Method::POST, path, &[])
            .header(CONTENT_TYPE, "application/json")
            .body(json)
            .timeout(PATIENCE);
        if let Some(key) = idempotency_key {
            // A structured-field string; the command line allows nothing that would need escaping.
            request = request.header("Idempotency-Key", format!("\"{key}\""));
        }
        self.send(request).await
    }

    /// Another type of body than JSON.
    pub async fn post_as(
        &self,
        path: &[&str],
        body: Vec<u8>,
        content_type: &'static str,
    ) -> Result<Answer, ClientError> {
        let request = self
            .request(Method::POST, path, &[])
            .header(CONTENT_TYPE, content_type)
            .body(body)
            .timeout(PATIENCE);
        self.send(request).await
    }

    pub async fn patch(&self, path: &[&str], json: Vec<u8>) -> Result<Answer, ClientError> {
        let request = self.request(Method::PATCH, path, &[]);
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        self.send(request.timeout(PATIENCE)).await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<Answer, ClientError> {
        self.send(self.request(Method::DELETE, path, &[]).timeout(PATIENCE))
            .await
    }

    fn request(&self, method: Method, path: &[&str], query: &[Parameter]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("base_url refuses addresses that have no path")
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, ClientError> {
        let response = request.send().await.map_err(|fault| self.unsent(fault))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_body(response).await?;
        if !status.is_success() {
            let problem = Problem::read(status.as_u16(), &body, retry_after(&headers));
            return Err(ClientError::Refused(Box::new(problem)));
        }
        Ok(Answer {
            body: read_json(&body)?,
            replayed: headers
                .get("Idempotent-Replayed")
                .is_some_and(|value| value == "true"),
        })
    }

    fn unsent(&self, fault: reqwest::Error) -> ClientError {
        let never_arrived = fault.is_connect();
        let why = chain(&fault.without_url());
        if never_arrived {
            ClientError::Unreached {
                address: self.base.to_string(),
                why,
            }
        } else {
            ClientError::Broken { why }
        }
    }
}

impl ClientError {
    /// Worth the same request again after a while.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.is_temporary(),
            Self::Unreached { .. } | Self::Broken { .. } => true,
            Self::Foreign { .. } => false,
        }
    }

    /// What the service asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(problem) => (*problem).into(),
            ClientError::Unreached { address, why } => {
                Self::new(Exit::Temporary, format!("{address} cannot be reached: {why}"))
                    .next("is `catchment serve` running there? --url or CATCHMENT_URL names its address")
            }
            ClientError::Broken { why } => {
                Self::new(Exit::Temporary, format!("no answer: {why}")).next("try again")
            }
            ClientError::Foreign { why } => {
                Self::new(Exit::Failure, why).next("check --url: does Catchment answer there?")
            }
        }
    }
}

fn base_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not an address such as http://127.0.0.1:8080")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; keys go into CATCHMENT_KEY");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path, without ? and #");
    }
    Ok(url)
}

fn bearer(key: &SecretString) -> Result<HeaderValue, CliError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret().trim()))
        .map_err(|_| CliError::usage("the API key holds characters that no key has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A proxy from the environment is not meant for this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

async fn read_body(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let broken = |fault: reqwest::Error| ClientError::Broken {
        why: chain(&fault.without_url()),
    };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let why = format!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
            return Err(ClientError::Foreign { why });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn read_json(body: &[u8]) -> Result<Value, ClientError> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| ClientError::Foreign {
        why: "the answer is not JSON".to_owned(),
    })
}

/// In seconds; the form with a date is not used by this service.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
