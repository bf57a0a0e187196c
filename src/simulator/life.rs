//! What happens to an accepted task by itself: forgeries, renders, uploads, callbacks.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use uuid::Uuid;

use super::callback::{self, Body};
use super::dice::{Dice, draw, hit};
use super::faults::Faults;
use super::task::{Outcome, Task, Verdict};
use super::upload;
use super::world::World;

/// Starts everything that is to happen to this task.
pub fn start(world: &Arc<World>, task: &Arc<Task>) {
    world.note(|tally| tally.accepted(task));
    world.struck("one-error-for-all", task.one_error && task.results.len() > 1);
    for outcome in &task.results {
        world.struck("nsfw", outcome.nsfw);
        world.struck("result-index", outcome.shows_index);
    }
    for index in 0..task.results.len() {
        world.background.spawn(live(world.clone(), task.clone(), index));
        if task.webhook.is_some() {
            world.background.spawn(forge(world.clone(), task.clone(), index));
        }
    }
}

async fn live(world: Arc<World>, task: Arc<Task>, index: usize) {
    let outcome = &task.results[index];
    match outcome.verdict {
        Verdict::Stuck => return world.count(|stats| stats.results_stuck += 1),
        Verdict::Failure { .. } => world.count(|stats| stats.results_failed += 1),
        Verdict::Success => {}
    }
    world.clock.sleep_until(outcome.finish_at).await;
    let faults = world.faults_with(&task.overlay);
    let late_upload = world.dice.hits(faults.late_upload, "late-upload", outcome.id, 0);
    if !late_upload {
        upload::put(&world, &task, outcome, &faults).await;
    }
    if !task.is_silent(index) {
        call_back(&world, &task, outcome, faults).await;
    }
    if late_upload {
        world.clock.sleep(Duration::from_secs(2)).await;
        upload::put(&world, &task, outcome, &world.faults_with(&task.overlay)).await;
    }
}

async fn call_back(world: &Arc<World>, task: &Arc<Task>, outcome: &Outcome, faults: Faults) {
    if task.webhook.is_none() {
        return;
    }
    hold_back(world, task, outcome, &faults).await;
    // Read again: whoever changed the faults meanwhile means this callback, too.
    let faults = world.faults_with(&task.overlay);
    let fate = fate(world.dice, &faults, outcome.id);
    if world.struck("lose-callbacks", fate == Fate::Lost) {
        world.count(|stats| stats.callbacks_lost += 1);
        outcome.called_back.notify_one();
        return;
    }
    let extra = if world.struck("double-callbacks", fate == Fate::Doubled) {
        faults.callback_copies.saturating_sub(1)
    } else {
        0
    };
    let mut rng = world.dice.cast("callback-copies", outcome.id, 0);
    world.count(|stats| stats.callbacks_doubled += u64::from(extra));
    for copy in 1..=extra {
        let pause = Duration::from_millis(rng.random_range(0..500));
        let (world, task, index) = (world.clone(), task.clone(), outcome.index);
        world.background.clone().spawn(async move {
            world.clock.sleep(pause).await;
            callback::deliver(
                &world,
                &task,
                &task.results[index],
                Body::Outcome,
                u64::from(copy),
            )
            .await;
        });
    }
    if world.struck("callback-before-ack", task.before_ack && outcome.index == 0) {
        world.count(|stats| stats.callbacks_before_ack += 1);
    }
    callback::deliver(world, task, outcome, Body::Outcome, 0).await;
}

/// What becomes of a result's callback on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Doubled,
    SentOnce,
}

/// One roll decides, so that both chances are shares of all callbacks. What is lost cannot be doubled: together above 1,
/// the losses are served first.
pub fn fate(dice: Dice, faults: &Faults, result: Uuid) -> Fate {
    let rolled: f64 = dice.cast("callback-fate", result, 0).random();
    if rolled < faults.lose_callbacks {
        return Fate::Lost;
    }
    if rolled < faults.lose_callbacks + faults.double_callbacks {
        return Fate::Doubled;
    }
    Fate::SentOnce
}

/// Waits as long as this callback is to come late or out of order.
async fn hold_back(world: &World, task: &Task, outcome: &Outcome, faults: &Faults) {
    if task.before_ack && outcome.index == 0 {
        return;
    }
    let is_reordered = world.dice.hits(faults.reorder_callbacks, "reorder", task.uuid, 0);
    if world.struck("reorder-callbacks", is_reordered) {
        world.count(|stats| stats.callbacks_reordered += 1);
        if task.results.len() > 1 {
            world.clock.sleep_until(task.finished_at()).await;
            if let Some(later) = task.caller_after(outcome.index) {
                later.called_back.notified().await;
            }
        } else {
            let pause = world
                .dice
                .cast("reorder-pause", outcome.id, 0)
                .random_range(0..2000);
            world.clock.sleep(Duration::from_millis(pause)).await;
        }
    }
    let is_late = world
        .dice
        .hits(faults.delay_callbacks, "delay-callbacks", outcome.id, 0);
    if world.struck("delay-callbacks", is_late) {
        world.count(|stats| stats.callbacks_delayed += 1);
        world.clock.sleep(faults.delay_callbacks_by).await;
    }
}

/// Callbacks that tell no outcome: progress, and what someone who holds the callback URL may claim.
async fn forge(world: Arc<World>, task: Arc<Task>, index: usize) {
    let outcome = &task.results[index];
    let mut rng = world.dice.cast("forge", outcome.id, 0);
    let lasts = outcome.finish_at - task.accepted_at;
    world
        .clock
        .sleep_until(task.accepted_at + rng.random_range(0..=lasts))
        .await;
    let faults = world.faults_with(&task.overlay);
    if world.struck("processing-callbacks", hit(&mut rng, faults.processing_callbacks)) {
        callback::deliver(&world, &task, outcome, Body::Processing, 0).await;
    }
    let mut forgeries = Vec::new();
    if world.struck("forge-failure", hit(&mut rng, faults.forge_failure)) {
        forgeries.push(Body::ForgedFailure(draw(&mut rng, &faults.fail_with)));
    }
    if world.struck("forge-success", hit(&mut rng, faults.forge_success)) {
        forgeries.push(Body::ForgedSuccess);
    }
    for forgery in forgeries {
        world.count(|stats| stats.callbacks_forged += 1);
        callback::deliver(&world, &task, outcome, forgery, 0).await;
    }
    if world.struck("wrong-token", hit(&mut rng, faults.wrong_token)) {
        callback::knock_at_wrong_door(&world, &task, outcome).await;
    }
}
