//! From the provider's words to a [`Report`]. One meaning for callback, status query and archive; what they differ in
//! is how much a row must say to be taken as a task's own.

use super::codes::Family;
use super::outcomes::parks;
use super::wire::{Message, Owner, Row, RowError};
use super::wording;
use crate::domain::asset::SourceUrl;
use crate::domain::ids::{ResultId, TaskId};
use crate::domain::report::{Item, Report, RequestEcho, Success};
use crate::domain::task::Failure;
use crate::ports::provider::ProviderError;
use serde_json::Value;

/// Most rows looked at for one task. The largest known `numberResults` is 20; each may appear as item and as error.
pub const MAX_ROWS: usize = 100;

/// Longest model name learnt from an archived request, in characters.
const MAX_MODEL_CHARS: usize = 200;

/// Words for work in progress, of this and older editions of the polling page. Any other word means the same, unless
/// a link beside it says that the work is done.
const RUNNING: [&str; 5] = ["processing", "pending", "queued", "scheduled", "waiting"];

/// Reads a callback's body. Rows for other tasks are doubt; a row that names no task is this task's if it is alone.
pub fn read_callback(id: TaskId, body: &[u8]) -> Report {
    match Message::parse(body, MAX_ROWS) {
        Some(message) => own_report(id, &message),
        None => Report {
            doubt: true,
            ..Report::default()
        },
    }
}

fn own_report(id: TaskId, message: &Message) -> Report {
    let alone = message.rows.len() == 1;
    let is_own = |row: &&Row| match row.owner() {
        Owner::Task(owner) => owner == id,
        Owner::Unnamed => alone,
        Owner::Unreadable => false,
    };
    let own: Vec<&Row> = message.rows.iter().filter(is_own).collect();
    let doubt = message.odd || own.len() < message.rows.len();
    report(&own, doubt)
}

/// Reads the answer to a status query: one report per id, in order. The provider echoes the UUID it was asked for, so
/// only rows that name a task are its own.
///
/// # Errors
/// The answer is unreadable, or holds nothing but a refusal to answer: neither says anything about a task.
pub fn read_query(ids: &[TaskId], body: &[u8]) -> Result<Vec<Report>, ProviderError> {
    let message = Message::parse(body, MAX_ROWS * ids.len()).ok_or_else(unreadable)?;
    if message.odd && message.rows.is_empty() {
        return Err(unreadable());
    }
    let mut refusal = None;
    let mut foreign = message.odd;
    let mut told = false;
    for row in &message.rows {
        let asked_for = matches!(row.owner(), Owner::Task(id) if ids.contains(&id));
        match row.error() {
            Some(error) if refuses(row, &error) || is_unclaimed(row, &error) => {
                refusal = refusal.or(Some(error))
            }
            Some(error) => told |= asked_for || says_nothing(&error),
            None => told |= asked_for,
        }
        foreign |= !asked_for;
    }
    if let Some(error) = refusal.filter(|_| !told) {
        return Err(refused_query(&error));
    }
    let own = |id: &TaskId| -> Vec<&Row> {
        let is_own = |row: &&Row| row.owner() == Owner::Task(*id);
        message.rows.iter().filter(is_own).collect()
    };
    Ok(ids.iter().map(|id| report(&own(id), foreign)).collect())
}

/// Reads the answer of the archive (`getTaskDetails`): what was asked for, and the last response. `None`: unknown.
///
/// # Errors
/// As [`read_query`].
pub fn read_details(id: TaskId, body: &[u8]) -> Result<Option<Report>, ProviderError> {
    let mut message = Message::parse(body, MAX_ROWS).ok_or_else(unreadable)?;
    let is_entry = |row: &Row| row.owner() == Owner::Task(id) && row.error().is_none();
    if let Some(at) = message.rows.iter().position(is_entry) {
        return Ok(Some(archived(id, message.rows.swap_remove(at))));
    }
    let refusal = message
        .rows
        .iter()
        .filter_map(Row::error)
        .find(|e| !says_nothing(e));
    if let Some(error) = refusal {
        return Err(refused_query(&error));
    }
    match message.odd {
        true => Err(unreadable()),
        false => Ok(None),
    }
}

fn archived(id: TaskId, mut entry: Row) -> Report {
    let request = entry.take("request").and_then(|sent| echo(id, &sent));
    let response = entry.take("response").map(|value| Message::of(value, MAX_ROWS));
    let report = match response {
        None => Report::default(),
        Some(None) => Report {
            doubt: true,
            ..Report::default()
        },
        Some(Some(message)) => own_report(id, &message),
    };
    Report { request, ..report }
}

/// What the task was sent with. Its links are secrets and stay behind.
fn echo(id: TaskId, sent: &Value) -> Option<RequestEcho> {
    let one = std::slice::from_ref(sent);
    let tasks = sent.as_array().map_or(one, Vec::as_slice);
    let names = |task: &&Value| {
        task.get("taskUUID")
            .and_then(Value::as_str)
            .and_then(TaskId::parse)
            == Some(id)
    };
    let task = tasks.iter().find(names)?;
    let text = |name: &str| task.get(name).and_then(Value::as_str);
    let number = |name: &str| task.get(name).and_then(Value::as_u64);
    Some(RequestEcho {
        model: text("model").map(|m| m.chars().take(MAX_MODEL_CHARS).collect()),
        number_results: number("numberResults").and_then(|n| u32::try_from(n).ok()),
        output_format: text("outputFormat").map(str::to_owned),
        ttl_s: number("ttl"),
    })
}

/// The rows of one task as its report.
fn report(rows: &[&Row], doubt: bool) -> Report {
    let mut report = Report {
        doubt,
        ..Report::default()
    };
    let mut listed = vec![];
    let mut inline = vec![];
    for row in rows {
        report.doubt |= row.is_odd();
        match row.error() {
            None => add_item(&mut report, row),
            Some(error) if refuses(row, &error) => report.doubt = true,
            Some(error) if !is_failure(row, &error) => {}
            Some(error) => {
                report.doubt |= row.link().is_some();
                let list = if row.is_listed_as_error() {
                    &mut listed
                } else {
                    &mut inline
                };
                list.push(failure(&error));
            }
        }
    }
    report
        .items
        .extend(merged(listed, inline).into_iter().map(Item::Failed));
    report
}

fn add_item(report: &mut Report, row: &Row) {
    let (item, doubt) = item(row);
    report.doubt |= doubt;
    let known = match &item {
        Item::Success(new) => report
            .successes()
            .find(|s| s.result == new.result)
            .map(|s| s == new),
        _ => None,
    };
    if let Some(same) = known {
        // The answer repeats itself, or contradicts itself: the first word stands.
        report.doubt |= !same;
        return;
    }
    report.items.push(item);
}

/// The item of a row that is no error, and whether it is odd. `status` may be absent (seen in callbacks): the link,
/// or else the id, of a result then says that there is one. An acknowledgement, which has neither, is running.
fn item(row: &Row) -> (Item, bool) {
    let settled = row.status().is_none() || row.says("success");
    let running = RUNNING.iter().any(|word| row.says(word));
    match row.link() {
        // Believed with a word we do not know: a link that is passed over is a paid result lost.
        Some(link) if !running => (Item::Success(success(row, link)), !settled),
        Some(_) => (Item::Running, true),
        None if row.says("success") => (Item::Linkless, false),
        None if settled && row.given_id().is_some() => (Item::Linkless, false),
        None => (Item::Running, false),
    }
}

fn success(row: &Row, link: &str) -> Success {
    let given = row.given_id().and_then(ResultId::given);
    let result = given.or_else(|| row.result_index().map(ResultId::indexed));
    Success {
        result: result.unwrap_or_else(|| ResultId::from_url(link)),
        source: SourceUrl(link.to_owned()),
        cost: row.cost(),
        nsfw: row.nsfw(),
    }
}

fn failure(error: &RowError) -> Failure {
    Failure {
        code: wording::code(&error.code).unwrap_or_else(|| "unknownError".to_owned()),
        message: wording::message(&error.message),
        content_policy: Family::of(&error.code) == Family::Safety,
    }
}

/// An error that refuses the question, though it may name the task: a getResponse carries the task's own UUID, and so
/// does its refusal. One that says `status: "error"`, or stands in an item, is the work's.
fn refuses(row: &Row, error: &RowError) -> bool {
    let family = Family::of(&error.code);
    let about_asking = matches!(
        family,
        Family::Account | Family::Permission | Family::Quota | Family::Rate | Family::Server
    );
    about_asking && !is_of_the_work(row)
}

/// An error for nobody in particular.
fn is_unclaimed(row: &Row, error: &RowError) -> bool {
    !matches!(row.owner(), Owner::Task(_)) && !says_nothing(error)
}

/// Whether an error that refuses nothing means that the work has failed.
fn is_failure(row: &Row, error: &RowError) -> bool {
    match Family::of(&error.code) {
        // A replay was refused: the first submission goes on.
        Family::Conflict => false,
        // An unknown UUID, a queued one and a forgotten one look alike.
        Family::NoTask => false,
        Family::NotFound => is_of_the_work(row),
        _ => true,
    }
}

fn is_of_the_work(row: &Row) -> bool {
    row.says("error") || !row.is_listed_as_error()
}

/// The task may be unknown, queued, forgotten or under way.
fn says_nothing(error: &RowError) -> bool {
    matches!(
        Family::of(&error.code),
        Family::Conflict | Family::NoTask | Family::NotFound
    )
}

/// A failed item may be told in `errors`, in `data`, or in both: told twice it is still one, and two that failed alike
/// are two. An item that names no reason goes with any listed error.
fn merged(listed: Vec<Failure>, inline: Vec<Failure>) -> Vec<Failure> {
    let mut unmatched: Vec<Failure> = listed.clone();
    let (bare, telling): (Vec<_>, Vec<_>) = inline
        .into_iter()
        .partition(|f| f.message.is_empty() && f.code == "unknownError");
    let mut all = listed;
    for failure in telling {
        match unmatched.iter().position(|l| *l == failure) {
            Some(at) => drop(unmatched.swap_remove(at)),
            None => all.push(failure),
        }
    }
    let untold = bare.len().saturating_sub(unmatched.len());
    all.extend(bare.into_iter().take(untold));
    all
}

fn refused_query(error: &RowError) -> ProviderError {
    ProviderError {
        code: wording::code(&error.code).unwrap_or_else(|| "unknownError".to_owned()),
        retry_after: None,
        parked: parks(200, Family::of(&error.code)),
    }
}

fn unreadable() -> ProviderError {
    ProviderError {
        code: "unreadable_answer".to_owned(),
        retry_after: None,
        parked: false,
    }
}
