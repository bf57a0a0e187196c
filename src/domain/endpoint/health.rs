//! How an endpoint has been doing since it last took something: the breaker.

use crate::domain::backoff::{self, Jitter};
use crate::domain::delivery::Outcome;
use crate::domain::time::Timestamp;
use std::time::Duration;

/// One that is well has the default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Tries in a row that failed.
    pub failures: u32,
    /// The first of them, or the first after a time without any. While it fails, nothing overtakes within a task.
    pub failing_since: Option<Timestamp>,
    /// The last of them.
    pub failed_at: Option<Timestamp>,
    /// It is held to be down.
    pub down_since: Option<Timestamp>,
    /// No try before.
    pub rests_until: Option<Timestamp>,
}

/// Tries of one endpoint at the same time. All endpoints together have four times as many.
pub const MAX_AT_ONCE: u32 = 64;
/// After so many failures in a row it is tried one at a time, and rests in between.
const SLOW_AFTER: u32 = 5;
/// After so many failures over so long a time it is held to be down.
const DOWN_AFTER: u32 = 10;
const DOWN_AFTER_TIME: Duration = Duration::from_secs(60);
/// It rests for this share of the time it has been failing: a short fault costs it little, a long one costs us little.
const REST_SHARE: u32 = 100;
const REST_SHARE_DOWN: u32 = 10;
/// Not less, or one that refuses at once would be asked thousands of times a second.
const MIN_REST: Duration = Duration::from_millis(20);
/// And not more: what has piled up goes out soon after it comes back.
const MAX_REST: Duration = Duration::from_secs(60);
/// What it may ask for itself, for all of its deliveries: an hour. The one that was refused waits as long as it was told.
const MAX_ASKED_REST: Duration = Duration::from_secs(3600);
/// One that took nothing for so long, though it was tried all the while, is disabled. Longer than the schedule of one
/// delivery, so that the first of them is dead before.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);
/// Nobody knows how it was doing in a longer time without a try. Three times the longest wait of the schedule.
const UNKNOWN_AFTER: Duration = Duration::from_secs(36 * 3600);

impl Health {
    pub fn after(self, outcome: &Outcome, now: Timestamp, jitter: Jitter) -> Self {
        match outcome {
            Outcome::Delivered { .. } => self.well(now),
            ours if ours.is_our_fault() => self,
            _ => self.worse(outcome, now, jitter),
        }
    }

    /// What took this one may have asked for a rest while it was on its way.
    fn well(self, now: Timestamp) -> Self {
        Self {
            rests_until: self.rests_until.filter(|until| now < *until),
            ..Self::default()
        }
    }

    fn worse(self, outcome: &Outcome, now: Timestamp, jitter: Jitter) -> Self {
        let asks_for_less = matches!(
            outcome,
            Outcome::Refused {
                status: 429 | 502 | 504,
                ..
            }
        );
        let asked = asked_rest(outcome).map(|rest| now.plus(rest));
        let least = if asks_for_less { SLOW_AFTER } else { 0 };
        let failures = self.failures.saturating_add(1).max(least);
        let known = |_: &Timestamp| self.failed_at.is_none_or(|at| now.since(at) <= UNKNOWN_AFTER);
        let failing_since = self.failing_since.filter(known).unwrap_or(now);
        let failing_for = now.since(failing_since);
        let is_down = failures >= DOWN_AFTER && failing_for >= DOWN_AFTER_TIME;
        let share = if is_down { REST_SHARE_DOWN } else { REST_SHARE };
        let rest = backoff::around((failing_for / share).clamp(MIN_REST, MAX_REST), 0.2, jitter);
        let earned = (failures >= SLOW_AFTER).then(|| now.plus(rest));
        Self {
            failures,
            failing_since: Some(failing_since),
            failed_at: Some(now),
            down_since: self.down_since.or(is_down.then_some(now)),
            rests_until: earned.max(asked).max(self.rests_until),
        }
    }

    /// Whether a delivery that failed is in trouble of its own: then nothing of its task waits for it any more. `self` is
    /// how the endpoint was before; `step` counts the tries, this one included. Whoever answers and refuses it twice
    /// means it, unless nothing has been taken for long; whoever is away does not, unless others were taken meanwhile.
    pub fn is_own_trouble(&self, outcome: &Outcome, step: u32) -> bool {
        match outcome.blames_event() {
            true => step > 1 && self.down_since.is_none(),
            false => step > 3 && self.failing_since.is_none(),
        }
    }

    /// How many tries it may have at the same time now.
    pub fn room(&self, now: Timestamp) -> u32 {
        match self.rests_until {
            Some(until) if now < until => 0,
            Some(_) => 1,
            None => MAX_AT_ONCE,
        }
    }

    /// Nothing but failure, over days: an old failure alone does not count, nor does a time without a try.
    pub fn is_given_up(&self) -> bool {
        let span = self.failed_at.zip(self.failing_since);
        span.is_some_and(|(last, first)| last.since(first) >= GIVE_UP_AFTER)
    }
}

/// With these answers a `Retry-After` is about the endpoint and not about the one message.
fn asked_rest(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Refused {
            status: 429 | 503,
            retry_after,
            ..
        } => retry_after.map(|asked| asked.min(MAX_ASKED_REST)),
        _ => None,
    }
}
