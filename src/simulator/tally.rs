//! What happened, by name: [`Stats`](super::Stats) says how much went wrong, this says that no kind was left out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::task::{Task, Verdict};

/// What is not listed never happened. Counts only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How often each fault of the profiles struck, by the name of its switch.
    pub faults: BTreeMap<&'static str, u64>,
    /// Callbacks sent, by the shape of their body, `A` to `E`.
    pub bodies: BTreeMap<&'static str, u64>,
    /// Results that succeed, by the clip that is served for them.
    pub clips: BTreeMap<&'static str, u64>,
    /// Tasks accepted, by their number of results.
    pub number_results: BTreeMap<usize, u64>,
}

impl Tally {
    pub fn fault(&mut self, switch: &'static str) {
        *self.faults.entry(switch).or_default() += 1;
    }

    pub fn body(&mut self, body: &Value) {
        *self.bodies.entry(shape_of(body)).or_default() += 1;
    }

    pub fn accepted(&mut self, task: &Task) {
        *self.number_results.entry(task.results.len()).or_default() += 1;
        let made = task
            .results
            .iter()
            .filter(|outcome| outcome.verdict == Verdict::Success);
        for outcome in made {
            *self.clips.entry(outcome.media.clip.name).or_default() += 1;
        }
    }
}

/// Read off the body itself: a shape that was drawn falls back to another where it has no such thing to say.
fn shape_of(body: &Value) -> &'static str {
    if body.get("errors").is_some() {
        return "C";
    }
    let is_bare = body.get("data").is_none();
    let item = if is_bare { body } else { &body["data"][0] };
    match (is_bare, item["status"] == "error") {
        (true, false) => "A",
        (false, false) => "B",
        (true, true) => "D",
        (false, true) => "E",
    }
}
