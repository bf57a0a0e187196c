//! `POST /cb/v1/{token}`: the provider says that something happened. Nothing is believed, a receipt is stored.
//!
//! Whatever is wrong with the path, the method or the token, the answer is one and the same: one handler stands for
//! everything below `/cb`, and `edge` adds nothing to its answers.

use super::body::Allowance;
use super::error::ApiError;
use super::{Api, edge};
use crate::domain::ids::TaskId;
use crate::ports::store::Recorded;
use crate::steps;
use crate::telemetry::metrics::CallbackResult;
use actix_web::http::{ConnectionType, Method};
use actix_web::{HttpRequest, HttpResponse, web};
use std::time::Duration;

/// We ask for URLs, never inline media, so more is a mistake or an attack.
const ALLOWANCE: Allowance = Allowance {
    max_bytes: 256 * 1024,
    // The provider gives up after about 5 s (Runware's integration guide).
    within: Duration::from_secs(5),
};

const ROUTE: &str = "/cb/v1/{token}";

/// Take a completion callback
///
/// For the provider only. The token in the path is the authentication; any fault of token, path or method is the same
/// 404. 200 means that the callback is stored.
#[utoipa::path(
    post, path = "/cb/v1/{token}", operation_id = "receiveCallback", tag = "provider", security(()),
    params(("token" = String, Path, description = "As given to the provider with the task")),
    request_body(content = serde_json::Value, description = "Whatever the provider sends, at most 256 KiB; its Content-Type does not matter"),
    responses(
        (status = 200, description = "Stored, or known already", body = serde_json::Value, example = json!({"received": true})),
        (status = 404, description = "Any fault of token, path or method"),
        (status = 408, description = "`body_timeout`: not whole within 5 s"),
        (status = 413, description = "`body_too_large`: more than 256 KiB"),
        (status = 415, description = "`unsupported_media_type`: a Content-Encoding"),
        (status = 503, description = "`storage_unavailable`, `overloaded`: not stored", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn receive(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let began = api.clock.now();
    let (result, answer) = match task_of(&req, &api) {
        None => (CallbackResult::BadToken, Ok(nothing_here())),
        Some(task) => take(&req, payload, &api, task).await,
    };
    api.metrics
        .callback_received(result, api.clock.now().since(began));
    answer
}

/// The task whose token the path holds. The path is taken as it was sent: a percent-encoded spelling of a token is
/// another text, and there is one text per token.
fn task_of(req: &HttpRequest, api: &Api) -> Option<TaskId> {
    let token = req
        .uri()
        .path()
        .strip_prefix(edge::CALLBACK_PREFIX)?
        .strip_prefix("/v1/")?;
    let task = api.keys.verify(token)?;
    (*req.method() == Method::POST).then_some(task)
}

/// Without a request id, which would differ. Always closes the connection, as it must when a body is left unread: the
/// answer is the same with and without one.
fn nothing_here() -> HttpResponse {
    let mut response = ApiError::NotFound.respond(None);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response
}

async fn take(
    req: &HttpRequest,
    payload: web::Payload,
    api: &Api,
    task: TaskId,
) -> (CallbackResult, Result<HttpResponse, ApiError>) {
    let body = match api.body(req, payload, ALLOWANCE, |_| Ok(())).await {
        Ok(body) => body,
        Err(e) => {
            tracing::warn!(http.route = ROUTE, task.id = %task, "callback refused: {e}");
            return (CallbackResult::BadBody, Err(e));
        }
    };
    let (inbox, tasks, clock) = (&*api.inbox, &*api.store, &*api.clock);
    match steps::receive::receive(inbox, tasks, clock, &api.wakeups, &api.policy, task, body).await {
        Ok(recorded) => {
            tracing::debug!(http.route = ROUTE, task.id = %task, "callback {recorded:?}");
            (result_of(recorded), Ok(received()))
        }
        Err(e) => {
            let e = api.store_error(e);
            tracing::warn!(http.route = ROUTE, task.id = %task, "callback not stored: {e}");
            (CallbackResult::Unavailable, Err(e))
        }
    }
}

fn received() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body("{\"received\":true}")
}

fn result_of(recorded: Recorded) -> CallbackResult {
    match recorded {
        Recorded::New => CallbackResult::Stored,
        Recorded::Full => CallbackResult::OverLimit,
        // A tombstone: the task ended, was removed, and is not revived.
        Recorded::Duplicate | Recorded::UnknownTask | Recorded::Tombstone => CallbackResult::Duplicate,
    }
}
