//! The parts put together, started in order and stopped in order.

use super::copying::CopyThreads;
use super::outer::Outer;
use super::wanted::{api_settings, callback_base, keep, policy, url_of};
use super::{AppError, keyfile, outlets, probe};
use crate::adapters::guard::{GuardSettings, GuardedClient};
use crate::adapters::runware::{RunwareClient, RunwareOptions};
use crate::adapters::s3::Access;
use crate::adapters::sources::{HttpSources, Patience, SourceOptions};
use crate::adapters::sqlite::{self, SqliteStore};
use crate::adapters::system::{self, SystemClock, SystemRng};
use crate::adapters::webhook::{ProviderShape, WebhookSink};
use crate::config::{Purpose, Settings};
use crate::domain::address::{AddressRule, GuardError, HostPattern, Purpose as AddressPurpose};
use crate::domain::asset::KeyRule;
use crate::domain::delivery::Schedule;
use crate::domain::endpoint::MAX_AT_ONCE;
use crate::domain::fair_share::Places;
use crate::domain::file::Policy;
use crate::domain::token::CallbackKeys;
use crate::http::server::{Deadlines, Listeners, ServerLimits, StartError};
use crate::http::{self, Api, EndpointCheck, Ports};
use crate::ports::blobs::Blobs;
use crate::ports::clock::{Clock, Rng};
use crate::ports::health::Health;
use crate::ports::links::Links;
use crate::ports::provider::Provider;
use crate::ports::sink::Sink;
use crate::ports::source::Sources;
use crate::ports::store::{Accounts as _, Inbox, Leases as _};
use crate::ports::wake::Wakeups;
use crate::telemetry::Metrics;
use crate::worker::jobs::{Copies, Deliveries, ProviderPace, Queries, Shared, Submissions, TaskDeliveries};
use crate::worker::pace::Pace;
use crate::worker::supervisor::Workers;
use crate::worker::{self, Loop, deadlines, relay, retention};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};
use url::Url;

/// What a service is made of: settings, and what tests and `dev` put in the place of the machine's own.
pub struct Assembly {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub s3_access: Access,
    /// In the place of the store's own inbox: only to measure what storing callbacks costs.
    pub inbox: Option<Arc<dyn Inbox>>,
    /// How long sources are waited for.
    pub patience: Patience,
}

impl Assembly {
    pub fn of(settings: Settings) -> Self {
        Self {
            settings,
            clock: Arc::new(SystemClock::start()),
            rng: Arc::new(SystemRng),
            s3_access: Access::DefaultChain,
            inbox: None,
            patience: Patience::default(),
        }
    }
}

/// A running service.
pub struct Service {
    pub store: Arc<SqliteStore>,
    pub metrics: Metrics,
    pub health: Health,
    pub clock: Arc<dyn Clock>,
    http: http::server::Running,
    workers: Workers,
    _copying: CopyThreads,
}

/// A lease outlives a stall of a few seconds; a killed worker's work is taken up after it.
const LEASE: Duration = Duration::from_secs(60);
/// After a stop signal, work in hand may go on so long, beside the HTTP server's own drain; then it is dropped and its
/// leases are given back. The whole stop stays below 30 s.
const WORK_DRAIN: Duration = Duration::from_secs(20);
const WORK_STOP: Duration = Duration::from_secs(27);
const USER_AGENT: &str = concat!("catchment/", env!("CARGO_PKG_VERSION"));
const NO_CLIENT: &str = "the HTTP client cannot be set up (are CA certificates installed?)";
/// Deliveries under way at once, over all endpoints. They are shared out so that those that hang leave room for others.
const DELIVERY_CONCURRENCY: u32 = 4 * MAX_AT_ONCE;
/// Calls to tasks' own webhooks under way at once: so many that six tenants whose receivers all hang leave places for
/// the next, and so few to one receiver that it is found out before it has much of them.
const TASK_DELIVERIES: Places = Places {
    all: 64,
    per_origin: 8,
};

impl Service {
    /// Starts everything; the object store and the provider may be down.
    ///
    /// # Errors
    /// Settings, database, address or keys do not allow it. Nothing runs then.
    pub async fn start(assembly: Assembly) -> Result<Self, AppError> {
        let Assembly {
            settings,
            clock,
            rng,
            s3_access,
            inbox,
            patience,
        } = assembly;
        settings.check(Purpose::Serve)?;
        make_room_for_connections(settings.limits.max_connections);
        let store = open_store(&settings, sqlite::Role::Serve, &*clock)?;
        tell_opened(&store);
        let void = store.void_leases().await?;
        if void > 0 {
            info!(leases = void, "taking up the work of the process before");
        }
        let keys = keyfile::callback_keys(&settings, &*rng)?;
        let shared = Shared {
            store: store.clone(),
            clock: clock.clone(),
            rng,
            wakeups: Wakeups::default(),
            health: Health::default(),
            metrics: Metrics::new(),
            policy: Arc::new(policy(&settings)),
        };
        let guard = guarded_client(&settings)?;
        let inbox = inbox.unwrap_or_else(|| store.clone());
        let copying = CopyThreads::start()?;
        let threads = copying.handle().clone();
        let outer = Outer::connect(&settings, &shared, store.clone(), s3_access, patience, threads).await?;
        let sink = webhooks(&settings, &shared, &guard, outer.blobs.clone()).await?;
        let http = start_http(&settings, &shared, inbox, &keys, &guard, &outer, sink.clone())?;
        let mut workers = Workers::new();
        let base = callback_base(&settings, &http);
        start_workers(&mut workers, &settings, &shared, keys, base, sink, outer).await?;
        outlets::start(&mut workers, &settings, &shared).await?;
        let old = retention::run(store.clone(), clock.clone(), keep(&settings), workers.stopping());
        workers.spawn("retention", old);
        let Shared { metrics, health, .. } = shared;
        Ok(Self {
            store,
            metrics,
            health,
            clock,
            http,
            workers,
            _copying: copying,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.http.listen
    }

    /// Says where it listens, and how to make the first key when there is none.
    pub async fn greet(&self) {
        info!(address = %self.addr(), "listening");
        match self.store.keys().await {
            Ok(keys) if keys.iter().all(|k| k.revoked_at.is_some()) => {
                eprintln!("No API key yet. Make the first one with: catchment keys create NAME");
            }
            Ok(_) => {}
            Err(e) => warn!(error = %e, "API keys could not be read"),
        }
    }

    /// Resolves when the service must not go on: a failed fsync.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.store.fatal();
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await, // the store was closed: an orderly stop is under way
        }
    }

    /// Stops taking requests, then claiming work; lets both end within 30 s; gives leases back; closes the database.
    pub async fn stop(self) {
        self.health.set_not_ready(Some("draining"));
        tokio::join!(self.http.stop(), self.workers.stop(WORK_STOP));
        self.store.close().await;
        info!("stopped");
    }
}

/// Files, sockets to others and the database, beside the connections that clients may open.
const OTHER_FILES: u64 = 512;

fn make_room_for_connections(max_connections: u32) {
    let wanted = u64::from(max_connections) + OTHER_FILES;
    match system::raise_open_files_limit() {
        Ok(Some(limit)) if limit < wanted => warn!(
            limit,
            wanted, "the host's limit of open files is below what limits.max_connections may need"
        ),
        Ok(_) => {}
        Err(e) => warn!(error = %e, "the limit of open files could not be raised"),
    }
}

pub(super) fn open_store(
    settings: &Settings,
    role: sqlite::Role,
    clock: &dyn Clock,
) -> Result<Arc<SqliteStore>, AppError> {
    let options = sqlite::OpenOptions {
        path: settings.database_path(),
        now: clock.now(),
        role,
    };
    SqliteStore::open(options).map_err(open_error)
}

pub(super) fn open_error(error: sqlite::OpenError) -> AppError {
    match error {
        sqlite::OpenError::Locked { .. } => AppError::Busy {
            what: error.to_string(),
        },
        _ => AppError::failed(error.to_string(), error),
    }
}

fn tell_opened(store: &SqliteStore) {
    let opened = store.opened();
    if let Some(upgrade) = &opened.upgrade {
        let backup = upgrade.backup.as_ref().map(|b| b.display().to_string());
        info!(
            from = upgrade.from,
            to = upgrade.to,
            backup,
            "database schema brought up to date"
        );
    }
    if opened.unclean_stop {
        warn!(
            checked = opened.checked,
            "the process before did not stop in order; its work is taken up"
        );
    }
}

fn start_http(
    settings: &Settings,
    shared: &Shared,
    inbox: Arc<dyn Inbox>,
    keys: &CallbackKeys,
    guard: &GuardedClient,
    outer: &Outer,
    sink: Arc<dyn Sink>,
) -> Result<http::server::Running, AppError> {
    let ports = Ports {
        store: shared.store.clone(),
        inbox,
        clock: shared.clock.clone(),
        rng: shared.rng.clone(),
        wakeups: shared.wakeups.clone(),
        health: shared.health.clone(),
        keys: keys.clone(),
        policy: Policy::clone(&shared.policy),
        metrics: shared.metrics.clone(),
        endpoint_check: Arc::new(GuardCheck(guard.clone())),
        records: outer.records.clone(),
        aside: Some(outer.aside.clone()),
        links: outer.blobs.clone(),
        sink,
    };
    let api = Api::new(ports, api_settings(settings));
    let server = &settings.server;
    let listeners = Listeners {
        listen: server.listen,
        callback: server.callback_listen,
        admin: server.admin_listen,
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let limits = ServerLimits {
        workers: cores,
        max_connections: settings.limits.max_connections as usize,
        deadlines: Deadlines::default(),
    };
    http::server::start(listeners, limits, api).map_err(|e| match e {
        StartError::Bind { .. } => AppError::Busy { what: e.to_string() },
        StartError::Thread(_) => AppError::failed(e.to_string(), e),
    })
}

/// The same rule when an endpoint is created as when it is called.
struct GuardCheck(GuardedClient);

#[async_trait]
impl EndpointCheck for GuardCheck {
    async fn check(&self, url: &Url) -> Result<(), GuardError> {
        self.0.check(url, AddressPurpose::Endpoint).await
    }
}

/// One dialer for every address that somebody else named.
fn guarded_client(settings: &Settings) -> Result<GuardedClient, AppError> {
    let rule = AddressRule::new(settings.net.allow_private.clone());
    let guard = GuardSettings {
        user_agent: USER_AGENT.to_owned(),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(30),
    };
    GuardedClient::new(rule, &guard).map_err(|e| AppError::failed(NO_CLIENT, e))
}

async fn webhooks(
    settings: &Settings,
    shared: &Shared,
    guard: &GuardedClient,
    links: Arc<dyn Links>,
) -> Result<Arc<dyn Sink>, AppError> {
    let instance = shared.store.instance_id().await?;
    let tasks = shared.store.clone();
    let (clock, timeout) = (shared.clock.clone(), settings.events.timeout);
    let shape = ProviderShape { tasks, links };
    Ok(Arc::new(WebhookSink::new(
        guard.clone(),
        clock,
        timeout,
        &instance,
        shape,
    )))
}

async fn start_workers(
    workers: &mut Workers,
    settings: &Settings,
    shared: &Shared,
    keys: CallbackKeys,
    callback_base: String,
    sink: Arc<dyn Sink>,
    outer: Outer,
) -> Result<(), AppError> {
    let provider: Arc<dyn Provider> = outer.provider;
    let s3 = outer.blobs;
    let blobs: Arc<dyn Blobs> = s3.clone();
    let schedule = Schedule(settings.events.schedule.clone());
    let hosts = settings.archive.allowed_hosts.clone();
    let stop = workers.stopping();
    let env = |concurrency| Loop {
        store: shared.store.clone(),
        clock: shared.clock.clone(),
        wakeups: shared.wakeups.clone(),
        concurrency,
        lease: LEASE,
        drain: WORK_DRAIN,
        stop: stop.clone(),
    };
    let in_flight = settings.runware.max_in_flight;
    let again = settings.retry.max_interval;
    let pace = Arc::new(ProviderPace::new(in_flight, again));
    let submissions = Submissions {
        shared: shared.clone(),
        provider: provider.clone(),
        keys,
        callback_base,
        pace: pace.clone(),
        journal: outer.journalling.clone(),
    };
    workers.start("dispatch", submissions, env(in_flight));
    let queries = Queries {
        shared: shared.clone(),
        provider,
        host_allowed: host_check(hosts.clone()),
        pace,
        journal: outer.journalling.clone(),
    };
    workers.start("poll", queries, env(in_flight));
    let copies = Copies {
        shared: shared.clone(),
        sources: sources(settings, outer.patience)?,
        blobs: Arc::new(s3.apart()),
        keys: KeyRule {
            template: settings.archive.key_template.as_str().to_owned(),
            prefix: settings.s3.prefix.clone(),
        },
        max_object_bytes: settings.archive.max_object_size.0,
        pace: Pace::new(settings.archive.concurrency, again),
    };
    let concurrency = settings.archive.concurrency;
    workers.start_on(&outer.copying, "archive", copies, env(concurrency));
    let task_deliveries = TaskDeliveries {
        shared: shared.clone(),
        sink: sink.clone(),
        schedule: schedule.clone(),
        places: TASK_DELIVERIES,
    };
    workers.start("task webhooks", task_deliveries, env(TASK_DELIVERIES.all));
    let deliveries = Deliveries {
        shared: shared.clone(),
        sink,
        schedule: schedule.clone(),
    };
    workers.start("publish", deliveries, env(DELIVERY_CONCURRENCY));
    let (store, clock) = (shared.store.clone(), shared.clock.clone());
    workers.spawn(
        "relay",
        relay::run(
            store,
            clock.clone(),
            shared.wakeups.clone(),
            schedule,
            stop.clone(),
        ),
    );
    let again = settings.retry.max_interval;
    if let Some(journalling) = outer.journalling {
        let catching_up = worker::journal::run(journalling, clock.clone(), again, stop.clone());
        workers.spawn("journal", catching_up);
    }
    workers.spawn("deadlines", deadlines::run(shared.clone(), LEASE, stop.clone()));
    let probe = probe::Probe {
        blobs,
        promises: s3,
        prefix: settings.s3.prefix.clone(),
        health: shared.health.clone(),
        clock,
        again,
    };
    workers.spawn("probe", probe::run(probe, stop));
    Ok(())
}

pub(super) fn provider(settings: &Settings, shared: &Shared) -> Result<Arc<RunwareClient>, AppError> {
    let key = settings.runware.api_key.clone().ok_or_else(|| AppError::Failed {
        what: "runware.api_key is missing".to_owned(),
        source: None,
    })?;
    let mut options = RunwareOptions::new(url_of(&settings.runware.base_url)?, key);
    options.max_in_flight = settings.runware.max_in_flight as usize;
    options.max_per_second = settings.runware.max_per_second;
    let client = RunwareClient::new(options, shared.clock.clone());
    Ok(Arc::new(client.map_err(|e| AppError::failed(e.to_string(), e))?))
}

fn sources(settings: &Settings, patience: Patience) -> Result<Arc<dyn Sources>, AppError> {
    let options = SourceOptions {
        user_agent: USER_AGENT.to_owned(),
        allowed_hosts: settings.archive.allowed_hosts.clone(),
        patience,
    };
    let sources = HttpSources::new(AddressRule::new(settings.net.allow_private.clone()), options);
    Ok(Arc::new(sources.map_err(|e| AppError::failed(NO_CLIENT, e))?))
}

/// Whether a link's host is one that results may come from; the guard checks it again when it is opened.
fn host_check(hosts: Vec<HostPattern>) -> Arc<dyn Fn(&str) -> bool + Send + Sync> {
    Arc::new(move |link| {
        let host = Url::parse(link)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| hosts.iter().any(|pattern| pattern.matches(&host)))
    })
}
