//! Around every request: its id, the headers every answer has, panics, and one log line.

use super::Api;
use super::error::ApiError;
use super::rates::Standing;
use super::unread::Kept;
use crate::domain::ids::hex;
use crate::domain::time::Timestamp;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken over from a client, in characters.
const MAX_REQUEST_ID: usize = 128;

/// Stays clear of the callback's answers: those must not differ by anything the caller sends.
pub const CALLBACK_PREFIX: &str = "/cb";

pub async fn around(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let api = req.app_data::<web::Data<Api>>().expect("set by `routes`").clone();
    let (id, began) = (request_id(&req, &api), api.clock.now());
    let method = req.method().clone();
    let is_callback = is_callback(req.path());
    let kept = Kept::of(&mut req);

    match AssertUnwindSafe(next.call(req)).catch_unwind().await {
        Ok(Ok(response)) => {
            let route = response.request().match_pattern();
            let response = told_with_id(response, &id).map_body(|_, body| kept.until_sent(body));
            log(
                &api,
                began,
                &id,
                method.as_str(),
                route.as_deref(),
                response.status().as_u16(),
            );
            // One 404 and one receipt, whatever the request was; other refusals are for someone with a valid token.
            let is_plain = response.status().is_success() || response.status() == StatusCode::NOT_FOUND;
            Ok(match is_callback && is_plain {
                true => response,
                false => dressed(response, &id),
            })
        }
        Ok(Err(e)) => {
            tracing::error!(request.id = %id, "a request failed outside its handler");
            Err(answer_instead(e, &id, kept))
        }
        // F27: the panic's own text is in the log by the panic hook.
        Err(_panic) => {
            tracing::error!(request.id = %id, http.method = %method, "a handler panicked");
            Err(answer_instead("panic", &id, kept))
        }
    }
}

fn is_callback(path: &str) -> bool {
    path.strip_prefix(CALLBACK_PREFIX)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The client's, when it is sane; else one of ours.
fn request_id(req: &ServiceRequest, api: &Api) -> String {
    let given = req.headers().get(X_REQUEST_ID).and_then(|v| v.to_str().ok());
    let sane =
        |id: &&str| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    match given.filter(sane) {
        Some(id) => id.to_owned(),
        None => format!("req_{}", hex(&api.rng.bytes16())),
    }
}

/// An error becomes a problem here, where the request's id is known.
fn told_with_id(response: ServiceResponse<impl MessageBody + 'static>, id: &str) -> ServiceResponse<BoxBody> {
    match response.response().error().map(Error::as_error::<ApiError>) {
        None => response.map_into_boxed_body(),
        Some(Some(error)) => {
            let problem = error.respond(Some(id));
            response.into_response(problem)
        }
        // The framework's own: nothing it may say is for callers.
        Some(None) if response.status().is_server_error() => {
            response.into_response(ApiError::Internal.respond(Some(id)))
        }
        Some(None) => response.map_into_boxed_body(),
    }
}

fn answer_instead(cause: impl std::fmt::Debug + std::fmt::Display + 'static, id: &str, kept: Kept) -> Error {
    let response = ApiError::Internal.respond(Some(id));
    let mut response = response.map_body(|_, body| kept.until_sent(body));
    dress(&mut response, id);
    InternalError::from_response(cause, response).into()
}

fn dressed(mut response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    let standing = response.request().extensions().get::<Standing>().copied();
    if let Some(standing) = standing {
        standing.tell(response.headers_mut());
    }
    dress(response.response_mut(), id);
    response
}

fn dress(response: &mut HttpResponse, id: &str) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
}

/// The route's template, never the path: a path may hold a callback token.
fn log(api: &Api, began: Timestamp, id: &str, method: &str, route: Option<&str>, status: u16) {
    let duration_ms = u64::try_from(api.clock.now().since(began).as_millis()).unwrap_or(u64::MAX);
    let route = route.unwrap_or("none");
    if status >= 500 {
        tracing::warn!(
            request.id = id,
            http.method = method,
            http.route = route,
            http.status = status,
            http.duration_ms = duration_ms,
            "{method} {route} answered {status}"
        );
    } else {
        tracing::debug!(
            request.id = id,
            http.method = method,
            http.route = route,
            http.status = status,
            http.duration_ms = duration_ms,
            "{method} {route} answered {status}"
        );
    }
}
