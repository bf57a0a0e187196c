//! How long to wait before the next try. Jitter comes in as a number, so the same input gives the same answer.

use std::time::Duration;

/// First wait of a doubling back-off.
const BASE: Duration = Duration::from_secs(1);

/// A fraction in `0.0..1.0`, drawn by the caller from the `Rng` port.
#[derive(Clone, Copy, Debug)]
pub struct Jitter(pub f64);

/// Doubling from one second, capped at `cap`, shortened by up to half: attempt 1 waits 0.5–1 s.
/// Never earlier than `at_least` (a server's `Retry-After`), itself obeyed up to one hour.
pub fn delay(attempt: u32, cap: Duration, at_least: Option<Duration>, jitter: Jitter) -> Duration {
    let doubled = BASE.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1).min(20)));
    let jittered = doubled.min(cap).mul_f64(1.0 - jitter.0.clamp(0.0, 1.0) / 2.0);
    jittered.max(at_least.unwrap_or_default().min(MAX_RETRY_AFTER))
}

/// Longest `Retry-After` obeyed: beyond it a server's word would amount to an outage of our own making.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// `base` ± `share`, so that equal schedules do not march in step.
pub fn around(base: Duration, share: f64, jitter: Jitter) -> Duration {
    base.mul_f64(1.0 + share * (2.0 * jitter.0.clamp(0.0, 1.0) - 1.0))
}

/// The wait before query number `queries + 1` of a silent task: `first`, then ×1.5 up to `cap`, ±10 %.
pub fn poll_interval(queries: u32, first: Duration, cap: Duration, jitter: Jitter) -> Duration {
    let grown = first.as_secs_f64() * 1.5f64.powi(queries.min(40) as i32);
    // The first wait is the user's own figure, even where it is longer than the cap.
    let capped = if queries == 0 {
        grown
    } else {
        grown.min(cap.as_secs_f64())
    };
    around(Duration::from_secs_f64(capped), 0.1, jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAP: Duration = Duration::from_secs(60);

    proptest! {
        #[test]
        fn i12_every_wait_has_a_cap_and_obeys_retry_after(attempt in 0u32..10_000, j in 0.0f64..1.0, after in 0u64..3_600) {
            let after = Duration::from_secs(after);
            let d = delay(attempt, CAP, Some(after), Jitter(j));
            prop_assert!(d >= after && d <= CAP.max(after));
            prop_assert!(delay(attempt, CAP, None, Jitter(j)) >= Duration::from_millis(500));
        }

        #[test]
        fn polls_grow_to_their_cap(n in 1u32..1_000, j in 0.0f64..1.0) {
            let d = poll_interval(n, Duration::from_secs(180), Duration::from_secs(300), Jitter(j));
            prop_assert!(d >= Duration::from_secs(240) && d <= Duration::from_secs(330));
        }
    }
}
