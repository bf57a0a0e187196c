//! From a validated task to what is stored: our members applied, the rest as the client wrote it.

use super::reserved;
use super::validate::integer;
use crate::domain::asset::ObjectExt;
use crate::domain::ids::TaskId;
use crate::domain::task_webhook::{NAME as WEBHOOK_URL, TaskWebhook};
use crate::domain::time::Timestamp;
use crate::http::ApiSettings;
use crate::http::fault::member;
use crate::http::json::fingerprint_without;
use crate::ports::clock::Rng;
use crate::steps::submit::{Adjusted, TaskDraft};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// A task without faults, and its own text within the body.
pub struct Checked<'a> {
    /// Its pointer within the body.
    pub at: &'a str,
    pub task: &'a Map<String, Value>,
    pub text: &'a RawValue,
    /// Whether the model is one whose parameters we know in full.
    pub is_known_model: bool,
}

/// The draft that `steps::submit` takes.
pub fn draft(rng: &dyn Rng, settings: &ApiSettings, checked: &Checked<'_>, now: Timestamp) -> TaskDraft {
    let Checked { at, task, .. } = *checked;
    let reserved = reserved::read(task, now);
    let id = text(task, "taskUUID")
        .and_then(TaskId::parse)
        .unwrap_or_else(|| TaskId::ordered(now.as_millis(), rng.bytes16()));
    let ttl_s = ttl_s(task, settings);
    let ours = ours(task, ttl_s);
    let prompt = settings.default_prompt.as_deref();
    let prompt = prompt.filter(|_| checked.is_known_model && !task.contains_key("positivePrompt"));
    TaskDraft {
        id,
        model: text(task, "model").unwrap_or_default().to_owned(),
        number_results: task
            .get("numberResults")
            .and_then(integer)
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
        labels: reserved.labels,
        key_prefix: reserved.key_prefix,
        ext: text(task, "outputFormat").and_then(ObjectExt::new),
        ttl: Duration::from_secs(ttl_s),
        deadline: reserved.deadline,
        document: document(checked.text, id, &ours, prompt),
        task_type: text(task, "taskType").map(str::to_owned),
        webhook: text(task, WEBHOOK_URL).map(|url| TaskWebhook { url: url.to_owned() }),
        // The UUID is what is looked up; whether it was spelled in capitals changes nothing.
        fingerprint: fingerprint_without("taskUUID", task),
        adjusted: adjusted(task, at, ours),
    }
}

fn text<'a>(task: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    task.get(name).and_then(Value::as_str)
}

fn ttl_s(task: &Map<String, Value>, settings: &ApiSettings) -> u64 {
    let given = task
        .get("ttl")
        .and_then(integer)
        .and_then(|s| u64::try_from(s).ok());
    given.map_or(settings.default_ttl.as_secs(), |s| {
        s.max(settings.min_ttl.as_secs())
    })
}

/// The members whose values we decide, whatever was given.
fn ours(task: &Map<String, Value>, ttl_s: u64) -> Vec<(&'static str, Value)> {
    // Left alone when it is right already, so that the provider sees the client's own spelling.
    let ttl = match task.get("ttl") {
        Some(given) if integer(given) == i64::try_from(ttl_s).ok() => given.clone(),
        _ => json!(ttl_s),
    };
    vec![
        ("includeCost", json!(true)),
        ("deliveryMethod", json!("async")),
        ("ttl", ttl),
    ]
}

/// Those of ours that differ from what was sent; `from` is null for what was absent.
fn adjusted(task: &Map<String, Value>, at: &str, ours: Vec<(&'static str, Value)>) -> Vec<Adjusted> {
    ours.into_iter()
        .filter(|(name, to)| task.get(*name) != Some(to))
        .map(|(name, to)| Adjusted {
            pointer: member(at, name),
            from: short(task.get(name)),
            to,
        })
        .collect()
}

/// `deliveryMethod` may be anything at all; the answer, which is stored, repeats only what is short.
fn short(given: Option<&Value>) -> Value {
    match given {
        None | Some(Value::Array(_) | Value::Object(_)) => Value::Null,
        Some(Value::String(s)) if s.len() > 64 => Value::Null,
        Some(value) => value.clone(),
    }
}

/// The task as it will be sent: members we do not touch keep their exact text (digits of numbers, escapes).
fn document(sent: &RawValue, id: TaskId, ours: &[(&'static str, Value)], prompt: Option<&str>) -> String {
    let mut members: BTreeMap<String, Cow<'_, RawValue>> =
        serde_json::from_str::<BTreeMap<String, &RawValue>>(sent.get())
            .expect("read before as an object")
            .into_iter()
            .map(|(name, text)| (name, Cow::Borrowed(text)))
            .collect();
    members.remove("catchment");
    members.remove(WEBHOOK_URL); // ours in its place, when it is sent
    let mut set = |name: &str, value: &Value| {
        let text = serde_json::value::to_raw_value(value).expect("a JSON value serializes");
        members.insert(name.to_owned(), Cow::Owned(text));
    };
    set("taskUUID", &json!(id.to_string()));
    ours.iter().for_each(|(name, value)| set(name, value));
    if let Some(prompt) = prompt {
        set("positivePrompt", &json!(prompt));
    }
    serde_json::to_string(&members).expect("strings and raw JSON serialize")
}

#[cfg(test)]
mod tests;
