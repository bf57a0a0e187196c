//! A raw TCP peer that answers connections by script, faults included, and keeps what it was sent.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What is done with one connection once a whole request has come in.
pub enum Reply {
    /// These bytes at once, then the end: for a peer that is waiting for a handshake.
    Interrupt(&'static str),
    /// These bytes, then the end.
    Say(String),
    /// These bytes, then silence with the connection open.
    SayAndHold(String),
}

impl Reply {
    /// A whole answer; `headers` are lines that end in CRLF.
    pub fn answer(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Say(format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// An answer that promises ten bytes more than it sends.
    pub fn cut(status: u16, body: &str) -> Self {
        let length = body.len() + 10;
        Self::Say(format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }
}

/// One request as it came over the wire.
#[derive(Debug)]
pub struct Asked {
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Stops with its value.
pub struct TestServer {
    pub address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    accepting: JoinHandle<()>,
}

impl TestServer {
    /// One reply a connection; further connections are accepted and closed.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies: Vec<Reply> = replies.into_iter().collect();
        let (tell, asked) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            let mut held = vec![];
            let mut replies = replies.into_iter();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Some(reply) = replies.next() {
                    held.extend(exchange(stream, reply, &tell).await);
                }
            }
        });
        Self {
            address,
            asked,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next request, waiting for it.
    pub async fn asked(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    /// Whether nobody has asked anything since.
    pub fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address where nothing listens.
pub async fn refused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The stream, where it is to be held open.
async fn exchange(
    mut stream: TcpStream,
    reply: Reply,
    tell: &mpsc::UnboundedSender<Asked>,
) -> Option<TcpStream> {
    if let Reply::Interrupt(bytes) = reply {
        stream.write_all(bytes.as_bytes()).await.ok()?;
        stream.shutdown().await.ok()?;
        let _read_to_its_end = stream.read_to_end(&mut vec![]).await; // or a reset could overtake the bytes
        return None;
    }
    let asked = read_request(&mut stream).await?;
    tell.send(asked).ok()?;
    let (bytes, hold) = match reply {
        Reply::Interrupt(_) => return None,
        Reply::Say(bytes) => (bytes, false),
        Reply::SayAndHold(bytes) => (bytes, true),
    };
    stream.write_all(bytes.as_bytes()).await.ok()?;
    hold.then_some(stream)
}

async fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let mut asked = Asked {
        head: String::from_utf8(head).unwrap(),
        body: vec![],
    };
    let length = asked.header("content-length").map_or(0, |l| l.parse().unwrap());
    asked.body.resize(length, 0);
    stream.read_exact(&mut asked.body).await.ok()?;
    Some(asked)
}
