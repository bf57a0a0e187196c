//! What no well-behaved object store does, staged in front of one that is: each request is passed on, spoiled, or
//! answered here, as the story's script says. Signatures pass through, so the store behind still checks them.

use super::bucket::Bucket;
use catchment::adapters::system::SystemClock;
use catchment::ports::clock::Clock as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Percent-encoded, bucket first, with the query.
    pub path: String,
    head: String,
}

pub enum Act {
    Forward,
    /// Read it all, keep nothing, answer.
    Answer(String),
    /// Answer as soon as the head is read, while the body is still on its way.
    AnswerEarly(String),
    /// The store does it; nobody hears of it.
    LoseAnswer,
    /// The store does it, and this is told instead of its own answer.
    AnswerInstead(String),
    /// One byte is another one when it arrives.
    Tamper,
    /// Cut after so many bytes of the body.
    Cut(usize),
    /// Read, and never answered.
    Hang,
    /// Somebody else's bytes are under the key before it is passed on.
    AfterPutting(Vec<u8>),
}

type Script = Box<dyn FnMut(&Asked) -> Act + Send>;

pub struct FaultStore {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    store: SocketAddr,
    bucket: Bucket,
    script: Mutex<Script>,
    asked: Mutex<Vec<Asked>>,
}

impl FaultStore {
    /// Passes everything on until told otherwise.
    pub async fn before(bucket: &Bucket) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = bucket
            .endpoint
            .trim_start_matches("http://")
            .trim_end_matches('/');
        let shared = Arc::new(Shared {
            store: authority.parse().unwrap(),
            bucket: bucket.clone(),
            script: Mutex::new(Box::new(|_| Act::Forward)),
            asked: Mutex::default(),
        });
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn script(&self, script: impl FnMut(&Asked) -> Act + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    pub fn behave(&self) {
        self.script(|_| Act::Forward);
    }

    /// The first `times` uploads of results; then it behaves.
    pub fn spoil_uploads(&self, times: usize, act: impl Fn() -> Act + Send + 'static) {
        let mut left = times;
        self.script(move |asked| {
            if left == 0 || !asked.uploads_result() {
                return Act::Forward;
            }
            left -= 1;
            act()
        });
    }

    /// Every upload of a result until so much time has passed since the first one, by the store's own clock; then it
    /// behaves.
    pub fn spoil_uploads_for(&self, span: Duration, act: impl Fn() -> Act + Send + 'static) {
        let clock = SystemClock::start();
        let mut first = None;
        self.script(move |asked| {
            if !asked.uploads_result() {
                return Act::Forward;
            }
            let now = clock.now();
            match now.since(*first.get_or_insert(now)) < span {
                true => act(),
                false => Act::Forward,
            }
        });
    }

    /// Every request since the start.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn uploads(&self) -> usize {
        self.asked().iter().filter(|asked| asked.uploads_result()).count()
    }
}

impl Drop for FaultStore {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Asked {
    /// A whole result, or a part of one.
    pub fn uploads_result(&self) -> bool {
        self.method == "PUT" && !self.is_own()
    }

    /// About what the service keeps for itself, behind a dot.
    pub fn is_own(&self) -> bool {
        self.path.contains("/.")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn body_bytes(&self) -> usize {
        self.header("content-length").map_or(0, |n| n.parse().unwrap())
    }

    fn key(&self) -> String {
        let path = self.path.split('?').next().unwrap();
        let key = path
            .trim_start_matches('/')
            .split_once('/')
            .map_or("", |(_, key)| key);
        percent_encoding::percent_decode_str(key)
            .decode_utf8()
            .unwrap()
            .into_owned()
    }
}

/// An answer with S3's error document.
pub fn error(status: &str, code: &str) -> String {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>"
    );
    answer(status, &body)
}

/// A plain yes.
pub fn yes() -> String {
    answer("200 OK", "")
}

pub fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\nconnection: close\r\netag: \"0\"\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A connection that breaks is the story.
        tokio::spawn(serve(stream, shared.clone()));
    }
}

/// One request a connection.
async fn serve(mut near: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let (head, first) = read_head(&mut near).await?;
    let asked = parse(head);
    let act = (shared.script.lock().unwrap())(&asked);
    shared.asked.lock().unwrap().push(asked.clone());
    let mut body = Body {
        left: asked.body_bytes() - first.len(),
        first,
        tamper: matches!(act, Act::Tamper),
        cut_after: usize::MAX,
    };
    match act {
        Act::AnswerEarly(answer) => say(near, &answer).await,
        Act::Answer(answer) => {
            body.send(&mut near, &mut tokio::io::sink()).await?;
            say(near, &spare_head(&asked, answer)).await
        }
        Act::Hang => {
            body.send(&mut near, &mut tokio::io::sink()).await?;
            near.read_u8().await.ok()?; // until the other end has enough
            None
        }
        Act::LoseAnswer => {
            answer_of_store(&asked, body, &mut near, &shared).await?;
            None
        }
        Act::AnswerInstead(answer) => {
            answer_of_store(&asked, body, &mut near, &shared).await?;
            say(near, &answer).await
        }
        Act::Cut(after) => {
            body.cut_after = after;
            pass_on(&asked, body, near, &shared).await
        }
        Act::AfterPutting(bytes) => {
            shared.bucket.put(&asked.key(), &bytes).await;
            pass_on(&asked, body, near, &shared).await
        }
        Act::Forward | Act::Tamper => pass_on(&asked, body, near, &shared).await,
    }
}

/// What is left of a request after its head.
struct Body {
    first: Vec<u8>,
    left: usize,
    tamper: bool,
    cut_after: usize,
}

impl Body {
    /// `None`: broken off, or cut as told.
    async fn send(
        self,
        near: &mut (impl tokio::io::AsyncRead + Unpin),
        far: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> Option<()> {
        /// Behind the length of the first chunk, and before the checksum that follows the last.
        const SPOILED: std::ops::Range<usize> = 1000..1001;
        let (mut sent, mut left, mut piece) = (0, self.left, self.first);
        loop {
            if self.tamper && (sent..sent + piece.len()).contains(&SPOILED.start) {
                piece[SPOILED.start - sent] ^= 1;
            }
            piece.truncate(self.cut_after - sent);
            sent += piece.len();
            far.write_all(&piece).await.ok()?;
            if sent == self.cut_after {
                return None;
            }
            if left == 0 {
                return far.flush().await.ok();
            }
            piece = vec![0; left.min(64 * 1024)];
            let read = near.read(&mut piece).await.ok().filter(|n| *n > 0)?;
            piece.truncate(read);
            left -= read;
        }
    }
}

async fn pass_on(asked: &Asked, body: Body, near: TcpStream, shared: &Shared) -> Option<()> {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = connect(asked, shared).await?.into_split();
    let cuts = body.cut_after != usize::MAX;
    {
        let up = async {
            match body.send(&mut from_near, &mut to_far).await {
                None if cuts => None, // hang up on both
                _ => Some(()),
            }
        };
        let down = async { tokio::io::copy(&mut from_far, &mut to_near).await.ok() };
        tokio::pin!(down);
        tokio::select! {
            // The store may answer before it has read everything.
            _ = &mut down => {}
            sent = up => { sent?; down.await?; }
        }
    }
    let _ = to_near.shutdown().await;
    linger(&mut from_near).await;
    Some(())
}

/// Has the store do it, and keeps what it says.
async fn answer_of_store(
    asked: &Asked,
    body: Body,
    near: &mut TcpStream,
    shared: &Shared,
) -> Option<Vec<u8>> {
    let mut far = connect(asked, shared).await?;
    body.send(near, &mut far).await?;
    let mut answer = vec![];
    far.read_to_end(&mut answer).await.ok()?;
    Some(answer)
}

/// A connection to the store for this request alone, its head sent.
async fn connect(asked: &Asked, shared: &Shared) -> Option<TcpStream> {
    let mut far = TcpStream::connect(shared.store).await.ok()?;
    let (line, rest) = asked.head.split_once("\r\n")?;
    let head = format!("{line}\r\nconnection: close\r\n{rest}");
    far.write_all(head.as_bytes()).await.ok()?;
    Some(far)
}

/// A HEAD has no body in its answer.
fn spare_head(asked: &Asked, answer: String) -> String {
    match (asked.method.as_str(), answer.split_once("\r\n\r\n")) {
        ("HEAD", Some((head, _))) => format!("{head}\r\n\r\n"),
        _ => answer,
    }
}

async fn say(mut near: TcpStream, answer: &str) -> Option<()> {
    near.write_all(answer.as_bytes()).await.ok()?;
    near.shutdown().await.ok()?;
    linger(&mut near).await;
    Some(())
}

/// Closing with bytes unread would reset the connection and destroy the answer on its way.
async fn linger(near: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = tokio::io::sink();
    let _ = tokio::time::timeout(Duration::from_secs(5), tokio::io::copy(near, &mut rest)).await;
}

async fn read_head(near: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut seen = vec![];
    loop {
        if let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
            let body = seen.split_off(at + 4);
            return Some((String::from_utf8(seen).unwrap(), body));
        }
        let mut buffer = [0; 4096];
        match near.read(&mut buffer).await.ok()? {
            0 => return None,
            n => seen.extend_from_slice(&buffer[..n]),
        }
    }
}

fn parse(head: String) -> Asked {
    let mut words = head.split(' ');
    Asked {
        method: words.next().unwrap().to_owned(),
        path: words.next().unwrap().to_owned(),
        head,
    }
}
