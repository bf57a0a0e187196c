//! How fast one API key may ask (T2): so many at once, then so many a second.
//!
//! Counted in this process and not kept: a restart gives every key its burst anew.

use super::error::ApiError;
use crate::ports::clock::Clock;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::Clock as CountingClock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::Arc;

/// `limits.requests_per_second` and `limits.burst`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

/// One count per key that ever asked: no more than there are keys, since only live ones are counted.
pub struct KeyRates {
    rate: Rate,
    counts: RateLimiter<String, DashMapStateStore<String>, PortClock, StateInformationMiddleware>,
}

/// Where a key stands after a request, for the answer's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    burst: u32,
    remaining: u32,
    /// Seconds until the burst is whole again.
    reset_s: u32,
    /// Seconds in which a burst grows from nothing.
    window_s: u32,
}

/// The service's time, as the counter wants it.
#[derive(Clone)]
struct PortClock(Arc<dyn Clock>);

impl CountingClock for PortClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let ms = u64::try_from(self.0.now().as_millis()).unwrap_or(0);
        Nanos::new(ms.saturating_mul(1_000_000))
    }
}

impl KeyRates {
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            rate,
            counts: RateLimiter::new(quota, DashMapStateStore::default(), PortClock(clock)),
        }
    }

    /// Counts one request of this key: where the key stands, and whether the request is allowed; `TooFast` names
    /// the time after which it would be.
    pub fn count(&self, key: &str) -> (Standing, Result<(), ApiError>) {
        match self.counts.check_key(&key.to_owned()) {
            Ok(snapshot) => (self.standing(snapshot.remaining_burst_capacity()), Ok(())),
            Err(until) => {
                let wait = until.wait_time_from(self.counts.clock().now());
                let wait_s = seconds_up(wait.as_millis());
                (self.standing(0), Err(ApiError::TooFast { wait_s }))
            }
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let Rate { per_second, burst } = self.rate;
        Standing {
            burst: burst.get(),
            remaining,
            reset_s: (burst.get() - remaining.min(burst.get())).div_ceil(per_second.get()),
            window_s: burst.get().div_ceil(per_second.get()),
        }
    }
}

/// At least 1: `Retry-After: 0` would be an invitation.
fn seconds_up(ms: u128) -> u32 {
    u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
}

impl Standing {
    /// The IETF draft's two headers, and the three that came before it.
    pub fn tell(self, headers: &mut HeaderMap) {
        let Self {
            burst,
            remaining,
            reset_s,
            window_s,
        } = self;
        let told = [
            ("ratelimit-policy", format!("\"key\";q={burst};w={window_s}")),
            ("ratelimit", format!("\"key\";r={remaining};t={reset_s}")),
            ("x-ratelimit-limit", burst.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", reset_s.to_string()),
        ];
        for (name, value) in told {
            let value = HeaderValue::from_str(&value).expect("digits and signs are a header's value");
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests;
