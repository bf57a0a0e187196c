//! A provider of a few lines whose results lie wherever a test says, at a host that is not the provider's own.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct StandIn {
    pub url: String,
    results: Arc<Mutex<HashMap<String, Vec<Value>>>>,
    serving: JoinHandle<()>,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let results = Arc::<Mutex<HashMap<String, Vec<Value>>>>::default();
        let known = results.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, known.clone()));
            }
        });
        Self {
            url,
            results,
            serving,
        }
    }

    /// What this task's status query is to show.
    pub fn result(&self, task: &str, members: Value) {
        let mut item = json!({ "taskType": "videoInference", "taskUUID": task, "status": "success" });
        for (name, value) in members.as_object().unwrap() {
            item[name] = value.clone();
        }
        let mut results = self.results.lock().unwrap();
        results.entry(task.to_owned()).or_default().push(item);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, known: Arc<Mutex<HashMap<String, Vec<Value>>>>) {
    while let Some(body) = request(&mut stream).await {
        let items: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let data: Vec<Value> = items.iter().flat_map(|item| answer(item, &known)).collect();
        let body = json!({ "data": data }).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(item: &Value, known: &Mutex<HashMap<String, Vec<Value>>>) -> Vec<Value> {
    let id = item["taskUUID"].as_str().unwrap();
    match item["taskType"].as_str().unwrap() {
        "getResponse" => known.lock().unwrap().get(id).cloned().unwrap_or_default(),
        "getTaskDetails" => vec![],
        kind => vec![json!({ "taskType": kind, "taskUUID": id })],
    }
}

/// The body of the next request; `None` when there is none.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |text| text.trim().parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}
