//! What one copy holds of its file: pieces that have left the source and that the socket toward the store has not taken
//! yet. Channels bound what waits in them, not what an HTTP client takes ahead; so each piece is lent, and the next is
//! read once there is a place for it.

use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One is withheld, one waits for its turn, the others are on their way through the upload. More would make nothing
/// faster: between here and the store there are the socket's own buffers.
const PIECES_IN_HAND: usize = 5;

pub(super) struct Lending(Arc<Semaphore>);

/// Leave to hold one piece more.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Lending {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(PIECES_IN_HAND)))
    }

    pub(super) async fn place(&self) -> Place {
        let permit = self.0.clone().acquire_owned().await;
        Place {
            _permit: permit.expect("the semaphore is never closed"),
        }
    }
}

impl Place {
    /// The same bytes; the place is free again when the last of them is let go, by whoever has them.
    pub(super) fn lend(self, piece: Bytes) -> Bytes {
        Bytes::from_owner(Lent { piece, _place: self })
    }
}

struct Lent {
    piece: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_copy_holds_so_many_pieces_and_no_more_until_one_is_let_go() {
        let lending = Lending::new();
        let mut held = vec![];
        for _ in 0..PIECES_IN_HAND {
            held.push(lending.place().await.lend(Bytes::from_static(b"film")));
        }
        assert!(lending.place().now_or_never().is_none());

        let rest = held.pop().unwrap().split_off(3);
        assert!(
            lending.place().now_or_never().is_none(),
            "a byte of it is still held"
        );
        assert_eq!(rest, "m");
        drop(rest);
        assert!(lending.place().now_or_never().is_some());
    }
}
