//! The network guard: the only way to connect to an address that somebody else named.
//!
//! Names are judged where they are resolved, inside the connection attempt, and the connection goes to exactly the
//! addresses that were judged: between check and use there is no second lookup that could answer differently. IP
//! literals never reach a resolver; they are judged with the URL, and no redirect or proxy can bring in another.
//!
//! There are two clients, because a resolver is told the name alone: one makes https connections to public or
//! allowed addresses, the other any connection, but to allowed addresses only. A pooled connection is reused only
//! by requests of the same client, so what was judged for one serves no other.

mod reader;
#[cfg(test)]
mod tests;

pub use reader::{Answer, GuardedReader, Pieces, ReadError};

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{
    Body, Client, Method, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT_ENCODING, HeaderMap, HeaderValue},
    redirect, retry,
};
use url::{Host, Url};

use crate::domain::address::{AddressRule, GuardError, Purpose, Reach, check_url};

/// Looks up names. A parameter, so that tests can answer one thing now and another later.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of `name`; none of them may be left out, or it escapes the guard's judgement.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver, `/etc/hosts` included.
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// How a client behaves, whatever it connects to.
#[derive(Clone, Debug)]
pub struct GuardSettings {
    pub user_agent: String,
    /// For looking the name up, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is read.
    pub read_timeout: Duration,
}

/// Makes requests to strangers' URLs. Cheap to clone; clones share their connections.
///
/// Never follows a redirect, uses a proxy, asks for or undoes compression, or repeats a request on its own.
#[derive(Clone)]
pub struct GuardedClient {
    rule: Arc<AddressRule>,
    lookup: Arc<dyn Lookup>,
    connect_timeout: Duration,
    /// https only; public or allowed addresses.
    public: Client,
    /// Any scheme and port; allowed addresses only. `None` where none are.
    allowed: Option<Client>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The guard refused to connect: nothing was sent.
    #[error(transparent)]
    Refused(#[from] GuardError),
    /// The network failed. Tells neither path nor query, which may hold a signature.
    #[error(transparent)]
    Failed(reqwest::Error),
}

impl GuardedClient {
    /// # Errors
    /// TLS cannot be set up, which usually means that the machine has no CA certificates.
    pub fn new(rule: AddressRule, settings: &GuardSettings) -> Result<Self, reqwest::Error> {
        Self::with_lookup(rule, settings, Arc::new(SystemLookup))
    }

    /// As [`GuardedClient::new`], asking `lookup` for addresses.
    ///
    /// # Errors
    /// As [`GuardedClient::new`].
    pub fn with_lookup(
        rule: AddressRule,
        settings: &GuardSettings,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, reqwest::Error> {
        let rule = Arc::new(rule);
        let resolver = |reach| JudgingResolver {
            rule: rule.clone(),
            lookup: lookup.clone(),
            reach,
        };
        let public = client(settings, resolver(Reach::Public))
            .https_only(true)
            .build()?;
        let allowed = match rule.is_strict() {
            true => None,
            false => Some(client(settings, resolver(ONLY_ALLOWED)).build()?),
        };
        Ok(GuardedClient {
            rule,
            lookup,
            connect_timeout: settings.connect_timeout,
            public,
            allowed,
        })
    }

    /// Whether a request to `url` would be let through now: for telling a user at once. It gives no leave for
    /// later; each request is judged anew.
    ///
    /// # Errors
    /// The refusal; `Unresolvable` too when the name server takes longer than `connect_timeout`.
    pub async fn check(&self, url: &Url, purpose: Purpose<'_>) -> Result<(), GuardError> {
        let reach = check_url(url, purpose, &self.rule)?;
        match url.host() {
            Some(Host::Domain(name)) => {
                let judged = judged_addresses(&self.rule, &*self.lookup, reach, name);
                let in_time = tokio::time::timeout(self.connect_timeout, judged).await;
                in_time.unwrap_or(Err(GuardError::Unresolvable)).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Begins a request. A name is looked up and judged when it is sent.
    ///
    /// # Errors
    /// What the URL alone is refused for.
    pub fn request(
        &self,
        method: Method,
        url: Url,
        purpose: Purpose<'_>,
    ) -> Result<GuardedRequest, GuardError> {
        let reach = check_url(&url, purpose, &self.rule)?;
        let client = match (reach, &self.allowed) {
            (Reach::Public, _) => &self.public,
            (Reach::OnlyAllowed(_), Some(allowed)) => allowed,
            (Reach::OnlyAllowed(fault), None) => return Err(fault),
        };
        Ok(GuardedRequest {
            request: client.request(method, url),
            reach,
        })
    }
}

/// A request whose URL can no longer be changed.
#[must_use]
pub struct GuardedRequest {
    request: RequestBuilder,
    reach: Reach,
}

impl GuardedRequest {
    pub fn headers(self, headers: HeaderMap) -> Self {
        GuardedRequest {
            request: self.request.headers(headers),
            ..self
        }
    }

    pub fn body(self, body: impl Into<Body>) -> Self {
        GuardedRequest {
            request: self.request.body(body),
            ..self
        }
    }

    /// For the whole exchange, the reading of the answer's body included. Without it there is no such limit.
    pub fn timeout(self, timeout: Duration) -> Self {
        GuardedRequest {
            request: self.request.timeout(timeout),
            ..self
        }
    }

    /// # Errors
    /// `Refused` when the name resolves to a forbidden address or not at all; `Failed` for all else.
    pub async fn send(self) -> Result<Response, SendError> {
        self.request
            .send()
            .await
            .map_err(|error| match (refusal_within(&error), self.reach) {
                // The resolver knows the name, not the URL: what is wrong with that was found out before.
                (Some(NOT_ALLOWED), Reach::OnlyAllowed(fault)) => SendError::Refused(fault),
                (Some(refusal), _) => SendError::Refused(refusal),
                (None, _) => SendError::Failed(error.without_url()),
            })
    }
}

fn client(settings: &GuardSettings, resolver: JudgingResolver) -> reqwest::ClientBuilder {
    let identity = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    Client::builder()
        .dns_resolver(resolver)
        .user_agent(&settings.user_agent)
        .default_headers(identity)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
}

/// Stands for the URL's own fault where only the name is known.
const NOT_ALLOWED: GuardError = GuardError::ForbiddenScheme;
const ONLY_ALLOWED: Reach = Reach::OnlyAllowed(NOT_ALLOWED);

/// Gives the HTTP client addresses that have been judged, and no others.
#[derive(Clone)]
struct JudgingResolver {
    rule: Arc<AddressRule>,
    lookup: Arc<dyn Lookup>,
    reach: Reach,
}

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rule, lookup, reach) = (self.rule.clone(), self.lookup.clone(), self.reach);
        Box::pin(async move {
            let addresses = judged_addresses(&rule, &*lookup, reach, name.as_str()).await?;
            // Port 0 asks the client to use the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

async fn judged_addresses(
    rule: &AddressRule,
    lookup: &dyn Lookup,
    reach: Reach,
    name: &str,
) -> Result<Vec<IpAddr>, GuardError> {
    let addresses = lookup.lookup(name).await.map_err(|_| GuardError::Unresolvable)?;
    rule.check_addresses(reach, &addresses)?;
    Ok(addresses)
}

/// The guard's own refusal, however deep the HTTP client has wrapped it.
fn refusal_within(error: &(dyn Error + 'static)) -> Option<GuardError> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<GuardError>())
        .copied()
}
