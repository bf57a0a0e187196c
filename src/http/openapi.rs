//! The OpenAPI document: generated from the handlers and from the tables that requests are checked against.

use super::error::CODES;
use super::tasks::models::{self, Others};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::LazyLock;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

pub use super::endpoints::EndpointView as Endpoint;
pub use super::error::Problem;
pub use super::events::EventView as Event;
pub use super::tasks::TaskView as Task;
pub use super::tasks::view::AssetView as Asset;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Catchment",
        description = "A generated video you paid for is never lost and never bought twice.\n\nSubmit and walk away: \
            Catchment takes the completion callback, copies the video into your bucket before its link expires, and \
            tells your systems. Times are RFC 3339 in UTC with milliseconds; errors are RFC 9457 problems whose `code` \
            is stable.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        super::tasks::submit::submit, super::tasks::list, super::tasks::show,
        super::tasks::retry::one, super::tasks::retry::many, super::events::list,
        super::tasks::webhook::redrive, super::assets::show, super::assets::content,
        super::tasks::import::run, super::usage::show, super::audit::show, super::audit::repair,
        super::endpoints::create, super::endpoints::list, super::endpoints::show, super::endpoints::delete,
        super::endpoints::change::change, super::endpoints::change::rotate, super::endpoints::change::test,
        super::endpoints::deliveries::list, super::endpoints::deliveries::redrive,
        super::callback::receive, super::health::live, super::health::ready, super::health::version,
        super::health::metrics, super::health::openapi_json, super::health::problems,
    ),
    components(schemas(AvatarTask, OtherTask, Reserved, Problem)),
    tags(
        (name = "tasks", description = "Submit and follow"),
        (name = "assets", description = "What was archived"),
        (name = "usage", description = "What was spent, and the proof that nothing is lost"),
        (name = "events", description = "The event log"),
        (name = "endpoints", description = "Webhook subscribers"),
        (name = "provider", description = "For the provider"),
        (name = "health", description = "For operators"),
    ),
    modifiers(&ApiKey),
)]
struct Described;

struct ApiKey;

impl Modify for ApiKey {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("ck_…")
            .description(Some(
                "An API key, made on the host by `catchment keys create NAME`",
            ));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("apiKey", SecurityScheme::Http(bearer.build()));
    }
}

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Described::openapi()).expect("the description is JSON");
    problems(&mut document);
    document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] = json!(CODES);
    document["webhooks"] = webhooks();
    let mut text = serde_json::to_string_pretty(&document).expect("a JSON value serializes");
    text.push('\n');
    text
});

/// The document, as it is served and as it is kept beside the code.
pub fn document() -> &'static str {
    &DOCUMENT
}

/// What every operation with a key may answer, beside what its handler lists.
const WITH_A_KEY: [(&str, &str); 4] = [
    ("401", "`unauthorized`"),
    (
        "429",
        "`rate_limited`: wait for `Retry-After` seconds; `RateLimit` tells what is left",
    ),
    ("500", "`internal`"),
    ("503", "`storage_unavailable`"),
];

/// Errors that are the same everywhere, said once.
fn problems(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter();
    let operations = operations
        .flat_map(|paths| paths.values_mut())
        .filter_map(Value::as_object_mut);
    for operation in operations.flat_map(|item| item.values_mut()) {
        let takes_key = operation["security"]
            .as_array()
            .is_some_and(|s| s.iter().any(|s| s.get("apiKey").is_some()));
        let Some(responses) = operation["responses"].as_object_mut() else {
            continue;
        };
        for (status, description) in WITH_A_KEY.into_iter().filter(|_| takes_key) {
            responses
                .entry(status)
                .or_insert_with(|| json!({ "description": description }));
        }
        responses
            .iter_mut()
            .for_each(|(status, response)| be_a_problem(status, response));
    }
}

/// Every error is a problem, unless its handler says otherwise.
fn be_a_problem(status: &str, response: &mut Value) {
    if status.starts_with(['4', '5']) && response.get("content").is_none() {
        let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        response["content"] = json!({ "application/problem+json": problem });
    }
}

fn webhooks() -> Value {
    let header = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": true, "description": description, "schema": { "type": "string" } });
    json!({ "event": { "post": {
        "summary": "An event, sent to an endpoint",
        "description": "Standard Webhooks 1.0.0. At least once: the same `webhook-id` may come again. Any 2xx takes \
            it; 410 disables the endpoint.",
        "parameters": [
            header("webhook-id", "The event's id, the same for ever"),
            header("webhook-timestamp", "Unix seconds of this try"),
            header("webhook-signature", "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`; several with a space between"),
        ],
        "requestBody": { "required": true, "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/Event" }, "example": example_event(),
        } } },
        "responses": { "2XX": { "description": "Taken" }, "410": { "description": "Never send again" } },
    } } })
}

/// A schema that is written down, or comes from a table.
macro_rules! schema {
    ($(#[$meta:meta])* $name:ident, $schema:expr $(, $part:ty)*) => {
        $(#[$meta])*
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                serde_json::from_value($schema).expect("a schema that the test of the document reads")
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $(
                    schemas.push((<$part as ToSchema>::name().into_owned(), <$part as PartialSchema>::schema()));
                    <$part as ToSchema>::schemas(schemas);
                )*
                let _ = schemas;
            }
        }
    };
}

schema!(
    /// `klingai:avatar@2.0-pro` and `-standard`, in full.
    AvatarTask,
    {
        let mut schema = models::schema(models::AVATAR, Others::Refused);
        schema["properties"]["model"] = json!({ "type": "string", "enum": models::AVATARS });
        schema
    }
);
schema!(
    /// Any other model: the envelope.
    OtherTask,
    models::schema(models::ENVELOPE, Others::Pass)
);
schema!(Submission, {
    let task =
        json!([{ "$ref": "#/components/schemas/AvatarTask" }, { "$ref": "#/components/schemas/OtherTask" }]);
    json!({ "oneOf": [
        { "anyOf": task },
        { "type": "array", "minItems": 1, "maxItems": 100, "items": { "anyOf": task } },
    ] })
});
schema!(
    Reserved,
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "labels": {
                "type": "object", "additionalProperties": { "type": "string" },
                "description": "At most 16; key [a-z][a-z0-9_.-]{0,39}, value at most 128 bytes of UTF-8, 1 KiB in all. \
                    Copied to events, object metadata and the ledger.",
            },
            "keyPrefix": {
                "type": "string", "pattern": "^[A-Za-z0-9_.-][A-Za-z0-9/_.-]{0,127}$",
                "description": "Put after `s3.prefix`; without `..`",
            },
            "deadline": {
                "type": "string",
                "description": "When waiting for an outcome ends: an RFC 3339 instant, or a duration from now such as \
                    `6h` (a number is seconds); at most 30 days ahead",
            },
        },
    })
);
schema!(
    SubmissionAnswer,
    json!({ "type": "object", "required": ["data"], "properties": { "data": {
        "type": "array", "items": { "$ref": "#/components/schemas/SubmissionEntry" },
    } } }),
    SubmissionEntry
);
schema!(
    SubmissionEntry,
    json!({
        "type": "object", "required": ["taskUUID", "status", "origin", "createdAt", "adjusted"],
        "properties": {
            "taskUUID": { "type": "string", "format": "uuid" },
            "status": { "type": "string", "enum": ["accepted"] },
            "origin": { "type": "string", "enum": ["submitted"] },
            "createdAt": { "type": "string", "format": "date-time" },
            "adjusted": { "type": "array", "items": {
                "type": "object", "required": ["pointer", "from", "to"],
                "properties": {
                    "pointer": { "type": "string", "description": "JSON pointer from the body's root" },
                    "from": { "description": "null when it was absent" },
                    "to": {},
                },
            } },
        },
    })
);
schema!(NewEndpoint, {
    let mut schema = endpoint_members();
    schema["required"] = json!(["url"]);
    schema["properties"]["secret"] = json!({ "type": "string", "description": "`whsec_` and the base64 of 24 to 64 bytes; made when absent" });
    schema["properties"]["from"] = json!({ "type": "integer", "minimum": 0, "description": "Sequence of the first event wanted; the next one when absent" });
    schema
});
schema!(
    /// Members that are left out stay as they are.
    EndpointChange,
    endpoint_members()
);
schema!(
    RetryFilter,
    json!({
        "type": "object", "additionalProperties": false, "patternProperties": { "^label\\.": { "type": "string" } },
        "description": "All members must hold. `label.<key>` says the same as a member of `labels`.",
        "properties": {
            "status": {
                "description": "One state or several; failed, partial and timed_out when absent",
                "oneOf": [{ "type": "string" }, { "type": "array", "minItems": 1, "items": { "type": "string" } }],
            },
            "reason": { "type": "string", "description": "Of the task, or of one of its results" },
            "model": { "type": "string" },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "since": { "type": "string", "format": "date-time", "description": "Created at or after" },
            "until": { "type": "string", "format": "date-time", "description": "Created before" },
            "cursor": { "type": "string", "description": "`nextCursor` of the answer before" },
        },
    })
);
schema!(
    Rotation,
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "secret": { "type": "string", "description": "`whsec_` and the base64 of 24 to 64 bytes; made when absent" },
            "overlap": { "type": "string", "default": "24h", "description": "How long the secret before signs as well: at most 7 days, `0` for not at all" },
        },
    })
);
schema!(
    RedriveBody,
    json!({
        "type": "object", "additionalProperties": false,
        "description": "One delivery, one event, a range of time, or (when empty, too) all dead ones",
        "properties": {
            "delivery": { "type": "string", "description": "`dlv_…`" },
            "event": { "type": "string", "description": "An event's id" },
            "since": { "type": "string", "format": "date-time", "description": "Dead ones of events at or after" },
            "until": { "type": "string", "format": "date-time", "description": "Dead ones of events before" },
            "all": { "type": "boolean" },
        },
    })
);
schema!(
    EventData,
    json!({
        "type": "object", "required": ["labels"],
        "description": "Version 1: members are only ever added. Never a provider link, a prompt or a secret.",
        "properties": {
            "taskUUID": { "type": "string", "format": "uuid" },
            "resultId": { "type": "string" },
            "status": { "type": "string" },
            "reason": { "type": "string" },
            "providerCode": { "type": "string" },
            "model": { "type": "string" },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "round": { "type": "integer" },
            "bucket": { "type": "string" },
            "key": { "type": "string" },
            "size": { "type": "integer", "description": "Bytes" },
            "sha256": { "type": "string", "description": "Lower-case hex" },
            "contentType": { "type": "string" },
            "duration": { "type": "number", "description": "Seconds" },
            "width": { "type": "integer", "description": "Pixels" },
            "height": { "type": "integer", "description": "Pixels" },
            "cost": { "type": "number", "description": "USD" },
            "nsfw": { "type": "boolean" },
            "archiveBy": { "type": "string", "format": "date-time", "description": "`asset.at_risk`: when the provider's link dies at the latest we count on" },
            "archived": { "type": "integer", "description": "On a task's end: results archived" },
            "expected": { "type": "integer", "description": "On a task's end: results expected" },
            "endpoint": { "type": "string", "description": "Operator events: which endpoint" },
            "event": { "type": "string", "description": "Operator events: which event could not be delivered" },
        },
    })
);

fn endpoint_members() -> Value {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "url": { "type": "string", "format": "uri", "maxLength": 2000, "description": "https, at a public address" },
            "types": { "type": ["array", "null"], "minItems": 1, "items": { "type": "string" }, "description": "Null for the default types" },
            "labels": {
                "type": ["object", "null"], "maxProperties": 16, "additionalProperties": { "type": "string", "maxLength": 128 },
                "description": "Only events of tasks with all of these labels",
            },
            "models": {
                "type": ["array", "null"], "maxItems": 20, "items": { "type": "string", "minLength": 1, "maxLength": 200 },
                "description": "Only events of tasks of one of these models",
            },
            "format": { "type": "string", "enum": ["standard", "cloudevents", "runware"], "default": "standard" },
            "disabled": { "type": "boolean", "default": false, "description": "Its events are kept until it is enabled again" },
        },
    })
}

const TASK: &str = "0192f0c1-a2b3-4c5d-8e9f-00112233aabb";

pub fn example_submission() -> Value {
    json!({
        "taskType": "videoInference", "model": "klingai:avatar@2.0-pro",
        "inputs": { "image": "https://cdn.example.com/face.png", "audio": "https://cdn.example.com/voice.mp3" },
        "catchment": { "labels": { "campaign": "spring" } },
    })
}

pub fn example_answer() -> Value {
    json!({ "data": [{
        "taskUUID": TASK, "status": "accepted", "origin": "submitted", "createdAt": "2026-01-02T03:04:05.678Z",
        "adjusted": [
            { "pointer": "/includeCost", "from": null, "to": true },
            { "pointer": "/deliveryMethod", "from": null, "to": "async" },
            { "pointer": "/ttl", "from": null, "to": 604_800 },
        ],
    }] })
}

pub fn example_task() -> Value {
    json!({
        "taskUUID": TASK, "status": "completed", "reason": null, "providerCode": null, "origin": "submitted",
        "submission": "confirmed", "model": "klingai:avatar@2.0-pro", "numberResults": 1,
        "labels": { "campaign": "spring" }, "cost": 0.435, "createdAt": "2026-01-02T03:04:05.678Z",
        "submittedAt": "2026-01-02T03:04:05.901Z", "deadline": "2026-01-03T03:04:05.901Z",
        "settledAt": "2026-01-02T03:07:41.220Z",
        "assets": [{
            "resultId": "6fa0c1f2-7d1e-4b7a-9a55-0c9f0e3a1b2d", "status": "archived", "reason": null, "round": 1,
            "confirmed": true, "bucket": "videos", "key": format!("{TASK}/6fa0c1f2-7d1e-4b7a-9a55-0c9f0e3a1b2d.mp4"),
            "size": 4_194_304, "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "contentType": "video/mp4", "duration": 5.0, "width": 1080, "height": 1920, "nsfw": false,
            "archiveBy": "2026-01-09T03:04:05.901Z", "archivedAt": "2026-01-02T03:07:41.220Z",
        }],
        "failures": [],
        "timeline": [{ "at": "2026-01-02T03:04:05.678Z", "kind": "accepted", "detail": {} }],
    })
}

pub fn example_asset() -> Value {
    let task = example_task();
    let mut asset = task["assets"][0].clone();
    for name in ["taskUUID", "model", "labels", "cost"] {
        asset[name] = task[name].clone();
    }
    asset
}

pub fn example_event() -> Value {
    json!({
        "id": "evt_5f1d3c9a7b2e4f60a1b2c3d4e5f60718", "sequence": 17, "taskSequence": 4, "type": "asset.archived",
        "timestamp": "2026-01-02T03:07:41.220Z",
        "data": {
            "taskUUID": TASK, "resultId": "6fa0c1f2-7d1e-4b7a-9a55-0c9f0e3a1b2d", "status": "archived",
            "model": "klingai:avatar@2.0-pro", "labels": { "campaign": "spring" }, "round": 1, "bucket": "videos",
            "key": format!("{TASK}/6fa0c1f2-7d1e-4b7a-9a55-0c9f0e3a1b2d.mp4"), "size": 4_194_304,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "contentType": "video/mp4",
            "duration": 5.0, "width": 1080, "height": 1920, "cost": 0.435, "nsfw": false,
        },
    })
}

pub fn example_endpoint() -> Value {
    let mut endpoint = example_shown_endpoint();
    endpoint["secret"] = json!("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    endpoint
}

pub fn example_shown_endpoint() -> Value {
    json!({
        "id": "ep_0f1e2d3c4b5a69788796a5b4c3d2e1f0", "url": "https://hooks.example.com/catchment",
        "types": ["asset.archived"], "labels": {}, "models": [], "format": "standard",
        "createdAt": "2026-01-02T03:04:05.678Z", "disabled": false, "disabledAt": null, "disabledReason": null,
        "failingSince": null, "oldSecretUntil": null,
    })
}

pub fn example_delivery() -> Value {
    json!({
        "id": "dlv_17", "event": "evt_5f1d3c9a7b2e4f60a1b2c3d4e5f60718", "type": "asset.archived", "sequence": 17,
        "taskUUID": TASK, "timestamp": "2026-01-02T03:07:41.220Z", "status": "waiting", "reason": null,
        "nextAttemptAt": "2026-01-02T03:07:46.301Z", "attemptCount": 1,
        "attempts": [{ "number": 1, "at": "2026-01-02T03:07:41.260Z", "durationMs": 41, "status": 503, "code": null,
            "retryAfter": 5, "excerpt": "busy" }],
    })
}

#[cfg(test)]
mod tests;
