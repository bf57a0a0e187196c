//! The bodies about endpoints: every fault at once, nothing stored before the last was found.

use super::super::Api;
use super::super::error::ApiError;
use super::super::fault::{FaultCode, Faults, member, unknown_member};
use super::super::query::{duration, is_label_key};
use crate::domain::address::GuardError;
use crate::domain::delivery::{Endpoint, Format, Secret};
use crate::domain::endpoint::Change;
use crate::domain::event::EventKind;
use crate::domain::ids::{EndpointId, EventId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::endpoints::Which;
use crate::ports::store::EventQuery;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

const MAX_URL_BYTES: usize = 2_000;
/// Of the secrets we make; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;
/// As tasks may have: a filter for more could never match.
const MAX_LABELS: usize = 16;
const MAX_LABEL_BYTES: usize = 128;
/// More models than the provider has for one kind of work.
const MAX_MODELS: usize = 20;
const MAX_MODEL_BYTES: usize = 200;
/// The old secret signs for a day when nothing else is said, and for a week at most.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

const NEW: [&str; 8] = [
    "url", "types", "labels", "models", "format", "disabled", "secret", "from",
];
const CHANGED: [&str; 6] = ["url", "types", "labels", "models", "format", "disabled"];
const ROTATED: [&str; 2] = ["secret", "overlap"];
const REDRIVEN: [&str; 5] = ["delivery", "event", "since", "until", "all"];

/// # Errors
/// `InvalidEndpoint` with every fault of the body.
pub async fn new_endpoint(api: &Api, tenant: &Tenant, body: &Value) -> Result<Endpoint, ApiError> {
    let last = *api.store.last_sequence().borrow();
    let mut faults = Faults::default();
    let members = members(body, &NEW, &mut faults);
    let change = read_change(api, members, &mut faults).await;
    if !members.contains_key("url") && body.is_object() {
        faults.add("/url", FaultCode::Required, "is required");
    }
    let secret = secret(members.get("secret"), &mut faults).unwrap_or_else(|| random_secret(api));
    let cursor = cursor(members.get("from"), last, &mut faults);
    let url = change.url.clone().filter(|_| faults.is_empty());
    let Some(url) = url else {
        return Err(ApiError::InvalidEndpoint(faults.into_vec()));
    };
    if members.contains_key("from") {
        check_position(api, tenant, cursor).await?;
    }
    let (id, now) = (EndpointId::new(api.rng.bytes16()), api.clock.now());
    let mut endpoint = Endpoint::new(id, tenant.clone(), url, secret, now);
    endpoint.cursor = cursor;
    endpoint.change(change, now);
    Ok(endpoint)
}

/// What retention has removed cannot be delivered any more, and nobody shall believe that it will be: as in the feed.
async fn check_position(api: &Api, tenant: &Tenant, cursor: u64) -> Result<(), ApiError> {
    let first = EventQuery {
        tenant: tenant.clone(),
        after: cursor,
        limit: 1,
        types: vec![],
        models: vec![],
        labels: BTreeMap::new(),
        task: None,
    };
    let oldest = api.store.events(&first).await?.oldest;
    match cursor < oldest {
        true => Err(ApiError::CursorTooOld { oldest }),
        false => Ok(()),
    }
}

/// # Errors
/// As [`new_endpoint`].
pub async fn change(api: &Api, body: &Value) -> Result<Change, ApiError> {
    let mut faults = Faults::default();
    let members = members(body, &CHANGED, &mut faults);
    let change = read_change(api, members, &mut faults).await;
    told(change, faults)
}

/// The new secret and for how long the old one signs beside it.
pub fn rotation(api: &Api, body: Option<&Value>) -> Result<(Secret, Duration), ApiError> {
    let mut faults = Faults::default();
    let empty = Value::Object(Map::new());
    let members = members(body.unwrap_or(&empty), &ROTATED, &mut faults);
    let secret = secret(members.get("secret"), &mut faults).unwrap_or_else(|| random_secret(api));
    let overlap = overlap(members.get("overlap"), &mut faults);
    told((secret, overlap), faults)
}

/// Which deliveries are sent again; without a word all dead ones.
pub fn redrive(body: Option<&Value>) -> Result<Which, ApiError> {
    let mut faults = Faults::default();
    let empty = Value::Object(Map::new());
    let members = members(body.unwrap_or(&empty), &REDRIVEN, &mut faults);
    let which = which(members, &mut faults);
    told(which, faults)
}

fn told<T>(value: T, faults: Faults) -> Result<T, ApiError> {
    match faults.is_empty() {
        true => Ok(value),
        false => Err(ApiError::InvalidEndpoint(faults.into_vec())),
    }
}

fn members<'a>(body: &'a Value, known: &[&str], faults: &mut Faults) -> &'a Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    let Some(members) = body.as_object() else {
        faults.add("", FaultCode::WrongType, "must be an object");
        return &EMPTY;
    };
    for name in members.keys().filter(|n| !known.contains(&n.as_str())) {
        match name.as_str() {
            "secret" => faults.add(
                "/secret",
                FaultCode::NotAllowed,
                "is changed by `POST /v1/endpoints/{id}/rotate`",
            ),
            _ => unknown_member(faults, "", name, known.iter().copied()),
        }
    }
    members
}

/// What a new endpoint and a changed one have in common. Null, or an empty list, takes a filter away.
async fn read_change(api: &Api, members: &Map<String, Value>, faults: &mut Faults) -> Change {
    let url = members.get("url").and_then(|url| read_url(url, faults));
    if let Some(url) = &url {
        check_address(api, url, faults).await;
    }
    Change {
        url: url.map(Into::into),
        types: members.get("types").map(|v| types(v, faults)),
        labels: members.get("labels").map(|v| labels(v, faults)),
        models: members.get("models").map(|v| models(v, faults)),
        format: members.get("format").and_then(|v| format(v, faults)),
        disabled: members.get("disabled").and_then(|v| {
            let value = v.as_bool();
            if value.is_none() {
                faults.add("/disabled", FaultCode::WrongType, "must be true or false");
            }
            value
        }),
    }
}

pub(super) fn read_url(value: &Value, faults: &mut Faults) -> Option<Url> {
    let (code, detail) = match value {
        Value::String(text) if text.len() > MAX_URL_BYTES => {
            (FaultCode::TooLong, "must have at most 2000 bytes")
        }
        Value::String(text) => match Url::parse(text) {
            Ok(url) => return Some(url),
            Err(_) => (FaultCode::InvalidFormat, "must be an absolute URL"),
        },
        _ => (FaultCode::WrongType, "must be a string"),
    };
    faults.add("/url", code, detail);
    None
}

/// T9. A name server may be away for a while: such a URL is taken, and checked again at each delivery.
async fn check_address(api: &Api, url: &Url, faults: &mut Faults) {
    match api.endpoint_check.check(url).await {
        Err(e) if !e.is_retryable() => faults.add("/url", FaultCode::NotAllowed, forbidden(e)),
        _ => (),
    }
}

/// The guard's code and sentence; its text tells no address.
fn forbidden(e: GuardError) -> String {
    format!("{} ({})", e, e.code())
}

pub(super) fn types(value: &Value, faults: &mut Faults) -> Vec<EventKind> {
    let items = match value {
        Value::Null => return vec![],
        Value::Array(items) if items.is_empty() => {
            let detail = "must name a type; null, or leaving it out, is for the default types";
            faults.add("/types", FaultCode::TooShort, detail);
            return vec![];
        }
        Value::Array(items) => items,
        _ => {
            faults.add("/types", FaultCode::WrongType, "must be an array of event types");
            return vec![];
        }
    };
    let mut types = vec![];
    for (n, item) in items.iter().enumerate() {
        match item.as_str().and_then(EventKind::parse) {
            Some(kind) if !types.contains(&kind) => types.push(kind),
            Some(_) => (),
            None if faults.is_full() => break,
            None => faults.add(
                format!("/types/{n}"),
                FaultCode::NotAllowed,
                "must be an event type",
            ),
        }
    }
    types
}

pub(super) fn labels(value: &Value, faults: &mut Faults) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let members = match value {
        Value::Null => return labels,
        Value::Object(members) if members.len() <= MAX_LABELS => members,
        Value::Object(_) => {
            faults.add("/labels", FaultCode::TooLong, "must have at most 16 labels");
            return labels;
        }
        _ => {
            faults.add("/labels", FaultCode::WrongType, "must be an object of strings");
            return labels;
        }
    };
    for (key, value) in members {
        let fault = match value {
            _ if !is_label_key(key) => (FaultCode::InvalidFormat, "a label key is [a-z][a-z0-9_.-]{0,39}"),
            Value::String(text) if text.len() > MAX_LABEL_BYTES => {
                (FaultCode::TooLong, "must have at most 128 bytes")
            }
            Value::String(text) => {
                labels.insert(key.clone(), text.clone());
                continue;
            }
            _ => (FaultCode::WrongType, "must be a string"),
        };
        // A name that is wrong may be of any length: it is not repeated.
        let pointer = if is_label_key(key) {
            member("/labels", key)
        } else {
            "/labels".to_owned()
        };
        faults.add(pointer, fault.0, fault.1);
    }
    labels
}

pub(super) fn models(value: &Value, faults: &mut Faults) -> Vec<String> {
    let items = match value {
        Value::Null => return vec![],
        Value::Array(items) if items.len() <= MAX_MODELS => items,
        Value::Array(_) => {
            faults.add("/models", FaultCode::TooLong, "must have at most 20 models");
            return vec![];
        }
        _ => {
            faults.add("/models", FaultCode::WrongType, "must be an array of models");
            return vec![];
        }
    };
    let mut models: Vec<String> = vec![];
    for (n, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(text) if (1..=MAX_MODEL_BYTES).contains(&text.len()) => {
                if !models.iter().any(|known| known == text) {
                    models.push(text.to_owned());
                }
            }
            Some(_) => faults.add(
                format!("/models/{n}"),
                FaultCode::InvalidFormat,
                "must have 1 to 200 bytes",
            ),
            None => faults.add(format!("/models/{n}"), FaultCode::WrongType, "must be a string"),
        }
    }
    models
}

pub(super) fn format(value: &Value, faults: &mut Faults) -> Option<Format> {
    let format = value.as_str().and_then(Format::parse);
    match (value, format) {
        (_, Some(format)) => return Some(format),
        (Value::String(_), None) => faults.add(
            "/format",
            FaultCode::NotAllowed,
            "must be `standard`, `cloudevents` or `runware`",
        ),
        _ => faults.add("/format", FaultCode::WrongType, "must be a string"),
    }
    None
}

pub(super) fn secret(value: Option<&Value>, faults: &mut Faults) -> Option<Secret> {
    let text = match value? {
        Value::String(text) => text,
        _ => {
            faults.add("/secret", FaultCode::WrongType, "must be a string");
            return None;
        }
    };
    let secret = Secret::parse(text);
    if secret.is_err() {
        let detail = "must be `whsec_` and the base64 of 24 to 64 bytes";
        faults.add("/secret", FaultCode::InvalidFormat, detail);
    }
    secret.ok()
}

fn random_secret(api: &Api) -> Secret {
    let mut bytes = vec![0; SECRET_BYTES];
    api.rng.fill(&mut bytes);
    Secret(bytes)
}

pub(super) fn overlap(value: Option<&Value>, faults: &mut Faults) -> Duration {
    let given = match value {
        None | Some(Value::Null) => return OVERLAP,
        Some(Value::String(text)) => duration(text),
        Some(Value::Number(n)) => n.as_u64().map(Duration::from_secs),
        Some(_) => None,
    };
    match given {
        Some(overlap) if overlap <= MAX_OVERLAP => return overlap,
        Some(_) => faults.add("/overlap", FaultCode::OutOfRange, "must be at most 7 days"),
        None => faults.add(
            "/overlap",
            FaultCode::InvalidFormat,
            "must be a duration such as `24h`, or seconds",
        ),
    }
    OVERLAP
}

/// `from` names the first event wanted; the cursor stands before it.
pub(super) fn cursor(from: Option<&Value>, last: u64, faults: &mut Faults) -> u64 {
    match from.map(|v| (v, v.as_u64())) {
        None => last,
        Some((_, Some(from))) if from <= last.saturating_add(1) => from.saturating_sub(1),
        Some((_, Some(_))) => {
            faults.add(
                "/from",
                FaultCode::OutOfRange,
                "must be at most one past the last event",
            );
            last
        }
        Some(_) => {
            faults.add(
                "/from",
                FaultCode::WrongType,
                "must be a sequence of the event log",
            );
            last
        }
    }
}

/// A delivery as it is named outside: `dlv_` and its number.
pub const DELIVERY_PREFIX: &str = "dlv_";

pub(super) fn which(members: &Map<String, Value>, faults: &mut Faults) -> Which {
    let text = |name: &str, faults: &mut Faults| match members.get(name) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            faults.add(format!("/{name}"), FaultCode::WrongType, "must be a string");
            None
        }
    };
    let (delivery, event) = (text("delivery", faults), text("event", faults));
    let mut instant = |name: &str| {
        let read: Option<Timestamp> = text(name, faults)?.parse().ok();
        if read.is_none() {
            let detail = "must be an RFC 3339 instant, such as 2026-01-02T03:04:05Z";
            faults.add(format!("/{name}"), FaultCode::InvalidFormat, detail);
        }
        read
    };
    let (since, until) = (instant("since"), instant("until"));
    let all = match members.get("all") {
        None | Some(Value::Null) | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => {
            faults.add("/all", FaultCode::WrongType, "must be true or false");
            false
        }
    };
    let ranged = since.is_some() || until.is_some();
    let ways = [delivery.is_some(), event.is_some(), ranged, all];
    if ways.iter().filter(|way| **way).count() > 1 {
        let detail = "must name one delivery, one event, a range of time, or all";
        faults.add("", FaultCode::NotAllowed, detail);
    }
    match (delivery, event) {
        (Some(text), _) => {
            let number = text.strip_prefix(DELIVERY_PREFIX).and_then(|n| n.parse().ok());
            if number.is_none() {
                let detail = "must be a delivery's id (`dlv_…`)";
                faults.add("/delivery", FaultCode::InvalidFormat, detail);
            }
            Which::Delivery(number.unwrap_or_default())
        }
        (None, Some(text)) => Which::Event(EventId::stored(text)),
        (None, None) => Which::Dead { since, until },
    }
}
