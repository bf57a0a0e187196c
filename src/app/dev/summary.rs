//! What a run of `catchment dev` did, for people and for scripts.

use crate::simulator::Stats;
use std::collections::BTreeMap;

/// What a run of `catchment dev` did. `catchment dev --exit` prints it as JSON.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct DevSummary {
    /// Tasks submitted.
    pub tasks: u64,
    /// Generations that the provider accepted, so many were bought: as many as tasks.
    pub generations: u64,
    /// Results the provider made and was paid for.
    pub results: u64,
    /// Of these, in the bucket, each with the SHA-256 of its source.
    pub archived: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// Results that the provider failed.
    pub failed: u64,
    /// Tasks that ended otherwise than the provider's book says: another verdict or reason, an object too many.
    pub untrue: u64,
    /// Events the sample endpoint is to get.
    pub events_emitted: u64,
    /// Of these, different ones it took, with a valid signature.
    pub events_delivered: u64,
    pub callbacks_received: u64,
    pub callbacks_duplicate: u64,
    /// Tasks whose results a status query found before any callback.
    pub recovered_by_poll: u64,
    /// Results made and not in the bucket, or with other bytes, and generations bought more than once. A task without an
    /// end fails the run instead.
    pub lost: u64,
    /// What the simulated provider and its network did meanwhile.
    pub faults: Misdeeds,
    /// Results the provider made, by the clip it serves for them: each is another container, or lies otherwise in it.
    pub containers: BTreeMap<&'static str, u64>,
    /// Tasks by their number of results.
    pub number_results: BTreeMap<usize, u64>,
    pub stages: Stages,
}

/// How often what went wrong, as the simulator counted it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Misdeeds {
    pub submissions_refused: u64,
    pub submissions_cut: u64,
    pub queries_refused: u64,
    pub queries_cut: u64,
    pub callbacks_lost: u64,
    pub callbacks_doubled: u64,
    pub callbacks_reordered: u64,
    pub callbacks_before_ack: u64,
    pub callbacks_forged: u64,
    /// Downloads refused, cut, truncated, stalled, mis-sized or replaced.
    pub downloads_spoiled: u64,
    /// Downloads of a link that was dead, or not there yet.
    pub downloads_dead: u64,
    /// Each kind by the name of its switch (`catchment simulate --help`); one that is not listed did not strike.
    pub by_name: BTreeMap<&'static str, u64>,
    /// Callbacks by the shape of their body: `A` a bare result, `B` results in `data`, `C` an `errors` list, `D` a bare
    /// error, `E` an error in `data`.
    pub callback_bodies: BTreeMap<&'static str, u64>,
}

impl Misdeeds {
    pub fn new(
        stats: Stats,
        by_name: BTreeMap<&'static str, u64>,
        bodies: BTreeMap<&'static str, u64>,
    ) -> Self {
        Self {
            submissions_refused: stats.submissions_refused,
            submissions_cut: stats.submissions_cut,
            queries_refused: stats.queries_refused,
            queries_cut: stats.queries_cut,
            callbacks_lost: stats.callbacks_lost,
            callbacks_doubled: stats.callbacks_doubled,
            callbacks_reordered: stats.callbacks_reordered,
            callbacks_before_ack: stats.callbacks_before_ack,
            callbacks_forged: stats.callbacks_forged,
            downloads_spoiled: stats.downloads_spoiled,
            downloads_dead: stats.downloads_dead,
            by_name,
            callback_bodies: bodies,
        }
    }
}

/// The median time per task in each stage, in seconds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Stages {
    /// From acceptance to the provider's word.
    pub submit: f64,
    /// From there to the last result known.
    pub render: f64,
    /// From there to the task's end.
    pub archive: f64,
    /// From an event to its delivery.
    pub deliver: f64,
}
