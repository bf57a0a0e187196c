//! A body that streams from the copier to the store, and the watch over who keeps whom waiting.

use crate::ports::blobs::{BlobBody, BodyAbandoned};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// How often the watch looks while it is patient. It looks rather than being told: to be told of each piece would wake
/// it, and the copier with it, thousands of times for one file.
const LOOKS: u32 = 8;

/// Exactly `left` bytes more, or an error: an HTTP client sends no request of unknown length to S3, and one whose
/// body fails closes the connection, so that the store sees a cut request and keeps nothing.
#[derive(Debug)]
pub struct SizedBody {
    chunks: Chunks,
    left: u64,
    progress: Arc<Progress>,
}

/// Shared, so that the caller can take them back: an HTTP client that waits for a stuck peer keeps the body for as
/// long, and the copier would wait with it.
#[derive(Clone, Debug)]
struct Chunks(Arc<Mutex<Option<BlobBody>>>);

impl Chunks {
    fn lock(&self) -> MutexGuard<'_, Option<BlobBody>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk that holds anything; `None` at the end, of whatever kind.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut chunks = self.lock();
        let Some(chunks) = chunks.as_mut() else {
            return Poll::Ready(None);
        };
        loop {
            match ready!(chunks.poll_recv(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Poll::Ready(Some(chunk)),
                Some(Err(BodyAbandoned)) | None => return Poll::Ready(None),
            }
        }
    }
}

/// How far the body is, for whoever watches it.
#[derive(Debug, Default)]
struct Progress {
    /// Pieces handed to the HTTP client.
    pieces: AtomicU64,
    turn: AtomicU8,
}

impl Progress {
    fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    fn is(&self, turn: Turn) -> bool {
        self.turn.load(Ordering::Acquire) == turn as u8
    }

    fn set(&self, turn: Turn) {
        self.turn.store(turn as u8, Ordering::Release);
    }

    fn piece_taken(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
        self.set(Turn::Store);
    }
}

/// Whom the upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Turn {
    /// To take the bytes it was given, or to answer.
    Store = 0,
    /// To send more: the copier. The last chunk may be withheld for as long as it takes.
    Copier,
    /// Nobody: the body ended with an error or early.
    Abandoned,
}

/// Held by the caller while the body is on its way. Dropping it takes the chunks back, so that an upload nobody waits
/// for any more gets no further byte and cannot complete behind our back. (Bytes that the HTTP client holds already it
/// still sends before it closes.)
pub struct Upload {
    chunks: Chunks,
    progress: Arc<Progress>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.chunks.lock().take();
    }
}

pub fn sized(chunks: BlobBody, size_bytes: u64) -> (SizedBody, Upload) {
    let progress = Arc::new(Progress::default());
    let chunks = Chunks(Arc::new(Mutex::new(Some(chunks))));
    let upload = Upload {
        chunks: chunks.clone(),
        progress: progress.clone(),
    };
    let body = SizedBody {
        chunks,
        left: size_bytes,
        progress,
    };
    (body, upload)
}

impl Upload {
    pub fn was_abandoned(&self) -> bool {
        self.progress.is(Turn::Abandoned)
    }

    /// Resolves when the store has neither taken a byte nor answered for `patience`, give or take an eighth. Never while
    /// the copier is waited for: it has bounds of its own, and it withholds the last chunk until the digest is committed.
    pub async fn stalled(&self, patience: Duration) {
        let (mut seen, mut in_vain) = (self.progress.pieces(), 0);
        while in_vain < LOOKS {
            wait(patience / LOOKS).await;
            let now = self.progress.pieces();
            let moves = now != seen || self.progress.is(Turn::Copier);
            (seen, in_vain) = (now, if moves { 0 } else { in_vain + 1 });
        }
    }
}

/// A plain pause, by way of a future that never ends.
async fn wait(pause: Duration) {
    let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
}

impl SizedBody {
    fn abandon(&self) -> Poll<Option<Result<Frame<Bytes>, BodyAbandoned>>> {
        Poll::Ready(Some(Err(self.give_up())))
    }

    /// What is missing will not come.
    pub fn give_up(&self) -> BodyAbandoned {
        self.progress.set(Turn::Abandoned);
        BodyAbandoned
    }
}

impl Body for SizedBody {
    type Data = Bytes;
    type Error = BodyAbandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAbandoned>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Poll::Ready(chunk) = self.chunks.poll_next(cx) else {
            self.progress.set(Turn::Copier);
            return Poll::Pending;
        };
        let fitting = chunk.filter(|chunk| chunk.len() as u64 <= self.left);
        let Some(chunk) = fitting else {
            return self.abandon();
        };
        self.left -= chunk.len() as u64;
        self.progress.piece_taken();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
