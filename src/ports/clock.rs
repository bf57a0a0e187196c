//! Time and randomness, as parameters.

use crate::domain::backoff::Jitter;
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
pub trait Clock: Send + Sync {
    /// The service's own time: the wall clock at start plus what a monotonic clock has counted since. It never
    /// jumps, so schedules and leases hold through a change of the wall clock (I18).
    fn now(&self) -> Timestamp;

    /// The wall clock, for stamps that another machine compares with its own (webhook signatures).
    fn wall(&self) -> Timestamp;

    /// Returns once `now()` has advanced by `by`.
    async fn sleep(&self, by: Duration);
}

pub trait Rng: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);

    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// Uniform in `0.0..1.0`.
    fn jitter(&self) -> Jitter {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Jitter((u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64)
    }
}
