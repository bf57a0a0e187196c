//! `GET /v1/events`: the log, read by cursor: in pages, as an export, or live.

mod export; // NDJSON, to the end of the log
mod live; // server-sent events
mod view; // an event as it is told
mod wanted; // what a request asks for

pub use view::{EventList, EventView};

use super::error::ApiError;
use super::{Api, openapi};
use crate::ports::store::EventPage;
use actix_web::{HttpRequest, HttpResponse, web};
use wanted::{Form, Start, Wanted};

/// Read the event log
///
/// In order, from `after`. Read on with `nextAfter`; `done` tells that the end was reached. `wait` holds the answer
/// back until there is an event to tell, or the wait is over.
///
/// With `Accept: application/x-ndjson` everything up to the present end of the log is answered, an event a line; an
/// answer that breaks off is read on after the last whole line's `sequence`. With `Accept: text/event-stream` the
/// answer never ends: `id` is the sequence, `event` the type, `data` the event; a comment comes when nothing else does;
/// after a break `Last-Event-ID` reads on without gap or repeat.
///
/// Events are kept for `events.retention`. A position before that is answered with 410, whose `oldestPosition` is the
/// smallest `after` that is still answered; a request without a position begins there.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listEvents", tag = "events", security(("apiKey" = [])),
    params(
        ("after" = Option<String>, Query, description = "Events with a greater sequence; `latest`: those still to come; when absent, from the oldest there is", example = "1200"),
        ("limit" = Option<u32>, Query, description = "Events a page: 1 to 1000, 100 when absent; more is lowered to 1000. Of an export: its longest length, without bound when absent. Not of a stream"),
        ("wait" = Option<String>, Query, description = "Pages only: longest wait for the first event, such as `30s`; more than 60 s is lowered to that", example = "30s"),
        ("type" = Option<String>, Query, description = "One or more types, with commas or repeated", example = "asset.archived,task.completed"),
        ("label.{key}" = Option<String>, Query, description = "Events of tasks whose label `key` has this value"),
        ("model" = Option<String>, Query, description = "One or more models, with commas or repeated", example = "klingai:avatar@2.0-pro"),
        ("task" = Option<String>, Query, description = "Events of this task", format = "uuid"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Live stream only: as `after`, and before it"),
    ),
    responses(
        (status = 200, description = "One page, an export, or a live stream", content(
            (EventList = "application/json", example = json!({"data": [openapi::example_event()], "nextAfter": 17, "done": true})),
            (EventView = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
        (status = 400, description = "`invalid_query`"),
        (status = 410, description = "`cursor_too_old`: events after this position were removed"),
        (status = 429, description = "`rate_limited`: too many long polls and streams of this key"),
    ),
)]
pub async fn list(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let wanted = Wanted::of(&req, &caller)?;
    match wanted.form {
        Form::Page => page(&api, &caller, wanted).await,
        Form::Export => export::answer(api.clone(), &caller, wanted).await,
        Form::Live => live::answer(api.clone(), &req, &caller, wanted).await,
    }
}

async fn page(api: &Api, caller: &super::auth::Caller<'_>, wanted: Wanted) -> Result<HttpResponse, ApiError> {
    let query = wanted.query(api, wanted.page_limit());
    let look = async || {
        let page = api.store.events(&query).await?;
        wanted.start.check(&page)?;
        Ok(page)
    };
    // A page that a filter emptied is told at once: its `nextAfter` is progress.
    let is_enough = |page: &EventPage| !page.events.is_empty() || !page.done;
    let page = api.long_poll(caller, wanted.wait, look, is_enough).await?;
    Ok(HttpResponse::Ok().json(EventList::of(page)))
}

impl Start {
    /// # Errors
    /// `CursorTooOld`: events that were asked for are gone.
    fn check(self, page: &EventPage) -> Result<(), ApiError> {
        match self {
            Self::After(sequence) if sequence < page.oldest => {
                Err(ApiError::CursorTooOld { oldest: page.oldest })
            }
            _ => Ok(()),
        }
    }
}
