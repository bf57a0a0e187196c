//! What happens to an accepted task by itself: forgeries, renders, uploads, callbacks.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::callback::{self, Body};
use super::clock::Millis;
use super::dice::{draw, hit};
use super::faults::Faults;
use super::task::{Outcome, Task, Verdict};
use super::upload;
use super::world::World;

/// Between the reordered callbacks of one task, so that they arrive in the order they were sent.
const REORDER_STEP_MS: Millis = 60;

/// Starts everything that is to happen to this task.
pub fn start(world: &Arc<World>, task: &Arc<Task>) {
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
    if world
        .dice
        .hits(faults.lose_callbacks, "lose-callbacks", outcome.id, 0)
    {
        world.count(|stats| stats.callbacks_lost += 1);
        task.called_back.notify_one();
        return;
    }
    let mut rng = world.dice.cast("callback-copies", outcome.id, 0);
    let doubled = hit(&mut rng, faults.double_callbacks);
    let extra = if doubled {
        faults.callback_copies.saturating_sub(1)
    } else {
        0
    };
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
    if task.before_ack && outcome.index == 0 {
        world.count(|stats| stats.callbacks_before_ack += 1);
    }
    callback::deliver(world, task, outcome, Body::Outcome, 0).await;
}

/// Waits as long as this callback is to come late or out of order.
async fn hold_back(world: &World, task: &Task, outcome: &Outcome, faults: &Faults) {
    if task.before_ack && outcome.index == 0 {
        return;
    }
    if world.dice.hits(faults.reorder_callbacks, "reorder", task.uuid, 0) {
        world.count(|stats| stats.callbacks_reordered += 1);
        let places_behind = (task.results.len() - 1 - outcome.index) as Millis;
        if task.results.len() > 1 {
            world
                .clock
                .sleep_until(task.finished_at() + places_behind * REORDER_STEP_MS)
                .await;
        } else {
            let pause = world
                .dice
                .cast("reorder-pause", outcome.id, 0)
                .random_range(0..2000);
            world.clock.sleep(Duration::from_millis(pause)).await;
        }
    }
    if world
        .dice
        .hits(faults.delay_callbacks, "delay-callbacks", outcome.id, 0)
    {
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
    if hit(&mut rng, faults.processing_callbacks) {
        callback::deliver(&world, &task, outcome, Body::Processing, 0).await;
    }
    let mut forgeries = Vec::new();
    if hit(&mut rng, faults.forge_failure) {
        forgeries.push(Body::ForgedFailure(draw(&mut rng, &faults.fail_with)));
    }
    if hit(&mut rng, faults.forge_success) {
        forgeries.push(Body::ForgedSuccess);
    }
    for forgery in forgeries {
        world.count(|stats| stats.callbacks_forged += 1);
        callback::deliver(&world, &task, outcome, forgery, 0).await;
    }
    if hit(&mut rng, faults.wrong_token) {
        callback::knock_at_wrong_door(&world, &task, outcome).await;
    }
}
