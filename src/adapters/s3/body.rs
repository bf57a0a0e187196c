//! A body that streams from the copier to the store, and the watch over who keeps whom waiting.

use crate::ports::blobs::{BlobBody, BodyAbandoned};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::watch;

/// Exactly `left` bytes more, or an error: an HTTP client sends no request of unknown length to S3, and one whose
/// body fails closes the connection, so that the store sees a cut request and keeps nothing.
#[derive(Debug)]
pub struct SizedBody {
    chunks: Chunks,
    left: u64,
    turn: watch::Sender<Turn>,
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

/// Whom the upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// To take the bytes it was given, or to answer.
    Store,
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
    turn: watch::Receiver<Turn>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.chunks.lock().take();
    }
}

pub fn sized(chunks: BlobBody, size_bytes: u64) -> (SizedBody, Upload) {
    let (sender, turn) = watch::channel(Turn::Store);
    let chunks = Chunks(Arc::new(Mutex::new(Some(chunks))));
    let upload = Upload {
        chunks: chunks.clone(),
        turn,
    };
    let body = SizedBody {
        chunks,
        left: size_bytes,
        turn: sender,
    };
    (body, upload)
}

impl Upload {
    pub fn was_abandoned(&self) -> bool {
        *self.turn.borrow() == Turn::Abandoned
    }

    /// Resolves when the store has neither taken a byte nor answered for `patience`. Never while the copier is waited
    /// for: it has bounds of its own, and it withholds the last chunk until the digest is committed.
    pub async fn stalled(&self, patience: Duration) {
        let mut turn = self.turn.clone();
        loop {
            let waits_for_copier = *turn.borrow_and_update() == Turn::Copier;
            if waits_for_copier && turn.changed().await.is_ok() {
                continue;
            }
            // An error here is the body's end: what is left is the store's answer.
            match tokio::time::timeout(patience, turn.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return wait(patience).await,
                Err(_) => return,
            }
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
        self.turn.send_replace(Turn::Abandoned);
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
            self.turn.send_replace(Turn::Copier);
            return Poll::Pending;
        };
        let fitting = chunk.filter(|chunk| chunk.len() as u64 <= self.left);
        let Some(chunk) = fitting else {
            return self.abandon();
        };
        self.left -= chunk.len() as u64;
        self.turn.send_replace(Turn::Store);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
