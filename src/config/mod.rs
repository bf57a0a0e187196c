//! Settings: one struct per component, units in types, read once at start and checked once.
//!
//! A setting is a field here, a default, a line in `Settings::visit` and a paragraph in
//! `deploy/catchment.toml`; a test keeps the sample and the list together.

mod check;
mod fault;
mod flags;
mod keys;
mod nats;
mod secrets;
mod setting;
mod show;
mod sources;
mod units;
mod values;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

use crate::domain::address::HostPattern;

pub use check::Purpose;
pub use fault::{ConfigErrors, Fault};
pub use flags::ConfigFlags;
pub use nats::{NatsLogin, NatsUrl};
pub use secrets::CallbackKey;
pub use sources::{DEFAULT_FILE, Origin, Sources};
pub use units::ByteSize;
pub use values::{
    ArchiveMode, BaseUrl, Checksum, CreateOnly, KEY_PLACEHOLDERS, KeyTemplate, LogFormat, Prompt, StoreUrl,
};

/// Everything that can be set. `Default` is the state without any source.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub server: Server,
    pub data: Data,
    pub store: StoreSettings,
    pub runware: Runware,
    pub s3: S3,
    pub archive: Archive,
    pub retry: Retry,
    pub callback: Callback,
    pub poll: Poll,
    pub events: Events,
    pub tasks: Tasks,
    pub limits: Limits,
    pub nats: Nats,
    pub net: Net,
    pub log: Log,
    /// Where the values came from; keys that no source names are absent.
    origins: BTreeMap<&'static str, Origin>,
}

/// The HTTP listeners.
#[derive(Clone, Debug)]
pub struct Server {
    pub listen: SocketAddr,
    /// `None`: callbacks arrive at `listen`.
    pub callback_listen: Option<SocketAddr>,
    /// `None`: metrics and health are served at `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Base of the callback URL that the provider is given.
    pub public_url: Option<BaseUrl>,
    pub max_body: ByteSize,
}

/// What this host keeps.
#[derive(Clone, Debug)]
pub struct Data {
    pub dir: PathBuf,
}

/// The task database.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// `None`: `catchment.db` under `data.dir`; see [`Settings::database_path`].
    pub url: Option<StoreUrl>,
}

/// The provider and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Runware {
    pub base_url: BaseUrl,
    pub api_key: Option<SecretString>,
    /// Lifetime asked for a result's link when the task names none.
    pub default_ttl: Duration,
    /// A shorter lifetime is raised to this: the copy needs the time.
    pub min_ttl: Duration,
    pub default_prompt: Option<Prompt>,
    /// Requests to the provider at once, submissions and queries together.
    pub max_in_flight: u32,
    /// Requests to the provider a second, submissions and queries together.
    pub max_per_second: u32,
    /// How long after its first attempt the same submission may be sent again.
    pub resend_window: Duration,
    /// How long a task that cannot be sent is held before it is rejected.
    pub max_hold: Duration,
}

/// The bucket. Credentials come by the AWS default chain, never from here.
#[derive(Clone, Debug)]
pub struct S3 {
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<BaseUrl>,
    /// In front of every key, as it stands: a folder ends in `/`.
    pub prefix: String,
    pub force_path_style: bool,
    pub checksum: Checksum,
    pub create_only: CreateOnly,
    pub kms_key: Option<String>,
    pub storage_class: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Whether a task's identity is written to the bucket before the provider is paid.
    pub journal: bool,
}

/// Copying results into the bucket.
#[derive(Clone, Debug)]
pub struct Archive {
    pub mode: ArchiveMode,
    pub key_template: KeyTemplate,
    /// Copies at once.
    pub concurrency: u32,
    /// Of these, copies from sources that name no length; each holds one part in memory.
    pub unsized_concurrency: u32,
    pub part_size: ByteSize,
    pub max_object_size: ByteSize,
    pub allowed_hosts: Vec<HostPattern>,
    /// Share of the time between discovery and `archive_by`, above 0 and below 1.
    pub at_risk_after: f64,
}

/// Back-off toward provider, source and object store.
#[derive(Clone, Debug)]
pub struct Retry {
    pub max_interval: Duration,
}

/// The provider's completion callbacks.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The first signs, all verify. Empty: made on first start under `data.dir`.
    pub keys: Vec<CallbackKey>,
    /// How long a success that only a callback claims waits for a query to confirm it.
    pub trust_after: Duration,
}

/// Status queries.
#[derive(Clone, Debug)]
pub struct Poll {
    pub first_after: Duration,
    pub max_interval: Duration,
    /// Counted from submission.
    pub deadline: Duration,
}

/// The event log and its deliveries.
#[derive(Clone, Debug)]
pub struct Events {
    /// The wait before each try, before jitter; a delivery is dead after the last.
    pub schedule: Vec<Duration>,
    pub timeout: Duration,
    pub retention: Duration,
}

/// What is kept of tasks.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// How long the submitted document outlives the end of its task.
    pub keep_request: Duration,
    /// `None`: for ever.
    pub retention: Option<Duration>,
}

/// What one caller, or all together, may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections of the whole service.
    pub max_connections: u32,
    /// Sustained rate of one API key.
    pub requests_per_second: u32,
    /// Requests that one API key may send at once above its rate.
    pub burst: u32,
    /// Requests of one API key in work at the same time.
    pub concurrent_requests: u32,
    /// Event streams and long polls of one API key open at the same time.
    pub event_streams: u32,
}

/// An optional log outside that events are appended to.
#[derive(Clone, Debug)]
pub struct Nats {
    pub url: Option<NatsUrl>,
    /// Also the first word of every subject.
    pub stream: String,
}

/// The guard of outgoing connections.
#[derive(Clone, Debug, Default)]
pub struct Net {
    pub allow_private: Vec<IpNet>,
}

/// Diagnostics on stderr.
#[derive(Clone, Debug)]
pub struct Log {
    /// `None`: text on a terminal, else JSON.
    pub format: Option<LogFormat>,
    /// Filter directives such as `info,catchment=debug`.
    pub level: String,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            callback_listen: None,
            admin_listen: None,
            public_url: None,
            max_body: ByteSize::mib(16),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "data".into() }
    }
}

impl Default for Runware {
    fn default() -> Self {
        Self {
            base_url: "https://api.runware.ai/v1"
                .parse()
                .expect("a constant that a test parses"),
            api_key: None,
            default_ttl: 7 * DAY,
            min_ttl: HOUR,
            default_prompt: None,
            max_in_flight: 4,
            max_per_second: 100,
            resend_window: 10 * MINUTE,
            max_hold: 7 * DAY,
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: None,
            region: None,
            endpoint: None,
            prefix: String::new(),
            force_path_style: false,
            checksum: Checksum::Sha256,
            create_only: CreateOnly::Native,
            kms_key: None,
            storage_class: None,
            tags: BTreeMap::new(),
            journal: true,
        }
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            mode: ArchiveMode::Copy,
            key_template: "{prefix}{taskUUID}/{resultId}.{ext}"
                .parse()
                .expect("a constant that a test parses"),
            concurrency: 8,
            unsized_concurrency: 2,
            part_size: ByteSize::mib(8),
            max_object_size: ByteSize::gib(5),
            allowed_hosts: vec!["*.runware.ai".parse().expect("a constant that a test parses")],
            at_risk_after: 0.5,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_interval: MINUTE }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            trust_after: 2 * MINUTE,
        }
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self {
            first_after: 3 * MINUTE,
            max_interval: 5 * MINUTE,
            deadline: DAY,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        let early = [
            Duration::ZERO,
            Duration::from_secs(5),
            5 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
        ];
        let schedule = early.into_iter().chain([12 * HOUR; 5]).collect();
        Self {
            schedule,
            timeout: Duration::from_secs(15),
            retention: 90 * DAY,
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            keep_request: DAY,
            retention: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            requests_per_second: 1_000,
            burst: 5_000,
            concurrent_requests: 256,
            event_streams: 32,
        }
    }
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: None,
            stream: "catchment".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: None,
            level: "info".to_owned(),
        }
    }
}

impl Settings {
    /// The SQLite file: `store.url`, or `catchment.db` under `data.dir`.
    pub fn database_path(&self) -> PathBuf {
        self.store
            .url
            .as_ref()
            .map_or_else(|| self.data.dir.join("catchment.db"), |url| url.path().clone())
    }
}
