//! T13: consumers that mean harm, that lie and that hang, among good ones; and what died there, sent again by hand.

use crate::hook::Hook;
use crate::outside::{Outside, Serve, pause, until};
use crate::world::{task, uuid};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What it does with a connection whose request was read, head and body; `n` counts them from 0.
type Conduct = fn(stream: &mut TcpStream, n: usize, own: &str) -> std::io::Result<()>;

struct Consumer {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Consumer {
    fn start(reads_first: bool, conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (own, connections) = (url.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (own, n) = (own.clone(), counted.fetch_add(1, Ordering::SeqCst));
                std::thread::spawn(move || {
                    if reads_first {
                        read_request(&stream);
                    }
                    let _ = conduct(&mut stream, n, &own); // it is hung up on, sooner or later
                });
            }
        });
        Self { url, connections }
    }
}

fn read_request(stream: &TcpStream) -> Option<()> {
    let (mut reader, mut line, mut length) = (BufReader::new(stream), String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    reader.read_exact(&mut vec![0; length]).ok()
}

fn hang(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_to_end(&mut vec![]).map(|_| ())
}

fn reset(stream: &TcpStream) -> std::io::Result<()> {
    let linger = Some(std::time::Duration::ZERO);
    socket2::SockRef::from(stream).set_linger(linger)
}

const SECRET: &str = "CANARY,4711";
const REFUSED: &str = "HTTP/1.1 500 X\r\nconnection: close\r\n";

/// One byte at a time, with a pause that no limit on silence notices.
fn drip(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    for byte in text.bytes().cycle() {
        stream.write_all(&[byte])?;
        std::thread::park_timeout(std::time::Duration::from_millis(500));
    }
    Ok(())
}

fn endlessly(stream: &mut TcpStream, head: &str, piece: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let pieces = piece.repeat(64 * 1024 / piece.len());
    loop {
        stream.write_all(pieces.as_bytes())?;
    }
}

/// A hundred megabytes of nothing.
fn bomb() -> Vec<u8> {
    let packed = Command::new("sh")
        .args(["-c", "head -c 100000000 /dev/zero | gzip -1"])
        .output()
        .unwrap();
    assert!(packed.status.success() && packed.stdout.len() > 100_000);
    packed.stdout
}

/// Name, whether it reads the request first, what it does. None of them ever takes an event.
const HOSTILE: &[(&str, bool, Conduct)] = &[
    ("hangs", true, |s, _, _| hang(s)),
    ("never reads", false, |_, _, _| {
        std::thread::park();
        Ok(())
    }),
    ("endless headers", true, |s, _, _| {
        endlessly(s, "HTTP/1.1 500 X\r\n", "x-more: and more\r\n")
    }),
    ("a million headers", true, |s, _, _| {
        s.write_all(b"HTTP/1.1 500 X\r\n")?;
        s.write_all("a: b\r\n".repeat(1_000_000).as_bytes())?;
        s.write_all(b"content-length: 0\r\n\r\n")
    }),
    ("endless body", true, |s, _, _| {
        let head = format!("{REFUSED}\r\n{{\"token\": \"{SECRET}\"}} ");
        endlessly(s, &head, "no no no ")
    }),
    ("a byte at a time", true, |s, _, _| {
        s.write_all(format!("{REFUSED}content-length: 1000000\r\n\r\n").as_bytes())?;
        drip(s, "no")
    }),
    ("a header at a byte at a time", true, |s, _, _| {
        drip(s, "HTTP/1.1 500 Oh no")
    }),
    ("a gzip bomb", true, |s, _, _| {
        let bomb = bomb();
        let head = format!(
            "{REFUSED}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        s.write_all(head.as_bytes())?;
        s.write_all(&bomb)
    }),
    ("a redirect to itself", true, |s, _, own| {
        let head = format!("HTTP/1.1 307 X\r\nlocation: {own}\r\ncontent-length: 0\r\n\r\n");
        s.write_all(head.as_bytes())
    }),
    ("no HTTP at all", true, |s, _, _| {
        s.write_all(b"\x16\x03\x01 SSH-2.0 \0\0\r\n\r\n")
    }),
    ("two lengths", true, |s, _, _| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
        s.write_all(head.as_bytes())
    }),
    ("cut in the middle", true, |s, _, _| {
        s.write_all(format!("{REFUSED}content-length: 1000\r\n\r\nhalf of").as_bytes())
    }),
    ("cut in the head", true, |s, _, _| s.write_all(b"HTTP/1.1 200 O")),
    ("a reset", true, |s, _, _| reset(s)),
    ("Retry-After in the past", true, |s, _, _| {
        let head = format!("{REFUSED}retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n");
        s.write_all(head.as_bytes())
    }),
    ("Retry-After of no time", true, |s, _, _| {
        s.write_all(format!("{REFUSED}retry-after: soon, or -1\r\n\r\n").as_bytes())
    }),
];

const RESET: &str = "200 and a reset";

/// What is a 2xx is believed, whatever else it says: nobody can know better.
const LYING: &[(&str, bool, Conduct)] = &[
    ("200 with an error", true, |s, _, _| {
        s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"error\": \"oops\"}")
    }),
    ("200 with an endless body", true, |s, _, _| {
        endlessly(s, "HTTP/1.1 200 OK\r\n\r\n", "yes yes yes ")
    }),
    ("204 with a body", true, |s, _, _| {
        s.write_all(b"HTTP/1.1 204 X\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody")
    }),
    ("200 before it has read", false, |s, _, _| {
        s.read_exact(&mut [0; 1])?; // an answer to nothing is none
        s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        hang(s)
    }),
    // Whether the answer or the reset is seen first is chance: taken, or tried again.
    (RESET, true, |s, _, _| {
        s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nnot a hundred")?;
        std::thread::park_timeout(std::time::Duration::from_millis(100)); // the head is on its way
        reset(s)
    }),
];

async fn subscribe(serve: &Serve, url: &str) -> String {
    let body = json!({ "url": url, "types": ["task.accepted"] });
    let made = serve.post("/v1/endpoints", &body, None).await.unwrap();
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// The deliveries of an endpoint once all of them are as told.
async fn deliveries(serve: &Serve, id: &str, count: usize, is: impl Fn(&Value) -> bool) -> Vec<Value> {
    let path = format!("/v1/endpoints/{id}/deliveries");
    let mut all = vec![];
    for _ in 0..1500 {
        all = serve.get(&path).await.unwrap()["data"]
            .as_array()
            .unwrap()
            .clone();
        if all.len() == count && all.iter().all(&is) {
            return all;
        }
        pause().await;
    }
    panic!("{id}: {all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t13_hostile_lying_and_stalled_consumers_harm_nobody() {
    const TASKS: usize = 2;
    const GROWTH_KIB: u64 = 48 << 10;
    let inside = TcpListener::bind("127.0.0.2:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__SCHEDULE", "0s,200ms");
    outside.set("CATCHMENT_EVENTS__TIMEOUT", "3s");
    outside.set("CATCHMENT_NET__ALLOW_PRIVATE", "127.0.0.1/32");
    let mut serve = Serve::start(&outside, None).await;
    let good: Vec<Hook> = (0..3).map(|_| Hook::start(&[])).collect();
    let start =
        |(name, first, conduct): &(&'static str, bool, Conduct)| (*name, Consumer::start(*first, *conduct));
    let hostile: Vec<_> = HOSTILE.iter().map(start).collect();
    let lying: Vec<_> = LYING.iter().map(start).collect();
    let leads_inside = Hook::start(&[302; 2 * TASKS]);
    leads_inside.answer_with(&format!("location: http://{}/\r\n", inside.local_addr().unwrap()));
    let years = Hook::start(&[503; 2 * TASKS]);
    years.answer_with("retry-after: 99999999999\r\n");
    let fickle = Hook::start(&[410, 200, 410, 200]);
    let mut ids = vec![];
    for consumer in good
        .iter()
        .chain([&leads_inside, &years, &fickle])
        .map(|h| h.origin.clone())
    {
        ids.push(subscribe(&serve, &consumer).await);
    }
    let mut others = vec![];
    for (name, consumer) in hostile.iter().chain(&lying) {
        others.push((*name, subscribe(&serve, &consumer.url).await));
    }
    let before = serve.peak_kib();
    serve
        .submit(&json!((0..TASKS).map(|n| task(n, "")).collect::<Vec<_>>()))
        .await;
    for hook in &good {
        until("a good one has everything", || hook.taken().len() == TASKS).await;
    }
    let dead = |d: &Value| d["status"] == "dead";
    for (name, id) in &others[..hostile.len()] {
        for delivery in deliveries(&serve, id, TASKS, dead).await {
            assert_eq!(delivery["reason"], "out_of_tries", "{name}: {delivery:#}");
            let tries = delivery["attempts"].as_array().unwrap();
            assert_eq!(tries.len(), 2, "{name}: {delivery:#}");
            for one in tries {
                let said = one["status"].is_u64() != one["code"].is_string();
                assert!(said, "{name}: either answered or not: {one:#}");
                let excerpt = one["excerpt"].as_str().unwrap_or_default();
                assert!(excerpt.len() <= 512, "{name}: bounded");
                assert!(!excerpt.contains("CANARY") && !excerpt.contains("4711"), "{name}");
            }
        }
    }
    let (_, looped) = hostile
        .iter()
        .find(|(n, _)| *n == "a redirect to itself")
        .unwrap();
    assert!(
        looped.connections.load(Ordering::SeqCst) <= 2 * TASKS,
        "not followed"
    );
    for (name, id) in &others[hostile.len()..] {
        let settled = |d: &Value| d["status"] == "delivered" || (*name == RESET && d["status"] == "dead");
        for delivery in deliveries(&serve, id, TASKS, settled).await {
            let is_dead = delivery["status"] == "dead";
            assert_eq!(delivery["reason"].is_string(), is_dead, "{name}: {delivery:#}");
        }
    }
    deliveries(&serve, &ids[3], TASKS, dead).await;
    assert_eq!(
        inside.accept().map_err(|e| e.kind()).err(),
        Some(std::io::ErrorKind::WouldBlock),
        "I15"
    );
    // Years are a day, and the rest of the schedule is still to come.
    for delivery in deliveries(&serve, &ids[4], TASKS, |d| d["status"] == "waiting").await {
        let next: catchment::domain::time::Timestamp =
            delivery["nextAttemptAt"].as_str().unwrap().parse().unwrap();
        let told: catchment::domain::time::Timestamp =
            delivery["attempts"][0]["at"].as_str().unwrap().parse().unwrap();
        let day = std::time::Duration::from_secs(24 * 3600);
        let (least, most) = (day, day + std::time::Duration::from_secs(60));
        assert!((least..=most).contains(&next.since(told)), "{delivery:#}");
    }
    // The first 410 is believed: what it might have taken afterwards is kept for whoever enables it.
    let shown = serve.get(&format!("/v1/endpoints/{}", ids[5])).await.unwrap();
    assert_eq!(
        (&shown["disabled"], &shown["disabledReason"]),
        (&json!(true), &json!("gone"))
    );
    let grown = serve.peak_kib() - before;
    println!(
        "{} bad consumers: VmHWM {before} KiB, {grown} KiB more",
        others.len() + 3
    );
    assert!(grown < GROWTH_KIB, "grown by {grown} KiB");
    for hook in &good {
        assert_eq!(hook.taken().len(), TASKS);
    }
    let log = outside.log();
    assert!(!log.contains("CANARY"), "G12");
    serve.child.kill().unwrap(); // a stop would wait for those that hang
}

/// A tenant whose receivers all hang, each with more calls than one may have under way; and another tenant.
#[tokio::test(flavor = "multi_thread")]
async fn t13_one_tenants_hanging_webhooks_hold_up_no_other_tenant() {
    const RECEIVERS: usize = 8;
    const EACH: usize = 12;
    const GOOD: usize = 10;
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__TIMEOUT", "55s"); // none of theirs ends before the story does
    let mute: Vec<Consumer> = (0..RECEIVERS)
        .map(|_| Consumer::start(true, |s, _, _| hang(s)))
        .collect();
    let good = Hook::start(&[]);
    let mut serve = Serve::start(&outside, None).await;
    let calling = |n: usize, url: &str| {
        let mut task = task(n, "fail");
        task["webhookURL"] = json!(url);
        task
    };
    let tasks: Vec<Value> = (0..RECEIVERS * EACH)
        .map(|n| calling(n, &mute[n % RECEIVERS].url))
        .collect();
    serve.submit(&json!(tasks)).await;
    let hanging = || -> usize {
        let each = mute.iter().map(|m| m.connections.load(Ordering::SeqCst));
        each.sum()
    };
    until("half of the places hang", || hanging() == 32).await;
    serve.wait_settled(RECEIVERS * EACH).await; // all of their calls are due
    let other = outside
        .command()
        .args(["keys", "create", "films", "--tenant", "films", "--json"])
        .output()
        .unwrap();
    let other: Value = serde_json::from_slice(&other.stdout).unwrap();
    let first = std::mem::replace(&mut serve.key, other["key"].as_str().unwrap().to_owned());
    let tasks: Vec<Value> = (500..500 + GOOD).map(|n| calling(n, &good.origin)).collect();
    serve.submit(&json!(tasks)).await;
    until("the other tenant's calls", || good.taken().len() == GOOD).await;
    // All that while none of the first tenant's calls has come to anything.
    assert_eq!(hanging(), 32, "its share, and no more");
    serve.key = first;
    for n in 0..RECEIVERS {
        let shown = serve.task(&uuid(n)).await;
        let lines = shown["timeline"].as_array().unwrap();
        assert!(
            lines.iter().all(|l| l["kind"] != "delivery_attempt"),
            "{lines:#?}"
        );
    }
    serve.child.kill().unwrap();
}

/// `catchment endpoints redrive`, for one, for a range of time and for all; and a task's own webhook.
#[tokio::test(flavor = "multi_thread")]
async fn g7_what_died_is_sent_again_at_the_command_line() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__SCHEDULE", "0s,100ms");
    let hook = Hook::start(&[500; 8]);
    let mut serve = Serve::start(&outside, None).await;
    let id = subscribe(&serve, &hook.origin).await;
    for n in 0..4 {
        serve.submit(&task(n, "")).await;
    }
    let mut dead = deliveries(&serve, &id, 4, |d| d["status"] == "dead").await;
    dead.reverse(); // the oldest first
    let redrive = |args: &[&str]| -> u64 {
        let told = outside
            .command()
            .args(["endpoints", "redrive", &id])
            .args(args)
            .args(["--yes", "--json", "--url", &serve.base])
            .env("CATCHMENT_KEY", &serve.key)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        told["redriven"].as_u64().unwrap()
    };
    let text = |n: usize, name: &str| dead[n][name].as_str().unwrap();
    let taken = async |expected: &[usize]| {
        until("what is sent again", || hook.taken().len() == expected.len()).await;
        let taken: Vec<String> = hook.taken().into_keys().collect();
        let mut expected: Vec<&str> = expected.iter().map(|n| text(*n, "event")).collect();
        expected.sort_unstable();
        assert_eq!(taken, expected);
    };
    assert_eq!(redrive(&["--event", text(2, "event")]), 1);
    taken(&[2]).await;
    assert_eq!(
        redrive(&["--since", text(1, "timestamp"), "--until", text(2, "timestamp")]),
        1
    );
    taken(&[1, 2]).await;
    assert_eq!(redrive(&["--all"]), 2);
    taken(&[0, 1, 2, 3]).await;
    deliveries(&serve, &id, 4, |d| d["status"] == "delivered").await;
    assert_eq!(redrive(&["--all"]), 0, "nothing is dead any more");
    // One that was taken is sent again when it is asked for by name.
    assert_eq!(redrive(&["--delivery", text(0, "id")]), 1);
    until("once more", || {
        hook.calls().iter().filter(|c| c.status < 300).count() == 5
    })
    .await;
    serve.stop().await;
}
