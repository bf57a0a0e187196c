//! What a decision asks to be written: whole, or not at all.

use super::asset::Asset;
use super::event::NewEvent;
use super::task::Task;
use super::time::Timestamp;

/// One commit: the task, the assets that changed, the events that tell of it, the lines of its timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The task as it shall be; `task.version` is still the version that was read, and the store raises it.
    pub task: Task,
    /// Assets to insert or to overwrite whole.
    pub assets: Vec<Asset>,
    pub events: Vec<NewEvent>,
    pub timeline: Vec<TimelineEntry>,
    /// Receipts that need no further look.
    pub receipts_done: Vec<i64>,
}

/// One line of a task's story, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEntry {
    pub at: Timestamp,
    pub kind: &'static str,
    /// Redacted by construction: built only from ids, codes, sizes and times.
    pub detail: serde_json::Value,
}

impl Transition {
    pub fn of(task: Task) -> Self {
        Self {
            task,
            assets: vec![],
            events: vec![],
            timeline: vec![],
            receipts_done: vec![],
        }
    }

    pub fn note(mut self, at: Timestamp, kind: &'static str, detail: serde_json::Value) -> Self {
        self.timeline.push(TimelineEntry { at, kind, detail });
        self
    }
}
