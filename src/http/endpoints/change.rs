//! An endpoint changed, its secret rotated, and tried out.

use super::super::error::ApiError;
use super::super::{Api, json, openapi};
use super::{EndpointView, parse};
use crate::domain::delivery::Outcome;
use crate::domain::ids::{EndpointId, EventId, hex};
use crate::domain::time::Timestamp;
use crate::ports::store::Queue;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// Change an endpoint
///
/// Members that are left out stay as they are; null takes a filter away. What was turned into deliveries before is
/// still delivered. `disabled: false` enables it again: what was kept for it is sent, oldest first.
#[utoipa::path(
    patch, path = "/v1/endpoints/{id}", operation_id = "changeEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    request_body(content = openapi::EndpointChange, example = json!({"disabled": false})),
    responses(
        (status = 200, description = "The endpoint as it is now", body = openapi::Endpoint, example = json!(openapi::example_shown_endpoint())),
        (status = 400, description = "`malformed_json`"),
        (status = 404, description = "`not_found`"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_endpoint` (a forbidden URL too): nothing was changed"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn change(
    req: HttpRequest,
    payload: web::Payload,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = EndpointId(path.into_inner());
    let bytes = api.json_body(&caller, &req, payload).await?;
    let (_, body) = json::parse(&bytes)?;
    api.store
        .endpoint(&caller.tenant, &id)
        .await?
        .ok_or(ApiError::NotFound)?;
    let change = parse::change(&api, &body).await?;
    let now = api.clock.now();
    let changed = api.store.change_endpoint(&caller.tenant, &id, change, now).await;
    let endpoint = changed
        .map_err(|e| api.store_error(e))?
        .ok_or(ApiError::NotFound)?;
    api.wakeups.ring(Queue::Deliveries);
    Ok(HttpResponse::Ok().json(EndpointView::of(endpoint, now)))
}

/// Rotate an endpoint's secret
///
/// The new `secret` is told in this answer and never again. For `overlap` (24 h when absent, at most 7 days) every
/// delivery carries two signatures, so receivers can move over one by one.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/rotate", operation_id = "rotateEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    request_body(content = Option<openapi::Rotation>, example = json!({"overlap": "24h"})),
    responses(
        (status = 200, description = "The endpoint with its new secret", body = openapi::Endpoint, example = json!(openapi::example_endpoint())),
        (status = 400, description = "`malformed_json`"),
        (status = 404, description = "`not_found`"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_endpoint`: nothing was changed"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn rotate(
    req: HttpRequest,
    payload: web::Payload,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = EndpointId(path.into_inner());
    let body = api.optional_json(&caller, &req, payload).await?;
    let (secret, overlap) = parse::rotation(&api, body.as_ref())?;
    let (shown, now) = (secret.reveal(), api.clock.now());
    let rotated = api
        .store
        .rotate_secret(&caller.tenant, &id, secret, overlap, now)
        .await;
    let endpoint = rotated
        .map_err(|e| api.store_error(e))?
        .ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok().json(EndpointView {
        secret: Some(shown),
        ..EndpointView::of(endpoint, now)
    }))
}

/// What came of a test.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// `webhook-id` of the message.
    id: String,
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
    duration_ms: u64,
    /// Whether it was taken: answered by a 2xx.
    delivered: bool,
    /// null when nothing answered.
    status: Option<u16>,
    /// Why nothing answered: `timeout`, `connect`, `dns`, `tls`, `forbidden_address` …
    code: Option<&'static str>,
    /// The start of a refusal's body, without what looks like a secret.
    excerpt: Option<String>,
}

/// Test an endpoint
///
/// Sends one signed message of type `endpoint.test`, under the same network guard and time limit as every delivery, and
/// tells what happened. It is no event, is not tried again, and is sent to a disabled endpoint too.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/test", operation_id = "testEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    responses(
        (status = 200, description = "What happened, be it good or bad", body = TestResult, example = json!({
            "id": "evt_5f1d3c9a7b2e4f60a1b2c3d4e5f60718", "at": "2026-01-02T03:04:05.678Z", "durationMs": 41,
            "delivered": false, "status": 401, "code": null, "excerpt": "bad signature"})),
        (status = 404, description = "`not_found`"),
    ),
)]
pub async fn test(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = EndpointId(path.into_inner());
    let endpoint = api.store.endpoint(&caller.tenant, &id).await?;
    let endpoint = endpoint.ok_or(ApiError::NotFound)?;
    let ping = EventId::derive(&["endpoint.test", &endpoint.id.0, &hex(&api.rng.bytes16())]);
    let at = api.clock.now();
    let outcome = api.sink.ping(&endpoint, &ping).await;
    let (delivered, status, code, excerpt) = match outcome {
        Outcome::Delivered { status } => (true, Some(status), None, None),
        Outcome::Refused { status, excerpt, .. } => (false, Some(status), None, Some(excerpt)),
        Outcome::Unreached { code } => (false, None, Some(code), None),
    };
    let lasted = api.clock.now().since(at);
    Ok(HttpResponse::Ok().json(TestResult {
        id: ping.to_string(),
        at,
        duration_ms: u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX),
        delivered,
        status,
        code,
        excerpt,
    }))
}
