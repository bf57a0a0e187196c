//! The reserved member `catchment`: for us, stripped before the provider sees the task.

use crate::domain::time::Timestamp;
use crate::http::fault::{FaultCode, Faults, member, unknown_member};
use crate::http::query::{duration, is_label_key};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// What a client asked of us, apart from the task itself.
#[derive(Debug, Default, PartialEq)]
pub struct Reserved {
    pub labels: BTreeMap<String, String>,
    pub key_prefix: Option<String>,
    pub deadline: Option<Timestamp>,
}

const MEMBERS: [&str; 4] = ["labels", "keyPrefix", "deadline", "maxCost"];

const MAX_LABELS: usize = 16;
const MAX_LABEL_VALUE_BYTES: usize = 128;
/// Of all keys and values together: object metadata has 2 KiB for everything.
const MAX_LABELS_BYTES: usize = 1024;
const MAX_KEY_PREFIX_BYTES: usize = 128;
/// No render takes longer, and no link lives as long by default.
const MAX_DEADLINE: Duration = Duration::from_secs(30 * 86_400);

pub fn check(value: &Value, at: &str, now: Timestamp, faults: &mut Faults) {
    let Value::Object(members) = value else {
        return faults.add(at, FaultCode::WrongType, "must be an object");
    };
    for (name, value) in members {
        let pointer = member(at, name);
        match name.as_str() {
            "labels" => check_labels(value, &pointer, faults),
            "keyPrefix" => check_key_prefix(value, &pointer, faults),
            "deadline" => check_deadline(value, &pointer, now, faults),
            "maxCost" => faults.add(pointer, FaultCode::NotSupportedYet, "is not supported yet"),
            _ => unknown_member(faults, at, name, MEMBERS.into_iter()),
        }
        if faults.is_full() {
            return;
        }
    }
}

/// What [`check`] found no fault with.
pub fn read(task: &Map<String, Value>, now: Timestamp) -> Reserved {
    let Some(Value::Object(members)) = task.get("catchment") else {
        return Reserved::default();
    };
    let labels = members.get("labels").and_then(Value::as_object);
    let label = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Reserved {
        labels: labels.into_iter().flatten().filter_map(label).collect(),
        key_prefix: members
            .get("keyPrefix")
            .and_then(Value::as_str)
            .map(str::to_owned),
        deadline: members.get("deadline").and_then(|v| deadline(v, now)),
    }
}

fn check_labels(value: &Value, at: &str, faults: &mut Faults) {
    let Value::Object(labels) = value else {
        return faults.add(at, FaultCode::WrongType, "must be an object of strings");
    };
    if labels.len() > MAX_LABELS {
        return faults.add(
            at,
            FaultCode::TooLong,
            format!("must hold at most {MAX_LABELS} labels"),
        );
    }
    for (key, value) in labels {
        check_label(key, value, at, faults);
    }
    let bytes: usize = labels
        .iter()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if bytes > MAX_LABELS_BYTES {
        let detail = format!("must have at most {MAX_LABELS_BYTES} bytes, keys and values together");
        faults.add(at, FaultCode::TooLong, detail);
    }
}

fn check_label(key: &str, value: &Value, labels: &str, faults: &mut Faults) {
    if !is_label_key(key) {
        // A key of any length would be repeated in the pointer: the fault is told at the object.
        let at = if key.len() <= 100 {
            member(labels, key)
        } else {
            labels.to_owned()
        };
        return faults.add(
            at,
            FaultCode::InvalidFormat,
            "a label key is [a-z][a-z0-9_.-]{0,39}",
        );
    }
    let at = member(labels, key);
    match value {
        Value::String(text) if text.len() <= MAX_LABEL_VALUE_BYTES => (),
        Value::String(_) => {
            faults.add(
                at,
                FaultCode::TooLong,
                format!("must have at most {MAX_LABEL_VALUE_BYTES} bytes"),
            );
        }
        _ => faults.add(at, FaultCode::WrongType, "must be a string"),
    }
}

fn check_key_prefix(value: &Value, at: &str, faults: &mut Faults) {
    let Value::String(prefix) = value else {
        return faults.add(at, FaultCode::WrongType, "must be a string");
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"/_.-".contains(&b);
    if prefix.is_empty() {
        faults.add(at, FaultCode::TooShort, "must not be empty");
    } else if prefix.len() > MAX_KEY_PREFIX_BYTES {
        faults.add(
            at,
            FaultCode::TooLong,
            format!("must have at most {MAX_KEY_PREFIX_BYTES} characters"),
        );
    } else if !prefix.bytes().all(letter) || prefix.contains("..") || prefix.starts_with('/') {
        let detail = "must be of [A-Za-z0-9/_.-], without `..` and without a leading `/`";
        faults.add(at, FaultCode::InvalidFormat, detail);
    }
}

fn check_deadline(value: &Value, at: &str, now: Timestamp, faults: &mut Faults) {
    let form = "must be an RFC 3339 instant, a duration such as 6h, or seconds";
    match (value, deadline(value, now)) {
        (Value::String(_) | Value::Number(_), Some(when)) => {
            if when <= now || when > now.plus(MAX_DEADLINE) {
                let detail = "must lie in the future, at most 30 days ahead";
                faults.add(at, FaultCode::OutOfRange, detail);
            }
        }
        (Value::String(_), None) => faults.add(at, FaultCode::InvalidFormat, form),
        _ => faults.add(at, FaultCode::WrongType, form),
    }
}

/// An instant, or how long from now.
fn deadline(value: &Value, now: Timestamp) -> Option<Timestamp> {
    match value {
        Value::Number(seconds) => seconds.as_u64().map(|s| now.plus(Duration::from_secs(s))),
        Value::String(text) => Timestamp::from_str(text)
            .ok()
            .or_else(|| duration(text).map(|wait| now.plus(wait))),
        _ => None,
    }
}
