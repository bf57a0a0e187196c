//! Generation tasks: refused, known already, or accepted and acknowledged.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::api::{BEFORE_ACK_WAIT, Part};
use super::directive::Overlay;
use super::life;
use super::media::Clip;
use super::task::{Task, bump, price_per_second};
use super::validate;
use super::view;
use super::wire::{Answer, ErrorEntry, Kind};
use super::world::World;

/// A valid submission, to be acknowledged after the whole request was looked at.
pub enum Submission {
    Accepted(Arc<Task>),
    DryRun { ack: Value },
}

impl Submission {
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

/// Accepts a task, or says why not.
///
/// # Errors
/// The refusal to send: faults of the request, or `conflictTaskUUID` for a UUID accepted before.
pub fn submit(
    world: &Arc<World>,
    kind: Kind,
    item: &Map<String, Value>,
    dry_run: bool,
    header: &Overlay,
) -> Result<Submission, Part> {
    let prompt = item
        .get("positivePrompt")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let directive = Overlay::in_prompt(prompt).expect("mistakes were told when the request was read");
    let overlay = header.and(&directive);
    let faults = world.faults_with(&overlay);
    let found = validate::faults_of(item, faults.require_prompt);
    let uuid = match validate::uuid_of(item) {
        Some(uuid) if found.is_empty() => uuid,
        _ => {
            world.count(|stats| stats.rejected += 1);
            return Err(Part::refused(400, found));
        }
    };
    if dry_run {
        world.count(|stats| stats.dry_runs += 1);
        return Ok(Submission::DryRun {
            ack: priced(kind, item),
        });
    }
    match world.accept(uuid, || {
        Task::plan(world, kind, uuid, item.clone(), overlay.clone())
    }) {
        Ok(task) => {
            world.count(|stats| stats.accepted += 1);
            bump(&task.accepted);
            life::start(world, &task);
            Ok(Submission::Accepted(task))
        }
        Err(known) => {
            world.count(|stats| stats.conflicts += 1);
            bump(&known.conflicts);
            Err(Part::refused(
                400,
                vec![ErrorEntry::conflict(uuid, kind.task_type())],
            ))
        }
    }
}

/// What a submission is answered with: its identity alone, or its results where they are wanted at once.
pub async fn acknowledged(world: &World, submission: &Submission) -> Answer {
    let task = match submission {
        Submission::Accepted(task) => task,
        Submission::DryRun { ack } => return Part::fine(ack.clone()).answer,
    };
    let faults = world.faults_with(&task.overlay);
    if task.before_ack {
        // Lost or refused, the callback must not hold the answer for ever.
        let _ = tokio::time::timeout(BEFORE_ACK_WAIT, task.results[0].called_back.notified()).await;
    }
    if is_sync(task) {
        world.clock.sleep_until(task.finished_at()).await;
        return view::status(world, task, &faults, 0);
    }
    let is_empty = world.dice.hits(faults.empty_ack, "empty-ack", task.uuid, 0);
    if world.struck("empty-ack", is_empty) {
        return Answer::default();
    }
    Part::fine(json!({"taskType": task.kind.task_type(), "taskUUID": task.uuid})).answer
}

/// Pictures and sounds come with the answer unless asked otherwise; a `webhookURL` asks otherwise.
fn is_sync(task: &Task) -> bool {
    let by_default = task.kind != Kind::Video && task.webhook.is_none();
    match task.request.get("deliveryMethod").and_then(Value::as_str) {
        Some(method) => method == "sync" && task.webhook.is_none(),
        None => by_default,
    }
}

fn priced(kind: Kind, item: &Map<String, Value>) -> Value {
    let model = item.get("model").and_then(Value::as_str).unwrap_or_default();
    let number = item.get("numberResults").and_then(Value::as_u64).unwrap_or(1);
    let extension = kind.extension(item.get("outputFormat").and_then(Value::as_str));
    let seconds = Clip::by_extension(extension)[0].seconds.max(1.0);
    let cost = seconds * price_per_second(model) * number as f64;
    json!({"taskType": kind.task_type(), "taskUUID": item.get("taskUUID"), "cost": cost})
}
