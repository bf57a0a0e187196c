//! `/v1/endpoints`: who is told of events.

pub mod change; // change, rotate, test
pub mod deliveries; // what came of its deliveries; redrive
mod parse; // bodies: all faults at once

use super::error::ApiError;
use super::{Api, json, openapi};
use crate::domain::address::GuardError;
use crate::domain::delivery::Endpoint;
use crate::domain::event::EventKind;
use crate::domain::ids::EndpointId;
use crate::domain::time::Timestamp;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use async_trait::async_trait;
use serde::Serialize;
use std::collections::BTreeMap;
use url::Url;
use utoipa::ToSchema;

/// Whether events may be sent to an address; asked here at creation and by the sender at each delivery.
#[async_trait]
pub trait EndpointCheck: Send + Sync {
    async fn check(&self, url: &Url) -> Result<(), GuardError>;
}

/// Most endpoints of one tenant. Each costs a scan of every event.
const MAX_ENDPOINTS: usize = 100;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Endpoint)]
pub struct EndpointView {
    id: String,
    url: String,
    /// What it gets; the default types when none were named.
    types: Vec<&'static str>,
    /// Only of tasks with all of these labels; of any when empty.
    labels: BTreeMap<String, String>,
    /// Only of tasks of one of these models; of any when empty.
    models: Vec<String>,
    /// `standard`: Standard Webhooks 1.0.0; `cloudevents`: CloudEvents 1.0.2, structured; `runware`: the provider's own
    /// shape.
    format: &'static str,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    /// Its events are kept until it is enabled again.
    disabled: bool,
    #[schema(value_type = Option<String>, format = "date-time")]
    disabled_at: Option<Timestamp>,
    /// `gone`: it answered 410; `failing`: it took nothing for five days; `by_hand`.
    disabled_reason: Option<&'static str>,
    /// Since when it took nothing, though it was tried; null while it takes what it gets.
    #[schema(value_type = Option<String>, format = "date-time")]
    failing_since: Option<Timestamp>,
    /// After a rotation: the secret before signs as well until then.
    #[schema(value_type = Option<String>, format = "date-time")]
    old_secret_until: Option<Timestamp>,
    /// `whsec_…`. Only in the answer to its creation or rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointList {
    #[schema(value_type = Vec<openapi::Endpoint>)]
    data: Vec<EndpointView>,
}

/// Create an endpoint
///
/// It gets the events that follow, or those from sequence `from` on. Without `types` it gets `asset.archived`,
/// `asset.expired`, `asset.failed` and the ends of tasks; `labels` (all of them) and `models` (one of them) narrow it to
/// some tasks. `secret` is told in this answer and never again.
#[utoipa::path(
    post, path = "/v1/endpoints", operation_id = "createEndpoint", tag = "endpoints", security(("apiKey" = [])),
    request_body(content = openapi::NewEndpoint, example = json!({"url": "https://hooks.example.com/catchment", "types": ["asset.archived"]})),
    responses(
        (status = 201, description = "Created", body = openapi::Endpoint,
            headers(("Location" = String, description = "The endpoint")),
            example = json!(openapi::example_endpoint())),
        (status = 400, description = "`malformed_json`"),
        (status = 410, description = "`cursor_too_old`: events from this sequence on were removed; nothing was made"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_endpoint` (a forbidden URL too), `too_many_endpoints`"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn create(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let bytes = api.json_body(&caller, &req, payload).await?;
    let (_, body) = json::parse(&bytes)?;
    let endpoint = parse::new_endpoint(&api, &caller.tenant, &body).await?;
    if api.store.endpoints(Some(&caller.tenant)).await?.len() >= MAX_ENDPOINTS {
        return Err(ApiError::TooManyEndpoints { max: MAX_ENDPOINTS });
    }
    let created = api.store.create_endpoint(endpoint.clone()).await;
    created.map_err(|e| api.store_error(e))?;
    let secret = endpoint.secret.reveal();
    let location = format!("/v1/endpoints/{}", endpoint.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .json(EndpointView {
            secret: Some(secret),
            ..EndpointView::of(endpoint, api.clock.now())
        }))
}

/// List endpoints
#[utoipa::path(
    get, path = "/v1/endpoints", operation_id = "listEndpoints", tag = "endpoints", security(("apiKey" = [])),
    responses(
        (status = 200, description = "All of them", body = EndpointList, example = json!({"data": []})),
    ),
)]
pub async fn list(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let endpoints = api.store.endpoints(Some(&caller.tenant)).await?;
    let now = api.clock.now();
    Ok(HttpResponse::Ok().json(EndpointList {
        data: endpoints.into_iter().map(|e| EndpointView::of(e, now)).collect(),
    }))
}

/// Show an endpoint
#[utoipa::path(
    get, path = "/v1/endpoints/{id}", operation_id = "showEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    responses(
        (status = 200, description = "The endpoint, without its secret", body = openapi::Endpoint, example = json!(openapi::example_shown_endpoint())),
        (status = 404, description = "`not_found`"),
    ),
)]
pub async fn show(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = EndpointId(path.into_inner());
    let found = api.store.endpoint(&caller.tenant, &id).await?;
    let endpoint = found.ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok().json(EndpointView::of(endpoint, api.clock.now())))
}

/// Delete an endpoint
///
/// Its open deliveries go with it.
#[utoipa::path(
    delete, path = "/v1/endpoints/{id}", operation_id = "deleteEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "`not_found`"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn delete(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = EndpointId(path.into_inner());
    let deleted = api.store.delete_endpoint(&caller.tenant, &id).await;
    match deleted.map_err(|e| api.store_error(e))? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(ApiError::NotFound),
    }
}

impl EndpointView {
    fn of(endpoint: Endpoint, now: Timestamp) -> Self {
        let all = EventKind::ALL.into_iter();
        let types = match endpoint.types.is_empty() {
            true => all.filter(|k| k.is_default()).map(|k| k.as_str()).collect(),
            false => endpoint.types.iter().map(|k| k.as_str()).collect(),
        };
        let old_secret = endpoint.old_secret.filter(|old| now < old.until);
        Self {
            id: endpoint.id.0,
            url: endpoint.url,
            types,
            labels: endpoint.labels,
            models: endpoint.models,
            format: endpoint.format.as_str(),
            created_at: endpoint.created_at,
            disabled: endpoint.disabled.is_some(),
            disabled_at: endpoint.disabled.map(|d| d.at),
            disabled_reason: endpoint.disabled.map(|d| d.reason.as_str()),
            failing_since: endpoint.health.failing_since,
            old_secret_until: old_secret.map(|old| old.until),
            secret: None,
        }
    }
}

#[cfg(test)]
mod tests;
