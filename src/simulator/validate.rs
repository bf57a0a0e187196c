//! What the provider accepts. The avatar models are checked whole, by a table; other models by their envelope.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use url::Url;
use uuid::{Uuid, Variant, Version};

use super::wire::{ErrorEntry, Kind};

/// The models whose whole parameter list is known (Runware's model pages, klingai-avatar-2-0-pro and -standard).
pub const AVATARS: [&str; 2] = ["klingai:avatar@2.0-pro", "klingai:avatar@2.0-standard"];

struct Rule {
    name: &'static str,
    required: bool,
    want: Want,
}

enum Want {
    Text {
        max: usize,
    },
    Constant(&'static str),
    Choice(&'static [&'static str]),
    Integer {
        min: i64,
        max: Option<i64>,
    },
    Flag,
    Link,
    /// Stored media, a link, a data URI or base64.
    Media,
    Uuid4,
    Object(&'static [Rule]),
    /// An object whose members nobody published.
    AnyObject,
}

const fn required(name: &'static str, want: Want) -> Rule {
    Rule {
        name,
        required: true,
        want,
    }
}

const fn optional(name: &'static str, want: Want) -> Rule {
    Rule {
        name,
        required: false,
        want,
    }
}

static AVATAR: &[Rule] = &[
    required("taskType", Want::Constant("videoInference")),
    required("taskUUID", Want::Uuid4),
    required("model", Want::Choice(&AVATARS)),
    required(
        "inputs",
        Want::Object(&[required("image", Want::Media), required("audio", Want::Media)]),
    ),
    optional("positivePrompt", Want::Text { max: 2500 }),
    optional("outputType", Want::Choice(&["URL"])),
    optional("outputFormat", Want::Choice(&["MP4", "WEBM", "MOV"])),
    optional(
        "outputQuality",
        Want::Integer {
            min: 20,
            max: Some(99),
        },
    ),
    optional("numberResults", Want::Integer { min: 1, max: Some(4) }),
    optional("deliveryMethod", Want::Choice(&["async"])),
    optional("webhookURL", Want::Link),
    optional("uploadEndpoint", Want::Link),
    optional("ttl", Want::Integer { min: 60, max: None }),
    optional("includeCost", Want::Flag),
    optional(
        "safety",
        Want::Object(&[
            optional("checkContent", Want::Flag),
            optional("mode", Want::Choice(&["none", "fast", "full"])),
        ]),
    ),
    optional("routing", Want::AnyObject),
];

/// What every other model shares; further members pass.
static ENVELOPE: &[Rule] = &[
    required("taskUUID", Want::Uuid4),
    required("model", Want::Text { max: 200 }),
    optional(
        "numberResults",
        Want::Integer {
            min: 1,
            max: Some(20),
        },
    ),
    optional("deliveryMethod", Want::Choice(&["sync", "async"])),
    optional("webhookURL", Want::Link),
    optional("uploadEndpoint", Want::Link),
    optional("ttl", Want::Integer { min: 60, max: None }),
    optional("includeCost", Want::Flag),
];

/// Every fault of a generation task; none means it is accepted.
pub fn faults_of(task: &Map<String, Value>, require_prompt: bool) -> Vec<ErrorEntry> {
    let mut faults = Vec::new();
    let model = task.get("model").and_then(Value::as_str).unwrap_or_default();
    let is_avatar = AVATARS.contains(&model);
    check_members(
        task,
        if is_avatar { AVATAR } else { ENVELOPE },
        "",
        is_avatar,
        &mut faults,
    );
    if is_avatar && require_prompt && !task.contains_key("positivePrompt") {
        faults.push(missing("positivePrompt", "string"));
    }
    let task_uuid = uuid_of(task);
    let task_type = task.get("taskType").and_then(Value::as_str);
    faults
        .into_iter()
        .map(|fault| fault.about(task_uuid, task_type))
        .collect()
}

pub fn uuid_of(task: &Map<String, Value>) -> Option<Uuid> {
    task.get("taskUUID")?.as_str()?.parse().ok()
}

/// The `taskUUID` of a utility task.
///
/// # Errors
/// It is missing or no UUID.
pub fn required_uuid(task: &Map<String, Value>) -> Result<Uuid, ErrorEntry> {
    let Some(value) = task.get("taskUUID") else {
        return Err(missing("taskUUID", "string"));
    };
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| invalid("taskUUID", "string", "must be a UUID"))
}

pub fn kind_of(task: &Map<String, Value>) -> Option<Kind> {
    Kind::of(task.get("taskType")?.as_str()?)
}

fn check_members(
    object: &Map<String, Value>,
    rules: &'static [Rule],
    path: &str,
    strict: bool,
    faults: &mut Vec<ErrorEntry>,
) {
    for rule in rules {
        let parameter = format!("{path}{}", rule.name);
        match object.get(rule.name) {
            Some(value) => check(value, &rule.want, &parameter, faults),
            None if rule.required => faults.push(missing(&parameter, rule.want.kind())),
            None => {}
        }
    }
    if !strict {
        return;
    }
    for name in object
        .keys()
        .filter(|name| rules.iter().all(|rule| rule.name != *name))
    {
        let parameter = format!("{path}{name}");
        let message = format!("Unsupported parameter '{parameter}' for this model.");
        faults.push(ErrorEntry::new("unsupportedParameter", message).parameter(parameter, "unknown"));
    }
}

fn check(value: &Value, want: &Want, parameter: &str, faults: &mut Vec<ErrorEntry>) {
    let kind = want.kind();
    let fault = match (want, value) {
        (Want::Object(rules), Value::Object(members)) => {
            return check_members(members, rules, &format!("{parameter}."), true, faults);
        }
        (Want::AnyObject, Value::Object(_)) | (Want::Flag, Value::Bool(_)) => return,
        (Want::Text { max }, Value::String(text)) => check_length(text, *max, parameter),
        (Want::Constant(constant), Value::String(text)) => check_choice(text, &[constant], parameter),
        (Want::Choice(choices), Value::String(text)) => check_choice(text, choices, parameter),
        (Want::Integer { min, max }, Value::Number(_)) => check_integer(value, *min, *max, parameter),
        (Want::Link, Value::String(text)) if is_link(text) => return,
        (Want::Link, Value::String(_)) => Some(invalid(parameter, kind, "must be an http or https URL")),
        (Want::Media, Value::String(text)) if is_media(text) => return,
        (Want::Media, Value::String(_)) => Some(invalid(
            parameter,
            kind,
            "must be a media UUID, a public URL, a data URI or base64",
        )),
        (Want::Uuid4, Value::String(text)) if is_uuid4(text) => return,
        (Want::Uuid4, Value::String(_)) => Some(invalid(parameter, kind, "must be a UUID v4")),
        _ => Some(invalid(parameter, kind, &format!("must be of type {kind}"))),
    };
    faults.extend(fault);
}

fn check_length(text: &str, max: usize, parameter: &str) -> Option<ErrorEntry> {
    if (1..=max).contains(&text.chars().count()) {
        return None;
    }
    let mut fault = invalid(parameter, "string", &format!("must have 1 to {max} characters"));
    (fault.min, fault.max) = (Some(1), Some(max as i64));
    Some(fault)
}

fn check_choice(text: &str, choices: &[&'static str], parameter: &str) -> Option<ErrorEntry> {
    if choices.contains(&text) {
        return None;
    }
    let mut fault = invalid(
        parameter,
        "string",
        &format!("must be one of: {}", choices.join(", ")),
    );
    fault.allowed_values = Some(choices.to_vec());
    Some(fault)
}

fn check_integer(value: &Value, min: i64, max: Option<i64>, parameter: &str) -> Option<ErrorEntry> {
    let fits = |number: i64| number >= min && max.is_none_or(|max| number <= max);
    if value.as_i64().is_some_and(fits) {
        return None;
    }
    let range = max.map_or(format!("at least {min}"), |max| {
        format!("between {min} and {max}")
    });
    let mut fault = invalid(parameter, "integer", &format!("must be an integer, {range}"));
    (fault.min, fault.max) = (Some(min), max);
    Some(fault)
}

fn is_link(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_media(text: &str) -> bool {
    let is_data_uri = || text.starts_with("data:") && text.contains(";base64,");
    // Short words decode as base64 by accident; no file is that short.
    let is_base64 = || text.len() >= 64 && STANDARD.decode(text).is_ok();
    text.parse::<Uuid>().is_ok() || is_link(text) || is_data_uri() || is_base64()
}

fn is_uuid4(text: &str) -> bool {
    let is_v4 = |id: Uuid| id.get_version() == Some(Version::Random) && id.get_variant() == Variant::RFC4122;
    text.len() == 36 && text.parse().is_ok_and(is_v4)
}

fn missing(parameter: &str, kind: &'static str) -> ErrorEntry {
    let message = format!("Required parameter '{parameter}' is missing.");
    ErrorEntry::new(code("missing", parameter), message).parameter(parameter, kind)
}

fn invalid(parameter: &str, kind: &'static str, demand: &str) -> ErrorEntry {
    let message = format!("Invalid value for '{parameter}': it {demand}.");
    ErrorEntry::new(code("invalid", parameter), message).parameter(parameter, kind)
}

/// `invalidTtl` for `ttl`, `missingImage` for `inputs.image`: the family is documented, the exact names are assumed.
fn code(family: &str, parameter: &str) -> String {
    let name = parameter.rsplit('.').next().unwrap_or(parameter);
    let (first, rest) = name.split_at(1);
    format!("{family}{}{rest}", first.to_ascii_uppercase())
}

impl Want {
    fn kind(&self) -> &'static str {
        match self {
            Want::Integer { .. } => "integer",
            Want::Flag => "boolean",
            Want::Object(_) | Want::AnyObject => "object",
            _ => "string",
        }
    }
}
