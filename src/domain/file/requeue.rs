//! What an audit mends, by an operator's word: results that should be in the bucket and are not, the archived ones among
//! them.

use super::{Draft, Policy, TaskFile};
use crate::domain::ids::ResultId;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;

impl TaskFile {
    /// Each of these results that has ended is copied again in a new round; the provider is asked at once, also about
    /// results that are not known here yet. `completed` stays what it is (I7), as when a result appears beyond it.
    pub fn requeue(self, results: &[ResultId], policy: &Policy, now: Timestamp) -> Transition {
        let ended = |result: &&ResultId| self.asset(result).is_some_and(|a| a.state.is_terminal());
        let ended: Vec<ResultId> = results.iter().filter(ended).cloned().collect();
        let names: Vec<&str> = ended.iter().map(ResultId::as_str).collect();
        let mut draft = Draft::of(self, now);
        draft.note("requeued", json!({ "results": names }));
        if !ended.is_empty() {
            draft.reopen();
        }
        for result in &ended {
            draft.new_round(result, policy);
        }
        draft.file.task.due_at = Some(now);
        draft.finish()
    }
}
