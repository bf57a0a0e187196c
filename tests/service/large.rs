//! Many large files at once: memory does not grow with them, and the callback path does not wait for them. The full
//! sizes are `make large`.

use crate::outside::{Outside, Serve, sha256_hex};
use crate::world::{task, uuid};
use catchment::simulator::Options;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FILES: usize = 8;
const BYTES: u64 = 24 * 1024 * 1024;
/// Half of what all of them would take; `make large` allows 64 files of 200 MiB no more.
const PEAK_KIB: u64 = 96 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn g4_many_large_files_at_once_take_bounded_memory_and_every_callback_is_taken_meanwhile() {
    let mut outside = Outside::with(Options {
        video_size: BYTES,
        ..Options::default()
    })
    .await;
    outside.set("CATCHMENT_ARCHIVE__CONCURRENCY", FILES.to_string());
    let mut serve = Serve::start(&outside, None).await;
    // The last one never ends at the provider: its callbacks keep coming while the others are copied.
    let rendering = FILES + 1;
    let tasks: Vec<_> = (1..=FILES).map(|n| task(n, "render=500ms")).collect();
    serve.submit(&json!(tasks)).await;
    serve.submit(&task(rendering, "stick=1")).await;

    let callbacks = Callbacks::start(&outside, &serve, &uuid(rendering)).await;
    for n in 1..=FILES {
        serve.wait_status(&uuid(n), "completed").await;
    }
    let answers = callbacks.stop().await;
    assert!(
        answers.len() > 20,
        "only {} callbacks were answered",
        answers.len()
    );
    assert!(
        answers.iter().all(|status| *status == 200),
        "G9: each callback is stored: {answers:?}"
    );

    let (copying, storing) = (niceness(&serve, "copies"), niceness(&serve, "sqlite-writer"));
    let [storing] = storing[..] else {
        panic!("who stores callbacks? {storing:?}")
    };
    assert!(!copying.is_empty(), "nobody copies");
    assert!(
        copying.iter().all(|n| *n > storing),
        "F26: copies give way: {copying:?}, {storing}"
    );

    let peak = peak_kib(&serve);
    assert!(peak < PEAK_KIB, "{FILES} files of {BYTES} bytes took {peak} KiB");
    assert_whole(&outside, &serve).await;
    serve.stop().await;
}

/// Callbacks one after the other, each with a body of its own.
struct Callbacks {
    ended: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<Vec<u16>>,
}

impl Callbacks {
    async fn start(outside: &Outside, serve: &Serve, task: &str) -> Self {
        let url = outside.callback_url(serve, task).await;
        let (client, task) = (serve.client.clone(), task.to_owned());
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let sending = tokio::spawn(async move {
            let mut answers = vec![];
            while !until.load(Ordering::Relaxed) {
                let body = json!({ "data": [{ "taskType": "videoInference", "taskUUID": task,
                    "status": "processing", "progress": answers.len() }] });
                let answer = client.post(&url).json(&body).send().await.unwrap();
                answers.push(answer.status().as_u16());
            }
            answers
        });
        Self { ended, sending }
    }

    async fn stop(self) -> Vec<u16> {
        self.ended.store(true, Ordering::Relaxed);
        self.sending.await.unwrap()
    }
}

/// F26: the niceness of the threads with this name; more gives way.
fn niceness(serve: &Serve, name: &str) -> Vec<i64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", serve.child.id())).unwrap();
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("stat")).ok());
    let named = stats.filter(|stat| stat.contains(&format!("({name})")));
    let nice = |stat: String| {
        let fields = stat.rsplit_once(')').unwrap().1;
        fields.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    named.map(nice).collect()
}

/// The most memory the process ever held.
fn peak_kib(serve: &Serve) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.child.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// I5: what lies in the bucket is what the provider made, to the byte.
async fn assert_whole(outside: &Outside, serve: &Serve) {
    for n in 1..=FILES {
        let generation = outside.generation(&uuid(n)).expect("it was accepted");
        let truth = &generation.results[0];
        let task = serve.task(&uuid(n)).await;
        let asset = &task["assets"][0];
        assert_eq!(asset["size"], BYTES);
        assert_eq!(truth.size, Some(BYTES));
        assert_eq!(asset["sha256"].as_str(), truth.sha256.as_deref(), "I5");
        let stored = outside.s3.get(asset["key"].as_str().unwrap()).await.unwrap();
        assert_eq!(Some(sha256_hex(&stored)), truth.sha256, "I5");
    }
}
