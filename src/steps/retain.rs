//! Epilogue: documents, events and tasks go when their time is over.

use crate::domain::time::Timestamp;
use crate::ports::retention::{Removed, Retention};
use crate::ports::store::StoreError;
use std::time::Duration;

/// How long each is kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// `tasks.keep_request`: the submitted document, after its task is settled.
    pub documents: Duration,
    /// `events.retention`.
    pub events: Duration,
    /// `tasks.retention`, after the task is settled; `None`: for ever.
    pub tasks: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chapter {
    Documents,
    Events,
    Tasks,
}

/// How far a walk over everything has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    chapter: Chapter,
    after: u64,
    pub removed: u64,
}

impl Walk {
    pub fn start() -> Self {
        Self {
            chapter: Chapter::Documents,
            after: 0,
            removed: 0,
        }
    }

    /// Where the walk stands after a step; `None` for the chapter after the last.
    fn on(self, step: Removed) -> (Self, Option<Chapter>) {
        let next = match (step.next, self.chapter) {
            (Some(_), chapter) => Some(chapter),
            (None, Chapter::Documents) => Some(Chapter::Events),
            (None, Chapter::Events) => Some(Chapter::Tasks),
            (None, Chapter::Tasks) => None,
        };
        let walk = Self {
            chapter: next.unwrap_or(self.chapter),
            after: step.next.unwrap_or(0),
            removed: self.removed + step.rows,
        };
        (walk, next)
    }
}

/// One small step; the caller rests between two. How far the walk is, and whether it goes on.
///
/// # Errors
/// Those of the store: nothing was removed, and the next walk begins anew.
pub async fn step(
    store: &dyn Retention,
    now: Timestamp,
    keep: &Keep,
    walk: Walk,
) -> Result<(Walk, bool), StoreError> {
    let done = match (walk.chapter, keep.tasks) {
        (Chapter::Documents, _) => {
            store
                .erase_documents(now.minus(keep.documents), walk.after)
                .await?
        }
        (Chapter::Events, _) => store.remove_events(now.minus(keep.events), walk.after).await?,
        (Chapter::Tasks, Some(time)) => store.remove_tasks(now.minus(time), now, walk.after).await?,
        (Chapter::Tasks, None) => Removed { rows: 0, next: None },
    };
    let (walk, next) = walk.on(done);
    Ok((walk, next.is_some()))
}
