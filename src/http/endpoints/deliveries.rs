//! What came of an endpoint's deliveries, try by try; and sending them again.

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::{Api, openapi};
use super::parse;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::ids::{EndpointId, EventId};
use crate::domain::time::Timestamp;
use crate::ports::endpoints::{DeliveryQuery, PastAttempt, PastDelivery, Redrive};
use crate::ports::store::Queue;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 50;
/// As the store allows.
const MAX_LIMIT: u32 = 200;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryList {
    /// Newest first.
    data: Vec<DeliveryView>,
    /// For the `cursor` parameter; null at the end. A page may be short, even empty, and yet not be the last.
    next_cursor: Option<String>,
}

/// One event to one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// `dlv_…`
    id: String,
    /// The event's id, as in `webhook-id`.
    event: String,
    #[serde(rename = "type")]
    kind: &'static str,
    sequence: u64,
    /// null of operator events.
    #[serde(rename = "taskUUID")]
    task_uuid: Option<String>,
    /// Of the event.
    #[schema(value_type = String, format = "date-time")]
    timestamp: Timestamp,
    /// `pending`, `sending`, `waiting` (tried, to be tried again), `delivered`, `dead`.
    status: &'static str,
    /// Of a dead one: `out_of_tries`, or `gone` (it answered 410).
    reason: Option<&'static str>,
    #[schema(value_type = Option<String>, format = "date-time")]
    next_attempt_at: Option<Timestamp>,
    attempt_count: u32,
    /// The latest 50, oldest first.
    attempts: Vec<AttemptView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Attempt)]
pub struct AttemptView {
    /// Counted from 1, over redrives too.
    number: u32,
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
    duration_ms: u64,
    /// null when nothing answered.
    status: Option<u16>,
    /// Why nothing answered: `timeout`, `connect`, `dns`, `tls`, `forbidden_address` …
    code: Option<String>,
    /// Seconds it asked us to wait.
    retry_after: Option<u64>,
    /// The start of a refusal's body, without what looks like a secret.
    excerpt: Option<String>,
}

/// List an endpoint's deliveries
///
/// Newest first, each with its tries. All filters must hold.
#[utoipa::path(
    get, path = "/v1/endpoints/{id}/deliveries", operation_id = "listDeliveries", tag = "endpoints", security(("apiKey" = [])),
    params(
        ("id" = String, Path, description = "`ep_…`"),
        ("status" = Option<String>, Query, description = "One or more states, with commas or repeated", example = "dead,waiting"),
        ("event" = Option<String>, Query, description = "Of this event"),
        ("since" = Option<String>, Query, description = "Of events at or after this RFC 3339 instant"),
        ("until" = Option<String>, Query, description = "Of events before this RFC 3339 instant"),
        ("limit" = Option<u32>, Query, description = "Items a page: 1 to 200, 50 when absent; more is lowered to 200"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page", body = DeliveryList, example = json!({"data": [openapi::example_delivery()], "nextCursor": null})),
        (status = 400, description = "`invalid_query`"),
        (status = 404, description = "`not_found`"),
    ),
)]
pub async fn list(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let mut query = Query::of(&req);
    let wanted = DeliveryQuery {
        tenant: caller.tenant.clone(),
        endpoint: EndpointId(path.into_inner()),
        statuses: query.list("status", "the states of a delivery", DeliveryStatus::parse),
        since: query.instant("since"),
        until: query.instant("until"),
        event: query.text("event").map(EventId::stored),
        limit: query.limit(DEFAULT_LIMIT, MAX_LIMIT),
        cursor: query.cursor(),
    };
    query.finish()?;
    let page = api.store.deliveries(&wanted).await?.ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok().json(DeliveryList {
        data: page.deliveries.into_iter().map(DeliveryView::of).collect(),
        next_cursor: page.next.map(super::super::query::cursor),
    }))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RedriveAnswer {
    /// Deliveries that are sent again.
    redriven: u64,
}

/// Send deliveries again
///
/// One delivery or event, whatever came of it; the dead ones of a range of time; or all dead ones. They are due at once,
/// under the same ids, with a whole schedule before them.
#[utoipa::path(
    post, path = "/v1/endpoints/{id}/redrive", operation_id = "redriveEndpoint", tag = "endpoints", security(("apiKey" = [])),
    params(("id" = String, Path, description = "`ep_…`")),
    request_body(content = Option<openapi::RedriveBody>, example = json!({"since": "2026-01-02T00:00:00Z"})),
    responses(
        (status = 202, description = "They are under way; those of a disabled endpoint wait until it is enabled", body = RedriveAnswer, example = json!({"redriven": 3})),
        (status = 400, description = "`malformed_json`"),
        (status = 404, description = "`not_found`: no such endpoint, or no such delivery of it"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_endpoint`: nothing is sent again"),
        (status = 503, description = "`storage_unavailable`, `overloaded`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn redrive(
    req: HttpRequest,
    payload: web::Payload,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let body = api.optional_json(&caller, &req, payload).await?;
    let mut redrive = Redrive {
        tenant: caller.tenant.clone(),
        endpoint: EndpointId(path.into_inner()),
        which: parse::redrive(body.as_ref())?,
        now: api.clock.now(),
        actor: caller.key.clone(),
        after: None,
    };
    let mut redriven = 0;
    loop {
        let step = api
            .store
            .redrive(&redrive)
            .await
            .map_err(|e| api.store_error(e))?;
        let step = step.ok_or(ApiError::NotFound)?;
        redriven += step.count;
        api.wakeups.ring(Queue::Deliveries);
        redrive.after = step.next;
        if step.next.is_none() {
            return Ok(HttpResponse::Accepted().json(RedriveAnswer { redriven }));
        }
    }
}

impl DeliveryView {
    fn of(d: PastDelivery) -> Self {
        Self {
            id: format!("{}{}", parse::DELIVERY_PREFIX, d.id),
            event: d.event.to_string(),
            kind: d.kind.as_str(),
            sequence: d.sequence,
            task_uuid: d.task.map(|id| id.to_string()),
            timestamp: d.at,
            status: d.status.as_str(),
            reason: d.reason.map(|r| r.as_str()),
            next_attempt_at: d.due_at,
            attempt_count: d.tries,
            attempts: d.attempts.into_iter().map(AttemptView::of).collect(),
        }
    }
}

impl AttemptView {
    fn of(a: PastAttempt) -> Self {
        Self {
            number: a.number,
            at: a.at,
            duration_ms: u64::try_from(a.duration.as_millis()).unwrap_or(u64::MAX),
            status: a.status,
            code: a.code,
            retry_after: a.retry_after.map(|wait: Duration| wait.as_secs()),
            excerpt: a.excerpt,
        }
    }
}
