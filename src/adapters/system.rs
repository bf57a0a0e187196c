//! Time and randomness of the machine: the one place where they are asked for.
#![expect(
    clippy::disallowed_methods,
    reason = "this is what the Clock and Rng ports stand for"
)]

use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use async_trait::async_trait;
use rand::RngCore;
use std::time::{Duration, Instant};

/// The wall clock at start, carried on by the monotonic clock.
pub struct SystemClock {
    wall_at_start: Timestamp,
    started: Instant,
}

impl SystemClock {
    pub fn start() -> Self {
        Self {
            wall_at_start: wall(),
            started: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall_at_start.plus(self.started.elapsed())
    }

    fn wall(&self) -> Timestamp {
        wall()
    }

    async fn sleep(&self, by: Duration) {
        // `now()` counts whole milliseconds: one more, or it could wake with the last one still unfinished.
        tokio::time::sleep(by.saturating_add(Duration::from_millis(1))).await;
    }
}

fn wall() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// The thread's generator: seeded and reseeded by the operating system, fit for secrets.
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// How much less this thread counts than others when the processor is short (nice 10: about a tenth).
const GIVES_WAY: i32 = 10;

/// Lets every other thread of this process go first, from now on. For work that can wait a little: it never needs a
/// right, and where the host forbids it nothing is lost but the order.
pub fn give_way() {
    // To Linux, a thread is a process of its own here, and nobody else is meant.
    if let Err(e) = rustix::process::setpriority_process(None, GIVES_WAY) {
        tracing::debug!("a thread that does not give way: {e}");
    }
}

/// Raises the soft limit of open files to the hard one: the usual 1024 is less than the connections we mean to hold.
/// Answers the limit in force; `None`: there is none.
pub fn raise_open_files_limit() -> std::io::Result<Option<u64>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_finds_its_time_passed() {
        let clock = SystemClock::start();
        let before = clock.now();
        clock.sleep(Duration::from_millis(3)).await;
        assert!(clock.now().since(before) >= Duration::from_millis(3));
    }

    #[test]
    fn f7_as_many_files_may_be_open_as_the_host_allows() {
        let limit = raise_open_files_limit().unwrap();
        let now = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!((now.current, now.maximum), (limit, limit));
    }

    #[test]
    fn random_bytes_differ_and_jitter_stays_in_its_range() {
        assert_ne!(SystemRng.bytes16(), SystemRng.bytes16());
        assert!((0..100).all(|_| (0.0..1.0).contains(&SystemRng.jitter().0)));
    }
}
