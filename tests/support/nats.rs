//! A real `nats-server` with JetStream in a process of its own, on a free port, with its own store directory.
//! `tools/setup tests` installs it; without it the tests fail.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, Context};
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the server by its process id when our end of the pipe closes, however we end.
const KEEPER: &str = r#""$@" & nats=$!; read -r _; kill -KILL "$nats"; wait "$nats" 2>/dev/null; exit 0"#;

pub struct Nats {
    dir: tempfile::TempDir,
    port: u16,
    login: Option<(&'static str, &'static str)>,
    keeper: Option<Child>,
}

/// A message of a stream, as a consumer sees it.
#[derive(Debug, PartialEq)]
pub struct Message {
    pub sequence: u64,
    pub subject: String,
    pub id: String,
    pub event: Value,
}

impl Nats {
    /// Down until started.
    pub fn new(login: Option<(&'static str, &'static str)>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            dir: tempfile::tempdir().unwrap(),
            port,
            login,
            keeper: None,
        }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same data at the same address, if it ran before.
    pub async fn start(&mut self) {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper", &program()]);
        command.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]);
        command.arg(self.dir.path());
        if let Some((user, password)) = self.login {
            command.args(["--user", user, "--pass", password]);
        }
        let log = std::fs::File::create(self.dir.path().join("nats.log")).unwrap();
        let errors = log.try_clone().unwrap();
        let keeper = command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn();
        self.keeper = Some(keeper.expect("a shell"));
        for _ in 0..PATIENCE.as_millis() / 50 {
            if self.is_ready().await {
                return;
            }
            pause().await;
        }
        let log = std::fs::read_to_string(self.dir.path().join("nats.log")).unwrap_or_default();
        panic!("nats-server did not start (`tools/setup tests` installs it):\n{log}");
    }

    /// Whether it answers questions about streams.
    async fn is_ready(&self) -> bool {
        let Some(jetstream) = self.client().await else {
            return false;
        };
        match jetstream.get_stream("nobody-has-this-name").await {
            Ok(_) => true,
            Err(e) => matches!(e.kind(), GetStreamErrorKind::JetStream(_)),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait(); // it ends with its server
        }
    }

    async fn client(&self) -> Option<Context> {
        let mut options = async_nats::ConnectOptions::new();
        if let Some((user, password)) = self.login {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        let client = options.connect(format!("nats://{}", self.host())).await.ok()?;
        Some(jetstream::new(client))
    }

    pub async fn jetstream(&self) -> Context {
        self.client().await.expect("the server is up")
    }

    /// How many messages a stream holds; 0 while there is none.
    pub async fn count(&self, stream: &str) -> u64 {
        match self.jetstream().await.get_stream(stream).await {
            Ok(stream) => stream.cached_info().state.messages,
            Err(_) => 0,
        }
    }

    /// Everything in a stream, in its order.
    pub async fn messages(&self, stream: &str) -> Vec<Message> {
        let stream = self.jetstream().await.get_stream(stream).await.unwrap();
        let state = &stream.cached_info().state;
        let mut all = vec![];
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let id = message.headers.get("Nats-Msg-Id").map_or("", |id| id.as_str());
            all.push(Message {
                sequence,
                subject: message.subject.to_string(),
                id: id.to_owned(),
                event: serde_json::from_slice(&message.payload).unwrap(),
            });
        }
        all
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian puts it where only root looks.
fn program() -> String {
    let usual = "/usr/sbin/nats-server";
    if Path::new(usual).exists() {
        usual.to_owned()
    } else {
        "nats-server".to_owned()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server is a process of its own, with the machine's clock"
)]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
