//! A reader of live streams, as strict as the specification of server-sent events.

use super::{PATIENCE, Service};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

pub struct Reader {
    response: Response,
    text: String,
}

/// What a stream tells.
#[derive(Debug, PartialEq)]
pub enum Told {
    Event {
        id: u64,
        kind: String,
        data: Value,
    },
    /// A comment, or anything else without data.
    Nothing,
    End,
}

impl Service {
    /// Opens a live stream of the ordinary caller.
    pub async fn stream(&self, query: &str, last_event_id: Option<u64>) -> Reader {
        let request = self.request(Method::GET, &format!("/v1/events{query}"));
        Reader::open(match last_event_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        })
        .await
    }
}

impl Reader {
    pub async fn open(request: RequestBuilder) -> Self {
        let request = request.header("accept", "text/event-stream");
        let response = tokio::time::timeout(PATIENCE, request.send())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    pub async fn next(&mut self) -> Told {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let told = read(block);
                self.text = rest.to_owned();
                return told;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            // A cut connection is an error: an end is one that the server meant.
            match chunk.expect("the stream says nothing").unwrap() {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => {
                    assert_eq!(self.text, "", "the stream ended within a message");
                    return Told::End;
                }
            }
        }
    }

    /// The next event; comments are passed over.
    pub async fn event(&mut self) -> Value {
        loop {
            match self.next().await {
                Told::Event { id, kind, data } => {
                    assert_eq!(
                        (data["sequence"].as_u64(), data["type"].as_str()),
                        (Some(id), Some(&*kind))
                    );
                    return data;
                }
                Told::Nothing => {}
                Told::End => panic!("the stream has ended"),
            }
        }
    }

    pub async fn events(&mut self, n: usize) -> Vec<Value> {
        let mut events = vec![];
        while events.len() < n {
            events.push(self.event().await);
        }
        events
    }

    /// Until the server ends it; how many events still came.
    pub async fn end(mut self) -> usize {
        let mut events = 0;
        loop {
            match self.next().await {
                Told::Event { .. } => events += 1,
                Told::Nothing => {}
                Told::End => return events,
            }
        }
    }
}

fn read(block: &str) -> Told {
    let field = |name: &str| {
        let found = block
            .lines()
            .filter_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
        let found: Vec<&str> = found.collect();
        assert!(found.len() <= 1, "{block:?}");
        found.first().map(|v| (*v).to_owned())
    };
    match (field("id"), field("event"), field("data")) {
        (Some(id), Some(kind), Some(data)) => Told::Event {
            id: id.parse().unwrap(),
            kind,
            data: serde_json::from_str(&data).unwrap(),
        },
        (None, None, None) => Told::Nothing,
        _ => panic!("half a message: {block:?}"),
    }
}
