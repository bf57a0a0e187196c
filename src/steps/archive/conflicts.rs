//! A decision is made again when somebody else changed the task between reading and writing it.

use crate::domain::backoff;
use crate::ports::clock::{Clock, Rng};
use std::time::Duration;

/// Tries in all: at once for a few, then after pauses. A storm of callbacks, each of which causes a query, may change the
/// task hundreds of times a second for as long as it lasts; together the pauses are longer than half a minute.
const MAX_TRIES: u32 = 160;
const AT_ONCE: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

/// The tries of one write.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Whether there is another try; returns when its time has come.
    pub async fn another(&mut self, clock: &dyn Clock, rng: &dyn Rng) -> bool {
        if self.0 == MAX_TRIES {
            return false;
        }
        if self.0 >= AT_ONCE {
            clock.sleep(backoff::around(PAUSE, 0.9, rng.jitter())).await;
        }
        self.0 += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use async_trait::async_trait;
    use std::sync::Mutex;

    /// Counts what is slept, and sleeps not at all.
    #[derive(Default)]
    struct Counted(Mutex<Vec<Duration>>);

    #[async_trait]
    impl Clock for Counted {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn wall(&self) -> Timestamp {
            self.now()
        }

        async fn sleep(&self, by: Duration) {
            self.0.lock().unwrap().push(by);
        }
    }

    struct Middle;

    impl Rng for Middle {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0x80);
        }
    }

    /// So many tries, or all there are: how many there were, and the pauses.
    async fn tried(most: u32) -> (u32, Vec<Duration>) {
        let (clock, mut tries, mut made) = (Counted::default(), Tries::default(), 0);
        while made < most && tries.another(&clock, &Middle).await {
            made += 1;
        }
        (made, clock.0.into_inner().unwrap())
    }

    #[tokio::test]
    async fn t6_a_storm_of_conflicts_is_outlasted_with_pauses() {
        assert_eq!(tried(AT_ONCE).await, (AT_ONCE, vec![]), "the first few at once");
        let (made, pauses) = tried(100).await;
        assert_eq!((made, pauses.len()), (100, 100 - AT_ONCE as usize));
    }

    #[tokio::test]
    async fn i12_tries_have_an_end() {
        let (made, pauses) = tried(u32::MAX).await;
        assert_eq!(made, MAX_TRIES);
        assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(30));
    }
}
