//! `POST /v1/tasks/{taskUUID}/retry` and `POST /v1/tasks/retry`: a new round for what is expired or failed.

use super::super::query::{cursor, read_cursor};
use super::TaskView;
use crate::domain::asset::AssetReason;
use crate::domain::ids::TaskId;
use crate::domain::task::{TaskReason, TaskStatus};
use crate::domain::time::Timestamp;
use crate::http::Api;
use crate::http::auth::Caller;
use crate::http::error::ApiError;
use crate::http::fault::{FaultCode, Faults, member, unknown_member};
use crate::http::json;
use crate::http::query::is_label_key;
use crate::ports::store::TaskQuery;
use crate::steps::retry::{RETRYABLE, Retry, RetryFilter, RetryOutcome, retry, retry_page};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Retry one task
///
/// A new round for each result that is `expired` or `failed`: a fresh link is asked for, the task re-opens and settles
/// anew. A task that ended without such a result is asked about once more, and re-opens if the provider has something.
/// Nothing is ever bought again. The retry is written to the operator log.
#[utoipa::path(
    post, path = "/v1/tasks/{taskUUID}/retry", operation_id = "retryTask", tag = "tasks", security(("apiKey" = [])),
    params(("taskUUID" = String, Path, description = "The task's UUID", format = "uuid")),
    responses(
        (status = 202, description = "The task as it is now", body = crate::http::openapi::Task, example = json!(crate::http::openapi::example_task())),
        (status = 404, description = "`not_found`: no such task, or not this tenant's"),
        (status = 409, description = "`nothing_to_retry`: nothing of it is expired or failed"),
    ),
)]
pub async fn one(
    req: HttpRequest,
    path: web::Path<String>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let id = TaskId::parse(&path).ok_or(ApiError::NotFound)?;
    let outcome = retry(&context(&api, &caller), id).await;
    match outcome.map_err(|e| api.store_error(e))? {
        RetryOutcome::Retried => {}
        RetryOutcome::NotFound => return Err(ApiError::NotFound),
        RetryOutcome::NothingToRetry => return Err(ApiError::NothingToRetry { task: id }),
    }
    let file = api.store.task(Some(&caller.tenant), id).await?;
    let timeline = api.store.timeline(id).await?;
    let view = TaskView::of(file.ok_or(ApiError::NotFound)?).with_timeline(timeline);
    Ok(HttpResponse::Accepted().json(view))
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetriedTasks {
    /// Tasks retried by this request.
    count: u32,
    /// For the `cursor` member of the next request with the same filter; null when all were looked at.
    next_cursor: Option<String>,
}

/// Retry tasks by filter
///
/// Every task that all members of the body hold for, newest first, at most about a thousand in one request: go on with
/// `nextCursor` until it is null. Tasks with nothing to retry are passed over.
#[utoipa::path(
    post, path = "/v1/tasks/retry", operation_id = "retryTasks", tag = "tasks", security(("apiKey" = [])),
    request_body(content = crate::http::openapi::RetryFilter, example = json!({"status": ["failed", "partial"], "reason": "source_gone", "since": "2026-01-02T00:00:00Z"})),
    responses(
        (status = 202, description = "How many", body = RetriedTasks, example = json!({"count": 12, "nextCursor": null})),
        (status = 400, description = "`malformed_json`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_filter`"),
    ),
)]
pub async fn many(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let bytes = api.json_body(&caller, &req, payload).await?;
    let (_, body) = json::parse(&bytes)?;
    let mut filter = read(&body, &caller)?;
    let ctx = context(&api, &caller);
    let mut count = 0;
    for _ in 0..MOST_PAGES {
        let page = retry_page(&ctx, &filter).await.map_err(|e| api.store_error(e))?;
        count += page.count;
        filter.query.cursor = page.next;
        if page.next.is_none() || count >= MOST_TASKS {
            break;
        }
    }
    Ok(HttpResponse::Accepted().json(RetriedTasks {
        count,
        next_cursor: filter.query.cursor.map(cursor),
    }))
}

/// Tasks after which an answer is due: they take seconds, and a client waits for it.
const MOST_TASKS: u32 = 1000;
/// Pages after which one is due though nothing was found.
const MOST_PAGES: u32 = 50;
/// Tasks in work at once: their commits share transactions.
const PAGE: u32 = 100;

fn context<'a>(api: &'a Api, caller: &'a Caller<'_>) -> Retry<'a> {
    Retry {
        store: &*api.store,
        clock: &*api.clock,
        wakeups: &api.wakeups,
        policy: &api.policy,
        tenant: &caller.tenant,
        actor: &caller.key,
    }
}

const MEMBERS: [&str; 7] = ["status", "reason", "model", "labels", "since", "until", "cursor"];

/// # Errors
/// `InvalidFilter` with every fault.
fn read(body: &Value, caller: &Caller<'_>) -> Result<RetryFilter, ApiError> {
    let mut faults = Faults::default();
    let empty = Map::new();
    let members = body.as_object().unwrap_or_else(|| {
        faults.add("", FaultCode::WrongType, "must be an object");
        &empty
    });
    for name in members.keys() {
        if !MEMBERS.contains(&name.as_str()) && !name.starts_with(LABEL) {
            unknown_member(&mut faults, "", name, MEMBERS.into_iter());
        }
    }
    let mut one = Reader { members, faults };
    let statuses = one.statuses();
    let filter = RetryFilter {
        query: TaskQuery {
            tenant: caller.tenant.clone(),
            statuses,
            model: one.text("model"),
            labels: one.labels(),
            since: one.instant("since"),
            until: one.instant("until"),
            limit: PAGE,
            cursor: one.parsed("cursor", "`nextCursor` of another answer", read_cursor),
        },
        reason: one.parsed("reason", "a reason of a task or a result", known_reason),
    };
    match one.faults.is_empty() {
        true => Ok(filter),
        false => Err(ApiError::InvalidFilter(one.faults.into_vec())),
    }
}

/// `label.<key>`, as in the query of a list.
const LABEL: &str = "label.";

fn known_reason(text: &str) -> Option<String> {
    let known = TaskReason::parse(text).is_some() || AssetReason::parse(text).is_some();
    known.then(|| text.to_owned())
}

struct Reader<'a> {
    members: &'a Map<String, Value>,
    faults: Faults,
}

impl Reader<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.members.get(name)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.faults
                    .add(member("", name), FaultCode::WrongType, "must be a string");
                None
            }
        }
    }

    fn parsed<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.faults.add(
                member("", name),
                FaultCode::InvalidFormat,
                format!("must be {what}"),
            );
        }
        value
    }

    fn instant(&mut self, name: &str) -> Option<Timestamp> {
        self.parsed(name, "an RFC 3339 instant, such as 2026-01-02T03:04:05Z", |t| {
            t.parse().ok()
        })
    }

    /// One word or several; every verdict that a retry can change when absent.
    fn statuses(&mut self) -> Vec<TaskStatus> {
        let words = match self.members.get("status") {
            None => return RETRYABLE.to_vec(),
            Some(Value::Array(words)) => words.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
            Some(word) => word.as_str().map(|word| vec![word]),
        };
        let known = words.map(|words| words.into_iter().map(TaskStatus::parse).collect());
        match known {
            Some(Some(statuses)) if !Vec::is_empty(&statuses) => statuses,
            _ => {
                let what = "must be a state of tasks, or an array of them";
                self.faults.add("/status", FaultCode::NotAllowed, what);
                vec![]
            }
        }
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let nested = match self.members.get("labels") {
            None => None,
            Some(Value::Object(labels)) => Some(labels),
            Some(_) => {
                let what = "must be an object of strings";
                self.faults.add("/labels", FaultCode::WrongType, what);
                None
            }
        };
        let nested = nested.into_iter().flatten();
        let nested = nested.map(|(key, value)| (member("/labels", key), key.as_str(), value));
        let flat = self.members.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(LABEL)?;
            Some((member("", name), key, value))
        });
        let mut found = BTreeMap::new();
        for (pointer, key, value) in nested.chain(flat) {
            match value.as_str().filter(|_| is_label_key(key)) {
                Some(value) => drop(found.insert(key.to_owned(), value.to_owned())),
                None => {
                    let what = "a label is a string under [a-z][a-z0-9_.-]{0,39}";
                    self.faults.add(pointer, FaultCode::InvalidFormat, what);
                }
            }
        }
        found
    }
}
