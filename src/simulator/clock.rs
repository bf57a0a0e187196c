//! The provider's own clock: real time plus whatever a test pushed it forward.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// An instant of the simulator, in milliseconds since 1970 by its own clock.
pub type Millis = u64;

#[derive(Debug)]
pub struct SimClock {
    ahead_by: watch::Sender<Duration>,
}

impl SimClock {
    pub fn new() -> Self {
        Self {
            ahead_by: watch::Sender::new(Duration::ZERO),
        }
    }

    pub fn now(&self) -> Millis {
        (system_time() + *self.ahead_by.borrow()).as_millis() as Millis
    }

    /// Pushes the clock forward and wakes every sleeper whose time has come.
    pub fn advance(&self, by: Duration) {
        self.ahead_by.send_modify(|ahead_by| *ahead_by += by);
    }

    pub async fn sleep(&self, length: Duration) {
        self.sleep_until(self.now() + length.as_millis() as Millis).await;
    }

    pub async fn sleep_until(&self, due: Millis) {
        // Subscribe before looking at the time, or a push in between is slept through.
        let mut pushed = self.ahead_by.subscribe();
        loop {
            let left = due.saturating_sub(self.now());
            if left == 0 {
                return;
            }
            tokio::select! {
                () = real_sleep(Duration::from_millis(left)) => {}
                _ = pushed.changed() => {}
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is the outside world: it has a clock of its own"
)]
fn system_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the system clock is past 1970")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the simulator is the outside world: it has a clock of its own"
)]
pub async fn real_sleep(length: Duration) {
    tokio::time::sleep(length).await;
}
