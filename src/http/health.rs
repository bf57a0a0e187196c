//! Health, build and metrics. Health never asks for a key.

use super::error::ApiError;
use super::{Api, openapi};
use crate::domain::task::TaskStatus;
use crate::domain::time::Timestamp;
use crate::ports::store::StoreError;
use crate::telemetry::metrics::{self, Label as _, Sink};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use utoipa::ToSchema;

/// How long a write that was made for the readiness page stands for the next askers: each costs a sync of the disk.
const WRITE_CHECK_HOLDS: Duration = Duration::from_secs(1);

const CANNOT_STORE: &str = "storage_unavailable";

/// Whether the last write made for the readiness page was durable, and when.
#[derive(Default)]
pub struct Writable(Mutex<Option<(Timestamp, bool)>>);

impl Writable {
    fn lock(&self) -> MutexGuard<'_, Option<(Timestamp, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`, `not_ready`.
    status: &'static str,
    /// Why it is not: `storage_unavailable`, `starting`, `migrating`, `draining`.
    code: Option<&'static str>,
    /// Trouble elsewhere. Never a reason to turn requests away.
    degraded: Vec<DegradedView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DegradedView {
    /// `object_store`, `provider`, `sources`, `deliveries`, `nats`.
    component: &'static str,
    code: String,
    #[schema(value_type = String, format = "date-time")]
    since: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    name: &'static str,
    version: &'static str,
}

/// Is the process alive?
#[utoipa::path(
    get, path = "/livez", operation_id = "live", tag = "health", security(()),
    responses((status = 200, description = "It answers", body = serde_json::Value, example = json!({"status": "alive"}))),
)]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "alive" }))
}

/// Can it store?
///
/// 503 only when this process cannot store. Trouble with the object store, the provider or a consumer is listed under
/// `degraded` with status 200: callbacks must still be sent here.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "health", security(()),
    responses(
        (status = 200, description = "It can store", body = Readiness,
            example = json!({"status": "ready", "code": null, "degraded": [{"component": "object_store", "code": "SlowDown", "since": "2026-01-02T03:04:05.678Z"}]})),
        (status = 503, description = "It cannot", body = Readiness,
            example = json!({"status": "not_ready", "code": "storage_unavailable", "degraded": []})),
    ),
)]
pub async fn ready(api: web::Data<Api>) -> HttpResponse {
    let code = match api.health.not_ready() {
        // The process says so itself until it can; a write tells sooner that it can again.
        Some(code) if code != CANNOT_STORE => Some(code),
        _ => (!api.can_store().await).then_some(CANNOT_STORE),
    };
    let degraded = api.health.degraded().into_iter().map(|d| DegradedView {
        component: d.component.as_str(),
        code: d.code,
        since: d.since,
    });
    let readiness = Readiness {
        status: if code.is_none() { "ready" } else { "not_ready" },
        code,
        degraded: degraded.collect(),
    };
    match code {
        None => HttpResponse::Ok().json(readiness),
        Some(_) => HttpResponse::ServiceUnavailable().json(readiness),
    }
}

/// Which build is this?
#[utoipa::path(
    get, path = "/version", operation_id = "version", tag = "health", security(()),
    responses((status = 200, description = "Name and version", body = Version, example = json!({"name": "catchment", "version": "0.1.0"}))),
)]
pub async fn version() -> HttpResponse {
    HttpResponse::Ok().json(Version {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Metrics, in the OpenMetrics text format
///
/// Wants a key unless its listener is on loopback.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "health", security((), ("apiKey" = [])),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "application/openmetrics-text"),
    ),
)]
pub async fn metrics(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    if !req.app_config().local_addr().ip().is_loopback() {
        api.caller(&req).await?;
    }
    api.gauge().await;
    Ok(HttpResponse::Ok()
        .content_type(metrics::CONTENT_TYPE)
        .body(api.metrics.render()))
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "health", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub async fn openapi_json() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi::document())
}

/// What each problem's `type` leads to: every code, what it means and what to do
#[utoipa::path(
    get, path = "/docs/problems", operation_id = "problems", tag = "health", security(()),
    responses((status = 200, description = "Markdown", body = String, content_type = "text/markdown")),
)]
pub async fn problems() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/markdown; charset=utf-8")
        .body(include_str!("../../docs/problems.md"))
}

impl Api {
    /// A write that failed: the next look at the readiness page makes sure.
    pub(super) fn store_error(&self, e: StoreError) -> ApiError {
        if matches!(e, StoreError::Unavailable { .. }) {
            *self.state.writable.lock() = None;
        }
        e.into()
    }

    /// Gauges tell what is stored now; a database that cannot be read leaves them as they were.
    async fn gauge(&self) {
        let degraded = self.health.degraded();
        for component in <metrics::Component as metrics::Label>::ALL {
            let is = degraded.iter().any(|d| d.component.as_str() == component.value());
            self.metrics.set_degraded(*component, is);
        }
        let figures = match self.store.figures(self.clock.now()).await {
            Ok(figures) => figures,
            Err(e) => return tracing::warn!(error = &e as &dyn std::error::Error, "gauges are old: {e}"),
        };
        for status in TaskStatus::ALL {
            let count = figures.tasks.iter().find(|(s, _)| *s == status);
            self.metrics.set_tasks(status, count.map_or(0, |(_, n)| *n));
        }
        let oldest = figures.oldest_archive_by.map(|at| at.as_millis() / 1000);
        self.metrics.set_oldest_unarchived(oldest);
        self.metrics.set_event_lag(Sink::Webhook, figures.event_lag);
    }

    async fn can_store(&self) -> bool {
        let now = self.clock.now();
        let known = *self.state.writable.lock();
        if let Some((at, answer)) = known
            && now.since(at) < WRITE_CHECK_HOLDS
        {
            return answer;
        }
        let answer = self.store.check_writable().await;
        if let Err(e) = &answer {
            tracing::warn!(error = e as &dyn std::error::Error, "not ready: {e}");
        }
        // A full queue is not a broken disk: what waits in it will be stored.
        let answer = !matches!(answer, Err(e) if !matches!(e, StoreError::Overloaded));
        *self.state.writable.lock() = Some((now, answer));
        answer
    }
}
