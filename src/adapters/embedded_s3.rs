//! An S3 server in this process, over a directory: what `catchment dev` and the tests store into.
//!
//! Reached over TCP and signed like any other store, so the whole client path is exercised. It proves the walk, not
//! what a real store guarantees: it looks whether a key is taken before it reads the body, so two racing writers both
//! succeed; it puts the bytes in place before it compares their checksum; it keeps no SHA-256 of objects that went up
//! in parts; it is not crash-safe. A file is named after its key in base64, so keys end near 170 bytes.

use async_trait::async_trait;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::access::S3Access;
use s3s::auth::SimpleAuth;
use s3s::dto::PutObjectInput;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Request, S3Result};
use s3s_fs::FileSystem;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

/// For requests under way when the server is told to stop; what takes longer is cut.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server. Dropping it stops the server without waiting.
pub struct EmbeddedS3 {
    dir: PathBuf,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl EmbeddedS3 {
    /// Serves `dir`, made if missing, on a free port of the loopback interface; requests must be signed with the keys.
    pub async fn start(dir: &Path, access_key: &str, secret_key: &str) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let service = service(dir, access_key, secret_key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self {
            dir: dir.to_owned(),
            address: listener.local_addr()?,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let (stop, tasks) = (server.stop.clone(), server.tasks.clone());
        server.tasks.spawn(accept(listener, service, stop, tasks));
        Ok(server)
    }

    /// Its endpoint; buckets are in the path.
    pub fn endpoint(&self) -> Url {
        let text = format!("http://{}", self.address);
        text.parse().expect("a socket address makes a URL")
    }

    /// Makes sure that the bucket exists: a folder, as this server keeps them.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        if !name.bytes().all(plain) || name.starts_with('.') || name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a bucket name"));
        }
        std::fs::create_dir_all(self.dir.join(name))
    }

    /// Takes no more connections, lets requests under way finish, and returns when all is quiet.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for EmbeddedS3 {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn service(dir: &Path, access_key: &str, secret_key: &str) -> io::Result<S3Service> {
    let files = FileSystem::new(dir).map_err(|error| io::Error::other(format!("{error:?}")))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    builder.set_access(AsRealStores);
    Ok(builder.build())
}

/// Corrections on the way in.
struct AsRealStores;

#[async_trait]
impl S3Access for AsRealStores {
    /// `aws-chunked` says how this request was sent and is no property of the object; S3 does not store it either.
    async fn put_object(&self, request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
        let encoding = &mut request.input.content_encoding;
        if encoding.as_deref() == Some("aws-chunked") {
            *encoding = None;
        }
        Ok(())
    }
}

async fn accept(listener: TcpListener, service: S3Service, stop: CancellationToken, tasks: TaskTracker) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn(serve(stream, service.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded store could not accept a connection");
                let _ = tokio::time::timeout(ACCEPT_PAUSE, stop.cancelled()).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, service: S3Service, stop: CancellationToken) {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that goes away is its own affair.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
}
