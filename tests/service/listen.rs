//! `catchment listen` and `catchment events`: the log at the command line, through everything that comes and goes.

use crate::outside::{Outside, Serve, until};
use crate::wire::Wire;
use crate::world::task;
use catchment::domain::delivery::Secret;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A command that runs until it is interrupted, and what it has said so far.
struct Running {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn start(outside: &Outside, serve: &Serve, args: &[&str]) -> Self {
        let mut child = outside
            .command()
            .args(args)
            .args(["--url", &serve.base])
            .env("CATCHMENT_KEY", &serve.key)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (
            lines(child.stdout.take().unwrap()),
            lines(child.stderr.take().unwrap()),
        );
        Self { child, out, err }
    }

    fn out(&self) -> Vec<Value> {
        let lines = self.out.lock().unwrap();
        lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    /// As Ctrl-C does; the exit code.
    fn interrupt(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", "INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(vec![]));
    let kept = said.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    said
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events
        .iter()
        .map(|e| e["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_listener_outlives_its_service_and_its_consumer() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let mut consumer = Wire::to(&outside.endpoint.url());
    let target = format!("{}/events", consumer.url());
    let listen = [
        "listen",
        "--forward-to",
        &target,
        "--after",
        "0",
        "--ndjson",
        "--secret",
        &outside.secret,
    ];
    let mut listener = Running::start(&outside, &serve, &listen);
    let mut tail = Running::start(&outside, &serve, &["events", "tail", "--after", "0", "--ndjson"]);
    // Nobody is at the consumer's address yet.
    serve.submit(&task(1, "")).await;
    serve.wait_settled(1).await;
    let told = |said: &Mutex<Vec<String>>, what: &str| said.lock().unwrap().iter().any(|l| l.contains(what));
    until("the listener notices", || told(&listener.err, "trying on")).await;
    assert_eq!(listener.out(), Vec::<Value>::new());
    consumer.up();
    let first = serve.events().await;
    outside
        .wait_for_deliveries(&first, "a consumer that comes late")
        .await;

    // The service goes and comes back.
    serve.child.kill().unwrap();
    serve.child.wait().unwrap();
    serve = Serve::start(&outside, None).await;
    serve.submit(&task(2, "")).await;
    serve.wait_settled(2).await;
    let all = serve.events().await;
    outside.wait_for_deliveries(&all, "a service that was away").await;
    until("both have told everything", || {
        listener.out().len() >= all.len() && tail.out().len() >= all.len()
    })
    .await;
    assert_eq!(tail.out(), all, "each once, in order");
    assert_eq!(ids(&listener.out()), ids(&all));
    assert!(
        listener.out().iter().all(|l| l["delivered"] == true),
        "{:#?}",
        listener.out()
    );
    assert!(!told(&listener.err, "whsec_"), "a given secret is not said back");
    assert_eq!((listener.interrupt(), tail.interrupt()), (Some(130), Some(130)));
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_makes_a_secret_and_says_it_once() {
    let outside = Outside::start().await;
    let serve = Serve::start(&outside, None).await;
    let target = outside.endpoint.url();
    let mut listener = Running::start(&outside, &serve, &["listen", "--forward-to", &target]);
    let secrets = || -> Vec<String> {
        let said = listener.err.lock().unwrap();
        let words = said.iter().flat_map(|l| l.split_whitespace());
        words
            .filter(|w| w.starts_with("whsec_"))
            .map(str::to_owned)
            .collect()
    };
    until("it says its secret", || !secrets().is_empty()).await;
    assert!(Secret::parse(&secrets()[0]).is_ok());
    assert_eq!(secrets().len(), 1);
    assert_eq!(listener.interrupt(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_about_events_end_with_the_documented_codes() {
    let outside = Outside::start().await;
    let serve = Serve::start(&outside, None).await;
    let id = serve.submit(&task(1, "")).await[0]["taskUUID"].clone();
    let run = |args: &[&str], url: &str, key: &str| {
        let mut command = outside.command();
        let output = command
            .args(args)
            .args(["--url", url])
            .env("CATCHMENT_KEY", key)
            .output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let list = ["events", "list", "--type", "task.accepted", "--json"];
    let (code, text) = run(&list, &serve.base, &serve.key);
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &listed["data"][0]["data"]["taskUUID"]), (Some(0), &id));
    assert_eq!(
        run(
            &["events", "list", "--model", "other", "--quiet"],
            &serve.base,
            &serve.key
        )
        .1,
        ""
    );
    for args in [
        &list[..],
        &["events", "tail"],
        &["listen", "--forward-to", "http://127.0.0.1:9/"],
    ] {
        assert_eq!(run(args, &serve.base, "ck_wrong").0, Some(4), "{args:?}");
    }
    assert_eq!(run(&list, "http://127.0.0.1:9", &serve.key).0, Some(75));
    assert_eq!(
        run(&["events", "list", "--type", "nonsense"], &serve.base, &serve.key).0,
        Some(2)
    );
}
