//! G7, T13: signatures as the official Standard Webhooks library for Python understands them.

use crate::outside::{Outside, Serve, pause};
use crate::world::task;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// Another one than the world's own.
const OTHER_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Receiver {
    child: Child,
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    fn start(secrets: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let own = root.join(".venv/bin/python");
        let python = if own.exists() { own } else { "python3".into() };
        let check = Command::new(&python)
            .args(["-c", "import standardwebhooks"])
            .output();
        assert!(
            check.is_ok_and(|c| c.status.success()),
            "Signatures cannot be verified: {} does not have the official library `standardwebhooks`. \
             `tools/setup` installs it into .venv, as `make test` does.",
            python.display()
        );
        let mut child = Command::new(&python)
            .arg(root.join("tests/tools/receive.py"))
            .args(secrets)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
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

async fn subscribe(serve: &Serve, url: &str, secret: &str) {
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
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_every_event_is_verified_by_the_official_library() {
    let outside = Outside::start().await;
    let receiver = Receiver::start(&[&outside.secret]);
    let mut serve = Serve::start(&outside, None).await;
    subscribe(&serve, &receiver.url, &outside.secret).await;
    for n in 0..3 {
        let mut sample = task(n, if n == 2 { "fail=1" } else { "" });
        sample["numberResults"] = json!(2);
        sample["catchment"] = json!({ "labels": { "name": "Zoë \"quoted\" \u{1f3ac}" } });
        serve.submit(&sample).await;
    }
    serve.wait_settled(3).await;
    let events = serve.events().await;
    let told = receiver.wait_for(events.len()).await;
    for event in &events {
        let told = &told[event["id"].as_str().unwrap()];
        assert_eq!(told["verifiedBy"], json!([0]), "{told:#}");
        assert_eq!(&told["event"], event, "what was signed is the event of the log");
        let refused = told["refused"].as_object().unwrap();
        assert_eq!(refused.len(), 5);
        assert!(
            refused.values().all(|r| *r == true),
            "an altered delivery verified: {told:#}"
        );
    }
    serve.stop().await;
}

/// The check can fail: under another secret nothing verifies, and nothing counts as delivered.
#[tokio::test(flavor = "multi_thread")]
async fn t13_another_secret_verifies_nothing() {
    let outside = Outside::start().await;
    let receiver = Receiver::start(&[OTHER_SECRET]);
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
