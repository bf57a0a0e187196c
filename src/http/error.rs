//! One exhaustive match from what went wrong to what the caller is told (RFC 9457 problem+json).

use super::fault::{Fault, FaultCode};
use crate::domain::ids::TaskId;
use crate::ports::store::StoreError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;
use utoipa::ToSchema;

/// Named for what the caller is told. Text in a variant is for the caller's eyes: it repeats no value of the request
/// and nothing of ours.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiError {
    /// Not one JSON document, or one that two readers may read differently.
    MalformedJson(String),
    /// A task (or the array of them), with every fault.
    InvalidTask(Vec<Fault>),
    InvalidEndpoint(Vec<Fault>),
    InvalidQuery(Vec<Fault>),
    /// A list of tasks to import, with every fault.
    InvalidImport(Vec<Fault>),
    /// The bucket did not answer what this request is about.
    BucketUnavailable {
        code: String,
    },
    /// Which tasks a bulk action is for.
    InvalidFilter(Vec<Fault>),
    InvalidIdempotencyKey,
    /// The key is known with another body.
    KeyReused,
    /// The task UUID is known with another body, or belongs to somebody else.
    TaskConflict {
        pointer: String,
        task: TaskId,
    },
    /// Nothing of the task is expired or failed.
    NothingToRetry {
        task: TaskId,
    },
    TooManyEndpoints {
        max: usize,
    },
    BodyTooLarge {
        max_bytes: usize,
    },
    /// Its values would need far more memory than its text.
    TooManyValues,
    UnsupportedMediaType(&'static str),
    /// The body did not arrive whole within its deadline; the connection is closed.
    BodyTimeout,
    /// The connection broke within the body.
    BodyIncomplete,
    /// The key has too much in work.
    RateLimited,
    /// The key asks more often than it may.
    TooFast {
        /// Seconds.
        wait_s: u32,
    },
    Unauthorized,
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    /// There is no object to read; the asset's status.
    AssetNotArchived {
        status: &'static str,
    },
    /// No link into the object store can be made.
    ObjectStoreUnavailable,
    /// The log's beginning was removed; the smallest position still answered.
    CursorTooOld {
        oldest: u64,
    },
    /// Nothing was stored.
    StorageUnavailable,
    /// Too much is waiting to be stored; nothing was stored.
    Overloaded,
    /// Ours. The log tells, the caller is not told.
    Internal,
}

/// What is fixed for each variant.
struct Facts {
    status: StatusCode,
    /// Stable.
    code: &'static str,
    title: &'static str,
    /// The same request may succeed later.
    retryable: bool,
}

/// Every `code` there is, for the documentation and its test.
pub const CODES: [&str; 27] = [
    "malformed_json",
    "invalid_task",
    "invalid_endpoint",
    "invalid_query",
    "invalid_import",
    "bucket_unavailable",
    "invalid_filter",
    "invalid_idempotency_key",
    "idempotency_key_reused",
    "task_uuid_conflict",
    "nothing_to_retry",
    "too_many_endpoints",
    "body_too_large",
    "unsupported_media_type",
    "body_timeout",
    "body_incomplete",
    "rate_limited",
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "asset_not_archived",
    "object_store_unavailable",
    "cursor_too_old",
    "not_supported_yet",
    "storage_unavailable",
    "overloaded",
    "internal",
];

/// Where each code is explained: an address within the documentation, relative to this service.
const TYPE_BASE: &str = "/docs/problems#";

/// Seconds until a try is worth it: a full queue drains in well under this, a full disk does not.
const RETRY_OVERLOADED_S: u32 = 1;
const RETRY_STORAGE_S: u32 = 5;
const RETRY_RATE_S: u32 = 1;

impl ApiError {
    fn facts(&self) -> Facts {
        let (status, code, title, retryable) = match self {
            Self::MalformedJson(_) => (400, "malformed_json", "The body is not well-formed JSON", false),
            Self::InvalidTask(faults) => (
                422,
                either(faults, "invalid_task"),
                "The task is not valid",
                false,
            ),
            Self::InvalidEndpoint(faults) => (
                422,
                either(faults, "invalid_endpoint"),
                "The endpoint is not valid",
                false,
            ),
            Self::InvalidQuery(_) => (400, "invalid_query", "The query is not valid", false),
            Self::InvalidImport(_) => (422, "invalid_import", "The list is not valid", false),
            Self::BucketUnavailable { .. } => (503, "bucket_unavailable", "The bucket does not answer", true),
            Self::InvalidFilter(_) => (422, "invalid_filter", "The filter is not valid", false),
            Self::NothingToRetry { .. } => (409, "nothing_to_retry", "There is nothing to retry", false),
            Self::InvalidIdempotencyKey => (
                400,
                "invalid_idempotency_key",
                "The Idempotency-Key is not valid",
                false,
            ),
            Self::KeyReused => (
                422,
                "idempotency_key_reused",
                "The Idempotency-Key belongs to another body",
                false,
            ),
            Self::TaskConflict { .. } => (
                409,
                "task_uuid_conflict",
                "The taskUUID belongs to another task",
                false,
            ),
            Self::TooManyEndpoints { .. } => {
                (422, "too_many_endpoints", "No room for another endpoint", false)
            }
            Self::TooManyValues => (413, "body_too_large", "The body holds too many values", false),
            Self::BodyTooLarge { .. } => (413, "body_too_large", "The body is too large", false),
            Self::UnsupportedMediaType(_) => (
                415,
                "unsupported_media_type",
                "The body is of a type we do not read",
                false,
            ),
            Self::BodyTimeout => (408, "body_timeout", "The body took too long", true),
            Self::BodyIncomplete => (400, "body_incomplete", "The body broke off", true),
            Self::RateLimited => (429, "rate_limited", "Too many requests at once", true),
            Self::TooFast { .. } => (429, "rate_limited", "Too many requests", true),
            Self::Unauthorized => (401, "unauthorized", "No valid API key", false),
            Self::NotFound => (404, "not_found", "Not found", false),
            Self::MethodNotAllowed { .. } => (405, "method_not_allowed", "Method not allowed", false),
            Self::AssetNotArchived { status } => (
                409,
                "asset_not_archived",
                "The asset is not archived",
                matches!(*status, "pending" | "archiving"),
            ),
            Self::ObjectStoreUnavailable => (
                503,
                "object_store_unavailable",
                "No link into the object store can be made",
                true,
            ),
            Self::CursorTooOld { .. } => (410, "cursor_too_old", "The position is too old", false),
            Self::StorageUnavailable => (503, "storage_unavailable", "Nothing can be stored now", true),
            Self::Overloaded => (503, "overloaded", "Too much is waiting", true),
            Self::Internal => (500, "internal", "Internal error", true),
        };
        Facts {
            status: StatusCode::from_u16(status).expect("a number above is a status"),
            code,
            title,
            retryable,
        }
    }

    /// A sentence and a next step.
    fn detail(&self) -> String {
        match self {
            Self::MalformedJson(detail) => detail.clone(),
            Self::InvalidTask(faults)
            | Self::InvalidEndpoint(faults)
            | Self::InvalidFilter(faults)
            | Self::InvalidQuery(faults)
            | Self::InvalidImport(faults) => {
                let (n, s) = (faults.len(), if faults.len() == 1 { "" } else { "s" });
                format!("{n} fault{s}, listed under `errors`. Nothing was stored: mend and send again.")
            }
            Self::BucketUnavailable { code } if code == "access_denied" => {
                "The bucket refuses (access_denied). Reading the journal needs the rights s3:ListBucket and \
                 s3:GetObject; grant them, or import a list of taskUUIDs."
                    .into()
            }
            Self::BucketUnavailable { code } => {
                format!(
                    "The bucket does not answer ({code}). Nothing was changed: send the request again later."
                )
            }
            Self::InvalidIdempotencyKey => {
                "The header must be one string of 1 to 255 printable ASCII characters.".into()
            }
            Self::KeyReused => {
                "The key was used with a different body. Use a new key for a new request.".into()
            }
            Self::TaskConflict { .. } => {
                "A task with this UUID was submitted with a different body. Use a new UUID for a new task."
                    .into()
            }
            Self::NothingToRetry { .. } => {
                "No result of it is expired or failed, and it did not end without one. A rejected task was never paid: \
                 submit it again under a new UUID."
                    .into()
            }
            Self::TooManyEndpoints { max } => {
                format!("There are {max} endpoints already. Delete one that is not needed.")
            }
            Self::BodyTooLarge { max_bytes } => {
                format!("A body may have {max_bytes} bytes. Give media by URL or by media UUID.")
            }
            Self::TooManyValues => {
                "The body holds more values than any request needs. Send a list in parts, or line by line as CSV or NDJSON."
                    .into()
            }
            Self::UnsupportedMediaType(detail) => (*detail).into(),
            Self::CursorTooOld { oldest } => format!(
                "Events after this position were removed (`events.retention`). The oldest position is {oldest}: read on \
                 with `after={oldest}`, or make an endpoint with `from: {}`, knowing that there is a gap.",
                oldest.saturating_add(1)
            ),
            Self::BodyTimeout => "The body did not arrive whole in time. Send it again.".into(),
            Self::BodyIncomplete => "The connection broke within the body. Send it again.".into(),
            Self::RateLimited => "This key has too many requests in work. Wait and send again.".into(),
            Self::TooFast { wait_s } => {
                format!("This key asks more often than it may. Send again after {wait_s} s.")
            }
            Self::Unauthorized => {
                "Send `Authorization: Bearer <api key>`; `catchment keys create NAME` makes one on the host."
                    .into()
            }
            Self::NotFound => "There is nothing here that this key can see.".into(),
            Self::MethodNotAllowed { allow } => format!("This address answers {allow}."),
            Self::AssetNotArchived { status } => {
                format!("The asset is {status}: there is no object to read. Look at its status and reason.")
            }
            Self::ObjectStoreUnavailable => {
                "The credentials for the object store cannot be had. Try again; the log tells the cause."
                    .into()
            }
            Self::StorageUnavailable => "Nothing was stored. Send the same request again later.".into(),
            Self::Overloaded => "Nothing was stored. Send the same request again in a moment.".into(),
            Self::Internal => "The request id finds the cause in the log.".into(),
        }
    }

    fn faults(&self) -> Vec<Fault> {
        match self {
            Self::InvalidTask(faults)
            | Self::InvalidEndpoint(faults)
            | Self::InvalidFilter(faults)
            | Self::InvalidQuery(faults)
            | Self::InvalidImport(faults) => faults.clone(),
            Self::TaskConflict { pointer, .. } => vec![Fault {
                pointer: pointer.clone(),
                code: FaultCode::NotAllowed,
                detail: "is known with another body".into(),
            }],
            _ => vec![],
        }
    }

    /// The answer. `request_id` is the one told in `X-Request-Id`; without one, equal errors get equal answers.
    pub fn respond(&self, request_id: Option<&str>) -> HttpResponse {
        let Facts {
            status,
            code,
            title,
            retryable,
        } = self.facts();
        let problem = Problem {
            kind: format!("{TYPE_BASE}{code}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            code,
            errors: self.faults(),
            retryable,
            request_id: request_id.map(str::to_owned),
            task_uuid: match self {
                Self::TaskConflict { task, .. } | Self::NothingToRetry { task } => Some(task.to_string()),
                _ => None,
            },
            oldest_position: match self {
                Self::CursorTooOld { oldest } => Some(*oldest),
                _ => None,
            },
        };
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        match self {
            Self::StorageUnavailable | Self::BucketUnavailable { .. } | Self::ObjectStoreUnavailable => {
                response.insert_header((RETRY_AFTER, RETRY_STORAGE_S));
            }
            Self::Overloaded => drop(response.insert_header((RETRY_AFTER, RETRY_OVERLOADED_S))),
            Self::RateLimited => drop(response.insert_header((RETRY_AFTER, RETRY_RATE_S))),
            Self::TooFast { wait_s } => drop(response.insert_header((RETRY_AFTER, *wait_s))),
            Self::Unauthorized => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
            Self::MethodNotAllowed { allow } => drop(response.insert_header((ALLOW, allow.as_str()))),
            // What is left of the body would be read as the next request.
            Self::BodyTimeout => drop(response.force_close()),
            _ => (),
        }
        response.body(serde_json::to_vec(&problem).expect("strings and numbers serialize"))
    }
}

/// A request whose only faults are things we do not do yet says so.
fn either(faults: &[Fault], code: &'static str) -> &'static str {
    match faults.iter().all(|f| f.code == FaultCode::NotSupportedYet) {
        true => "not_supported_yet",
        false => code,
    }
}

/// RFC 9457, with members of ours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "type": "/docs/problems#invalid_task", "title": "The task is not valid", "status": 422,
    "detail": "1 fault, listed under `errors`. Nothing was stored: mend and send again.", "code": "invalid_task",
    "errors": [{"pointer": "/ttl", "code": "out_of_range", "detail": "must be an integer of at least 60"}],
    "retryable": false, "requestId": "req_0192f0c1a2b34c5d8e9f00112233aabb"
}))]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What is wrong with this request, and the next step.
    detail: String,
    /// Stable: branch on this.
    code: &'static str,
    /// All faults at once, at most 100.
    errors: Vec<Fault>,
    /// Whether the same request may succeed later.
    retryable: bool,
    /// As in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(rename = "taskUUID", skip_serializing_if = "Option::is_none")]
    task_uuid: Option<String>,
    /// With `cursor_too_old`: the smallest `after` that is still answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_position: Option<u64>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().code)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.facts().status
    }

    /// A stand-in: `edge` knows the request's id and answers in its place.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

impl From<StoreError> for ApiError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Overloaded => Self::Overloaded,
            StoreError::Unavailable { .. } => {
                tracing::warn!(error = &e as &dyn std::error::Error, "not stored: {e}");
                Self::StorageUnavailable
            }
            // No handler holds a lease or writes over a version it read: both would be our own mistake.
            StoreError::Conflict { .. } | StoreError::LeaseLost | StoreError::Corrupt { .. } => {
                tracing::error!(error = &e as &dyn std::error::Error, "a request failed: {e}");
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests;
