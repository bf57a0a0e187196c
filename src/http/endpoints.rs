//! `/v1/endpoints`: who is told of events.

use super::error::ApiError;
use super::fault::{FaultCode, Faults, unknown_member};
use super::{Api, json, openapi};
use crate::domain::address::GuardError;
use crate::domain::delivery::{Endpoint, Format, Secret};
use crate::domain::event::EventKind;
use crate::domain::ids::{EndpointId, Tenant};
use crate::domain::time::Timestamp;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;
use utoipa::ToSchema;

/// Whether events may be sent to an address; asked here at creation and by the sender at each delivery.
#[async_trait]
pub trait EndpointCheck: Send + Sync {
    async fn check(&self, url: &Url) -> Result<(), GuardError>;
}

/// Most endpoints of one tenant. Each costs a scan of every event.
const MAX_ENDPOINTS: usize = 100;
const MAX_URL_BYTES: usize = 2_000;
/// Of the secrets we make; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

const MEMBERS: [&str; 6] = ["url", "types", "labels", "format", "secret", "from"];

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Endpoint)]
pub struct EndpointView {
    id: String,
    url: String,
    /// What it gets; the default types when none were named.
    types: Vec<&'static str>,
    /// `standard`: Standard Webhooks 1.0.0.
    format: &'static str,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    /// When it answered 410.
    #[schema(value_type = Option<String>, format = "date-time")]
    disabled_at: Option<Timestamp>,
    /// `whsec_…`. Only in the answer to its creation.
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
/// `asset.expired`, `asset.failed` and the ends of tasks. `secret` is told in this answer and never again.
#[utoipa::path(
    post, path = "/v1/endpoints", operation_id = "createEndpoint", tag = "endpoints", security(("apiKey" = [])),
    request_body(content = openapi::NewEndpoint, example = json!({"url": "https://hooks.example.com/catchment", "types": ["asset.archived"]})),
    responses(
        (status = 201, description = "Created", body = openapi::Endpoint,
            headers(("Location" = String, description = "The endpoint")),
            example = json!(openapi::example_endpoint())),
        (status = 400, description = "`malformed_json`"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_endpoint` (a forbidden URL too), `not_supported_yet`, `too_many_endpoints`"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn create(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let bytes = api.json_body(&req, payload).await?;
    let (_, body) = json::parse(&bytes)?;
    let endpoint = new_endpoint(&api, &caller.tenant, &body).await?;
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
            ..EndpointView::of(endpoint)
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
    Ok(HttpResponse::Ok().json(EndpointList {
        data: endpoints.into_iter().map(EndpointView::of).collect(),
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
    let endpoints = api.store.endpoints(Some(&caller.tenant)).await?;
    let found = endpoints.into_iter().find(|e| e.id.0 == *path);
    Ok(HttpResponse::Ok().json(EndpointView::of(found.ok_or(ApiError::NotFound)?)))
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
    fn of(endpoint: Endpoint) -> Self {
        let all = EventKind::ALL.into_iter();
        let types = match endpoint.types.is_empty() {
            true => all.filter(|k| k.is_default()).map(|k| k.as_str()).collect(),
            false => endpoint.types.iter().map(|k| k.as_str()).collect(),
        };
        Self {
            id: endpoint.id.0,
            url: endpoint.url,
            types,
            format: endpoint.format.as_str(),
            created_at: endpoint.created_at,
            disabled_at: endpoint.disabled_at,
            secret: None,
        }
    }
}

/// # Errors
/// `InvalidEndpoint` with every fault of the body.
async fn new_endpoint(api: &Api, tenant: &Tenant, body: &Value) -> Result<Endpoint, ApiError> {
    let last = *api.store.last_sequence().borrow();
    let mut faults = Faults::default();
    let empty = Map::new();
    let members = body.as_object().unwrap_or(&empty);
    if !body.is_object() {
        faults.add("", FaultCode::WrongType, "must be an object");
    } else {
        check_names(members, &mut faults);
    }
    let url = url(members, &mut faults);
    if let Some(url) = &url {
        check_address(api, url, &mut faults).await;
    }
    let types = types(members.get("types"), &mut faults);
    let secret = secret(members.get("secret"), &mut faults).unwrap_or_else(|| random_secret(api));
    let cursor = cursor(members.get("from"), last, &mut faults);
    match url.filter(|_| faults.is_empty()) {
        None => Err(ApiError::InvalidEndpoint(faults.into_vec())),
        Some(url) => Ok(Endpoint {
            id: EndpointId::new(api.rng.bytes16()),
            tenant: tenant.clone(),
            url: url.into(),
            types,
            format: Format::Standard,
            secret,
            created_at: api.clock.now(),
            disabled_at: None,
            cursor,
        }),
    }
}

fn check_names(members: &Map<String, Value>, faults: &mut Faults) {
    for name in members.keys().filter(|n| !MEMBERS.contains(&n.as_str())) {
        unknown_member(faults, "", name, MEMBERS.into_iter());
    }
    if members.contains_key("labels") {
        faults.add(
            "/labels",
            FaultCode::NotSupportedYet,
            "is not supported yet: filter by `types`",
        );
    }
    match members
        .get("format")
        .map(|f| (f, f.as_str().and_then(Format::parse)))
    {
        None | Some((_, Some(Format::Standard))) => (),
        Some((_, Some(_))) => faults.add(
            "/format",
            FaultCode::NotSupportedYet,
            "must be `standard` for now",
        ),
        Some((Value::String(_), None)) => faults.add("/format", FaultCode::NotAllowed, "must be `standard`"),
        Some(_) => faults.add("/format", FaultCode::WrongType, "must be a string"),
    }
}

fn url(members: &Map<String, Value>, faults: &mut Faults) -> Option<Url> {
    let (code, detail) = match members.get("url") {
        Some(Value::String(text)) if text.len() > MAX_URL_BYTES => {
            (FaultCode::TooLong, "must have at most 2000 bytes")
        }
        Some(Value::String(text)) => match Url::parse(text) {
            Ok(url) => return Some(url),
            Err(_) => (FaultCode::InvalidFormat, "must be an absolute URL"),
        },
        Some(_) => (FaultCode::WrongType, "must be a string"),
        None => (FaultCode::Required, "is required"),
    };
    faults.add("/url", code, detail);
    None
}

/// T9. A name server may be away for a while: such a URL is taken, and checked again at each delivery.
async fn check_address(api: &Api, url: &Url, faults: &mut Faults) {
    match api.endpoint_check.check(url).await {
        Err(e) if !e.is_retryable() => faults.add("/url", FaultCode::NotAllowed, forbidden(e)),
        _ => (),
    }
}

/// The guard's code and sentence; its text tells no address.
fn forbidden(e: GuardError) -> String {
    format!("{} ({})", e, e.code())
}

fn types(value: Option<&Value>, faults: &mut Faults) -> Vec<EventKind> {
    let items = match value {
        None => return vec![],
        Some(Value::Array(items)) if items.is_empty() => {
            faults.add(
                "/types",
                FaultCode::TooShort,
                "must name a type; leave it out for the default types",
            );
            return vec![];
        }
        Some(Value::Array(items)) => items,
        Some(_) => {
            faults.add("/types", FaultCode::WrongType, "must be an array of event types");
            return vec![];
        }
    };
    let mut types = vec![];
    for (n, item) in items.iter().enumerate() {
        match item.as_str().and_then(EventKind::parse) {
            Some(kind) if !types.contains(&kind) => types.push(kind),
            Some(_) => (),
            None if faults.is_full() => break,
            None => faults.add(
                format!("/types/{n}"),
                FaultCode::NotAllowed,
                "must be an event type",
            ),
        }
    }
    types
}

fn secret(value: Option<&Value>, faults: &mut Faults) -> Option<Secret> {
    let text = match value? {
        Value::String(text) => text,
        _ => {
            faults.add("/secret", FaultCode::WrongType, "must be a string");
            return None;
        }
    };
    let secret = Secret::parse(text);
    if secret.is_err() {
        let detail = "must be `whsec_` and the base64 of 24 to 64 bytes";
        faults.add("/secret", FaultCode::InvalidFormat, detail);
    }
    secret.ok()
}

fn random_secret(api: &Api) -> Secret {
    let mut bytes = vec![0; SECRET_BYTES];
    api.rng.fill(&mut bytes);
    Secret(bytes)
}

/// `from` names the first event wanted; the cursor stands before it.
fn cursor(from: Option<&Value>, last: u64, faults: &mut Faults) -> u64 {
    match from.map(|v| (v, v.as_u64())) {
        None => last,
        Some((_, Some(from))) if from <= last.saturating_add(1) => from.saturating_sub(1),
        Some((_, Some(_))) => {
            faults.add(
                "/from",
                FaultCode::OutOfRange,
                "must be at most one past the last event",
            );
            last
        }
        Some(_) => {
            faults.add(
                "/from",
                FaultCode::WrongType,
                "must be a sequence of the event log",
            );
            last
        }
    }
}

#[cfg(test)]
mod tests;
