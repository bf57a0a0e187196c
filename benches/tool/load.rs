//! Callbacks from many connections: closed loop (each connection sends when it was answered), or at a fixed rate,
//! where a late answer does not excuse the next request: latency counts from when it was due, whoever is late, this
//! loader included: where copies take the processor from it, they take it from a real client as well. What was due
//! within the window is waited for beyond its end, so that a stall across the end is seen as well.

use crate::latencies::Latencies;
use crate::{Outcome, block_on};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    address: SocketAddr,
    /// A token a line; each connection walks through a part of them.
    #[arg(long)]
    tokens: PathBuf,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Not counted.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Requests a second of all connections together; 0: as many as go.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Begin with this token, so that rounds on one database do not meet the receipts of earlier ones.
    #[arg(long, default_value_t = 0)]
    skip: usize,
}

/// So long after the window an answer is waited for; then it is an error with this latency.
const PATIENCE: Duration = Duration::from_secs(30);

struct Callback {
    token: String,
    task: Uuid,
}

#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn holds(&self, at: Instant) -> bool {
        (self.from..self.until).contains(&at)
    }
}

#[derive(Default)]
struct Seen {
    /// At a fixed rate: of the requests due within the window. Otherwise: answered within it.
    ok: u64,
    /// Answers that are not 2xx, by status.
    refused: std::collections::BTreeMap<u16, u64>,
    /// No answer, or none in time.
    errors: u64,
    latencies: Latencies,
}

impl Seen {
    fn add(&mut self, answered: &io::Result<u16>, latency: Duration) {
        match answered {
            Ok(200..=299) => {}
            Ok(other) => *self.refused.entry(*other).or_default() += 1,
            Err(why) => {
                self.errors += 1;
                if why.kind() != io::ErrorKind::TimedOut {
                    return; // how long an answer would have taken is not known
                }
            }
        }
        self.latencies.add(latency);
    }
}

/// The requests of one connection, in order.
struct Share {
    callbacks: Arc<Vec<Callback>>,
    at: usize,
    step: usize,
    sent: u64,
    run: u64,
}

pub fn run(args: Args) -> Outcome {
    let callbacks = Arc::new(read(&args.tokens)?);
    block_on(async move {
        let now = Instant::now();
        let from = now + Duration::from_secs_f64(args.warm_up);
        let window = Window {
            from,
            until: from + Duration::from_secs_f64(args.seconds),
        };
        let run = u64::from(std::process::id()) << 32;
        let (paces, pacer) = paces(&args, now, window.until);
        let connections = paces.into_iter().enumerate().map(|(n, pace)| {
            let share = Share {
                callbacks: callbacks.clone(),
                at: (args.skip + n) % callbacks.len(),
                step: args.connections,
                sent: 0,
                run: run + n as u64,
            };
            tokio::spawn(connection(args.address, share, window, pace))
        });
        let mut all = Seen::default();
        for one in connections.collect::<Vec<_>>() {
            let one = one.await?;
            all.ok += one.ok;
            all.errors += one.errors;
            all.latencies.join(one.latencies);
            for (status, n) in one.refused {
                *all.refused.entry(status).or_default() += n;
            }
        }
        let late = match pacer {
            Some(pacer) => pacer.await?,
            None => Latencies::default(),
        };
        println!(
            "{}",
            json!({
                "ok": all.ok, "refused": all.refused, "errors": all.errors, "seconds": args.seconds,
                "rate": all.ok as f64 / args.seconds, "latencyMs": all.latencies.summary(),
                "pacerLateMs": late.summary(),
            })
        );
        Ok(())
    })
}

fn read(path: &PathBuf) -> io::Result<Vec<Callback>> {
    let text = std::fs::read_to_string(path)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a line that is no token");
    let callback = |token: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let task = bytes
            .get(1..17)
            .and_then(|b| Uuid::from_slice(b).ok())
            .ok_or_else(bad)?;
        Ok(Callback {
            token: token.to_owned(),
            task,
        })
    };
    text.lines().map(callback).collect()
}

/// Where a connection learns when its next request is due.
enum Pace {
    ClosedLoop {
        until: Instant,
    },
    /// One instant for each request. Bounded by what is due within the run; were it less, a slow answer would hold up
    /// the pacer, and with it everybody.
    FixedRate(mpsc::UnboundedReceiver<Instant>),
}

impl Pace {
    /// `None`: the run is over.
    async fn next_due(&mut self) -> Option<Instant> {
        match self {
            Self::ClosedLoop { until } => Some(Instant::now()).filter(|now| *now < *until),
            Self::FixedRate(dues) => dues.recv().await,
        }
    }
}

type Pacer = tokio::task::JoinHandle<Latencies>;

/// One pace for each connection, and whoever sets it if there is a rate.
fn paces(args: &Args, start: Instant, until: Instant) -> (Vec<Pace>, Option<Pacer>) {
    if args.rate <= 0.0 {
        let closed_loop = |_| Pace::ClosedLoop { until };
        return ((0..args.connections).map(closed_loop).collect(), None);
    }
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..args.connections)
        .map(|_| mpsc::unbounded_channel::<Instant>())
        .unzip();
    let rate = args.rate;
    let pacer = tokio::task::spawn_blocking(move || keep_pace(&senders, start, rate, until));
    (receivers.into_iter().map(Pace::FixedRate).collect(), Some(pacer))
}

/// Tells the connections in turn when a request is due; returns how late it was itself. On a thread of its own, which
/// sleeps by the system's timer: the runtime's wakes up to a millisecond late and more, about as long as an answer takes.
fn keep_pace(
    connections: &[mpsc::UnboundedSender<Instant>],
    start: Instant,
    rate: f64,
    until: Instant,
) -> Latencies {
    let mut late = Latencies::default();
    for (n, connection) in (0_u32..).zip(connections.iter().cycle()) {
        let due = start + Duration::from_secs_f64(f64::from(n) / rate);
        if due >= until {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late.add(due.elapsed());
        if connection.send(due).is_err() {
            break; // a connection that went away has failed, which ends the run
        }
    }
    late
}

async fn connection(address: SocketAddr, mut share: Share, window: Window, mut pace: Pace) -> Seen {
    let mut seen = Seen::default();
    let mut stream = None;
    let mut buffer = Vec::with_capacity(4096);
    while let Some(due) = pace.next_due().await {
        let request = share.next(address);
        let exchange = exchange(address, &mut stream, &request, &mut buffer);
        let answered = tokio::time::timeout_at((window.until + PATIENCE).into(), exchange)
            .await
            .unwrap_or_else(|late| Err(late.into()));
        let ended = Instant::now();
        if window.holds(due) {
            seen.add(&answered, ended - due);
        }
        let counted_at = match pace {
            Pace::ClosedLoop { .. } => ended,
            Pace::FixedRate(_) => due,
        };
        seen.ok += u64::from(matches!(answered, Ok(200..=299)) && window.holds(counted_at));
    }
    seen
}

impl Share {
    /// A completion as the provider sends it, of about 600 bytes, never the same twice.
    fn next(&mut self, address: SocketAddr) -> Vec<u8> {
        let Callback { token, task } = &self.callbacks[self.at];
        self.at = (self.at + self.step) % self.callbacks.len();
        self.sent += 1;
        let video = Uuid::from_u64_pair(self.run, self.sent);
        let body = format!(
            "{{\"data\":[{{\"taskType\":\"videoInference\",\"taskUUID\":\"{task}\",\"videoUUID\":\"{video}\",\
             \"videoURL\":\"https://vm.runware.ai/video/os/a11d18/ws/5/vi/{video}.mp4\",\"seed\":{seed},\
             \"cost\":4.35,\"status\":\"success\",\"outputFormat\":\"MP4\",\"width\":1080,\"height\":1920,\
             \"thumbnail\":\"https://im.runware.ai/image/ws/2/ii/{video}.jpg\",\
             \"model\":\"klingai:avatar@2.0-pro\",\"padding\":\"{padding:0>120}\"}}]}}",
            seed = self.sent,
            padding = self.sent,
        );
        let head = format!(
            "POST /cb/v1/{token} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             User-Agent: load\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body.into_bytes()].concat()
    }
}

/// One request, one answer; connects when there is no connection.
async fn exchange(
    address: SocketAddr,
    stream: &mut Option<TcpStream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<u16> {
    let mut connected = match stream.take() {
        Some(stream) => stream,
        None => {
            let fresh = TcpStream::connect(address).await?;
            fresh.set_nodelay(true)?;
            fresh
        }
    };
    connected.write_all(request).await?;
    buffer.clear();
    loop {
        if connected.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = Answer::whole(buffer)? {
            if !answer.closes {
                *stream = Some(connected);
            }
            return Ok(answer.status);
        }
    }
}

struct Answer {
    status: u16,
    closes: bool,
}

impl Answer {
    /// `None`: not all of it is there yet.
    fn whole(buffer: &[u8]) -> io::Result<Option<Self>> {
        let Some(head_bytes) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(None);
        };
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "an answer this loader does not read");
        let head = std::str::from_utf8(&buffer[..head_bytes]).map_err(|_| bad())?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(bad)?;
        let (mut length, mut closes) = (None, false);
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<usize>().ok();
            }
            closes |= name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close");
        }
        let length = match (length, status) {
            (Some(length), _) => length,
            (None, 204) => 0,
            (None, _) => return Err(bad()),
        };
        Ok((buffer.len() >= head_bytes + 4 + length).then_some(Self { status, closes }))
    }
}
