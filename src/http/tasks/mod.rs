//! Tasks: submit, list, show, retry.

mod draft; // what is stored of a valid task
pub mod import; // POST /v1/tasks/import
pub mod models; // what each model takes
mod reserved; // the member that is for us
pub mod retry; // a new round
pub mod submit; // POST /v1/tasks
mod validate; // all faults at once
pub mod view;
pub mod webhook; // a task's own webhook: where it may lead, sending again // a task as its owner sees it

pub use view::TaskView;

use super::error::ApiError;
use super::query::{Query, cursor};
use super::{Api, openapi};
use crate::domain::ids::TaskId;
use crate::domain::task::TaskStatus;
use crate::ports::store::TaskQuery;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 50;
/// As the store allows.
const MAX_LIMIT: u32 = 200;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskList {
    /// Newest first, each without its timeline.
    #[schema(value_type = Vec<openapi::Task>)]
    data: Vec<TaskView>,
    /// For the `cursor` parameter; null at the end.
    next_cursor: Option<String>,
}

/// List tasks
///
/// Newest first. All filters must hold. Items carry no `timeline`.
#[utoipa::path(
    get, path = "/v1/tasks", operation_id = "listTasks", tag = "tasks", security(("apiKey" = [])),
    params(
        ("status" = Option<String>, Query, description = "One or more states, with commas or repeated", example = "archiving,completed"),
        ("model" = Option<String>, Query, description = "Exactly this model"),
        ("label.{key}" = Option<String>, Query, description = "Tasks whose label `key` has this value", example = "blue"),
        ("since" = Option<String>, Query, description = "Created at or after this RFC 3339 instant"),
        ("until" = Option<String>, Query, description = "Created before this RFC 3339 instant"),
        ("limit" = Option<u32>, Query, description = "Items a page: 1 to 200, 50 when absent; more is lowered to 200"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
    ),
    responses(
        (status = 200, description = "One page", body = TaskList, example = json!({"data": [], "nextCursor": null})),
        (status = 400, description = "`invalid_query`"),
    ),
)]
pub async fn list(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let mut query = Query::of(&req);
    let wanted = TaskQuery {
        tenant: caller.tenant.clone(),
        statuses: query.list("status", "the states of a task", TaskStatus::parse),
        model: query.text("model"),
        labels: query.labels(),
        since: query.instant("since"),
        until: query.instant("until"),
        limit: query.limit(DEFAULT_LIMIT, MAX_LIMIT),
        cursor: query.cursor(),
    };
    query.finish()?;
    let page = api.store.tasks(&wanted).await?;
    Ok(HttpResponse::Ok().json(TaskList {
        data: page.tasks.into_iter().map(TaskView::of).collect(),
        next_cursor: page.next.map(cursor),
    }))
}

/// Show one task
///
/// With its whole timeline. `wait` holds the answer back until the task has ended, or the wait is over: the answer is
/// the task as it is then, so look at `status`.
#[utoipa::path(
    get, path = "/v1/tasks/{taskUUID}", operation_id = "showTask", tag = "tasks", security(("apiKey" = [])),
    params(
        ("taskUUID" = String, Path, description = "The task's UUID", format = "uuid"),
        ("wait" = Option<String>, Query, description = "Longest wait for the task's end, such as `30s`; more than 60 s is lowered to that", example = "30s"),
    ),
    responses(
        (status = 200, description = "The task", body = openapi::Task, example = json!(openapi::example_task())),
        (status = 400, description = "`invalid_query`"),
        (status = 404, description = "`not_found`: no such task, or not this tenant's"),
        (status = 429, description = "`rate_limited`: too many long polls of this key"),
    ),
)]
pub async fn show(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let mut query = Query::of(&req);
    let wait = query.wait();
    query.finish()?;
    let id = TaskId::parse(&path).ok_or(ApiError::NotFound)?;
    let look = async || {
        let found = api.store.task(Some(&caller.tenant), id).await?;
        found.ok_or(ApiError::NotFound)
    };
    let file = api
        .long_poll(&caller, wait, look, |file| file.task.state.is_terminal())
        .await?;
    let timeline = api.store.timeline(id).await?;
    Ok(HttpResponse::Ok().json(TaskView::of(file).with_timeline(timeline)))
}
