//! Results as callbacks and queries show them.

use serde_json::{Map, Value, json};

use super::dice::draw;
use super::faults::Faults;
use super::task::{Link, Outcome, Task, Verdict};
use super::wire::{Answer, ErrorEntry};
use super::world::World;

/// The success item of a finished result; `link` is left out when the provider forgot it.
pub fn success(world: &World, task: &Task, outcome: &Outcome, link: Option<Link>) -> Map<String, Value> {
    let noun = task.kind.noun();
    let mut item = identity(task);
    item.insert("status".to_owned(), json!("success"));
    if !outcome.hides_id {
        item.insert(format!("{noun}UUID"), json!(outcome.id));
    }
    if let Some(link) = link {
        item.insert(format!("{noun}URL"), json!(outcome.url(world, task.kind, link)));
    }
    if task.include_cost {
        item.insert("cost".to_owned(), json!(outcome.cost));
    }
    item.insert("seed".to_owned(), json!(outcome.seed));
    if outcome.nsfw {
        item.insert("NSFWContent".to_owned(), json!(true));
    }
    if outcome.shows_index {
        item.insert("resultIndex".to_owned(), json!(outcome.index));
    }
    item
}

/// A result that is not finished. No member may end in `URL`: clients would take it for the result.
pub fn running(task: &Task, outcome: &Outcome, word: &str, now: u64) -> Map<String, Value> {
    let mut item = identity(task);
    item.insert("status".to_owned(), json!(word));
    let (done, all) = (
        now.saturating_sub(task.accepted_at),
        outcome.finish_at - task.accepted_at,
    );
    let progress = (done * 100).checked_div(all).unwrap_or(0).min(99);
    item.insert("progress".to_owned(), json!(progress));
    item
}

pub fn failure(task: &Task, code: &str) -> ErrorEntry {
    let message = format!("The provider could not finish this result ({code}).");
    let entry = ErrorEntry::new(code, message).about(Some(task.uuid), Some(task.kind.task_type()));
    ErrorEntry {
        status: Some("error"),
        ..entry
    }
}

/// A failure as an item of `data`, the other documented place for it.
pub fn nested_failure(task: &Task, code: &str) -> Map<String, Value> {
    let entry = failure(task, code);
    let mut item = identity(task);
    item.insert("status".to_owned(), json!("error"));
    item.insert(
        "error".to_owned(),
        json!({"code": entry.code, "message": entry.message}),
    );
    item
}

/// Everything a query shows of a task, cumulative: one entry per result. `n` counts the task's queries.
pub fn status(world: &World, task: &Task, faults: &Faults, n: u64) -> Answer {
    let now = world.clock.now();
    let nested = world.dice.hits(faults.nest_errors, "nest-errors", task.uuid, n);
    let mut answer = Answer::default();
    for outcome in task
        .results
        .iter()
        .filter(|outcome| !task.is_silent(outcome.index))
    {
        let mut rng = world.dice.cast("query-item", outcome.id, n);
        match &outcome.verdict {
            _ if !outcome.is_finished(now) => {
                let word = draw(&mut rng, &faults.running_word);
                answer.data.push(running(task, outcome, &word, now).into());
            }
            Verdict::Failure { code } if world.struck("nest-errors", nested) => {
                answer.data.push(nested_failure(task, code).into());
            }
            Verdict::Failure { code } => answer.errors.push(failure(task, code)),
            Verdict::Success | Verdict::Stuck => {
                let forgets = |rng: &mut _| super::dice::hit(rng, faults.omit_link).then_some(());
                let forgotten = world.strike("omit-link", outcome.id, faults.at_most, forgets);
                let link = outcome.link_for_query(world, task, faults);
                let shown = (!world.struck("omit-link", forgotten.is_some())).then_some(link);
                answer.data.push(success(world, task, outcome, shown).into());
            }
        }
    }
    answer
}

fn identity(task: &Task) -> Map<String, Value> {
    let mut item = Map::new();
    item.insert("taskType".to_owned(), json!(task.kind.task_type()));
    item.insert("taskUUID".to_owned(), json!(task.uuid));
    item
}
