//! A task's own webhook: whether it may be called, asked at submission as for an endpoint; and calling it again.

use crate::domain::address::GuardError;
use crate::domain::ids::TaskId;
use crate::domain::task_webhook::NAME;
use crate::http::Api;
use crate::http::error::ApiError;
use crate::http::fault::{FaultCode, Faults, member};
use crate::ports::store::Queue;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use url::Url;
use utoipa::ToSchema;

/// T9: adds a fault for every webhook that may not be called. A name server may be away for a while: such a URL is
/// taken, and judged again at each try.
pub async fn check_addresses(api: &Api, tasks: &[(String, &Map<String, Value>)], faults: &mut Faults) {
    let url = |task: &Map<String, Value>| Url::parse(task.get(NAME)?.as_str()?).ok();
    let wanted: Vec<(&str, Url)> = tasks
        .iter()
        .filter_map(|(at, task)| Some((at.as_str(), url(task).filter(Url::has_host)?)))
        .collect();
    let places: HashMap<String, Url> = wanted
        .iter()
        .map(|(_, url)| (place(url).into(), place(url)))
        .collect();
    let judge = async |(name, url): (String, Url)| (name, api.endpoint_check.check(&url).await.err());
    let refused: HashMap<String, Option<GuardError>> = join_all(places.into_iter().map(judge))
        .await
        .into_iter()
        .collect();
    for (at, url) in &wanted {
        let refusal = refused.get(place(url).as_str()).copied().flatten();
        if let Some(e) = refusal.filter(|e| !e.is_retryable()) {
            faults.add(
                member(at, NAME),
                FaultCode::NotAllowed,
                format!("{e} ({})", e.code()),
            );
        }
    }
}

/// Of a URL what is judged: a hundred tasks with one receiver are one question to the name server.
fn place(url: &Url) -> Url {
    let mut place = url.clone();
    place.set_path("");
    place.set_query(None);
    place
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Redriven {
    /// How many deliveries are tried again.
    redriven: u64,
}

/// Call a task's webhook again
///
/// Makes the dead deliveries of the task's own `webhookURL` due now, with the whole schedule before them.
#[utoipa::path(
    post, path = "/v1/tasks/{taskUUID}/webhook/redrive", operation_id = "redriveTaskWebhook", tag = "tasks",
    security(("apiKey" = [])),
    params(("taskUUID" = String, Path, description = "The task's UUID", format = "uuid")),
    responses(
        (status = 202, description = "They are due now", body = Redriven, example = json!({"redriven": 1})),
        (status = 404, description = "`not_found`: no such task, or not this tenant's"),
    ),
)]
pub async fn redrive(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = TaskId::parse(&path).ok_or(ApiError::NotFound)?;
    let redriven = api.store.redrive_task(&caller.tenant, id, api.clock.now()).await;
    let redriven = redriven
        .map_err(|e| api.store_error(e))?
        .ok_or(ApiError::NotFound)?;
    if redriven > 0 {
        api.wakeups.ring(Queue::TaskDeliveries);
    }
    Ok(HttpResponse::Accepted().json(Redriven { redriven }))
}
