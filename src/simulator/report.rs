//! The truth about every generation, to hold a client's archive against.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::task::{Outcome, Task, Verdict};
use super::world::World;

/// One accepted taskUUID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    #[serde(rename = "taskUUID")]
    pub task_uuid: Uuid,
    pub model: String,
    /// Milliseconds since 1970 by the simulator's clock.
    pub accepted_at: u64,
    /// How often it was accepted, so how often it is paid: 1, as a replay is a conflict.
    pub accepted: u32,
    /// How often it was sent again and refused.
    pub conflicts: u32,
    /// How often it was asked about.
    pub queries: u32,
    pub results: Vec<GenerationResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerationResult {
    pub index: usize,
    pub id: Uuid,
    pub state: ResultState,
    /// The error code of a failure.
    pub code: Option<String>,
    /// The current link, dead or alive; only of a success.
    pub url: Option<String>,
    pub size: Option<u64>,
    /// Lower-case hex over the whole file.
    pub sha256: Option<String>,
    pub content_type: Option<String>,
    /// When the current link dies of its `ttl`, in milliseconds since 1970 by the simulator's clock.
    pub link_dies_at: Option<u64>,
    pub cost: f64,
    pub callbacks_sent: u32,
    pub callbacks_answered: u32,
    pub downloads: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResultState {
    Rendering,
    Succeeded,
    Failed,
    /// Will never end.
    Stuck,
}

/// Every accepted task, oldest first. Computes each file's digest once, which for large files takes a while.
pub fn generations(world: &World) -> Vec<Generation> {
    world.tasks().iter().map(|task| generation(world, task)).collect()
}

fn generation(world: &World, task: &Arc<Task>) -> Generation {
    Generation {
        task_uuid: task.uuid,
        model: task.model.clone(),
        accepted_at: task.accepted_at,
        accepted: task.accepted.load(Ordering::Relaxed),
        conflicts: task.conflicts.load(Ordering::Relaxed),
        queries: task.queries.load(Ordering::Relaxed),
        results: task
            .results
            .iter()
            .map(|outcome| result(world, task, outcome))
            .collect(),
    }
}

fn result(world: &World, task: &Task, outcome: &Outcome) -> GenerationResult {
    let finished = outcome.is_finished(world.clock.now());
    let (state, code) = match &outcome.verdict {
        Verdict::Stuck => (ResultState::Stuck, None),
        _ if !finished => (ResultState::Rendering, None),
        Verdict::Success => (ResultState::Succeeded, None),
        Verdict::Failure { code } => (ResultState::Failed, Some(code.clone())),
    };
    let file = (state == ResultState::Succeeded).then_some(&outcome.media);
    let link = outcome.link();
    GenerationResult {
        index: outcome.index,
        id: outcome.id,
        state,
        code,
        url: file.map(|_| outcome.url(world, task.kind, link)),
        size: file.map(|media| media.size),
        sha256: file.map(|media| media.sha256().to_owned()),
        content_type: file.map(|media| media.clip.content_type.to_owned()),
        link_dies_at: file.map(|_| link.born.saturating_add(task.ttl_ms)),
        cost: outcome.cost,
        callbacks_sent: outcome.callbacks_sent.load(Ordering::Relaxed),
        callbacks_answered: outcome.callbacks_answered.load(Ordering::Relaxed),
        downloads: outcome.downloads.load(Ordering::Relaxed),
    }
}
