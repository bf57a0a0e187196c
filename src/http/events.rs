//! `GET /v1/events`: the log, read by cursor.

use super::error::ApiError;
use super::query::Query;
use super::{Api, openapi};
use crate::domain::event::{Event, EventData, EventKind};
use crate::domain::ids::TaskId;
use crate::domain::time::Timestamp;
use crate::ports::store::{EventPage, EventQuery};
use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 100;
/// As the store allows.
const MAX_LIMIT: u32 = 1_000;

/// An event, the same in the log and in deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// `webhook-id` of deliveries; the same for ever.
    id: String,
    /// Increases strictly; gaps are possible.
    sequence: u64,
    /// Counts from 1 within the task, without gaps.
    task_sequence: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = String, format = "date-time")]
    timestamp: Timestamp,
    #[schema(value_type = openapi::EventData)]
    data: EventData,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    #[schema(value_type = Vec<openapi::Event>)]
    data: Vec<EventView>,
    /// For the `after` parameter: also moves past events that a filter left out.
    next_after: u64,
    /// Nothing further was in the log when it was read.
    done: bool,
}

impl EventView {
    fn of(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            sequence: event.sequence,
            task_sequence: event.task_sequence,
            kind: event.kind.as_str(),
            timestamp: event.at,
            data: event.data,
        }
    }
}

/// Read the event log
///
/// In order, from `after`. Read on with `nextAfter`; `done` tells that the end was reached. `wait` holds the answer
/// back until there is an event to tell, or the wait is over.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listEvents", tag = "events", security(("apiKey" = [])),
    params(
        ("after" = Option<u64>, Query, description = "Events with a greater sequence; 0 when absent"),
        ("limit" = Option<u32>, Query, description = "Events a page: 1 to 1000, 100 when absent; more is lowered to 1000"),
        ("wait" = Option<String>, Query, description = "Longest wait for the first event, such as `30s`; more than 60 s is lowered to that", example = "30s"),
        ("type" = Option<String>, Query, description = "One or more types, with commas or repeated", example = "asset.archived,task.completed"),
        ("label.{key}" = Option<String>, Query, description = "Events of tasks whose label `key` has this value"),
        ("task" = Option<String>, Query, description = "Events of this task", format = "uuid"),
    ),
    responses(
        (status = 200, description = "One page", body = EventList, example = json!({"data": [openapi::example_event()], "nextAfter": 17, "done": true})),
        (status = 400, description = "`invalid_query`"),
        (status = 406, description = "`not_supported_yet`: a live stream (`Accept: text/event-stream`)"),
        (status = 429, description = "`rate_limited`: too many long polls of this key"),
    ),
)]
pub async fn list(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    if wants_stream(&req) {
        return Err(ApiError::NotAcceptableYet(
            "A live stream is not supported yet: read pages with `wait` instead.",
        ));
    }
    let mut query = Query::of(&req);
    let wait = query.wait();
    let wanted = EventQuery {
        tenant: caller.tenant.clone(),
        after: query.number("after").unwrap_or(0),
        limit: query.limit(DEFAULT_LIMIT, MAX_LIMIT),
        types: query.list("type", "the types of events", EventKind::parse),
        labels: query.labels(),
        task: query.parsed("task", "a task's UUID", TaskId::parse),
    };
    query.finish()?;
    let look = async || Ok(api.store.events(&wanted).await?);
    // A page that a filter emptied is told at once: its `nextAfter` is progress.
    let is_enough = |page: &EventPage| !page.events.is_empty() || !page.done;
    let page = api.long_poll(&caller, wait, look, is_enough).await?;
    Ok(HttpResponse::Ok().json(EventList {
        data: page.events.into_iter().map(EventView::of).collect(),
        next_after: page.next_after,
        done: page.done,
    }))
}

fn wants_stream(req: &HttpRequest) -> bool {
    let accept = req.headers().get(ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|v| v.to_ascii_lowercase().contains("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{EventId, Tenant};
    use serde_json::json;

    #[test]
    fn an_event_reads_as_documented() {
        let event = Event {
            sequence: 17,
            id: EventId::stored("evt_1".into()),
            kind: EventKind::AssetArchived,
            tenant: Tenant("hidden".into()),
            task: None,
            task_sequence: 4,
            at: Timestamp::from_millis(0),
            data: EventData {
                result_id: Some("r".into()),
                ..EventData::default()
            },
        };
        assert_eq!(
            serde_json::to_value(EventView::of(event)).unwrap(),
            json!({
                "id": "evt_1", "sequence": 17, "taskSequence": 4, "type": "asset.archived",
                "timestamp": "1970-01-01T00:00:00.000Z", "data": {"resultId": "r", "labels": {}},
            })
        );
    }
}
