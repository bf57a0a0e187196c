//! What each model takes: tables, walked by `validate` and shown in the OpenAPI document.

use serde_json::{Value, json};

/// One member of an object.
#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    pub required: bool,
    pub rule: Rule,
}

/// What a member's value must be.
#[derive(Debug)]
pub enum Rule {
    /// Exactly this string.
    Constant(&'static str),
    /// UUID v4, hyphenated, in either case.
    TaskUuid,
    /// The task's type: not one of the provider's utilities.
    TaskType,
    /// A model's name.
    Model,
    /// Bounds in characters (Unicode scalar values), both included.
    Text {
        min: usize,
        max: usize,
    },
    OneOf(&'static [&'static str]),
    /// Bounds included. A number with a fraction is no integer; `2.0` is one.
    Integer {
        min: i64,
        max: i64,
    },
    Boolean,
    /// Absolute, http or https.
    Url,
    /// Media by UUID, URL or data URI.
    Media,
    /// The same, or bare base64.
    MediaOrBase64,
    /// `"URL"`, or an array of nothing else: only what has a link can be archived.
    UrlOutput,
    Object(&'static [Member]),
    AnyObject,
    AnyString,
    /// Overridden whatever it is.
    Overridden,
    /// Absolute, http or https: becomes a subscription for the task alone. Where it leads is judged by `webhook`.
    Webhook,
    /// `catchment`: ours, see `reserved`.
    Reserved,
}

/// Whether members that the table does not name may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Refused,
    Pass,
}

const fn required(name: &'static str, rule: Rule) -> Member {
    Member {
        name,
        required: true,
        rule,
    }
}

const fn optional(name: &'static str, rule: Rule) -> Member {
    Member {
        name,
        required: false,
        rule,
    }
}

/// Shortest `ttl` the provider takes, in seconds (Runware video inference page).
const PROVIDER_MIN_TTL_S: i64 = 60;
/// Ten years. The provider names no maximum; sums of times must stay sums.
pub const MAX_TTL_S: i64 = 10 * 365 * 86_400;

/// Longest `webhookURL`, in bytes, as of an endpoint's URL.
pub const MAX_WEBHOOK_BYTES: usize = 2_000;

/// The models that [`AVATAR`] describes: they take the same parameters (Runware model pages).
pub const AVATARS: [&str; 2] = ["klingai:avatar@2.0-pro", "klingai:avatar@2.0-standard"];

pub const AVATAR: &[Member] = &[
    required("taskType", Rule::Constant("videoInference")),
    optional("taskUUID", Rule::TaskUuid),
    required("model", Rule::Model),
    required("inputs", Rule::Object(AVATAR_INPUTS)),
    optional("positivePrompt", Rule::Text { min: 1, max: 2_500 }),
    optional("outputType", Rule::OneOf(&["URL"])),
    optional("outputFormat", Rule::OneOf(&["MP4", "WEBM", "MOV"])),
    optional("outputQuality", Rule::Integer { min: 20, max: 99 }),
    optional("numberResults", Rule::Integer { min: 1, max: 4 }),
    optional("deliveryMethod", Rule::Overridden),
    optional("webhookURL", Rule::Webhook),
    optional("uploadEndpoint", Rule::Url),
    optional("ttl", TTL),
    optional("includeCost", Rule::Boolean),
    optional("safety", Rule::Object(SAFETY)),
    optional("routing", Rule::AnyObject),
    optional("catchment", Rule::Reserved),
];

const AVATAR_INPUTS: &[Member] = &[
    required("image", Rule::MediaOrBase64),
    required("audio", Rule::Media),
];

const SAFETY: &[Member] = &[
    optional("checkContent", Rule::Boolean),
    optional("mode", Rule::OneOf(&["none", "fast", "full"])),
];

const TTL: Rule = Rule::Integer {
    min: PROVIDER_MIN_TTL_S,
    max: MAX_TTL_S,
};

/// What every other model must have: enough to follow the task and find its results. The rest is the provider's.
pub const ENVELOPE: &[Member] = &[
    required("taskType", Rule::TaskType),
    optional("taskUUID", Rule::TaskUuid),
    required("model", Rule::Model),
    optional("numberResults", Rule::Integer { min: 1, max: 20 }),
    optional("outputType", Rule::UrlOutput),
    optional("outputFormat", Rule::AnyString),
    optional("deliveryMethod", Rule::Overridden),
    optional("webhookURL", Rule::Webhook),
    optional("uploadEndpoint", Rule::Url),
    optional("ttl", TTL),
    optional("includeCost", Rule::Boolean),
    optional("catchment", Rule::Reserved),
];

/// Task types that make nothing to archive (Runware utilities).
pub const UTILITIES: [&str; 10] = [
    "authentication",
    "ping",
    "getResponse",
    "getTaskDetails",
    "accountManagement",
    "mediaStorage",
    "imageUpload",
    "modelSearch",
    "modelUpload",
    "promptEnhance",
];

/// Longest model name, in bytes. AIR identifiers have around thirty.
pub const MAX_MODEL_BYTES: usize = 200;

/// The table for a model, and whether it is the whole of what the model takes.
pub fn table(model: Option<&str>) -> (&'static [Member], Others) {
    match model {
        Some(model) if AVATARS.contains(&model) => (AVATAR, Others::Refused),
        _ => (ENVELOPE, Others::Pass),
    }
}

/// The JSON schema of an object described by a table.
pub fn schema(members: &[Member], others: Others) -> Value {
    let properties = members.iter().map(|m| (m.name.to_owned(), rule_schema(&m.rule)));
    let required: Vec<_> = members.iter().filter(|m| m.required).map(|m| m.name).collect();
    json!({
        "type": "object",
        "properties": properties.collect::<serde_json::Map<_, _>>(),
        "required": required,
        "additionalProperties": others == Others::Pass,
    })
}

fn rule_schema(rule: &Rule) -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    match rule {
        Rule::Constant(word) => json!({ "type": "string", "enum": [word] }),
        Rule::TaskUuid => {
            json!({ "type": "string", "format": "uuid", "description": "UUID v4; made when absent" })
        }
        Rule::TaskType => text("Any task type that makes results, such as `videoInference`"),
        Rule::Model => json!({ "type": "string", "minLength": 1, "maxLength": MAX_MODEL_BYTES }),
        Rule::Text { min, max } => json!({ "type": "string", "minLength": min, "maxLength": max }),
        Rule::OneOf(words) => json!({ "type": "string", "enum": words }),
        Rule::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Rule::Boolean => json!({ "type": "boolean" }),
        Rule::Url => json!({ "type": "string", "format": "uri" }),
        Rule::Media => text("Media UUID, http(s) URL or data URI"),
        Rule::MediaOrBase64 => text("Media UUID, http(s) URL, data URI or base64"),
        Rule::UrlOutput => text("`URL`: only what has a link can be archived"),
        Rule::Object(members) => schema(members, Others::Refused),
        Rule::AnyObject => json!({ "type": "object" }),
        Rule::AnyString => json!({ "type": "string" }),
        Rule::Overridden => text("Always sent as `async`"),
        Rule::Webhook => json!({ "type": "string", "format": "uri", "maxLength": MAX_WEBHOOK_BYTES,
            "description": "Called by this service, never by the provider, about this task alone: once for each \
                result that is archived or lost, in the provider's own shape with a link to the archived file" }),
        Rule::Reserved => json!({ "$ref": "#/components/schemas/Reserved" }),
    }
}
