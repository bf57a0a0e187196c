//! Status queries: `getResponse`, the state of things, and `getTaskDetails`, the archive of last responses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::api::Part;
use super::faults::Faults;
use super::task::Task;
use super::validate;
use super::view;
use super::wire::{Answer, ErrorEntry};
use super::world::World;

/// All that is known of the task, cumulative; nothing for a UUID that is unknown, hidden or too old.
pub fn response(world: &World, item: &Map<String, Value>, faults: &Faults) -> Part {
    let uuid = match validate::required_uuid(item) {
        Ok(uuid) => uuid,
        Err(entry) => return Part::refused(400, vec![entry.about(None, Some("getResponse"))]),
    };
    world.count(|stats| stats.queries += 1);
    let Some(task) = world.task(uuid).filter(|task| is_visible(world, task, faults)) else {
        return unknown(uuid, faults);
    };
    let mut answer = view::status(world, &task, faults, turn(&task));
    if faults.query_type {
        for item in &mut answer.data {
            item["taskType"] = json!("getResponse");
        }
    }
    // Failures of the render are results, not a refusal: the query itself went well.
    Part { answer, status: 200 }
}

/// The archived request and the last response to it, which after a refused replay is the refusal.
pub fn details(world: &World, item: &Map<String, Value>, faults: &Faults) -> Part {
    let uuid = match validate::required_uuid(item) {
        Ok(uuid) => uuid,
        Err(entry) => return Part::refused(400, vec![entry.about(None, Some("getTaskDetails"))]),
    };
    world.count(|stats| stats.queries += 1);
    let Some(task) = world.task(uuid) else {
        return unknown(uuid, faults);
    };
    let was_replayed = task.conflicts.load(Ordering::Relaxed) > 0;
    let last = if was_replayed && faults.archive_refusals {
        Answer::refusal(ErrorEntry::conflict(uuid, task.kind.task_type()))
    } else {
        view::status(world, &task, faults, turn(&task))
    };
    Part::fine(json!({
        "taskType": "getTaskDetails",
        "taskUUID": uuid,
        "request": [task.request],
        "response": last.body(false),
    }))
}

/// How many queries there were for this task before.
fn turn(task: &Task) -> u64 {
    u64::from(task.queries.fetch_add(1, Ordering::Relaxed))
}

/// Neither still hidden in the queue nor forgotten.
fn is_visible(world: &World, task: &Task, faults: &Faults) -> bool {
    let now = world.clock.now();
    let millis = |length: Duration| length.as_millis() as u64;
    let is_hidden = faults
        .hide_queued
        .is_some_and(|by| now < task.accepted_at.saturating_add(millis(by)));
    let stuck = task
        .results
        .iter()
        .any(|result| result.verdict == super::task::Verdict::Stuck);
    let forgotten_at = task.finished_at().saturating_add(millis(world.options.retention));
    !is_hidden && (stuck || now < forgotten_at)
}

fn unknown(uuid: Uuid, faults: &Faults) -> Part {
    if !faults.unknown_as_error {
        return Part {
            answer: Answer::default(),
            status: 200,
        };
    }
    let entry = ErrorEntry::new("taskFailedOrNotFound", "The task failed or does not exist.");
    Part::refused(404, vec![entry.about(Some(uuid), Some("getResponse"))])
}
