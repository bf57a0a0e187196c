//! Reading large files: over a connection that serves one at a time, in pieces of one size, by whoever wants the next.
//!
//! The client beside it is made for small answers. It reads as much at once as the network has, up to 400 KiB, and a
//! piece of an answer that is kept for a moment keeps all of such a buffer; with many files on their way that is most
//! of the memory of the process, and more than the processor's cache. Here a piece is small, hashed and sent on while
//! it is still in the cache, and there is no task between the connection and its reader to be woken for each.

mod idle;

use self::idle::{Connection, Idle, Line};
use super::{GuardSettings, JudgingResolver, Lookup, SystemLookup, judged_addresses, refusal_within};
use crate::domain::address::{AddressRule, GuardError, Purpose, Reach, check_url};
use crate::ports::BoxError;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HOST, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::{Host, Position, Url};

/// Bytes read at once. Large enough that calls of the kernel cost little, small enough that the few of them that a copy
/// holds stay in the processor's cache, and that 64 copies at once hold a few tens of MiB.
const PIECE_BYTES: usize = 64 * 1024;

/// A read that brought less is copied and joined to the next: kept as it is, it would keep a whole buffer.
const WORTH_KEEPING: usize = PIECE_BYTES / 2;

/// Makes GET requests for files that somebody else named, under the same rule as [`super::GuardedClient`].
pub struct GuardedReader {
    rule: Arc<AddressRule>,
    lookup: Arc<dyn Lookup>,
    tls: TlsConnector,
    user_agent: HeaderValue,
    connect_timeout: Duration,
    idle: Idle,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Pieces,
}

/// Why there is no answer. Tells neither path nor query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The guard refused to connect: nothing was sent.
    #[error(transparent)]
    Refused(#[from] GuardError),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// Connected, and no whole head of an answer.
    #[error("no answer")]
    NoAnswer(#[source] BoxError),
}

impl GuardedReader {
    /// # Errors
    /// TLS cannot be set up, which usually means that the machine has no CA certificates.
    pub fn new(rule: AddressRule, settings: &GuardSettings) -> Result<Self, BoxError> {
        Self::with_lookup(rule, settings, Arc::new(SystemLookup))
    }

    /// As [`GuardedReader::new`], asking `lookup` for addresses.
    ///
    /// # Errors
    /// As [`GuardedReader::new`].
    pub fn with_lookup(
        rule: AddressRule,
        settings: &GuardSettings,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, BoxError> {
        Ok(Self {
            rule: Arc::new(rule),
            lookup,
            tls: TlsConnector::from(Arc::new(tls_config()?)),
            user_agent: HeaderValue::from_str(&settings.user_agent)?,
            connect_timeout: settings.connect_timeout,
            idle: Idle::default(),
        })
    }

    /// One GET, over a connection that nobody else uses meanwhile. How long the answer is waited for is the caller's affair.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn get(
        &self,
        url: &Url,
        purpose: Purpose<'_>,
        headers: HeaderMap,
    ) -> Result<Answer, ReadError> {
        let reach = check_url(url, purpose, &self.rule)?;
        let request = self.request(url, headers)?;
        // One that the other side has closed meanwhile says nothing about the other side.
        if let Some(line) = self.idle.take(&url.origin()).await
            && let Ok(answer) = ask(line, request.clone(), &self.idle).await
        {
            return Ok(answer);
        }
        let connected = tokio::time::timeout(self.connect_timeout, self.connect(url, reach)).await;
        let stream = connected.map_err(|_| ReadError::ConnectTimeout)??;
        let answer = async {
            let line = greet(stream, url).await?;
            ask(line, request, &self.idle).await
        };
        answer
            .await
            .map_err(|error: hyper::Error| ReadError::NoAnswer(error.into()))
    }

    /// Without a body, a proxy, a redirect or a coding to be undone.
    fn request(&self, url: &Url, headers: HeaderMap) -> Result<hyper::Request<String>, GuardError> {
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = hyper::Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, self.user_agent.clone())
            .header(ACCEPT, "*/*")
            .header(ACCEPT_ENCODING, "identity")
            .body(String::new())
            .map_err(|_| GuardError::NoHost)?;
        request.headers_mut().extend(headers);
        Ok(request)
    }

    /// To an address that was judged: a literal with the URL, a name's where it is looked up.
    async fn connect(&self, url: &Url, reach: Reach) -> Result<Box<dyn Stream>, ReadError> {
        let host = url.host().ok_or(GuardError::NoHost)?;
        let port = url.port_or_known_default().ok_or(GuardError::ForbiddenPort)?;
        let mut tcp = HttpConnector::new_with_resolver(JudgingResolver {
            rule: self.rule.clone(),
            lookup: self.lookup.clone(),
            reach,
        });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let address = hyper::Uri::builder()
            .scheme(url.scheme())
            .authority(format!("{host}:{port}"))
            .path_and_query("/")
            .build()
            .map_err(|_| GuardError::NoHost)?;
        let stream = tcp.call(address).await.map_err(not_connected)?.into_inner();
        match url.scheme() {
            "https" => self.encrypted(stream, host).await,
            _ => Ok(Box::new(stream)),
        }
    }

    async fn encrypted(&self, stream: TcpStream, host: Host<&str>) -> Result<Box<dyn Stream>, ReadError> {
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(|_| GuardError::NoHost)?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::from(address)),
        };
        let stream = self.tls.connect(name, stream).await;
        Ok(Box::new(
            stream.map_err(|error| ReadError::Connect(error.into()))?,
        ))
    }
}

fn tls_config() -> Result<ClientConfig, rustls::Error> {
    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn not_connected(error: impl std::error::Error + Send + Sync + 'static) -> ReadError {
    match refusal_within(&error) {
        Some(refusal) => ReadError::Refused(refusal),
        None => ReadError::Connect(error.into()),
    }
}

impl Service<Name> for JudgingResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = GuardError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, GuardError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GuardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (rule, lookup, reach) = (self.rule.clone(), self.lookup.clone(), self.reach);
        Box::pin(async move {
            let addresses = judged_addresses(&rule, &*lookup, reach, name.as_str()).await?;
            // Port 0 asks the connector to use the URL's.
            let addresses: Vec<_> = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            Ok(addresses.into_iter())
        })
    }
}

async fn greet(stream: Box<dyn Stream>, url: &Url) -> hyper::Result<Line> {
    let (sender, connection) = http1::Builder::new()
        .read_buf_exact_size(Some(PIECE_BYTES))
        .handshake(TokioIo::new(stream))
        .await?;
    Ok(Line {
        origin: url.origin(),
        sender,
        connection: Connection(Some(Box::pin(connection))),
    })
}

async fn ask(mut line: Line, request: hyper::Request<String>, idle: &Idle) -> hyper::Result<Answer> {
    let mut answer = Box::pin(line.sender.send_request(request));
    let answered = poll_fn(|cx| {
        line.connection.drive(cx);
        answer.as_mut().poll(cx)
    })
    .await;
    drop(answer);
    let (head, frames) = answered?.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: Pieces {
            line: Some(line),
            idle: idle.clone(),
            frames,
            gathered: BytesMut::new(),
            ended: None,
        },
    })
}

/// The body of an answer. Nothing is read ahead of what was asked for but one piece.
pub struct Pieces {
    /// Until the end, when it may serve another. Given up before, it is closed.
    line: Option<Line>,
    idle: Idle,
    frames: Incoming,
    /// Small reads, joined.
    gathered: BytesMut,
    ended: Option<hyper::Result<()>>,
}

impl Pieces {
    /// As the answer's head says it.
    pub fn length(&self) -> Option<u64> {
        self.frames.size_hint().exact()
    }

    /// The next bytes; `None` at the end. A body that ends before its Content-Length is an error, never an end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> hyper::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<Option<Bytes>>> {
        while self.ended.is_none() && self.gathered.len() < WORTH_KEEPING {
            if let Some(line) = &mut self.line {
                line.connection.drive(cx);
            }
            match Pin::new(&mut self.frames).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default(); // trailers are not for us
                    if self.gathered.is_empty() && data.len() >= WORTH_KEEPING {
                        return Poll::Ready(Ok(Some(data)));
                    }
                    self.gathered.extend_from_slice(&data);
                }
                Poll::Ready(Some(Err(error))) => self.ended = Some(Err(error)),
                Poll::Ready(None) => {
                    self.ended = Some(Ok(()));
                    if let Some(line) = self.line.take() {
                        self.idle.keep(line);
                    }
                }
                Poll::Pending if self.gathered.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !self.gathered.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.gathered).freeze())));
        }
        Poll::Ready(match self.ended.replace(Ok(())) {
            Some(Err(error)) => Err(error),
            _ => Ok(None),
        })
    }
}
