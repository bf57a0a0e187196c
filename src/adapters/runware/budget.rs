//! One budget for every request: how many at once, how many a second, and none while the provider asks for a pause.

use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Longest `Retry-After` that holds back everything: beyond it a server's word would amount to an outage of our own
/// making. As long as each task's own wait (`domain::backoff`).
const MAX_HOLD: Duration = Duration::from_secs(3600);

/// Permits are given in the order they were asked for, and each kind has a lane in which its own backlog waits, so that
/// neither waits for a backlog of the other. Queries never take the last permit: they cannot hold up a submission at
/// all (unless there is but one).
pub struct Budget {
    all: Semaphore,
    submissions: Semaphore,
    queries: Semaphore,
    rate: Mutex<Rate>,
    clock: Arc<dyn Clock>,
}

/// Held for as long as the request is under way.
#[derive(Debug)]
pub struct Turn<'a> {
    _lane: SemaphorePermit<'a>,
    _permit: SemaphorePermit<'a>,
}

/// A leaky bucket: requests are booked a fixed distance apart, and may be up to a second ahead of their bookings.
struct Rate {
    /// When the next request is booked, in microseconds of the clock.
    next_us: i64,
    apart_us: i64,
    hold_until: Timestamp,
}

/// How far ahead of the bookings requests may run: a second's worth may go at once.
const AHEAD_US: i64 = 1_000_000;

impl Budget {
    pub fn new(max_in_flight: usize, max_per_second: u32, clock: Arc<dyn Clock>) -> Self {
        let all = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all: Semaphore::new(all),
            submissions: Semaphore::new(all),
            queries: Semaphore::new((all - 1).max(1)),
            rate: Mutex::new(Rate {
                next_us: i64::MIN,
                apart_us: AHEAD_US / i64::from(max_per_second.max(1)),
                hold_until: Timestamp::from_millis(i64::MIN),
            }),
            clock,
        }
    }

    /// # Errors
    /// The provider asked for a pause, of which so much is left: nothing may be sent.
    pub async fn for_submission(&self) -> Result<Turn<'_>, Duration> {
        self.take(&self.submissions).await
    }

    /// # Errors
    /// As [`Budget::for_submission`].
    pub async fn for_query(&self) -> Result<Turn<'_>, Duration> {
        self.take(&self.queries).await
    }

    async fn take<'a>(&'a self, lane: &'a Semaphore) -> Result<Turn<'a>, Duration> {
        // Always in this order, so the two never wait for each other.
        let turn = Turn {
            _lane: permit(lane).await,
            _permit: permit(&self.all).await,
        };
        self.booked().await?;
        Ok(turn)
    }

    /// The provider asks every request to wait.
    pub fn hold(&self, wait: Duration) {
        let until = self.clock.now().plus(wait.min(MAX_HOLD));
        let mut rate = self.lock();
        rate.hold_until = rate.hold_until.max(until);
    }

    async fn booked(&self) -> Result<(), Duration> {
        self.held()?;
        let wait = {
            let now_us = self.clock.now().as_millis().saturating_mul(1000);
            let mut rate = self.lock();
            let booked = rate.next_us.max(now_us.saturating_sub(AHEAD_US));
            rate.next_us = booked.saturating_add(rate.apart_us);
            booked.saturating_sub(now_us)
        };
        if let Some(wait) = u64::try_from(wait).ok().filter(|wait| *wait > 0) {
            self.clock.sleep(Duration::from_micros(wait)).await;
            self.held()?;
        }
        Ok(())
    }

    fn held(&self) -> Result<(), Duration> {
        let left = self.lock().hold_until.since(self.clock.now());
        if left.is_zero() { Ok(()) } else { Err(left) }
    }

    fn lock(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn permit(semaphore: &Semaphore) -> SemaphorePermit<'_> {
    semaphore.acquire().await.expect("the budget is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::manual_clock::ManualClock;
    use futures_util::FutureExt as _;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn budget(in_flight: usize, per_second: u32) -> (Arc<ManualClock>, Arc<Budget>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(5_000)));
        let budget = Budget::new(in_flight, per_second, clock.clone());
        (clock, Arc::new(budget))
    }

    /// Lets every task run until it can go no further.
    async fn settle() {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn f26_a_backlog_goes_at_the_rate_and_not_faster() {
        let (clock, budget) = budget(4, 20);
        let sent = Arc::new(AtomicU32::new(0));
        for _ in 0..4 {
            let (budget, sent) = (budget.clone(), sent.clone());
            tokio::spawn(async move {
                loop {
                    let _permit = budget.for_submission().await.unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }
        settle().await;
        assert_eq!(sent.load(Ordering::Relaxed), 21, "a second's worth at once");
        for _ in 0..100 {
            clock.advance(Duration::from_millis(50));
            settle().await;
        }
        assert_eq!(
            sent.load(Ordering::Relaxed),
            121,
            "then twenty a second, for five"
        );
    }

    #[tokio::test]
    async fn neither_kind_waits_for_a_backlog_of_the_other() {
        let (clock, budget) = budget(4, 20);
        let sent = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        for n in 0..40 {
            let (budget, sent) = (budget.clone(), sent.clone());
            tokio::spawn(async move {
                loop {
                    match n % 2 {
                        0 => drop(budget.for_submission().await.unwrap()),
                        _ => drop(budget.for_query().await.unwrap()),
                    }
                    sent[n % 2].fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }
        for _ in 0..200 {
            clock.advance(Duration::from_millis(50));
            settle().await;
        }
        let [submissions, queries] = [0, 1].map(|n| sent[n].load(Ordering::Relaxed));
        assert!(submissions + queries <= 221, "{submissions} + {queries}");
        assert!(submissions >= 50 && queries >= 50, "{submissions} and {queries}");
    }

    #[tokio::test]
    async fn queries_and_submissions_share_what_may_be_in_flight() {
        let (_clock, budget) = budget(4, 20);
        let mut held = vec![];
        for _ in 0..2 {
            held.push(budget.for_query().now_or_never().unwrap().unwrap());
            held.push(budget.for_submission().now_or_never().unwrap().unwrap());
        }
        // Each has room in its own lane: only what both share is used up.
        let (mut query, mut submission) = (pin!(budget.for_query()), pin!(budget.for_submission()));
        assert!(query.as_mut().now_or_never().is_none(), "a fifth in flight");
        assert!(submission.as_mut().now_or_never().is_none(), "a fifth in flight");
        held.pop();
        let next = query.as_mut().now_or_never().unwrap().unwrap();
        assert!(
            submission.as_mut().now_or_never().is_none(),
            "one place, one turn"
        );
        drop(next);
        submission.as_mut().now_or_never().unwrap().unwrap();
    }

    #[tokio::test]
    async fn i12_a_pause_that_was_asked_for_holds_for_every_kind() {
        let (clock, budget) = budget(4, 20);
        budget.hold(Duration::from_secs(30));
        budget.hold(Duration::from_secs(3));
        assert_eq!(
            budget.for_submission().await.unwrap_err(),
            Duration::from_secs(30)
        );
        clock.advance(Duration::from_secs(29));
        assert_eq!(budget.for_query().await.unwrap_err(), Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        drop(budget.for_query().await.unwrap());
        budget.hold(Duration::MAX);
        assert_eq!(budget.for_query().await.unwrap_err(), MAX_HOLD);
    }
}
