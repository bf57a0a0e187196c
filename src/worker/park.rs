//! A parked queue: the account, not the task, is the trouble (401, 402, auth and quota codes). Nothing is sent but
//! one probe every `retry.max_interval`; the first success opens the queue again.

use super::Gate;
use crate::domain::time::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub struct Park(Mutex<Option<Timestamp>>);

impl Park {
    pub fn close(&self, now: Timestamp, probe_after: Duration) {
        *self.lock() = Some(now.plus(probe_after));
    }

    /// Answers whether it was closed.
    pub fn open(&self) -> bool {
        self.lock().take().is_some()
    }

    /// While closed: nothing until the probe is due, then one at a time.
    pub fn gate(&self, free: u32, now: Timestamp) -> Gate {
        match *self.lock() {
            None => Gate::Open(free),
            Some(probe_at) if now < probe_at => Gate::ClosedUntil(probe_at),
            Some(_) => Gate::Open(1),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Timestamp>> {
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
        assert!(park.open());
        assert_eq!(park.gate(4, at(60_000)), Gate::Open(4));
        assert!(!park.open());
    }
}
