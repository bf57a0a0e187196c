//! A parked queue: the account, not the task, is the trouble (401, 402, auth and quota codes). Nothing is sent but
//! one probe every `retry.max_interval`; the first success opens the queue again.

use super::Gate;
use crate::domain::time::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub struct Park(Mutex<Option<Closed>>);

#[derive(Clone, Copy)]
struct Closed {
    probe_at: Timestamp,
    probe_after: Duration,
}

impl Park {
    pub fn close(&self, now: Timestamp, probe_after: Duration) {
        *self.lock() = Some(Closed {
            probe_at: now.plus(probe_after),
            probe_after,
        });
    }

    /// Answers whether it was closed.
    pub fn open(&self) -> bool {
        self.lock().take().is_some()
    }

    /// While closed: nothing until the probe is due, then one; while its answer is awaited, none beside it.
    pub fn gate(&self, free: u32, now: Timestamp) -> Gate {
        match &mut *self.lock() {
            None => Gate::Open(free),
            Some(closed) if now < closed.probe_at => Gate::ClosedUntil(closed.probe_at),
            Some(closed) => {
                closed.probe_at = now.plus(closed.probe_after);
                Gate::Open(1)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Closed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_queue_lets_one_probe_through_and_opens_on_success() {
        let (park, at) = (Park::default(), |ms| Timestamp::from_millis(ms));
        assert_eq!(park.gate(4, at(0)), Gate::Open(4));
        park.close(at(0), Duration::from_secs(60));
        assert_eq!(park.gate(4, at(59_999)), Gate::ClosedUntil(at(60_000)));
        assert_eq!(park.gate(4, at(60_000)), Gate::Open(1));
        assert_eq!(park.gate(3, at(60_001)), Gate::ClosedUntil(at(120_000)));
        assert!(park.open());
        assert_eq!(park.gate(4, at(60_002)), Gate::Open(4));
        assert!(!park.open());
    }
}
