//! What the tests of this module share: time that stands still, and bytes that count.

use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use async_trait::async_trait;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

pub const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

pub struct StoppedClock;

#[async_trait]
impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn wall(&self) -> Timestamp {
        NOW
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

/// 1, 2, 3 …: each call's bytes differ from the last one's.
#[derive(Default)]
pub struct Counting(AtomicU8);

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) + 1);
    }
}
