//! T13, F20: one bad consumer of a hundred slows nobody; one that comes back is told what it missed.

use crate::outside::{Outside, Serve, pause, until};
use crate::world::task;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// A consumer of many endpoints, each under a path of its own.
struct Many {
    url: String,
    /// Path and event id of what was taken.
    taken: Arc<Mutex<BTreeSet<(String, String)>>>,
    /// What it answers.
    status: Arc<AtomicU16>,
}

impl Many {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let many = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            taken: Arc::default(),
            status: Arc::new(AtomicU16::new(204)),
        };
        let (taken, status) = (many.taken.clone(), many.status.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, taken.clone(), status.clone()));
            }
        });
        many
    }

    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

/// Requests of one connection, until it ends.
async fn serve(
    stream: tokio::net::TcpStream,
    taken: Arc<Mutex<BTreeSet<(String, String)>>>,
    status: Arc<AtomicU16>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut id, mut length) = (String::new(), String::new(), 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim().split_once(' ') {
                None => break,
                Some(("POST", rest)) => path = rest.split(' ').next()?.to_owned(),
                Some(("webhook-id:", value)) => id = value.to_owned(),
                Some(("content-length:", value)) => length = value.parse().ok()?,
                Some(_) => {}
            }
        }
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        let status = status.load(Ordering::SeqCst);
        if status == 204 {
            taken.lock().unwrap().insert((path, id));
        }
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn subscribe(serve: &Serve, body: &Value) -> String {
    let made = serve.post("/v1/endpoints", body, None).await.unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    format!("/v1/endpoints/{}", made["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn t13_one_bad_consumer_of_a_hundred_slows_nobody() {
    const TASKS: usize = 80; // more than one endpoint may have under way
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__TIMEOUT", "30s");
    let mute = TcpListener::bind("127.0.0.1:0").unwrap(); // connects, and nobody reads
    let good = Many::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let bad = format!("http://{}/", mute.local_addr().unwrap());
    let bad = subscribe(&serve, &json!({ "url": bad, "types": ["task.accepted"] })).await;
    for n in 1..100 {
        let url = format!("{}/{n}", good.url);
        subscribe(&serve, &json!({ "url": url, "types": ["task.accepted"] })).await;
    }
    let tasks: Vec<Value> = (0..TASKS).map(|n| task(n, "")).collect();
    serve.submit(&json!(tasks)).await;
    until("every good delivery", || good.taken() == 99 * TASKS).await;
    // All that while the bad one has not answered once: its tries still hang, and as the others are done it gets more
    // places, up to its share.
    for look in 0.. {
        let deliveries = serve.get(&format!("{bad}/deliveries?limit=200")).await.unwrap();
        let deliveries = deliveries["data"].as_array().unwrap();
        assert_eq!(deliveries.len(), TASKS);
        assert!(
            deliveries.iter().all(|d| d["attempts"] == json!([])),
            "{deliveries:#?}"
        );
        let sending = deliveries.iter().filter(|d| d["status"] == "sending").count();
        assert!(sending <= 64 && look < 100, "{sending}: its share, and no more");
        if sending == 64 {
            break;
        }
        pause().await;
    }
    serve.child.kill().unwrap(); // a stop would wait for them
}

/// Refused for a while by everything it is sent, then well again: nothing is lost, the dead are sent again on demand,
/// and the task's own story tells of every try.
#[tokio::test(flavor = "multi_thread")]
async fn f20_dead_letters_are_told_and_redriven() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__SCHEDULE", "0s,100ms");
    let consumer = Many::start().await;
    let watcher = Many::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let path = subscribe(
        &serve,
        &json!({ "url": format!("{}/a", consumer.url), "types": ["task.accepted"] }),
    )
    .await;
    let operator = ["delivery.dead", "endpoint.disabled"];
    subscribe(
        &serve,
        &json!({ "url": format!("{}/ops", watcher.url), "types": operator }),
    )
    .await;
    consumer.status.store(500, Ordering::SeqCst);
    for n in 0..3 {
        serve.submit(&task(n, "")).await;
    }
    until("three dead letters are told", || watcher.taken() == 3).await;
    let dead = serve
        .get(&format!("{path}/deliveries?status=dead"))
        .await
        .unwrap();
    let dead = dead["data"].as_array().unwrap();
    assert!(
        dead.len() == 3 && dead.iter().all(|d| d["attempts"].as_array().unwrap().len() == 2),
        "{dead:#?}"
    );
    consumer.status.store(204, Ordering::SeqCst);
    let one = json!({ "event": dead[0]["event"] });
    serve.post(&format!("{path}/redrive"), &one, None).await.unwrap();
    until("the one", || consumer.taken() == 1).await;
    serve
        .post(&format!("{path}/redrive"), &json!({}), None)
        .await
        .unwrap();
    until("all of them", || consumer.taken() == 3).await;

    // 410 disables it; what happens meanwhile is kept, and sent once it is enabled again.
    consumer.status.store(410, Ordering::SeqCst);
    serve.submit(&task(3, "")).await;
    until("the disabling is told", || watcher.taken() == 5).await;
    serve.submit(&task(4, "")).await;
    consumer.status.store(204, Ordering::SeqCst);
    let shown = serve.get(&path).await.unwrap();
    assert_eq!(
        (&shown["disabled"], &shown["disabledReason"]),
        (&json!(true), &json!("gone"))
    );
    let enable = serve
        .client
        .patch(format!("{}{path}", serve.base))
        .bearer_auth(&serve.key);
    assert_eq!(
        enable
            .json(&json!({ "disabled": false }))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    until("what was kept", || consumer.taken() == 4).await;
    serve.stop().await;
}
