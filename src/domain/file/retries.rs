//! An operator's retry: what expired or failed gets a new round, with a fresh link asked for; a task without such a
//! result is asked about once more. Nothing is ever bought again.

use super::{Draft, Policy, TaskFile};
use crate::domain::asset::{Asset, AssetState, Left, Trouble};
use crate::domain::event::EventKind;
use crate::domain::ids::ResultId;
use crate::domain::task::TaskState;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;

/// What a retry comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Retried {
    pub transition: Transition,
    /// The results that start a new round; none: the provider is asked about the task, and that is all.
    pub results: Vec<ResultId>,
}

impl TaskFile {
    /// `None`: nothing of it is expired or failed.
    pub fn retry(self, policy: &Policy, now: Timestamp) -> Option<Retried> {
        let ended = |a: &&Asset| matches!(a.state, AssetState::Expired(_) | AssetState::Failed { .. });
        let results: Vec<ResultId> = self
            .assets
            .iter()
            .filter(ended)
            .map(|a| a.id.result.clone())
            .collect();
        if results.is_empty() && !self.may_hold_more() {
            return None;
        }
        let mut draft = Draft::of(self, now);
        draft.note(
            "retried",
            json!({ "results": results.iter().map(ResultId::as_str).collect::<Vec<_>>() }),
        );
        if !results.is_empty() {
            draft.reopen();
        }
        for result in &results {
            draft.new_round(result, policy);
        }
        draft.file.task.due_at = Some(now); // for a fresh link, or for what the provider knows by now
        Some(Retried {
            transition: draft.finish(),
            results,
        })
    }

    /// It ended with results missing that were, or may have been, paid for.
    fn may_hold_more(&self) -> bool {
        matches!(
            self.task.state,
            TaskState::Failed(_) | TaskState::TimedOut(_) | TaskState::Partial(_)
        )
    }
}

impl Draft {
    /// Any verdict but `completed`, which never changes (I7).
    pub(super) fn reopen(&mut self) {
        let task = &mut self.file.task;
        if !task.state.is_terminal() || task.state == TaskState::Completed {
            return;
        }
        task.round += 1;
        task.settled_at = None;
        task.state = TaskState::Archiving;
        self.tell_task(EventKind::TaskRecovered);
    }

    /// Whatever it was, it is copied again, with a fresh link asked for.
    pub(super) fn new_round(&mut self, result: &ResultId, policy: &Policy) {
        let now = self.now;
        let Some(asset) = self.change(result) else { return };
        asset.round += 1;
        asset.left = match std::mem::replace(&mut asset.state, AssetState::Pending) {
            AssetState::Failed { kept: Some(kept), .. } => Some(Left::Kept(kept)),
            AssetState::Archived(stored) => Some(Left::Gone(stored)),
            _ => asset.left.take(), // as the round before found it
        };
        asset.attempts = 0;
        asset.intent = None;
        asset.trouble = Trouble {
            wants_fresh: true,
            ..Trouble::default()
        };
        asset.due_at = Some(now);
        asset.at_risk_at = Some(asset.at_risk_from(now, policy.at_risk_after));
    }
}
