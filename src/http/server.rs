//! The listeners: who may connect, how long a peer may take, and an orderly stop. HTTP/1.1 only, in the clear: TLS and
//! h2 end at the proxy.

use super::Api;
use super::routes::{Part, app};
use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::rt::net::TcpStream;
use actix_web::{HttpServer, web};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Where to listen. Without an own address, a part is served at `listen`.
#[derive(Clone, Copy, Debug)]
pub struct Listeners {
    /// `server.listen`.
    pub listen: SocketAddr,
    /// `server.callback_listen`.
    pub callback: Option<SocketAddr>,
    /// `server.admin_listen`.
    pub admin: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Threads of each listener but the admin's, which has one.
    pub workers: usize,
    /// Open connections of each listener (`limits.max_connections`); beyond that, accepting pauses.
    pub max_connections: usize,
    pub deadlines: Deadlines,
}

/// How long a peer may take (T3).
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a whole head; a phone on a bad line needs less.
    pub head: Duration,
    /// Without taking one byte of an answer: then it is gone. The framework itself has no deadline for writing.
    pub write_stalls: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            write_stalls: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{setting}: cannot listen on {address}: {source}")]
    Bind {
        setting: &'static str,
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the HTTP server could not start")]
    Thread(#[source] io::Error),
}

/// How long an idle connection is kept for the next request: a little more than proxies keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a refused peer may take to notice that nobody reads its body.
const DISCONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Requests in work may finish within this; with the rest of the stop it stays below 30 s (G11).
const DRAIN_WITHIN_S: u64 = 25;
/// Connections that wait to be accepted: a burst of callbacks must not be turned away.
const BACKLOG: i32 = 1_024;
/// Probes, a scraper and an operator's shell.
const ADMIN_CONNECTIONS: usize = 64;

/// Serving until stopped.
pub struct Running {
    pub listen: SocketAddr,
    pub callback: SocketAddr,
    pub admin: SocketAddr,
    servers: Vec<ServerHandle>,
    thread: JoinHandle<io::Result<()>>,
    api: web::Data<Api>,
}

/// A listener that is bound, and what it will serve.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    parts: Vec<Part>,
    workers: usize,
    max_connections: usize,
    deadlines: Deadlines,
}

/// Binds every address, then serves on threads of its own. Ports are held when this returns.
pub fn start(listeners: Listeners, limits: ServerLimits, api: Api) -> Result<Running, StartError> {
    let api = web::Data::new(api);
    let bound = bind_all(listeners, limits)?;
    let at = |part| {
        let serving = bound.iter().find(|b| b.parts.contains(&part));
        serving.expect("every part is served somewhere").address
    };
    let (listen, callback, admin) = (at(Part::Api), at(Part::Callback), at(Part::Admin));
    let (sender, started) = mpsc::channel();
    let data = api.clone();
    let thread = std::thread::Builder::new()
        .name("http".into())
        .spawn(move || serve(bound, data, &sender))
        .map_err(StartError::Thread)?;
    let servers = started
        .recv()
        .unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
        .map_err(StartError::Thread)?;
    Ok(Running {
        listen,
        callback,
        admin,
        servers,
        thread,
        api,
    })
}

impl Running {
    /// Stops accepting, tells the readiness page, ends long polls, and lets requests in work finish; within 30 s.
    pub async fn stop(self) {
        self.api.health.set_not_ready(Some("draining"));
        self.api.state.draining.cancel();
        futures_util::future::join_all(self.servers.iter().map(|s| s.stop(true))).await;
        // It ends when its servers have.
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(Ok(())))) {
            tracing::error!("the HTTP server's thread did not end well");
        }
    }
}

fn bind_all(at: Listeners, limits: ServerLimits) -> Result<Vec<Bound>, StartError> {
    let own = [
        ("server.callback_listen", at.callback, Part::Callback),
        ("server.admin_listen", at.admin, Part::Admin),
    ];
    let is_own = |part| own.iter().any(|(_, address, p)| *p == part && address.is_some());
    let shared = Part::ALL.into_iter().filter(|part| !is_own(*part)).collect();
    let mut bound = vec![bind("server.listen", at.listen, shared, limits)?];
    for (setting, address, part) in own {
        if let Some(address) = address {
            bound.push(bind(setting, address, vec![part], limits)?);
        }
    }
    Ok(bound)
}

fn bind(
    setting: &'static str,
    address: SocketAddr,
    parts: Vec<Part>,
    limits: ServerLimits,
) -> Result<Bound, StartError> {
    let fault = |source| StartError::Bind {
        setting,
        address,
        source,
    };
    let listener = listen(address).map_err(fault)?;
    let (workers, max_connections) = match parts[..] {
        [Part::Admin] => (1, ADMIN_CONNECTIONS),
        _ => (limits.workers.max(1), limits.max_connections),
    };
    Ok(Bound {
        address: listener.local_addr().map_err(fault)?,
        listener,
        parts,
        workers,
        max_connections,
        deadlines: limits.deadlines,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // So that a restart need not wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

type Started = mpsc::Sender<io::Result<Vec<ServerHandle>>>;

/// The thread: one runtime for the servers, each with its own workers.
fn serve(bound: Vec<Bound>, api: web::Data<Api>, started: &Started) -> io::Result<()> {
    System::new().block_on(async move {
        let servers: io::Result<Vec<_>> = bound.into_iter().map(|b| server(b, api.clone())).collect();
        let servers = match servers {
            Ok(servers) => servers,
            Err(e) => {
                let _ = started.send(Err(io::Error::new(e.kind(), e.to_string())));
                return Err(e);
            }
        };
        let handles = servers.iter().map(actix_web::dev::Server::handle).collect();
        // Nobody waits any more only when the starter itself is gone.
        let _ = started.send(Ok(handles));
        futures_util::future::try_join_all(servers).await.map(drop)
    })
}

fn server(bound: Bound, api: web::Data<Api>) -> io::Result<actix_web::dev::Server> {
    let Bound {
        parts,
        workers,
        deadlines,
        ..
    } = bound;
    let server = HttpServer::new(move || app(api.clone(), &parts))
        .workers(workers)
        .max_connections(bound.max_connections.div_ceil(workers))
        .client_request_timeout(deadlines.head)
        .client_disconnect_timeout(DISCONNECT_WITHIN)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(DRAIN_WITHIN_S)
        .disable_signals()
        .on_connect(move |connection, _| guard_connection(connection, deadlines.write_stalls))
        .listen(bound.listener)?;
    Ok(server.run())
}

fn guard_connection(connection: &dyn Any, write_stalls: Duration) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else {
        return;
    };
    if let Err(e) = set_deadlines(SockRef::from(stream), write_stalls) {
        tracing::debug!("a connection without deadlines: {e}");
    }
}

fn set_deadlines(socket: SockRef<'_>, write_stalls: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(write_stalls))?;
    Ok(())
}
