//! Percentiles of what was seen, exactly: every latency is kept.

use serde_json::{Value, json};
use std::time::Duration;

#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    pub fn add(&mut self, one: Duration) {
        self.0.push(u32::try_from(one.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Milliseconds.
    pub fn summary(mut self) -> Value {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = ((self.0.len() as f64 * share).ceil() as usize).saturating_sub(1);
            self.0.get(index).map(|us| f64::from(*us) / 1000.0)
        };
        json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) })
    }
}
