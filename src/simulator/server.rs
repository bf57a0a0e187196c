//! Starting and stopping: the simulator lives on threads of its own, whatever runtime its owner has.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, Data, PayloadConfig};
use actix_web::{App, HttpServer};
use reqwest::redirect::Policy;
use tokio::runtime::Runtime;

use super::faults::Faults;
use super::report::{self, Generation};
use super::tally::Tally;
use super::world::{Stats, World};
use super::{api, cdn, connection, control};

/// Largest request body. The real limit is unknown; tasks with media inside must fit.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Options {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host, `host:port` or base URL to put into links; else the address itself.
    pub public_host: Option<String>,
    /// The only valid key; `None` takes any that is not empty.
    pub api_key: Option<String>,
    pub seed: u64,
    /// How long one result takes, drawn for each.
    pub render_ms: RangeInclusive<u64>,
    pub faults: Faults,
    /// How long `getResponse` knows a task after its last result.
    pub retention: Duration,
    /// Videos are grown to so many bytes; 0 leaves them small.
    pub video_size: u64,
}

impl Default for Options {
    /// A quick, faultless provider on a free port of the loopback.
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            public_host: None,
            api_key: None,
            seed: 1,
            render_ms: 50..=150,
            faults: Faults::none(),
            retention: Duration::from_secs(24 * 3600),
            video_size: 0,
        }
    }
}

/// A running simulator; dropping it stops it.
pub struct Simulator {
    world: Arc<World>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
    background: Option<Runtime>,
}

impl Simulator {
    /// Listens and serves on threads of its own.
    ///
    /// # Errors
    /// The address is taken, or threads or an HTTP client cannot be had.
    pub fn start(options: Options) -> io::Result<Simulator> {
        let listener = TcpListener::bind(options.listen)?;
        let origin = origin(listener.local_addr()?, options.public_host.as_deref());
        let background = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let world = World::new(origin, options, client()?, background.handle().clone());
        let world = Arc::new(world);
        let (started, server) = mpsc::channel();
        let served = world.clone();
        let thread = std::thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || actix_web::rt::System::new().block_on(serve(listener, served, started)))?;
        let server = server
            .recv()
            .map_err(|_| io::Error::other("the simulator's thread ended at once"))??;
        Ok(Simulator {
            world,
            server,
            thread: Some(thread),
            background: Some(background),
        })
    }

    /// `http://127.0.0.1:PORT/v1`
    pub fn api_url(&self) -> String {
        format!("{}/v1", self.world.origin)
    }

    /// Scheme, host and port of the links.
    pub fn cdn_url(&self) -> String {
        self.world.origin.clone()
    }

    pub fn stats(&self) -> Stats {
        self.world.stats()
    }

    pub fn tally(&self) -> Tally {
        self.world.tally()
    }

    /// Replaces the faults in force; what each task brought along stays on top.
    pub fn set_faults(&self, faults: Faults) {
        self.world.set_faults(faults);
    }

    /// Every accepted task, oldest first. Blocks while digests of large files are computed.
    pub fn generations(&self) -> Vec<Generation> {
        report::generations(&self.world)
    }

    /// Pushes the simulator's clock forward: renders end, waits end, links die.
    pub fn advance(&self, by: Duration) {
        self.world.clock.advance(by);
    }

    /// Hangs up on everyone and forgets everything; returns when its threads have ended.
    pub fn stop(self) {}
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The command is sent by the call; its future would only wait, and the join below waits for more.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, world: Arc<World>, started: mpsc::Sender<io::Result<ServerHandle>>) {
    let server = match bound(listener, world) {
        Ok(server) => server,
        Err(fault) => return started.send(Err(fault)).unwrap_or_default(),
    };
    // Nobody receives when the starter is gone; the server then ends with its handle unused.
    let _ = started.send(Ok(server.handle()));
    let _ = server.await;
}

fn bound(listener: TcpListener, world: Arc<World>) -> io::Result<Server> {
    let world = Data::from(world);
    let app = move || {
        App::new()
            .app_data(world.clone())
            .app_data(PayloadConfig::new(MAX_BODY_BYTES))
            .route("/v1", web::post().to(api::post))
            .configure(control::routes)
            .default_service(web::get().to(cdn::get))
            .route(
                "/{kind:video|image|audio|media}/{path:.*}",
                web::head().to(cdn::get),
            )
    };
    let server = HttpServer::new(app)
        .workers(2)
        .keep_alive(Duration::from_secs(75))
        .on_connect(connection::remember)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

/// Calls receivers as they are: no proxy, no redirect, and any certificate, since a simulator has nothing to hide
/// and receivers under test sign their own.
fn client() -> io::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .build();
    client.map_err(io::Error::other)
}

fn origin(address: SocketAddr, public_host: Option<&str>) -> String {
    match public_host {
        Some(base) if base.contains("://") => base.trim_end_matches('/').to_owned(),
        Some(host) if host.contains(':') => format!("http://{host}"),
        Some(host) => format!("http://{host}:{}", address.port()),
        None if address.ip().is_unspecified() => format!("http://127.0.0.1:{}", address.port()),
        None => format!("http://{address}"),
    }
}
