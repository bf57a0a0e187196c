//! The small tasks around generation: ping, the account, stored media.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::api::Part;
use super::task::{Outcome, Task, Verdict};
use super::validate;
use super::wire::ErrorEntry;
use super::world::World;

/// What the simulated account held at the start, in USD.
const OPENING_BALANCE: f64 = 1_000.0;

pub fn handle(world: &World, task_type: &str, item: &Map<String, Value>) -> Part {
    let operation = item.get("operation").and_then(Value::as_str).unwrap_or_default();
    match (task_type, operation) {
        ("ping", _) => Part::fine(with_uuid(item, json!({"taskType": "ping", "pong": true}))),
        ("accountManagement", "getDetails") => Part::fine(with_uuid(item, account(world))),
        ("accountManagement", "getUsageActivity") => Part::fine(with_uuid(item, activity(world, item))),
        ("mediaStorage", "upload") => upload(world, item),
        ("mediaStorage", "delete") => delete(item),
        ("accountManagement" | "mediaStorage", _) => {
            let message = format!("Unsupported operation for {task_type}.");
            refused(
                item,
                ErrorEntry::new("invalidOperation", message).parameter("operation", "string"),
            )
        }
        _ => {
            world.count(|stats| stats.rejected += 1);
            let message = format!("Unsupported task type '{task_type}'.");
            refused(
                item,
                ErrorEntry::new("unsupportedTaskType", message).parameter("taskType", "string"),
            )
        }
    }
}

/// What a task costs: its failures are free.
fn billed(task: &Task) -> f64 {
    let is_billed = |outcome: &&Outcome| outcome.verdict == Verdict::Success;
    let costs = task.results.iter().filter(is_billed);
    costs.map(|outcome| outcome.cost).sum()
}

/// A row a day with anything on it, by the day of the submission (UTC).
fn activity(world: &World, item: &Map<String, Value>) -> Value {
    let bound = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut days: BTreeMap<String, (f64, u64)> = BTreeMap::new();
    for task in world.tasks() {
        let at = jiff::Timestamp::from_millisecond(task.accepted_at as i64).unwrap_or_default();
        let (spent, requests) = days.entry(at.strftime("%Y-%m-%d").to_string()).or_default();
        *spent += billed(&task);
        *requests += 1;
    }
    let wanted =
        |day: &str| day >= bound("startDate") && (bound("endDate").is_empty() || day <= bound("endDate"));
    let rows: Vec<Value> = days
        .iter()
        .filter(|(day, _)| wanted(day))
        .map(|(day, (spent, requests))| json!({"date": day, "credits": spent, "requests": requests}))
        .collect();
    json!({"taskType": "accountManagement", "operation": "getUsageActivity", "usage": rows})
}

fn account(world: &World) -> Value {
    let (mut spent, mut requests) = (0.0, 0);
    for task in world.tasks() {
        requests += 1;
        spent += billed(&task);
    }
    let usage = json!({"credits": spent, "requests": requests});
    json!({
        "taskType": "accountManagement",
        "operation": "getDetails",
        "organizationName": "Simulated",
        "organizationUUID": world.dice.uuid("organization", uuid::Uuid::nil(), 0),
        "balance": OPENING_BALANCE - spent,
        "team": [],
        "apiKeys": [],
        "usage": {"total": usage, "today": usage, "last7Days": usage, "last30Days": usage},
    })
}

/// Gives the media an id. The bytes are not kept: no render looks at them.
fn upload(world: &World, item: &Map<String, Value>) -> Part {
    let Some(uuid) = validate::uuid_of(item) else {
        return refused(
            item,
            ErrorEntry::new("missingTaskUUID", "Required parameter 'taskUUID' is missing."),
        );
    };
    if item
        .get("media")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        let entry = ErrorEntry::new("missingMedia", "Required parameter 'media' is missing.");
        return refused(item, entry.parameter("media", "string"));
    }
    let media = world.dice.uuid("media", uuid, 0);
    Part::fine(json!({
        "taskType": "mediaStorage",
        "taskUUID": uuid,
        "operation": "upload",
        "mediaUUID": media,
        "mediaURL": format!("{}/media/{media}", world.origin),
    }))
}

fn delete(item: &Map<String, Value>) -> Part {
    let media = item.get("media").cloned().unwrap_or_default();
    let answer = json!({"taskType": "mediaStorage", "operation": "delete", "mediaUUID": media});
    Part::fine(with_uuid(item, answer))
}

fn with_uuid(item: &Map<String, Value>, mut answer: Value) -> Value {
    if let Some(uuid) = item.get("taskUUID") {
        answer["taskUUID"] = uuid.clone();
    }
    answer
}

fn refused(item: &Map<String, Value>, entry: ErrorEntry) -> Part {
    let task_type = item.get("taskType").and_then(Value::as_str);
    Part::refused(400, vec![entry.about(validate::uuid_of(item), task_type)])
}
