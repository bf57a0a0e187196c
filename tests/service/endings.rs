//! G4, F13, T10: where a body without a length ends, by servers that say it in their own ways, or not at all.

use crate::outside::{Outside, Serve, sha256_hex};
use crate::stand_in::StandIn;
use crate::world::uuid;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PICTURE: &[u8] = include_bytes!("../fixtures/media/picture.png");

#[derive(Clone, Copy, Debug)]
enum Answer {
    /// 200 and the whole, which ends with the connection.
    Whole,
    Status(u16),
    /// 206 and nothing, from the end to the end.
    EmptyRange,
    /// 200, and ever more.
    Endless,
}

/// Each link's answers, request by request; the last one stays.
const LINKS: &[(&str, &[Answer])] = &[
    ("416", &[Answer::Whole, Answer::Status(416)]),
    ("an empty range", &[Answer::Whole, Answer::EmptyRange]),
    (
        "no ranges but 500, and the same again",
        &[Answer::Whole, Answer::Status(500), Answer::Whole],
    ),
    (
        "once without an end",
        &[Answer::Whole, Answer::Endless, Answer::Whole, Answer::Status(416)],
    ),
    ("a link for one download", &[Answer::Whole, Answer::Status(404)]),
];

struct Server {
    port: u16,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<HashMap<usize, usize>>>::default();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, asked.clone()));
            }
        });
        Self { port, serving }
    }

    fn link(&self, n: usize) -> String {
        format!("http://127.0.0.1:{}/{n}/picture.png", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, asked: Arc<Mutex<HashMap<usize, usize>>>) {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let link: usize = head.split('/').nth(1).unwrap().parse().unwrap();
    let nth = {
        let mut asked = asked.lock().unwrap();
        let nth = asked.entry(link).or_default();
        *nth += 1;
        *nth - 1
    };
    let answer = match LINKS.get(link) {
        Some((_, answers)) => answers[nth.min(answers.len() - 1)],
        // The one that never says: the whole, and then twice nothing.
        None if nth % 3 == 0 => Answer::Whole,
        None => Answer::Status(503),
    };
    let _ = say(&mut stream, answer).await; // whoever hangs up has heard enough
}

async fn say(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    let size = PICTURE.len();
    let plain = "Content-Type: image/png\r\nConnection: close\r\n\r\n";
    match answer {
        Answer::Whole | Answer::Endless => {
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\n{plain}").as_bytes())
                .await?;
            stream.write_all(PICTURE).await?;
            if let Answer::Whole = answer {
                return Ok(());
            }
            loop {
                stream.write_all(&[0; 4096]).await?;
            }
        }
        Answer::Status(status) => {
            let head = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{plain}");
            stream.write_all(head.as_bytes()).await
        }
        Answer::EmptyRange => {
            let range = format!("bytes {size}-{}/{size}", size - 1);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: 0\r\n{plain}"
            );
            stream.write_all(head.as_bytes()).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_f13_a_body_without_a_length_is_archived_once_its_end_is_known_and_kept_if_it_never_is() {
    let (server, provider) = (Server::start().await, StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    let mut serve = Serve::start(&outside, None).await;
    let never = LINKS.len();
    for n in 0..=never {
        provider.result(
            &uuid(n),
            json!({ "imageUUID": uuid(100 + n), "imageURL": server.link(n) }),
        );
        let asked = json!({
            "taskType": "imageInference", "taskUUID": uuid(n), "model": "runware:101@1",
            "positivePrompt": "A lighthouse", "outputFormat": "PNG",
        });
        serve.submit(&asked).await;
    }
    serve.wait_settled(never + 1).await;
    for (n, (what, _)) in LINKS.iter().enumerate() {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(task["status"], "completed", "{what}: {task:#}");
        assert_eq!(
            task["assets"][0]["sha256"],
            sha256_hex(PICTURE).as_str(),
            "{what}"
        );
    }
    let task = serve.task(&uuid(never)).await;
    let asset = &task["assets"][0];
    assert_eq!(
        (&asset["status"], &asset["reason"]),
        (&json!("failed"), &json!("bad_content")),
        "{task:#}"
    );
    let key = asset["key"].as_str().unwrap();
    assert!(key.ends_with(".unverified"), "{key}");
    let kept = std::fs::read(outside.objects().join(key)).unwrap();
    assert_eq!(kept, PICTURE, "what was paid for is kept as it came");
    serve.stop().await;
}
