//! Runware's JSON, as it is sent and as it is read. What is read is walked, not deserialized: its known shapes
//! conflict (Runware webhooks page, task polling pages of two years, SDK sources), so each is taken where it stands
//! and members nobody asked for are kept and not trusted.

use crate::domain::ids::TaskId;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest link taken, in bytes. Real ones stay below 200.
const MAX_LINK_BYTES: usize = 4096;

/// The request that submits one task: an array of one, with our UUID and our callback in it. The other members go as
/// they were stored, byte for byte. `None`: the document is no JSON object.
pub fn submission(id: TaskId, document: &str, webhook_url: &str) -> Option<String> {
    let mut task: BTreeMap<String, &RawValue> = serde_json::from_str(document).ok()?;
    let ours = [
        ("taskUUID", id.to_string()),
        ("webhookURL", webhook_url.to_owned()),
    ]
    .map(|(name, text)| (name, serde_json::value::to_raw_value(&text)));
    for (name, text) in &ours {
        task.insert((*name).to_owned(), text.as_ref().ok()?);
    }
    serde_json::to_string(&[task]).ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Lookup {
    task_type: &'static str,
    #[serde(rename = "taskUUID")]
    task_uuid: String,
}

/// The request that asks where these tasks stand.
pub fn get_response(ids: &[TaskId]) -> String {
    lookup("getResponse", ids)
}

/// The request for one task's archived exchange.
pub fn get_task_details(id: TaskId) -> String {
    lookup("getTaskDetails", &[id])
}

fn lookup(task_type: &'static str, ids: &[TaskId]) -> String {
    let of = |id: &TaskId| Lookup {
        task_type,
        task_uuid: id.to_string(),
    };
    let request: Vec<Lookup> = ids.iter().map(of).collect();
    serde_json::to_string(&request).expect("strings serialize")
}

/// An answer or a callback body, whichever of its shapes it came in.
#[derive(Debug, Default)]
pub struct Message {
    pub rows: Vec<Row>,
    /// There was a `data`, however empty: the provider took the request.
    pub has_data: bool,
    /// Something in it could not be placed, or was beyond the limit.
    pub odd: bool,
}

impl Message {
    /// `None`: no JSON, nested deeper than 128, or neither object nor array. At most `max_rows` are looked at.
    pub fn parse(body: &[u8], max_rows: usize) -> Option<Self> {
        Self::of(serde_json::from_slice(body).ok()?, max_rows)
    }

    pub fn of(body: Value, max_rows: usize) -> Option<Self> {
        let mut message = Self::default();
        match body {
            Value::Object(object) => message.read_object(object),
            Value::Array(elements) => message.read_array(elements, max_rows),
            _ => return None,
        }
        message.odd |= message.rows.len() > max_rows;
        message.rows.truncate(max_rows);
        Some(message)
    }

    fn read_array(&mut self, elements: Vec<Value>, max_rows: usize) {
        for element in elements {
            match element {
                Value::Object(object) if self.rows.len() <= max_rows => self.read_object(object),
                _ => self.odd = true,
            }
        }
    }

    /// With `data` or `errors` it is an envelope; otherwise the object itself is one row.
    fn read_object(&mut self, mut object: Map<String, Value>) {
        let mut part = |name: &str| object.remove(name).filter(|v| !v.is_null());
        let (data, errors) = (part("data"), part("errors"));
        if data.is_none() && errors.is_none() {
            return self.push(Row::new(object, false));
        }
        self.has_data |= data.is_some();
        for value in data.into_iter().flat_map(elements) {
            self.read_element(value, false);
        }
        for value in errors.into_iter().flat_map(elements) {
            self.read_element(value, true);
        }
        if object.get("error").is_some_and(is_telling) {
            self.push(Row::new(object, true)); // an envelope's own error beside its lists
        }
    }

    fn read_element(&mut self, value: Value, error: bool) {
        match value {
            Value::Object(members) => self.push(Row::new(members, error)),
            Value::String(message) if error => {
                let members = Map::from_iter([("message".to_owned(), Value::String(message))]);
                self.push(Row::new(members, true));
            }
            _ => self.odd = true,
        }
    }

    /// Replies to `authentication` and `ping` concern no task.
    fn push(&mut self, row: Row) {
        let about_connection = matches!(row.text("taskType"), Some("authentication" | "ping"));
        match row.error() {
            None if about_connection => {}
            None if row.is_blank() => self.odd = true,
            _ => self.rows.push(row),
        }
    }
}

/// The older image API answers `data` as one object.
fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements,
        one => vec![one],
    }
}

/// Whose a row says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Task(TaskId),
    Unnamed,
    /// A `taskUUID` that is no UUID.
    Unreadable,
}

/// One item or one error.
#[derive(Debug)]
pub struct Row {
    members: Map<String, Value>,
    /// It stood in `errors`.
    listed_as_error: bool,
}

/// The code and the words of an error, as sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowError {
    pub code: String,
    pub message: String,
}

const IDS: [&str; 4] = ["videoUUID", "imageUUID", "audioUUID", "mediaUUID"];
const LINKS: [&str; 4] = ["videoURL", "imageURL", "audioURL", "mediaURL"];

impl Row {
    fn new(members: Map<String, Value>, listed_as_error: bool) -> Self {
        Self {
            members,
            listed_as_error,
        }
    }

    pub fn owner(&self) -> Owner {
        let nested = || self.members.get("error").and_then(|e| e.get("taskUUID"));
        match self.members.get("taskUUID").or_else(nested) {
            None | Some(Value::Null) => Owner::Unnamed,
            Some(Value::String(text)) if text.is_empty() => Owner::Unnamed,
            Some(Value::String(text)) => TaskId::parse(text).map_or(Owner::Unreadable, Owner::Task),
            Some(_) => Owner::Unreadable,
        }
    }

    /// `success`, `error`, or a word that means running.
    pub fn status(&self) -> Option<&str> {
        self.text("status")
    }

    pub fn says(&self, status: &str) -> bool {
        self.status().is_some_and(|s| s.eq_ignore_ascii_case(status))
    }

    pub fn is_listed_as_error(&self) -> bool {
        self.listed_as_error
    }

    /// The error this row is, or holds: it stands in `errors`, or its status says so, or it has no status and no
    /// result but a `code`, or an `error` (an object, a text, or `true` beside `errorMessage`).
    pub fn error(&self) -> Option<RowError> {
        let nested = self.members.get("error").filter(|e| is_telling(e));
        let told = nested.is_some() || code_of(&self.members).is_some();
        let bare = told && self.status().is_none() && self.link().is_none();
        (self.listed_as_error || self.says("error") || bare).then(|| self.read_error(nested))
    }

    fn read_error(&self, nested: Option<&Value>) -> RowError {
        let inner = nested.and_then(Value::as_object);
        let words = |m: &Map<String, Value>| {
            let found = ["message", "errorMessage"]
                .iter()
                .find_map(|name| m.get(*name)?.as_str());
            found.map(str::to_owned)
        };
        let message = inner
            .and_then(words)
            .or_else(|| nested.and_then(Value::as_str).map(str::to_owned))
            .or_else(|| words(&self.members));
        let source = inner.unwrap_or(&self.members);
        let code = inner.and_then(code_of).or_else(|| code_of(&self.members));
        RowError {
            code: code.unwrap_or_default(),
            message: with_parameters(message.unwrap_or_default(), source.get("parameter")),
        }
    }

    /// The id the provider gave a result.
    pub fn given_id(&self) -> Option<&str> {
        IDS.iter().find_map(|name| self.text(name))
    }

    pub fn result_index(&self) -> Option<u64> {
        self.members.get("resultIndex")?.as_u64()
    }

    pub fn link(&self) -> Option<&str> {
        LINKS
            .iter()
            .find_map(|name| self.text(name))
            .filter(|l| l.len() <= MAX_LINK_BYTES)
    }

    /// USD. 0 is what the provider says when it does not know.
    pub fn cost(&self) -> Option<f64> {
        self.members
            .get("cost")?
            .as_f64()
            .filter(|c| c.is_finite() && *c > 0.0)
    }

    pub fn nsfw(&self) -> Option<bool> {
        self.members.get("NSFWContent")?.as_bool()
    }

    /// A member as a text that says something.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str().filter(|s| !s.is_empty())
    }

    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|v| !v.is_null())
    }

    /// It holds what we cannot read where we would, or an error beside what is none.
    pub fn is_odd(&self) -> bool {
        let no_text = |name: &&str| {
            self.members
                .get(*name)
                .is_some_and(|v| !v.is_string() && !v.is_null())
        };
        let unreadable = IDS.iter().chain(&LINKS).chain(&["status"]).any(no_text);
        let too_long = LINKS
            .iter()
            .filter_map(|name| self.text(name))
            .any(|l| l.len() > MAX_LINK_BYTES);
        let contradicts = self.error().is_none() && self.members.get("error").is_some_and(is_telling);
        unreadable || too_long || contradicts
    }

    /// Names no task and no result: nothing to go by.
    fn is_blank(&self) -> bool {
        self.owner() == Owner::Unnamed
            && self.status().is_none()
            && self.text("taskType").is_none()
            && self.given_id().is_none()
            && self.link().is_none()
    }
}

fn code_of(members: &Map<String, Value>) -> Option<String> {
    match members.get("code")? {
        Value::String(code) if !code.is_empty() => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}

/// An empty `error` beside a result means none.
fn is_telling(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Array(_) | Value::Number(_) => false,
        Value::Bool(true) => true,
    }
}

/// `parameter` is one name, or several for a rule across fields (SDK sources).
fn with_parameters(message: String, parameter: Option<&Value>) -> String {
    let names = match parameter {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(", ")
        }
        _ => String::new(),
    };
    if names.is_empty() || message.contains(&names) {
        message
    } else {
        format!("{message} (parameter: {names})").trim_start().to_owned()
    }
}
