//! T2, T3: bodies in hand have a bound, whoever sends them and however slowly, and it is nobody else's trouble.

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

/// `server.max_body`, and all of a body but its end.
const MAX_BODY: usize = 16 * 1024 * 1024;
const CLIENTS: usize = 24;
/// Whole bodies of one key at once.
const ROOM: usize = 4;

/// Sends a body of tiny values but for its last bytes, which wait for `end`; tells the status it gets.
async fn hoard(address: String, key: String, end: Arc<Notify>, told: mpsc::Sender<u16>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {MAX_BODY}\r\n\r\n["
        );
        let values = "0,".repeat((MAX_BODY - 4) / 2);
        to.write_all(head.as_bytes()).await?;
        to.write_all(values.as_bytes()).await?;
        end.notified().await;
        to.write_all(b"00]").await?;
        Ok::<_, std::io::Error>(to) // open until the answer is read
    });
    let mut line = [0; 12];
    let answered = tokio::time::timeout(Duration::from_secs(60), from.read_exact(&mut line)).await;
    answered.expect("an answer").expect("a status line");
    let status = std::str::from_utf8(&line[9..]).unwrap().parse().unwrap();
    told.send(status).await.unwrap();
    sending.abort();
}

/// A key that is not the hoarder's.
fn second_key(outside: &Outside) -> String {
    let mut command = outside.command();
    let made = command
        .args(["keys", "create", "other", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    made["key"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn t3_large_bodies_in_hand_take_bounded_memory_and_hinder_nobody_else() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let hoarder = second_key(&outside);
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    let before = serve.peak_kib();

    let (end, (told, mut statuses)) = (Arc::new(Notify::new()), mpsc::channel(CLIENTS));
    let address = serve.base.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..CLIENTS {
        tokio::spawn(hoard(address.clone(), hoarder.clone(), end.clone(), told.clone()));
    }
    drop(told);
    for _ in 0..CLIENTS - ROOM {
        assert_eq!(statuses.recv().await, Some(429), "no key fills the room");
    }
    // Meanwhile everyone else is served: submissions, callbacks, and a large body too.
    serve.submit(&task(1, "")).await;
    let mut large = task(2, "");
    large["inputs"]["image"] = json!(format!("data:image/png;base64,{}", "A".repeat(2 * 1024 * 1024)));
    serve.submit(&large).await;
    serve.wait_settled(3).await;
    let callbacks = outside.simulator.stats();
    assert_eq!(
        (callbacks.callbacks_answered, callbacks.callbacks_given_up),
        (3, 0)
    );

    end.notify_waiters();
    for _ in 0..ROOM {
        let status = statuses.recv().await.unwrap();
        assert!(
            [413, 429].contains(&status),
            "too many values, or no room for the last bytes: {status}"
        );
    }
    let grown = serve.peak_kib() - before;
    assert!(grown < 112 * 1024, "{grown} KiB for {CLIENTS} bodies of 16 MiB");
    assert_eq!(serve.task(&uuid(1)).await["status"], "completed");
    serve.stop().await;
}
