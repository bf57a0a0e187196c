//! Completion callbacks: their bodies in every reported shape, and the short, stubborn way they are sent.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::dice::{draw, hit};
use super::faults::Faults;
use super::setting::{OneOf, Shape};
use super::task::{Outcome, Task, Verdict, bump};
use super::view;
use super::world::World;

/// Waits between tries: 250 ms, doubling, at most 8 s, with jitter (Runware's own integration guide).
const FIRST_WAIT_MS: u64 = 250;
const LONGEST_WAIT_MS: u64 = 8_000;

/// What a callback says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// What became of the result.
    Outcome,
    /// That it is not finished.
    Processing,
    /// A failure that did not happen, with this code.
    ForgedFailure(String),
    /// A result that does not exist.
    ForgedSuccess,
}

/// Sends one callback until a 2xx or the last try; `copy` counts the doubles of the same callback.
pub async fn deliver(world: &World, task: &Task, outcome: &Outcome, body: Body, copy: u64) {
    let Some(url) = &task.webhook else { return };
    let faults = world.faults_with(&task.overlay);
    let mut rng = world.dice.cast("callback", outcome.id, copy);
    let written = written(world, task, outcome, &body, &faults, &mut rng);
    world.note(|tally| tally.body(&written));
    let text = written.to_string();
    world.count(|stats| stats.callbacks_sent += 1);
    bump(&outcome.callbacks_sent);
    for attempt in 0..faults.callback_attempts.max(1) {
        if attempt > 0 {
            world.clock.sleep(wait_before(attempt, &mut rng)).await;
        }
        let answered = post(world, url, &text, faults.callback_timeout).await;
        if body == Body::Outcome {
            outcome.called_back.notify_one();
        }
        if answered {
            bump(&outcome.callbacks_answered);
            return world.count(|stats| stats.callbacks_answered += 1);
        }
    }
    world.count(|stats| stats.callbacks_given_up += 1);
}

/// One try at a URL that differs from the callback's in one character.
pub async fn knock_at_wrong_door(world: &World, task: &Task, outcome: &Outcome) {
    let Some(url) = &task.webhook else { return };
    let faults = world.faults_with(&task.overlay);
    let mut rng = world.dice.cast("wrong-token", outcome.id, 0);
    let text = written(world, task, outcome, &Body::ForgedSuccess, &faults, &mut rng).to_string();
    world.count(|stats| stats.callbacks_forged += 1);
    post(world, &altered(url), &text, faults.callback_timeout).await;
}

fn altered(url: &str) -> String {
    let mut altered = url.to_owned();
    let last = altered.pop();
    altered.push(if last == Some('A') { 'B' } else { 'A' });
    altered
}

fn wait_before(attempt: u32, rng: &mut StdRng) -> Duration {
    let doubled = FIRST_WAIT_MS.saturating_mul(1 << (attempt - 1).min(16));
    let most = doubled.min(LONGEST_WAIT_MS);
    Duration::from_millis(rng.random_range(most * 4 / 5..=most * 6 / 5))
}

async fn post(world: &World, url: &str, text: &str, timeout: Duration) -> bool {
    world.count(|stats| stats.callback_tries += 1);
    let request = world
        .http
        .post(url)
        .timeout(timeout)
        .header("content-type", "application/json");
    request
        .body(text.to_owned())
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}

fn written(
    world: &World,
    task: &Task,
    outcome: &Outcome,
    body: &Body,
    faults: &Faults,
    rng: &mut StdRng,
) -> Value {
    let is_cumulative = *body == Body::Outcome && hit(rng, faults.cumulative_callbacks);
    if world.struck("cumulative-callbacks", is_cumulative) {
        return view::status(world, task, faults, 0).body(false);
    }
    match body {
        Body::Processing => {
            let item = view::running(task, outcome, "processing", world.clock.now());
            shaped_success(item, &faults.callback_shapes, rng)
        }
        Body::ForgedFailure(code) => shaped_failure(task, code, &faults.callback_shapes, rng),
        Body::ForgedSuccess => shaped_success(invented(world, task, outcome), &faults.callback_shapes, rng),
        Body::Outcome => match &outcome.verdict {
            Verdict::Failure { code } => shaped_failure(task, code, &faults.callback_shapes, rng),
            Verdict::Success | Verdict::Stuck => {
                let mut item = view::success(world, task, outcome, Some(outcome.link()));
                if world.struck("omit-status", hit(rng, faults.omit_status)) {
                    item.remove("status");
                }
                shaped_success(item, &faults.callback_shapes, rng)
            }
        },
    }
}

/// A success with an id that nobody rendered; its link looks right and leads nowhere.
fn invented(world: &World, task: &Task, outcome: &Outcome) -> Map<String, Value> {
    let noun = task.kind.noun();
    let id = world.dice.uuid("invented", outcome.id, 0);
    let url = outcome
        .url(world, task.kind, outcome.link())
        .replace(&outcome.id.to_string(), &id.to_string());
    let mut item = view::success(world, task, outcome, None);
    item.insert(format!("{noun}UUID"), json!(id));
    item.insert(format!("{noun}URL"), json!(url));
    item
}

fn shaped_success(item: Map<String, Value>, shapes: &OneOf<Shape>, rng: &mut StdRng) -> Value {
    match draw(rng, shapes) {
        Shape::A | Shape::D => Value::Object(item),
        Shape::B | Shape::C | Shape::E => json!({ "data": [item] }),
    }
}

fn shaped_failure(task: &Task, code: &str, shapes: &OneOf<Shape>, rng: &mut StdRng) -> Value {
    let entry = view::failure(task, code);
    match draw(rng, shapes) {
        Shape::A | Shape::D => json!(entry),
        Shape::E => json!({ "data": [view::nested_failure(task, code)] }),
        Shape::B | Shape::C if rng.random_bool(0.5) => json!({ "errors": [entry] }),
        Shape::B | Shape::C => json!({ "data": [], "errors": [entry] }),
    }
}
