//! A relay before a server that hangs up in the middle of its first answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub struct Cutter {
    pub port: u16,
    serving: JoinHandle<()>,
}

impl Cutter {
    /// Cuts the first `cuts` connections after so many bytes of answers, doing `at_cut` before each.
    pub async fn before(
        target: u16,
        cuts: usize,
        after: usize,
        at_cut: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::start(target, cuts, Where::OfAll(after), at_cut).await
    }

    /// Cuts after so many bytes of the first answer's body: to the client it looks like the end of a body without a
    /// length.
    pub async fn of_bodies_before(target: u16, cuts: usize, after: usize) -> Self {
        Self::start(target, cuts, Where::OfBody(after), || ()).await
    }

    async fn start(
        target: u16,
        cuts: usize,
        place: Where,
        at_cut: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicUsize::new(cuts));
        let at_cut = Arc::new(at_cut);
        let serving = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], target))).await;
                tokio::spawn(relay(near, far.unwrap(), left.clone(), place, at_cut.clone()));
            }
        });
        Self { port, serving }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Where to cut what a connection answers.
#[derive(Clone, Copy)]
enum Where {
    OfAll(usize),
    OfBody(usize),
}

impl Where {
    /// As bytes from the start, the head being in the first of them.
    fn counted_from_start(self, first: &[u8]) -> usize {
        let head = || first.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        match self {
            Self::OfAll(bytes) => bytes,
            Self::OfBody(bytes) => head() + bytes,
        }
    }
}

async fn relay(
    near: TcpStream,
    far: TcpStream,
    left: Arc<AtomicUsize>,
    place: Where,
    at_cut: Arc<impl Fn() + Send + Sync + 'static>,
) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let asking = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
    let (mut buffer, mut passed, mut cut_at) = (vec![0; 16 * 1024], 0, None);
    while let Ok(read @ 1..) = far_read.read(&mut buffer).await {
        let after = *cut_at.get_or_insert_with(|| place.counted_from_start(&buffer[..read]));
        let cut_here = passed + read >= after
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                .is_ok();
        let keep = if cut_here { after - passed } else { read };
        if near_write.write_all(&buffer[..keep]).await.is_err() {
            break;
        }
        passed += keep;
        if cut_here {
            at_cut();
            break;
        }
    }
    asking.abort();
}
