//! G7, T13: signatures as the official Standard Webhooks libraries for Python and JavaScript understand them.

use crate::outside::{Outside, Serve, pause};
use crate::world::task;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Another one than the world's own.
const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Receiver {
    child: Child,
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

/// Whose official library verifies.
#[derive(Clone, Copy, Debug)]
enum Library {
    Python,
    JavaScript,
}

impl Library {
    /// The receiver's program, ready but for its secrets.
    fn command(self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut command, probe) = match self {
            Self::Python => {
                let own = root.join(".venv/bin/python");
                let python = if own.exists() { own } else { "python3".into() };
                (Command::new(python), ["-c", "import standardwebhooks"])
            }
            Self::JavaScript => {
                let mut node = Command::new("node");
                node.env("NODE_PATH", node_modules(root));
                (node, ["-e", "require('standardwebhooks')"])
            }
        };
        let check = command.args(probe).output();
        assert!(
            check.is_ok_and(|c| c.status.success()),
            "Signatures cannot be verified: the official library `standardwebhooks` for {self:?} is not there. \
             `tools/setup tests` installs it into .venv, as `make test` does."
        );
        let mut again = Command::new(command.get_program());
        again.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        again.arg(root.join("tests/tools").join(match self {
            Self::Python => "receive.py",
            Self::JavaScript => "receive.js",
        }));
        again
    }
}

/// Of this tree, or beside the Python that PATH names.
fn node_modules(root: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = std::env::split_paths(&path).map(|bin| bin.join("../node_modules"));
    let mut places = std::iter::once(root.join(".venv/node_modules")).chain(beside);
    places
        .find(|place| place.join("standardwebhooks").exists())
        .unwrap_or_default()
}

impl Receiver {
    fn start(library: Library, secrets: &[&str]) -> Self {
        let mut command = library.command();
        let mut child = command.args(secrets).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("the receiver prints its port").unwrap();
        let told = Arc::new(Mutex::new(vec![]));
        let kept = told.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            child,
            url: format!("http://127.0.0.1:{port}/"),
            told,
        }
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    /// Event id → what was told of its first delivery, once there are `count`.
    async fn wait_for(&self, count: usize) -> BTreeMap<String, Value> {
        for _ in 0..1500 {
            let told = self.told();
            let by_id: BTreeMap<_, _> = told
                .into_iter()
                .rev()
                .map(|t| (t["id"].as_str().unwrap().to_owned(), t))
                .collect();
            if by_id.len() >= count {
                return by_id;
            }
            pause().await;
        }
        panic!("{count} events were to come, these did: {:#?}", self.told());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The endpoint's path.
async fn subscribe(serve: &Serve, url: &str, secret: &str) -> String {
    let types = [
        "task.accepted",
        "task.submitted",
        "task.completed",
        "task.partial",
        "asset.discovered",
        "asset.archived",
    ];
    let body = json!({ "url": url, "secret": secret, "types": types });
    let answer = serve.post("/v1/endpoints", &body, None).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let made: Value = answer.json().await.unwrap();
    format!("/v1/endpoints/{}", made["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_every_event_is_verified_by_the_official_libraries() {
    let outside = Outside::start().await;
    let receivers = [Library::Python, Library::JavaScript].map(|l| Receiver::start(l, &[&outside.secret]));
    let mut serve = Serve::start(&outside, None).await;
    for receiver in &receivers {
        subscribe(&serve, &receiver.url, &outside.secret).await;
    }
    for n in 0..3 {
        let mut sample = task(n, if n == 2 { "fail=1" } else { "" });
        sample["numberResults"] = json!(2);
        sample["catchment"] = json!({ "labels": { "name": "Zoë \"quoted\" \u{1f3ac}" } });
        serve.submit(&sample).await;
    }
    serve.wait_settled(3).await;
    let events = serve.events().await;
    for receiver in &receivers {
        let told = receiver.wait_for(events.len()).await;
        for event in &events {
            let told = &told[event["id"].as_str().unwrap()];
            assert_eq!(told["verifiedBy"], json!([0]), "{told:#}");
            assert_eq!(&told["event"], event, "what was signed is the event of the log");
            assert_refused_once_altered(told);
        }
    }
    serve.stop().await;
}

fn assert_refused_once_altered(told: &Value) {
    let refused = told["refused"].as_object().unwrap();
    assert_eq!(refused.len(), 5);
    assert!(
        refused.values().all(|r| *r == true),
        "an altered delivery verified: {told:#}"
    );
}

/// Receivers that still have the old secret and those that have the new one both verify, until the overlap is over.
#[tokio::test(flavor = "multi_thread")]
async fn t13_a_rotation_is_verified_by_the_official_libraries_under_both_secrets() {
    let outside = Outside::start().await;
    let libraries = [Library::Python, Library::JavaScript];
    // One receiver knows the secret so far alone, one the new one alone.
    let old = libraries.map(|l| Receiver::start(l, &[&outside.secret]));
    let new = libraries.map(|l| Receiver::start(l, &[OTHER_SECRET]));
    let mut serve = Serve::start(&outside, None).await;
    let mut paths = vec![];
    for receiver in old.iter().chain(&new) {
        let path = subscribe(&serve, &receiver.url, &outside.secret).await;
        let rotation = json!({ "secret": OTHER_SECRET, "overlap": "1h" });
        let rotated = serve
            .post(&format!("{path}/rotate"), &rotation, None)
            .await
            .unwrap();
        assert_eq!(rotated.status(), StatusCode::OK);
        paths.push(path);
    }
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    let events = serve.events().await.len();
    for receiver in old.iter().chain(&new) {
        for told in receiver.wait_for(events).await.values() {
            assert_eq!(
                (&told["verifiedBy"], &told["signatures"]),
                (&json!([0]), &json!(2)),
                "{told:#}"
            );
            assert_refused_once_altered(told);
        }
    }
    // The overlap ended at once: the old secret verifies nothing any more, as the endpoint's own test tells.
    let at_once = json!({ "secret": OTHER_SECRET, "overlap": 0 });
    for (path, taken) in paths.iter().zip([false, false, true, true]) {
        serve
            .post(&format!("{path}/rotate"), &at_once, None)
            .await
            .unwrap();
        let tested = serve
            .post(&format!("{path}/test"), &json!({}), None)
            .await
            .unwrap();
        let tested: Value = tested.json().await.unwrap();
        let status = if taken { 204 } else { 401 };
        assert_eq!(
            (&tested["delivered"], &tested["status"]),
            (&json!(taken), &json!(status)),
            "{tested:#}"
        );
    }
    serve.stop().await;
}

/// The check can fail: under another secret nothing verifies, and nothing counts as delivered.
#[tokio::test(flavor = "multi_thread")]
async fn t13_another_secret_verifies_nothing() {
    let outside = Outside::start().await;
    let receiver = Receiver::start(Library::Python, &[OTHER_SECRET]);
    let mut serve = Serve::start(&outside, None).await;
    subscribe(&serve, &receiver.url, &outside.secret).await;
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    let told = receiver.wait_for(serve.events().await.len()).await;
    assert!(told.values().all(|t| t["verifiedBy"] == json!([])), "{told:#?}");
    let metrics = serve.metrics().await;
    let delivered = |outcome: &str| {
        let line = format!("catchment_deliveries_total{{outcome=\"{outcome}\"}} ");
        let found = metrics.lines().find_map(|l| l.strip_prefix(&line));
        found.map_or(0, |n| n.parse::<u64>().unwrap())
    };
    assert!(delivered("retry") > 0, "{metrics}");
    assert_eq!(delivered("delivered"), 0, "a 401 is no delivery");
    serve.stop().await;
}
