//! Time and randomness that a test or a simulation owns: nothing moves unless it is told to, and the same seed tells
//! the same story.

use crate::domain::time::Timestamp;
use crate::ports::clock::{Clock, Rng};
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Stands still until advanced. Sleepers wake in the order of their instants, then of their arrival.
pub struct ManualClock(Mutex<State>);

struct State {
    now: Timestamp,
    /// What the wall clock is off by, in milliseconds: see [`ManualClock::jump_wall`].
    wall_off_ms: i64,
    arrivals: u64,
    /// By waking instant and arrival. One that has given up is found out by its closed channel.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(State {
            now,
            wall_off_ms: 0,
            arrivals: 0,
            sleepers: BTreeMap::new(),
        }))
    }

    /// Moves both clocks on and wakes whoever is due.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.now = state.now.plus(by);
        let now = state.now;
        while let Some(sleeper) = state.sleepers.first_entry() {
            if sleeper.key().0 > now {
                break;
            }
            let _gave_up = sleeper.remove().send(());
        }
    }

    /// Moves the wall clock alone, forward or back, as an operator or NTP does (I18).
    pub fn jump_wall(&self, by_ms: i64) {
        let mut state = self.lock();
        state.wall_off_ms = state.wall_off_ms.saturating_add(by_ms);
    }

    /// When the next sleeper is due: a simulation advances to here once nothing else can happen.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut state = self.lock();
        state.sleepers.retain(|_, sleeper| !sleeper.is_closed());
        state.sleepers.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many are asleep: a test waits for this before it advances.
    pub fn sleepers(&self) -> usize {
        let state = self.lock();
        state.sleepers.values().filter(|s| !s.is_closed()).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn wall(&self) -> Timestamp {
        let state = self.lock();
        Timestamp::from_millis(state.now.as_millis().saturating_add(state.wall_off_ms))
    }

    async fn sleep(&self, by: Duration) {
        let woken = {
            let mut state = self.lock();
            // Instants are whole milliseconds: a part of one is slept as a whole, never as nothing.
            let due = state.now.plus(by.saturating_add(Duration::from_nanos(999_999)));
            if due <= state.now {
                return;
            }
            let (wake, woken) = oneshot::channel();
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.sleepers.insert((due, arrival), wake);
            woken
        };
        // The sender goes only when it has sent, or with the clock itself.
        let _clock_gone = woken.await;
    }
}

/// The same seed gives the same bytes, in the order they are asked for.
pub struct SeededRng(Mutex<StdRng>);

impl SeededRng {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Rng for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Sleepers that tell their name when they wake, all of them asleep already.
    async fn asleep(clock: &Arc<ManualClock>, naps: &[(u64, char)]) -> mpsc::UnboundedReceiver<char> {
        let (tell, told) = mpsc::unbounded_channel();
        for (n, (nap_ms, name)) in naps.iter().copied().enumerate() {
            let (clock, tell) = (clock.clone(), tell.clone());
            let sleeper = clock.clone();
            tokio::spawn(async move {
                sleeper.sleep(ms(nap_ms)).await;
                tell.send(name).unwrap();
            });
            while clock.sleepers() <= n {
                tokio::task::yield_now().await;
            }
        }
        told
    }

    #[tokio::test]
    async fn an_advance_wakes_the_due_in_their_order_and_no_other() {
        let clock = Arc::new(ManualClock::at(START));
        let mut told = asleep(&clock, &[(30, 'c'), (10, 'a'), (20, 'b'), (10, 'A'), (31, 'd')]).await;
        assert_eq!(clock.next_wake(), Some(START.plus(ms(10))));
        clock.advance(ms(30));
        let mut woken = String::new();
        for _ in 0..4 {
            woken.push(told.recv().await.unwrap());
        }
        assert_eq!(woken, "aAbc");
        assert_eq!((clock.sleepers(), told.try_recv().is_err()), (1, true));
        assert_eq!(clock.now(), START.plus(ms(30)));
    }

    #[tokio::test]
    async fn i18_the_wall_clock_jumps_alone() {
        let clock = ManualClock::at(START);
        clock.jump_wall(-3_600_000);
        clock.advance(ms(5));
        assert_eq!(clock.now(), START.plus(ms(5)));
        assert_eq!(clock.wall(), START.plus(ms(5)).minus(ms(3_600_000)));
    }

    #[tokio::test]
    async fn part_of_a_millisecond_is_slept_and_nothing_is_not() {
        let clock = Arc::new(ManualClock::at(START));
        clock.sleep(Duration::ZERO).await;
        let nap = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_micros(1)).await }
        });
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(ms(1));
        nap.await.unwrap();
    }

    #[tokio::test]
    async fn a_sleeper_that_gave_up_is_forgotten() {
        let clock = Arc::new(ManualClock::at(START));
        let _told = asleep(&clock, &[(10, 'a')]).await;
        assert!(
            tokio::time::timeout(Duration::ZERO, clock.sleep(ms(5)))
                .await
                .is_err()
        );
        assert_eq!(clock.sleepers(), 1);
        assert_eq!(clock.next_wake(), Some(START.plus(ms(10))));
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let (a, b, c) = (SeededRng::new(7), SeededRng::new(7), SeededRng::new(8));
        let first = a.bytes16();
        assert_eq!(first, b.bytes16());
        assert_ne!(first, c.bytes16());
        assert_ne!(first, a.bytes16());
    }
}
