//! I9, F1, F21: whoever reads the log reads all of it once, whatever happens to the service meanwhile.

use crate::outside::{Outside, Serve, pause};
use crate::world::{task, uuid};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// A reader as a browser is one: it comes back after every break and says where it was.
struct Reader {
    told: Arc<Mutex<Vec<Value>>>,
    running: JoinHandle<()>,
}

impl Reader {
    fn start(serve: &Serve) -> Self {
        let told = Arc::new(Mutex::new(vec![]));
        let (url, key) = (format!("{}/v1/events", serve.base), serve.key.clone());
        let kept = told.clone();
        let running = tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            loop {
                let last: Option<u64> = last(&kept);
                let mut request = client
                    .get(&url)
                    .bearer_auth(&key)
                    .header("accept", "text/event-stream");
                if let Some(last) = last {
                    request = request.header("last-event-id", last);
                }
                if let Ok(answer) = request.send().await {
                    read(answer, &kept).await;
                }
                pause().await;
            }
        });
        Self { told, running }
    }

    fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    async fn wait_for(&self, sequence: u64) -> Vec<Value> {
        for _ in 0..1500 {
            if last(&self.told) >= Some(sequence) {
                return self.told();
            }
            pause().await;
        }
        panic!("{sequence} was never told: {:#?}", self.told().last());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn last(told: &Mutex<Vec<Value>>) -> Option<u64> {
    told.lock()
        .unwrap()
        .last()
        .map(|e: &Value| e["sequence"].as_u64().unwrap())
}

/// Until it breaks off. Half a message counts for nothing.
async fn read(mut answer: reqwest::Response, told: &Mutex<Vec<Value>>) {
    let mut text = String::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some((message, rest)) = text.split_once("\n\n") {
            let data = message.lines().find_map(|l| l.strip_prefix("data: "));
            told.lock()
                .unwrap()
                .extend(data.map(|d| serde_json::from_str::<Value>(d).unwrap()));
            text = rest.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_f1_a_stream_resumes_across_kills_under_load_without_gap_or_repeat() {
    const ROUNDS: usize = 4;
    const EACH: usize = 12;
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let reader = Reader::start(&serve);
    for round in 0..ROUNDS {
        for n in round * EACH..(round + 1) * EACH {
            serve.submit(&task(n, "")).await;
        }
        if round + 1 < ROUNDS {
            // In the middle of it all: some are archived already, some not yet sent.
            let some = uuid(round * EACH);
            serve
                .wait_task(&some, "one is under way", |t| t["status"] != "accepted")
                .await;
            serve.child.kill().unwrap();
            serve.child.wait().unwrap();
            serve = Serve::start(&outside, None).await;
        }
    }
    serve.wait_settled(ROUNDS * EACH).await;
    let log = serve.events().await;
    let told = reader
        .wait_for(log.last().unwrap()["sequence"].as_u64().unwrap())
        .await;
    assert!(log.len() >= ROUNDS * EACH * 4, "{}", log.len());
    let sequences =
        |events: &[Value]| -> Vec<u64> { events.iter().map(|e| e["sequence"].as_u64().unwrap()).collect() };
    assert_eq!(sequences(&told), sequences(&log), "each once, in order");
    assert_eq!(told, log, "and the same");
    // Each task's own count has no gap either.
    for n in 0..ROUNDS * EACH {
        let own = told.iter().filter(|e| e["data"]["taskUUID"] == uuid(n).as_str());
        let counts: Vec<u64> = own.map(|e| e["taskSequence"].as_u64().unwrap()).collect();
        assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
    }
    serve.stop().await;
}
