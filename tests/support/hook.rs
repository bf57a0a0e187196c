//! A receiver of webhooks that answers as it is told and keeps what it was sent.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
pub struct Call {
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// Exactly as it came.
    pub raw: String,
    /// What it was answered.
    pub status: u16,
}

pub struct Hook {
    pub origin: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Statuses of the next answers; 204 when there is none left.
    script: Vec<u16>,
    /// Header lines of each answer.
    headers: String,
}

impl Hook {
    /// Listens on a free port of the loopback for as long as the test binary runs.
    pub fn start(script: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            calls: vec![],
            script: script.to_vec(),
            headers: String::new(),
        }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { origin, state }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// What was taken, by `webhook-id`.
    pub fn taken(&self) -> BTreeMap<String, Call> {
        let calls = self.calls().into_iter().filter(|c| c.status < 300);
        calls.map(|c| (c.headers["webhook-id"].clone(), c)).collect()
    }

    /// Each answer from now on has these header lines, `\r\n` included.
    pub fn answer_with(&self, headers: &str) {
        self.state.lock().unwrap().headers = headers.to_owned();
    }

    pub fn answer_next(&self, script: &[u16]) {
        self.state.lock().unwrap().script = script.to_vec();
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    while let Some(mut call) = read(&mut reader) {
        let headers = {
            let mut state = state.lock().unwrap();
            call.status = match state.script.is_empty() {
                true => 204,
                false => state.script.remove(0),
            };
            state.calls.push(call.clone());
            state.headers.clone()
        };
        let answer = format!("HTTP/1.1 {} X\r\n{headers}content-length: 0\r\n\r\n", call.status);
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Call {
        target,
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        raw: String::from_utf8_lossy(&body).into_owned(),
        status: 0,
    })
}
