//! A client, and a receiver of callbacks, with nothing of the service in them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::simulator::clock::real_sleep;
use crate::simulator::{Faults, Options, Simulator};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bench {
    pub simulator: Simulator,
    pub http: Client,
}

pub fn uuid(n: u8) -> Uuid {
    uuid::Builder::from_random_bytes([n; 16]).into_uuid()
}

/// A valid avatar task; `more` is laid over it.
pub fn avatar(n: u8, more: Value) -> Value {
    let mut task = json!({
        "taskType": "videoInference", "taskUUID": uuid(n), "model": "klingai:avatar@2.0-pro", "includeCost": true,
        "inputs": {"image": "https://cdn.example/face.png", "audio": "https://cdn.example/voice.mp3"},
    });
    merge(&mut task, more);
    task
}

pub fn merge(task: &mut Value, more: Value) {
    let members: Map<String, Value> = serde_json::from_value(more).unwrap();
    task.as_object_mut().unwrap().extend(members);
}

impl Bench {
    pub fn new(faults: Faults) -> Self {
        Self::with(Options {
            faults,
            render_ms: 0..=0,
            ..Options::default()
        })
    }

    pub fn with(options: Options) -> Self {
        let simulator = Simulator::start(options).unwrap();
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { simulator, http }
    }

    pub fn request(&self, body: &Value) -> reqwest::RequestBuilder {
        let key = ("authorization", "Bearer any");
        self.http
            .post(self.simulator.api_url())
            .header(key.0, key.1)
            .json(body)
    }

    pub async fn try_post(&self, body: Value) -> reqwest::Result<Response> {
        self.request(&body).send().await
    }

    pub async fn post(&self, body: Value) -> (u16, Value) {
        read(self.try_post(body).await.unwrap()).await
    }

    pub async fn query(&self, n: u8) -> Value {
        let (status, body) = self
            .post(json!([{"taskType": "getResponse", "taskUUID": uuid(n)}]))
            .await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Submits and waits until every result has ended.
    pub async fn finished(&self, task: Value) -> Value {
        let n = task["taskUUID"]
            .as_str()
            .unwrap()
            .parse::<Uuid>()
            .unwrap()
            .as_bytes()[0];
        let (status, body) = self.post(json!([task])).await;
        assert_eq!(status, 200, "{body}");
        let mut last = Value::Null;
        for _ in 0..200 {
            last = self.query(n).await;
            let items = last["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            if items.iter().all(|item| item["status"] != "processing") {
                return last;
            }
            real_sleep(Duration::from_millis(20)).await;
        }
        panic!("never finished: {last}");
    }

    /// The link of a finished one-result task.
    pub async fn link(&self, task: Value) -> String {
        let answer = self.finished(task).await;
        answer["data"][0]["videoURL"]
            .as_str()
            .unwrap_or_else(|| panic!("no link in {answer}"))
            .to_owned()
    }

    pub async fn get(&self, url: &str) -> Response {
        self.http.get(url).send().await.unwrap()
    }

    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Simulator) -> bool) {
        for _ in 0..1000 {
            if holds(&self.simulator) {
                return;
            }
            real_sleep(Duration::from_millis(10)).await;
        }
        panic!("never came true: {what}; {:?}", self.simulator.stats());
    }
}

pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Records what is sent to it and answers with the statuses it was given, then with 200.
pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

#[derive(Debug, Clone)]
pub struct Received {
    pub target: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Receiver {
    pub async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=secret", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (record, mut statuses) = (received.clone(), statuses.to_vec().into_iter());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let status = statuses.next().unwrap_or(200);
                tokio::spawn(receive(stream, status, record.clone()));
            }
        });
        Self { url, received }
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for at least `count` requests.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let arrived = async {
            while self.all().len() < count {
                real_sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, arrived).await;
        assert!(in_time.is_ok(), "waited for {count}, got {:?}", self.all());
        self.all()
    }
}

async fn receive(mut stream: TcpStream, status: u16, record: Arc<Mutex<Vec<Received>>>) -> Option<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    while bytes.len() < end + length.unwrap_or(0) {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            break;
        }
    }
    let target = head.split(' ').nth(1)?.to_owned();
    record.lock().unwrap().push(Received {
        target,
        head,
        body: bytes[end..].to_vec(),
    });
    let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()
}
