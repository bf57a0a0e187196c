//! Time running out: `asset.at_risk` is told once per round, by the clock alone, whatever keeps the copy from being made.

use super::{Draft, TaskFile};
use crate::domain::asset::Asset;
use crate::domain::event::EventKind;
use crate::domain::ids::ResultId;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;

impl TaskFile {
    /// Tells that a result is at risk. `None`: it is not, or was told already.
    pub fn tell_at_risk(self, result: &ResultId, now: Timestamp) -> Option<Transition> {
        let due = self.asset(result)?.at_risk_at?;
        if now < due {
            return None;
        }
        let mut draft = Draft::of(self, now);
        draft.change(result)?.at_risk_at = None;
        draft.tell_asset(EventKind::AssetAtRisk, result);
        draft.note("at_risk", json!({ "result": result.as_str() }));
        Some(draft.finish())
    }
}

impl Asset {
    /// When the share `after` of the time from `start` to `archive_by` has passed; at once when there is none left.
    pub(super) fn at_risk_from(&self, start: Timestamp, after: f64) -> Timestamp {
        start.plus(self.archive_by.since(start).mul_f64(after.clamp(0.0, 1.0)))
    }
}
