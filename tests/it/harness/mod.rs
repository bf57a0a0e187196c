//! The HTTP surface over a real socket and the real store; only time may be the test's own.

pub mod raw;
pub mod stream;

use async_trait::async_trait;
use catchment::adapters::manual_clock::ManualClock;
use catchment::adapters::sqlite::{OpenOptions, Role, SqliteStore};
use catchment::adapters::system::{SystemClock, SystemRng};
use catchment::domain::address::{AddressRule, GuardError, Purpose, check_url};
use catchment::domain::delivery::{Delivery, Endpoint, Outcome};
use catchment::domain::file::Policy;
use catchment::domain::ids::{Digest, EventId, TaskId, Tenant};
use catchment::domain::time::Timestamp;
use catchment::domain::token::CallbackKeys;
use catchment::http::server::{Deadlines, Listeners, Running, ServerLimits, start};
use catchment::http::{Api, ApiSettings, EndpointCheck, KeyLimits, Ports, Rate};
use catchment::ports::BoxError;
use catchment::ports::clock::Clock;
use catchment::ports::health::Health;
use catchment::ports::links::{LinkTo, Links};
use catchment::ports::sink::Sink;
use catchment::ports::store::{Accounts as _, NewApiKey};
use catchment::ports::wake::Wakeups;
use catchment::telemetry::Metrics;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Longest wait for a fact; a fact that takes longer is a hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const MAX_BODY: usize = 64 * 1024;

pub struct Service {
    pub store: Arc<SqliteStore>,
    pub health: Health,
    pub metrics: Metrics,
    pub wakeups: Wakeups,
    pub keys: CallbackKeys,
    running: Option<Running>,
    client: reqwest::Client,
    /// Of the tenant `default`.
    pub key: String,
    dir: tempfile::TempDir,
}

/// How a test's service differs from the ordinary one.
pub struct Setup {
    pub clock: Arc<dyn Clock>,
    pub listen: SocketAddr,
    pub callback: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub key_limits: KeyLimits,
    pub max_connections: usize,
    pub deadlines: Deadlines,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::start()),
            listen: loopback(),
            callback: None,
            admin: None,
            key_limits: key_limits(),
            max_connections: 256,
            deadlines: Deadlines::default(),
        }
    }
}

pub fn key_limits() -> KeyLimits {
    KeyLimits {
        concurrent_requests: 64,
        event_streams: 32,
        rate: rate(10_000, 10_000),
    }
}

pub fn rate(per_second: u32, burst: u32) -> Rate {
    let some = |n| NonZeroU32::new(n).unwrap();
    Rate {
        per_second: some(per_second),
        burst: some(burst),
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_767_323_045_678)))
}

/// Until the service waits for this clock.
pub async fn asleep(clock: &ManualClock) {
    let sleeping = async {
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, sleeping)
        .await
        .expect("nobody sleeps");
}

impl Service {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &*setup.clock);
        let (health, metrics, wakeups) = (Health::default(), Metrics::new(), Wakeups::default());
        let keys = CallbackKeys::new(&[[7; 32]]).unwrap();
        let ports = Ports {
            store: store.clone(),
            inbox: store.clone(),
            clock: setup.clock.clone(),
            rng: Arc::new(SystemRng),
            wakeups: wakeups.clone(),
            health: health.clone(),
            keys: keys.clone(),
            policy: policy(),
            metrics: metrics.clone(),
            endpoint_check: Arc::new(Rules),
            records: store.clone(),
            aside: None,
            sink: Arc::new(Takes),
            links: Arc::new(PlainLinks),
        };
        let listeners = Listeners {
            listen: setup.listen,
            callback: setup.callback,
            admin: setup.admin,
        };
        let limits = ServerLimits {
            workers: 2,
            max_connections: setup.max_connections,
            deadlines: setup.deadlines,
        };
        let running = start(listeners, limits, Api::new(ports, settings(setup.key_limits))).unwrap();
        Self {
            key: create_key(&store, "default").await,
            store,
            health,
            metrics,
            wakeups,
            keys,
            running: Some(running),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            dir,
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn addr(&self) -> SocketAddr {
        self.running().listen
    }

    pub async fn key_of(&self, tenant: &str) -> String {
        create_key(&self.store, tenant).await
    }

    /// A request of the ordinary caller.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_by(&self.key, method, path)
    }

    pub fn request_by(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(key)
    }

    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.addr()))
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// Submits one task; its UUID.
    pub async fn submit(&self, task: &Value) -> String {
        let answer = self.post("/v1/tasks", task).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        answer.body["data"][0]["taskUUID"].as_str().unwrap().to_owned()
    }

    /// Where the provider would report about a task.
    pub fn callback_path(&self, task: &str) -> String {
        format!("/cb/v1/{}", self.keys.sign(TaskId::parse(task).unwrap()))
    }

    pub async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// Where its database lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What a process that starts after this one was killed would find.
    pub fn found_after_a_kill(&self, clock: &dyn Clock) -> Arc<SqliteStore> {
        let copy = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        for file in ["catchment.db", "catchment.db-wal"] {
            let _absent = std::fs::copy(self.dir.path().join(file), copy.join(file));
        }
        open(&copy, clock)
    }
}

fn open(dir: &Path, clock: &dyn Clock) -> Arc<SqliteStore> {
    SqliteStore::open(OpenOptions {
        path: dir.join("catchment.db"),
        now: clock.now(),
        role: Role::Serve,
    })
    .unwrap()
}

async fn create_key(store: &SqliteStore, tenant: &str) -> String {
    let id = uuid_of(store.keys().await.unwrap().len());
    let key = format!("ck_{tenant}_{id}");
    let new = NewApiKey {
        id: format!("key_{id}"),
        tenant: Tenant(tenant.to_owned()),
        name: format!("{tenant}-{id}"),
        sha256: Digest::of(key.as_bytes()),
        created_at: Timestamp::from_millis(0),
    };
    store.create_key(new).await.unwrap();
    key
}

fn uuid_of(n: usize) -> String {
    format!("{n:032x}")
}

fn settings(key_limits: KeyLimits) -> ApiSettings {
    ApiSettings {
        max_body: MAX_BODY,
        default_ttl: Duration::from_secs(604_800),
        min_ttl: Duration::from_secs(3_600),
        default_prompt: None,
        key_limits,
    }
}

pub fn policy() -> Policy {
    let minute = Duration::from_secs(60);
    Policy {
        poll_first_after: 3 * minute,
        poll_max_interval: 5 * minute,
        poll_deadline: 24 * 60 * minute,
        trust_after: 2 * minute,
        retry_max_interval: minute,
        resend_window: 10 * minute,
        max_hold: 24 * 60 * minute,
        at_risk_after: 0.5,
        default_ttl: Duration::from_secs(604_800),
    }
}

/// The rules alone, without a name server; one host makes it panic.
struct Rules;

#[async_trait]
impl EndpointCheck for Rules {
    async fn check(&self, url: &Url) -> Result<(), GuardError> {
        assert!(url.host_str() != Some("panic.example"), "asked to panic");
        check_url(url, Purpose::Endpoint, &AddressRule::default()).map(drop)
    }
}

/// Takes whatever it gets.
struct Takes;

#[async_trait]
impl Sink for Takes {
    async fn deliver(&self, _: &Delivery) -> Outcome {
        Outcome::Delivered { status: 204 }
    }

    async fn ping(&self, _: &Endpoint, _: &EventId) -> Outcome {
        Outcome::Delivered { status: 204 }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    /// Null when it is not JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// Asserts that it is a problem with this status and code.
    pub fn is_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.body["status"], status);
        assert!(self.body["requestId"].is_string());
        self
    }

    /// The pointers and codes of its faults.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["errors"].as_array().unwrap();
        faults
            .iter()
            .map(|f| (f["pointer"].as_str().unwrap(), f["code"].as_str().unwrap()))
            .collect()
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response: Response = tokio::time::timeout(PATIENCE, request.send())
        .await
        .unwrap()
        .unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer {
        status,
        headers,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
        text,
    }
}

pub fn avatar() -> Value {
    json!({
        "taskType": "videoInference", "model": "klingai:avatar@2.0-pro",
        "inputs": { "image": "https://cdn.example/face.png", "audio": "https://cdn.example/voice.mp3" },
    })
}

pub fn avatar_with(name: &str, value: Value) -> Value {
    let mut task = avatar();
    task[name] = value;
    task
}

/// Links that tell what they were made for.
struct PlainLinks;

#[async_trait]
impl Links for PlainLinks {
    async fn link(&self, to: LinkTo<'_>) -> Result<Url, BoxError> {
        let name = to.save_as.unwrap_or_default();
        let (bucket, key, s) = (to.bucket, to.key, to.valid_for.as_secs());
        Ok(Url::parse(&format!(
            "https://s3.example/{bucket}/{key}?for={s}&name={name}"
        ))?)
    }
}
