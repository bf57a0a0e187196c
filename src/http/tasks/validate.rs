//! A task against the table of its model: all faults at once, before money is spent.

use super::models::{self, MAX_MODEL_BYTES, MAX_WEBHOOK_BYTES, Member, Others, Rule, UTILITIES};
use super::reserved;
use crate::domain::ids::TaskId;
use crate::domain::time::Timestamp;
use crate::http::fault::{FaultCode, Faults, member, unknown_member};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use url::Url;

/// Most tasks in one request.
pub const MAX_TASKS: usize = 100;

/// The tasks of a body, each with its pointer, after reporting everything that is wrong with any of them.
/// Without faults each is an object that [`super::draft`] can read.
pub fn tasks<'a>(
    body: &'a Value,
    now: Timestamp,
    faults: &mut Faults,
) -> Vec<(String, &'a Map<String, Value>)> {
    let items: Vec<(String, &Value)> = match body {
        Value::Array(items) => {
            check_count(items.len(), faults);
            let pointed = items.iter().enumerate().map(|(n, item)| (format!("/{n}"), item));
            pointed.take(MAX_TASKS).collect()
        }
        single => vec![(String::new(), single)],
    };
    let mut objects = vec![];
    for (at, item) in items {
        match item {
            Value::Object(task) => {
                check_task(task, &at, now, faults);
                objects.push((at, task));
            }
            _ if body.is_array() => faults.add(at, FaultCode::WrongType, "must be a task object"),
            _ => faults.add(
                at,
                FaultCode::WrongType,
                "must be a task object, or an array of them",
            ),
        }
    }
    refuse_twins(&objects, faults);
    objects
}

fn check_count(count: usize, faults: &mut Faults) {
    match count {
        0 => faults.add("", FaultCode::TooShort, "must hold at least one task"),
        1..=MAX_TASKS => (),
        _ => faults.add(
            "",
            FaultCode::TooLong,
            format!("must hold at most {MAX_TASKS} tasks"),
        ),
    }
}

fn check_task(task: &Map<String, Value>, at: &str, now: Timestamp, faults: &mut Faults) {
    let (table, others) = models::table(task.get("model").and_then(Value::as_str));
    check_object(task, table, others, at, now, faults);
}

/// The same UUID twice in one array would be two tasks with one name.
fn refuse_twins(tasks: &[(String, &Map<String, Value>)], faults: &mut Faults) {
    let mut seen = BTreeSet::new();
    for (at, task) in tasks {
        let id = task
            .get("taskUUID")
            .and_then(Value::as_str)
            .and_then(TaskId::parse);
        if id.is_some_and(|id| !seen.insert(id)) {
            let detail = "names the same task as an earlier one of this array";
            faults.add(member(at, "taskUUID"), FaultCode::Duplicate, detail);
        }
    }
}

fn check_object(
    object: &Map<String, Value>,
    table: &[Member],
    others: Others,
    at: &str,
    now: Timestamp,
    faults: &mut Faults,
) {
    for m in table {
        let pointer = member(at, m.name);
        match object.get(m.name) {
            Some(value) => check(value, &m.rule, &pointer, now, faults),
            None if m.required => faults.add(pointer, FaultCode::Required, "is required"),
            None => (),
        }
    }
    if others == Others::Refused {
        let known = || table.iter().map(|m| m.name);
        for name in object.keys().filter(|name| !known().any(|k| k == name.as_str())) {
            if faults.is_full() {
                return;
            }
            unknown_member(faults, at, name, known());
        }
    }
}

fn check(value: &Value, rule: &Rule, at: &str, now: Timestamp, faults: &mut Faults) {
    match rule {
        Rule::Overridden => (),
        Rule::Reserved => reserved::check(value, at, now, faults),
        Rule::Object(table) => match value {
            Value::Object(object) => check_object(object, table, Others::Refused, at, now, faults),
            _ => faults.add(at, FaultCode::WrongType, "must be an object"),
        },
        Rule::AnyObject if value.is_object() => (),
        Rule::AnyObject => faults.add(at, FaultCode::WrongType, "must be an object"),
        Rule::Boolean if value.is_boolean() => (),
        Rule::Boolean => faults.add(at, FaultCode::WrongType, "must be true or false"),
        Rule::Integer { min, max } => check_integer(value, *min, *max, at, faults),
        Rule::UrlOutput => check_url_output(value, at, faults),
        _ => match value {
            Value::String(text) => check_text(text, rule, at, faults),
            _ => faults.add(at, FaultCode::WrongType, "must be a string"),
        },
    }
}

/// A JSON number without a fraction, as an integer: `2` and `2.0` are both two.
pub fn integer(value: &Value) -> Option<i64> {
    let whole = |f: f64| f.fract() == 0.0 && f.abs() < 9e15; // exact in a double
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|f| whole(*f)).map(|f| f as i64))
}

fn check_integer(value: &Value, min: i64, max: i64, at: &str, faults: &mut Faults) {
    let bounds = || match max {
        models::MAX_TTL_S => format!("must be an integer of at least {min}"),
        _ => format!("must be an integer from {min} to {max}"),
    };
    let is_whole_but_huge = value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0);
    match integer(value) {
        Some(n) if (min..=max).contains(&n) => (),
        Some(_) => faults.add(at, FaultCode::OutOfRange, bounds()),
        None if is_whole_but_huge => faults.add(at, FaultCode::OutOfRange, bounds()),
        None => faults.add(at, FaultCode::WrongType, bounds()),
    }
}

fn check_url_output(value: &Value, at: &str, faults: &mut Faults) {
    let detail = "must be `URL`: only what has a link can be archived";
    let is_url = |v: &Value| v.as_str() == Some("URL");
    match value {
        Value::String(_) if is_url(value) => (),
        Value::Array(items) if !items.is_empty() && items.iter().all(is_url) => (),
        Value::String(_) | Value::Array(_) => faults.add(at, FaultCode::NotAllowed, detail),
        _ => faults.add(at, FaultCode::WrongType, detail),
    }
}

fn check_text(text: &str, rule: &Rule, at: &str, faults: &mut Faults) {
    match rule {
        Rule::Constant(word) if text != *word => {
            faults.add(at, FaultCode::NotAllowed, format!("must be `{word}`"));
        }
        Rule::OneOf(words) if !words.contains(&text) => {
            faults.add(
                at,
                FaultCode::NotAllowed,
                format!("must be one of {}", words.join(", ")),
            );
        }
        Rule::Text { min, max } => check_length(text, *min, *max, at, faults),
        Rule::TaskType => check_task_type(text, at, faults),
        Rule::Model if text.is_empty() => faults.add(at, FaultCode::TooShort, "must not be empty"),
        Rule::Model if text.len() > MAX_MODEL_BYTES => {
            faults.add(
                at,
                FaultCode::TooLong,
                format!("must have at most {MAX_MODEL_BYTES} bytes"),
            );
        }
        Rule::TaskUuid if !is_v4(text) => {
            faults.add(
                at,
                FaultCode::InvalidFormat,
                "must be a UUID v4 in its hyphenated form",
            );
        }
        Rule::Webhook if text.len() > MAX_WEBHOOK_BYTES => {
            faults.add(
                at,
                FaultCode::TooLong,
                format!("must have at most {MAX_WEBHOOK_BYTES} bytes"),
            );
        }
        Rule::Url | Rule::Webhook if !is_web_url(text) => {
            faults.add(
                at,
                FaultCode::InvalidFormat,
                "must be an absolute http or https URL",
            );
        }
        Rule::Media | Rule::MediaOrBase64 if text.is_empty() => {
            faults.add(at, FaultCode::TooShort, "must not be empty");
        }
        Rule::Media if !is_media(text) => {
            faults.add(
                at,
                FaultCode::InvalidFormat,
                "must be a media UUID, a URL or a data URI",
            );
        }
        Rule::MediaOrBase64 if !is_media(text) && !is_base64(text) => {
            faults.add(
                at,
                FaultCode::InvalidFormat,
                "must be a media UUID, a URL, a data URI or base64",
            );
        }
        _ => (),
    }
}

fn check_length(text: &str, min: usize, max: usize, at: &str, faults: &mut Faults) {
    match text.chars().count() {
        n if n < min => faults.add(
            at,
            FaultCode::TooShort,
            format!("must have at least {min} characters"),
        ),
        n if n > max => faults.add(
            at,
            FaultCode::TooLong,
            format!("must have at most {max} characters"),
        ),
        _ => (),
    }
}

fn check_task_type(text: &str, at: &str, faults: &mut Faults) {
    if text.is_empty() {
        faults.add(at, FaultCode::TooShort, "must not be empty");
    } else if UTILITIES.contains(&text) {
        faults.add(at, FaultCode::NotAllowed, "makes nothing that could be archived");
    } else if text.len() > MAX_MODEL_BYTES {
        faults.add(
            at,
            FaultCode::TooLong,
            format!("must have at most {MAX_MODEL_BYTES} bytes"),
        );
    }
}

fn is_v4(text: &str) -> bool {
    TaskId::parse(text)
        .is_some_and(|id| id.0.get_version_num() == 4 && id.0.get_variant() == uuid::Variant::RFC4122)
}

fn is_web_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_media(text: &str) -> bool {
    let is_data = text
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    is_data || TaskId::parse(text).is_some() || is_web_url(text)
}

/// By its letters alone: the provider decodes it.
fn is_base64(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&b);
    text.bytes().all(letter)
}

#[cfg(test)]
mod tests;
