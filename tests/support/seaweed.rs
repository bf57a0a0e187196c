//! SeaweedFS as a process of its own: an object store that is not ours, with real checksums and an atomic create-only.
//! `weed` is on the PATH of `make test`; without it the tests fail.

use super::bucket::Bucket;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

pub const ACCESS_KEY: &str = "tests";
pub const SECRET_KEY: &str = "a-secret-for-tests";

/// A start takes about 3 s on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Free ports are looked for, then given back, then taken: somebody else may be faster.
const STARTS: usize = 4;

/// Ends the server by its process id when our end of the pipe closes, however we end: `weed` itself would live on.
const KEEPER: &str = r#""$@" & weed=$!; read -r _; kill -KILL "$weed"; wait "$weed" 2>/dev/null; exit 0"#;

pub struct Seaweed {
    dir: tempfile::TempDir,
    ports: [u16; 8],
    keeper: Mutex<Option<Child>>,
}

impl Seaweed {
    /// The one of this test binary, started by whoever comes first and ended by whoever goes last.
    pub async fn shared() -> Arc<Self> {
        static SHARED: tokio::sync::Mutex<Weak<Seaweed>> = tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// One of one's own, to be killed and started again.
    pub async fn start() -> Self {
        for _ in 0..STARTS {
            let server = Self {
                dir: tempfile::tempdir().unwrap(),
                ports: free_ports(),
                keeper: Mutex::new(None),
            };
            if server.run().await {
                return server;
            }
        }
        panic!("SeaweedFS did not start {STARTS} times");
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// A new bucket, under a name nobody else has here.
    pub async fn bucket(&self) -> Bucket {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("films-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let bucket = Bucket::at(&self.endpoint(), &name, ACCESS_KEY, SECRET_KEY);
        bucket.create().await;
        bucket
    }

    /// SIGKILL; everything it was doing is cut.
    pub fn kill(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap().take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait(); // it ends with its server
        }
    }

    /// The same data at the same address.
    pub async fn start_again(&self) {
        assert!(self.run().await, "SeaweedFS did not come back");
    }

    /// Starts it and waits until it keeps what it is given. `false` when it gave up, mostly over a port.
    async fn run(&self) -> bool {
        let mut keeper = self.command().spawn().expect("a shell");
        let health = format!("{}/healthz", self.endpoint());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut well = false;
        for _ in 0..PATIENCE.as_millis() / 50 {
            let answer = client.get(&health).send().await;
            well = answer.is_ok_and(|a| a.status().is_success());
            if well || self.said("Fatal") || self.said("address already in use") {
                break;
            }
            pause().await;
        }
        if !well {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
            let _ = writeln!(std::io::stderr(), "SeaweedFS: {}", self.log());
            assert!(
                !self.said("weed: not found"),
                "`weed` is missing: run `make setup-tests`"
            );
            return false;
        }
        *self.keeper.lock().unwrap() = Some(keeper);
        true
    }

    fn command(&self) -> Command {
        let dir = self.dir.path();
        let config = dir.join("s3.json");
        std::fs::write(&config, identities()).unwrap();
        let data = dir.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "sh", "weed", "-logtostderr=true", "server"])
            .args(["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-filer", "-s3"])
            .args(["-volume.max=200", "-volume.preStopSeconds=0"])
            .args(["-master.volumeSizeLimitMB=1024", "-master.telemetry=false"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", config.display()))
            .args(
                PORTS
                    .iter()
                    .zip(self.ports)
                    .map(|(name, port)| format!("-{name}={port}")),
            )
            // A bucket takes one volume instead of seven, so that there is room for many buckets.
            .env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1")
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn said(&self, word: &str) -> bool {
        self.log().contains(word)
    }

    fn log(&self) -> String {
        read_text(&self.dir.path().join("log"))
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        self.kill();
    }
}

const PORTS: [&str; 8] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
];

fn free_ports() -> [u16; 8] {
    let held = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|socket| socket.local_addr().unwrap().port())
}

fn identities() -> String {
    serde_json::json!({ "identities": [{
        "name": "tests",
        "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }]})
    .to_string()
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process of its own, with the machine's clock"
)]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
