//! What the tests of this module share: one instant, and bytes that count.

use crate::domain::time::Timestamp;
use crate::ports::clock::Rng;
use std::sync::atomic::{AtomicU8, Ordering};

pub const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

/// 1, 2, 3 …: each call's bytes differ from the last one's.
#[derive(Default)]
pub struct Counting(AtomicU8);

impl Rng for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed) + 1);
    }
}
