//! `POST /v1/tasks`: fire and forget. Durable before 202.

use super::draft::{Checked, draft};
use super::models::{self, Others};
use super::{validate, webhook};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::fault::{Faults, member};
use crate::http::{Api, json, openapi};
use crate::ports::store::{Accepted, IdempotencyKey};
use crate::steps;
use crate::steps::submit::TaskDraft;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const IDEMPOTENT_REPLAYED: &str = "Idempotent-Replayed";

/// Longest idempotency key, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Submit tasks
///
/// One Runware task object, or an array of 1 to 100, all or nothing. The tasks are durable before the answer.
///
/// - `taskUUID` is made when absent. A known one with the same body answers the stored entry.
/// - `adjusted` lists what was changed: `includeCost` is always true, `deliveryMethod` always `async`, `ttl` is added
///   when absent and raised when shorter than this service needs. `from` is null for a member that was absent, or too
///   large to repeat.
/// - `webhookURL` becomes a subscription for that task alone; the provider never sees it. An address that events may
///   not be sent to is refused.
/// - `klingai:avatar@2.0-pro` and `klingai:avatar@2.0-standard` are validated in full; of other models the envelope
///   is checked, and the rest is passed on as it is.
/// - `catchment` is for this service and is not passed on.
/// - With `Idempotency-Key` a repeat of the same body answers the stored entries.
#[utoipa::path(
    post, path = "/v1/tasks", operation_id = "submitTasks", tag = "tasks", security(("apiKey" = [])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable characters, as a quoted string or bare; covers the whole body", example = "\"order-4711\""),
    ),
    request_body(
        content = openapi::Submission, description = "A task, or an array of them",
        examples(
            ("avatar" = (summary = "A talking avatar", value = json!(openapi::example_submission()))),
            ("several" = (summary = "Several at once", value = json!([openapi::example_submission()]))),
        ),
    ),
    responses(
        (status = 202, description = "Stored. Entries in request order.", body = openapi::SubmissionAnswer,
            headers(
                ("Location" = String, description = "The task, when there is one"),
                ("Idempotent-Replayed" = String, description = "`true` when nothing is new"),
            ),
            example = json!(openapi::example_answer())),
        (status = 400, description = "`malformed_json`, `invalid_idempotency_key`, `body_incomplete`"),
        (status = 408, description = "`body_timeout`: not whole within 30 s"),
        (status = 409, description = "`task_uuid_conflict`"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_task`, `idempotency_key_reused`"),
        (status = 503, description = "`storage_unavailable`, `overloaded`: nothing was stored", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn submit(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let key = idempotency_key(&req)?;
    let bytes = api.json_body(&caller, &req, payload).await?;
    let (text, body) = json::parse(&bytes)?;
    let drafts = drafts(&api, text, &body, api.clock.now()).await?;
    let pointers: Vec<_> = drafts.iter().map(|(at, draft)| (at.clone(), draft.id)).collect();
    let idempotency = key.map(|key| IdempotencyKey {
        key,
        fingerprint: json::fingerprint(&body),
    });
    let drafts = drafts.into_iter().map(|(_, draft)| draft).collect();
    let (store, clock) = (&*api.store, &*api.clock);
    let accepted =
        steps::submit::submit(store, clock, &api.wakeups, caller.tenant, idempotency, drafts).await;
    match accepted.map_err(|e| api.store_error(e))? {
        Accepted::Stored(entries) => Ok(answer(&entries, false)),
        Accepted::Replayed(entries) => Ok(answer(&entries, true)),
        Accepted::KeyReused => Err(ApiError::KeyReused),
        Accepted::TaskConflict { index, task } => Err(ApiError::TaskConflict {
            pointer: member(pointers.get(index).map_or("", |(at, _)| at), "taskUUID"),
            task,
        }),
    }
}

/// The tasks of a body with their pointers.
///
/// # Errors
/// `InvalidTask` with every fault of every task.
async fn drafts(
    api: &Api,
    text: &str,
    body: &Value,
    now: Timestamp,
) -> Result<Vec<(String, TaskDraft)>, ApiError> {
    let mut faults = Faults::default();
    let tasks = validate::tasks(body, now, &mut faults);
    webhook::check_addresses(api, &tasks, &mut faults).await;
    if !faults.is_empty() {
        return Err(ApiError::InvalidTask(faults.into_vec()));
    }
    let texts = texts(text, body);
    let drafts = tasks.iter().zip(texts).map(|((at, task), text)| {
        let model = task.get("model").and_then(Value::as_str);
        let checked = Checked {
            at,
            task,
            text,
            is_known_model: models::table(model).1 == Others::Refused,
        };
        (at.clone(), draft(&*api.rng, &api.settings, &checked, now))
    });
    Ok(drafts.collect())
}

/// The text of each task, as the client wrote it.
fn texts<'a>(text: &'a str, body: &Value) -> Vec<&'a RawValue> {
    let texts = match body.is_array() {
        true => serde_json::from_str(text),
        false => serde_json::from_str(text).map(|one| vec![one]),
    };
    texts.expect("read before as one document")
}

/// A structured-field string (`"abc"`), or a bare token.
fn idempotency_key(req: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut values = req.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let key = text.map(str::trim).and_then(|text| match text.strip_prefix('"') {
        Some(rest) => unquote(rest.strip_suffix('"')?),
        None => Some(text.to_owned()),
    });
    let fits = |key: &String| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b))
    };
    key.filter(fits).map(Some).ok_or(ApiError::InvalidIdempotencyKey)
}

/// The inside of a structured-field string: only `"` and `\` are escaped (RFC 8941).
fn unquote(inside: &str) -> Option<String> {
    let mut plain = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => plain.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => plain.push(c),
        }
    }
    Some(plain)
}

#[derive(Deserialize)]
struct StoredEntry<'a> {
    #[serde(rename = "taskUUID", borrow)]
    task_uuid: std::borrow::Cow<'a, str>,
}

/// Entries are stored as they were answered first, and answered as they are stored.
fn answer(entries: &[String], is_replay: bool) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    if let [only] = entries
        && let Ok(entry) = serde_json::from_str::<StoredEntry<'_>>(only)
    {
        response.insert_header((LOCATION, format!("/v1/tasks/{}", entry.task_uuid)));
    }
    if is_replay {
        response.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    response
        .content_type("application/json")
        .body(format!("{{\"data\":[{}]}}", entries.join(",")))
}

#[cfg(test)]
mod tests;
