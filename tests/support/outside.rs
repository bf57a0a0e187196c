//! The world around a service that runs as a process of its own: provider, object store, consumer; and the process.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub mod bucket; // what lies in a bucket, through S3
pub mod fault_store; // what no well-behaved store does
pub mod seaweed; // an object store that is not ours
pub mod stores; // which one a story runs on

use catchment::adapters::system::{SystemClock, SystemRng};
use catchment::domain::delivery::Secret;
use catchment::domain::time::Timestamp;
use catchment::http::sample_endpoint::SampleEndpoint;
use catchment::ports::clock::{Clock as _, Rng as _};
use catchment::simulator::{Generation, Options, ResultState, Simulator};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use stores::{Kind, ObjectStore};

/// Longest wait for a fact; a fact that takes longer is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Outside {
    pub dir: tempfile::TempDir,
    pub simulator: Simulator,
    pub s3: ObjectStore,
    pub endpoint: SampleEndpoint,
    pub secret: String,
    pub port: u16,
    /// Environment over the ordinary one, for this world alone.
    pub settings: Vec<(&'static str, String)>,
}

impl Outside {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        Self::on(Kind::Embedded, options).await
    }

    /// On the object store of one's choice.
    pub async fn on(store: Kind, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let s3 = ObjectStore::start(store, &dir.path().join("s3")).await;
        Self::over(s3, dir, options)
    }

    /// Over a SeaweedFS that the story ends and starts again.
    pub async fn of(store: Arc<seaweed::Seaweed>) -> Self {
        let s3 = ObjectStore::of(store).await;
        Self::over(s3, tempfile::tempdir().unwrap(), Options::default())
    }

    fn over(s3: ObjectStore, dir: tempfile::TempDir, options: Options) -> Self {
        let mut bytes = vec![0; 32];
        SystemRng.fill(&mut bytes);
        let secret = Secret(bytes);
        let endpoint = SampleEndpoint::start(secret.clone(), Arc::new(SystemClock::start())).unwrap();
        // The callback address is part of what the provider is told, so each start uses the same port.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let simulator = Simulator::start(options).unwrap();
        Self {
            dir,
            simulator,
            s3,
            endpoint,
            secret: secret.reveal(),
            port,
            settings: vec![],
        }
    }

    /// Where the embedded store keeps the bucket's files.
    pub fn objects(&self) -> PathBuf {
        self.s3.folder().to_owned()
    }

    /// The binary with this world's settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catchment"));
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("AWS_ACCESS_KEY_ID", seaweed::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", seaweed::SECRET_KEY)
            .env("CATCHMENT_SERVER__LISTEN", format!("127.0.0.1:{}", self.port))
            .env(
                "CATCHMENT_SERVER__PUBLIC_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("CATCHMENT_RUNWARE__BASE_URL", self.simulator.api_url())
            .env("CATCHMENT_RUNWARE__API_KEY", "provider-key")
            .env("CATCHMENT_S3__BUCKET", &self.s3.bucket.name)
            .env("CATCHMENT_S3__REGION", "us-east-1")
            .env("CATCHMENT_S3__ENDPOINT", self.s3.endpoint().as_str())
            .env("CATCHMENT_S3__FORCE_PATH_STYLE", "true")
            .env("CATCHMENT_ARCHIVE__ALLOWED_HOSTS", "127.0.0.1")
            .env("CATCHMENT_NET__ALLOW_PRIVATE", "127.0.0.0/8")
            .env("CATCHMENT_POLL__FIRST_AFTER", "1s")
            .env("CATCHMENT_POLL__MAX_INTERVAL", "1s")
            .env("CATCHMENT_RETRY__MAX_INTERVAL", "1s")
            .env("CATCHMENT_EVENTS__SCHEDULE", "0s,1s,1s,2s,5s")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Exactly one object per result, with the source's bytes.
    pub async fn assert_archived_once(&self, task: &Value, generation: &Generation, what: &str) {
        let paid: Vec<_> = generation
            .results
            .iter()
            .filter(|r| r.state == ResultState::Succeeded)
            .collect();
        let assets = task["assets"].as_array().unwrap();
        assert_eq!(assets.len(), paid.len(), "{what}: one asset per result");
        for result in &paid {
            let asset = assets
                .iter()
                .find(|a| a["resultId"] == result.id.to_string())
                .expect("the result is known");
            let key = asset["key"].as_str().unwrap();
            let bytes = self.s3.get(key).await.expect("what is archived is there");
            let sha256 = sha256_hex(&bytes);
            assert_eq!(Some(&sha256), result.sha256.as_ref(), "{what}: I5");
            assert_eq!(asset["sha256"], sha256.as_str(), "{what}: I5");
        }
        assert_eq!(
            self.s3.count().await,
            paid.len(),
            "{what}: nothing beside them: I6"
        );
    }

    /// Delivered ids ⊇ log.
    pub async fn wait_for_deliveries(&self, events: &[Value], what: &str) {
        let missing = || {
            let taken = self.endpoint.taken();
            events
                .iter()
                .filter(|e| !taken.contains_key(e["id"].as_str().unwrap()))
                .count()
        };
        until(&format!("{what}: every event delivered"), || missing() == 0).await;
    }
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whatever hides behind a dot is the server's own, or the service's own beside the results.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            _ if entry.file_name().to_string_lossy().starts_with('.') => {}
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// `catchment serve` as a process.
pub struct Serve {
    pub child: Child,
    pub base: String,
    pub key: String,
    pub client: reqwest::Client,
    /// From the start of the process.
    pub ready_after: Duration,
    started: Timestamp,
    clock: SystemClock,
    secret: String,
}

impl Serve {
    /// Starts it and waits until it is ready. `armed`: the crash point to die at, at its first passing unless it says
    /// otherwise.
    pub async fn start(outside: &Outside, armed: Option<&str>) -> Self {
        let mut command = outside.command();
        command.arg("serve");
        if let Some(point) = armed {
            let action = if point.contains('=') { "" } else { "=return" };
            command.env("FAILPOINTS", format!("{point}{action}"));
        }
        Self::of(outside, command).await
    }

    /// Starts what `command` says, which becomes `serve`, and waits until it is ready.
    pub async fn of(outside: &Outside, mut command: Command) -> Self {
        let key = api_key(outside);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(outside.dir.path().join("serve.log"))
            .unwrap();
        let clock = SystemClock::start();
        let started = clock.now();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let base = format!("http://127.0.0.1:{}", outside.port);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        let mut serve = Self {
            child,
            base,
            key,
            client,
            ready_after: Duration::ZERO,
            started,
            clock,
            secret: outside.secret.clone(),
        };
        serve.wait_ready(outside).await;
        serve.ready_after = serve.age();
        serve
    }

    /// Since the start of the process.
    pub fn age(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// Ready, or dead already at a point that its own start passes.
    async fn wait_ready(&mut self, outside: &Outside) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            let answer = self.client.get(format!("{}/readyz", self.base)).send().await;
            if answer.is_ok_and(|a| a.status().is_success()) || self.has_died() {
                return;
            }
            pause().await;
        }
        let log = std::fs::read_to_string(outside.dir.path().join("serve.log")).unwrap_or_default();
        panic!("not ready in time\n{log}");
    }

    /// Whether it was ended by SIGKILL: any other end is a fault of its own.
    pub fn has_died(&mut self) -> bool {
        match self.child.try_wait().unwrap() {
            None => false,
            Some(status) => {
                assert_eq!(status.signal(), Some(9), "ended by itself: {status}");
                true
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn stop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal("TERM");
            let mut status = None;
            for _ in 0..1500 {
                status = self.child.try_wait().unwrap();
                if status.is_some() {
                    break;
                }
                pause().await;
            }
            assert_eq!(
                status.and_then(|s| s.code()),
                Some(0),
                "F25: a stop signal ends it in order within 30 s"
            );
        }
    }

    pub async fn subscribe(&self, endpoint: &SampleEndpoint) {
        let types = [
            "task.accepted",
            "task.submitted",
            "task.rejected",
            "task.completed",
            "task.partial",
            "task.failed",
            "task.timed_out",
            "task.recovered",
            "asset.discovered",
            "asset.archived",
            "asset.expired",
            "asset.failed",
        ];
        let body = json!({ "url": endpoint.url(), "secret": self.secret, "types": types });
        let answer = self.post("/v1/endpoints", &body, None).await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }

    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> reqwest::Result<reqwest::Response> {
        let mut request = self
            .client
            .post(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.send().await
    }

    pub async fn task(&self, id: &str) -> Value {
        self.get(&format!("/v1/tasks/{id}")).await.unwrap()
    }

    pub async fn tasks(&self) -> Vec<Value> {
        self.get("/v1/tasks?limit=200").await.unwrap()["data"]
            .as_array()
            .unwrap()
            .clone()
    }

    pub async fn try_events(&self) -> reqwest::Result<Vec<Value>> {
        Ok(self.get("/v1/events?limit=1000").await?["data"]
            .as_array()
            .cloned()
            .unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> reqwest::Result<Value> {
        self.client
            .get(format!("{}{path}", self.base))
            .bearer_auth(&self.key)
            .send()
            .await?
            .json()
            .await
    }

    /// Until there are `count` tasks and all have ended.
    pub async fn wait_settled(&mut self, count: usize) {
        let terminal = ["completed", "partial", "failed", "timed_out", "rejected"];
        let mut tasks = vec![];
        for _ in 0..PATIENCE.as_millis() / 20 {
            tasks = self.tasks().await;
            let ended = tasks
                .iter()
                .filter(|t| terminal.contains(&t["status"].as_str().unwrap()))
                .count();
            if tasks.len() == count && ended == count {
                return;
            }
            pause().await;
        }
        panic!("not settled: {tasks:#?}");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One key per world, made on the host as an operator would.
fn api_key(outside: &Outside) -> String {
    let kept = outside.dir.path().join("api-key");
    if let Ok(key) = std::fs::read_to_string(&kept) {
        return key;
    }
    let made = outside
        .command()
        .args(["keys", "create", "tests", "--json"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let key = made["key"].as_str().unwrap().to_owned();
    std::fs::write(kept, &key).unwrap();
    key
}

/// Waits for a fact.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if fact() {
            return;
        }
        pause().await;
    }
    panic!("never came: {what}");
}

/// Between two looks at a fact.
#[expect(
    clippy::disallowed_methods,
    reason = "the service is a process of its own, with the machine's clock"
)]
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
