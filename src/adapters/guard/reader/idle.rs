//! Connections that have delivered a file and may deliver another.

use hyper::client::conn::http1::SendRequest;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use url::Origin;

/// As many as copies run by default. More files at once than that do not come one after the other.
const MAX_IDLE: usize = 8;

/// Routers on the way forget a silent connection after a minute or more.
const MAX_AGE: Duration = Duration::from_secs(30);

/// The reading and writing side of a connection; nothing once it has ended. Its own end is told through the answer.
pub struct Connection(pub Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>);

impl Connection {
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}

pub struct Line {
    /// Whom it leads to. An origin was judged, and its address, when the connection was made.
    pub origin: Origin,
    pub sender: SendRequest<String>,
    pub connection: Connection,
}

/// Nobody serves a connection while it is here; whether it still lives is found out when it is wanted.
#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<Vec<(Instant, Line)>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Line)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest go first.
    pub fn keep(&self, line: Line) {
        let mut lines = self.lock();
        let now = monotonic_now();
        lines.retain(|(since, _)| now.duration_since(*since) < MAX_AGE);
        if lines.len() >= MAX_IDLE {
            lines.remove(0);
        }
        lines.push((now, line));
    }

    pub async fn take(&self, origin: &Origin) -> Option<Line> {
        loop {
            let mut line = self.newest(origin)?;
            let lives = poll_fn(|cx| {
                line.connection.drive(cx);
                Poll::Ready(line.connection.0.is_some() && line.sender.is_ready())
            });
            if lives.await {
                return Some(line);
            }
        }
    }

    fn newest(&self, origin: &Origin) -> Option<Line> {
        let mut lines = self.lock();
        let now = monotonic_now();
        lines.retain(|(since, _)| now.duration_since(*since) < MAX_AGE);
        let at = lines.iter().rposition(|(_, line)| line.origin == *origin)?;
        Some(lines.remove(at).1)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a socket was idle is this adapter's own affair and decides nothing in the domain"
)]
fn monotonic_now() -> Instant {
    Instant::now()
}
