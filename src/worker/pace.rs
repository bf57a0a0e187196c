//! How fast a queue may go toward what it needs: the provider, or the object store. What answers is asked by as many
//! workers as there are; what fails, by half as many each time, and then by one probe at growing intervals (I12). The
//! first success opens the queue again, one worker after the other, so that a day's backlog is no storm.
//!
//! A *parked* queue is one whose account is refused (401, 402, auth and quota codes): one probe every
//! `retry.max_interval`, until one goes through.

use super::Gate;
use crate::domain::backoff::{self, Jitter};
use crate::domain::time::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub struct Pace {
    /// The queue's concurrency.
    most: u32,
    /// `retry.max_interval`.
    cap: Duration,
    state: Mutex<State>,
}

struct State {
    /// Claims that may be in work at the same time.
    window: u32,
    /// In a row.
    failures: u32,
    shut: Option<Shut>,
    /// The latest `Retry-After`, which no later failure shortens.
    not_before: Timestamp,
}

#[derive(Clone, Copy)]
struct Shut {
    /// Then one probe goes, and no other before `cap` has passed without its answer.
    until: Timestamp,
    parked: bool,
}

impl Pace {
    pub fn new(most: u32, cap: Duration) -> Self {
        let most = most.max(1);
        Self {
            most,
            cap,
            state: Mutex::new(State {
                window: most,
                failures: 0,
                shut: None,
                not_before: Timestamp::from_millis(0),
            }),
        }
    }

    /// How many of `free` workers may claim now.
    pub fn gate(&self, free: u32, now: Timestamp) -> Gate {
        let mut state = self.lock();
        let window = state.window;
        match &mut state.shut {
            Some(shut) if now < shut.until => Gate::ClosedUntil(shut.until),
            Some(_) if free == 0 => Gate::Full,
            Some(shut) => {
                shut.until = now.plus(self.cap);
                Gate::Open(1)
            }
            None => match window.saturating_sub(self.most.saturating_sub(free)) {
                0 => Gate::Full,
                room => Gate::Open(room.min(free)),
            },
        }
    }

    /// It was answered. Tells whether the queue was shut until now.
    pub fn succeeded(&self) -> bool {
        let mut state = self.lock();
        state.failures = 0;
        state.window = (state.window + 1).min(self.most);
        state.shut.take().is_some()
    }

    /// It answered something else than what the queue is for: one that was down is open, one that is parked stays so, and
    /// another probe may go at once.
    pub fn reached(&self, now: Timestamp) {
        let parked = self.lock().shut.is_some_and(|shut| shut.parked);
        match parked {
            true => self.undecided(now),
            false => {
                self.succeeded();
            }
        }
    }

    /// It was not: `at_least` is what it asked for with `Retry-After`, which holds for the whole queue.
    pub fn failed(&self, now: Timestamp, at_least: Option<Duration>, jitter: Jitter) {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        state.window = (state.window / 2).max(1);
        let parked = state.shut.is_some_and(|shut| shut.parked);
        // As many failures as there are workers, and no success between them: it is down, not unlucky.
        let beyond = (state.failures + 1).saturating_sub(self.most);
        if beyond == 0 && at_least.is_none() && !parked {
            return;
        }
        let wait = match parked {
            true => self.cap.max(at_least.unwrap_or_default()),
            false => backoff::delay(beyond.max(1), self.cap, at_least, jitter),
        };
        state.not_before = state
            .not_before
            .max(now.plus(at_least.unwrap_or_default().min(wait)));
        let until = now.plus(wait).max(state.not_before);
        state.shut = Some(Shut { until, parked });
    }

    /// The account is refused.
    pub fn park(&self, now: Timestamp) {
        let mut state = self.lock();
        state.window = 1;
        state.shut = Some(Shut {
            until: now.plus(self.cap),
            parked: true,
        });
    }

    /// The probe was not used (nothing was due), or said nothing of what it was sent for (its source was dead): another
    /// may go at once.
    pub fn undecided(&self, now: Timestamp) {
        if let Some(shut) = &mut self.lock().shut {
            shut.until = shut.until.min(now);
        }
    }

    /// Whether the last word was that it is down, and is recent.
    pub fn is_troubled(&self, now: Timestamp) -> bool {
        let shut = self.lock().shut;
        shut.is_some_and(|shut| shut.parked || now < shut.until.plus(self.cap))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(60);
    const J: Jitter = Jitter(0.0);

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    fn down(pace: &Pace, now: Timestamp) {
        for _ in 0..4 {
            pace.failed(now, None, J);
        }
    }

    #[test]
    fn f8_trouble_lowers_the_concurrency_and_success_raises_it_one_by_one() {
        let pace = Pace::new(8, CAP);
        assert_eq!(pace.gate(8, at(0)), Gate::Open(8));
        pace.failed(at(0), None, J);
        assert_eq!(pace.gate(8, at(0)), Gate::Open(4));
        assert_eq!(pace.gate(5, at(0)), Gate::Open(1), "three are in work");
        assert_eq!(pace.gate(4, at(0)), Gate::Full);
        pace.succeeded();
        assert_eq!(pace.gate(8, at(0)), Gate::Open(5));
    }

    #[test]
    fn i12_what_is_down_is_probed_by_one_at_growing_intervals_up_to_the_cap() {
        let pace = Pace::new(4, CAP);
        down(&pace, at(0));
        let (mut now, mut waits) = (at(0), vec![]);
        for _ in 0..9 {
            let Gate::ClosedUntil(until) = pace.gate(4, now) else {
                panic!("open though down")
            };
            waits.push(until.since(now).as_secs());
            now = until;
            assert_eq!(pace.gate(4, now), Gate::Open(1));
            assert_eq!(
                pace.gate(3, now),
                Gate::ClosedUntil(now.plus(CAP)),
                "one probe at a time"
            );
            pace.failed(now, None, J);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.succeeded();
        assert_eq!(pace.gate(4, now), Gate::Open(2), "and not all at once");
    }

    #[test]
    fn i12_retry_after_holds_for_all_and_nothing_shortens_it() {
        let pace = Pace::new(4, CAP);
        pace.failed(at(0), Some(Duration::from_secs(600)), J);
        assert_eq!(pace.gate(3, at(1)), Gate::ClosedUntil(at(600)));
        pace.failed(at(2), None, J);
        pace.failed(at(3), Some(Duration::from_secs(5)), J);
        assert_eq!(pace.gate(4, at(3)), Gate::ClosedUntil(at(600)));
        assert_eq!(pace.gate(4, at(600)), Gate::Open(1));
    }

    #[test]
    fn a_parked_queue_lets_one_probe_through_and_opens_on_success() {
        let pace = Pace::new(4, CAP);
        pace.park(at(0));
        assert_eq!(pace.gate(4, at(59)), Gate::ClosedUntil(at(60)));
        assert_eq!(pace.gate(4, at(60)), Gate::Open(1));
        assert_eq!(pace.gate(3, at(61)), Gate::ClosedUntil(at(120)));
        pace.failed(at(61), None, J);
        assert_eq!(pace.gate(4, at(62)), Gate::ClosedUntil(at(121)), "still parked");
        assert!(pace.is_troubled(at(9_999)));
        assert!(pace.succeeded());
        assert_eq!(pace.gate(4, at(122)), Gate::Open(2));
        assert!(!pace.succeeded());
    }

    #[test]
    fn a_probe_that_never_reached_the_store_is_followed_at_once() {
        let pace = Pace::new(4, CAP);
        down(&pace, at(0));
        assert_eq!(pace.gate(4, at(1)), Gate::Open(1));
        pace.undecided(at(2));
        assert_eq!(pace.gate(4, at(2)), Gate::Open(1));
    }

    #[test]
    fn trouble_that_nobody_meets_any_more_is_forgotten() {
        let pace = Pace::new(4, CAP);
        down(&pace, at(0));
        assert!(pace.is_troubled(at(30)));
        assert!(!pace.is_troubled(at(100)));
    }
}
