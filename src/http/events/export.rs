//! The log as NDJSON: everything up to its present end, read page by page as fast as the reader takes it. Memory is a
//! page, whatever the length; no read of the store is open while the reader takes its time.

use super::super::Api;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::limits::Place;
use super::view::line;
use super::wanted::Wanted;
use crate::ports::store::{EventPage, EventQuery};
use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, http::header::CONTENT_TYPE};
use futures_util::stream::{self, Stream};

/// Events per read: some 100 KiB.
const PAGE: u32 = 200;

struct Export {
    api: web::Data<Api>,
    query: EventQuery,
    /// Not beyond the end as it was when the export began, or it might never end.
    end: u64,
    /// Events still to be told.
    left: u64,
    first: Option<EventPage>,
    _place: Place,
}

/// Why an answer that has begun breaks off; the reader notices that it is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
struct BrokeOff;

pub async fn answer(
    api: web::Data<Api>,
    caller: &Caller<'_>,
    wanted: Wanted,
) -> Result<HttpResponse, ApiError> {
    let place = Place::of(&api, caller)?;
    let end = *api.store.last_sequence().borrow();
    let left = wanted.limit.map_or(u64::MAX, u64::from);
    let query = wanted.query(&api, PAGE.min(u32::try_from(left).unwrap_or(PAGE)));
    let first = api.store.events(&query).await?;
    wanted.start.check(&first)?;
    let export = Export {
        query,
        end,
        left,
        first: Some(first),
        _place: place,
        api,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/x-ndjson"))
        .streaming(lines(export)))
}

fn lines(export: Export) -> impl Stream<Item = Result<Bytes, BrokeOff>> {
    stream::unfold(Some(export), async |export| {
        let mut export = export?;
        match export.next().await {
            Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(export))),
            Err(cut) => Some((Err(cut), None)),
        }
    })
}

impl Export {
    /// The next lines; `None`: that was all.
    async fn next(&mut self) -> Result<Option<Bytes>, BrokeOff> {
        while self.left > 0 && (self.first.is_some() || self.query.after < self.end) {
            let page = self.page().await?;
            self.query.after = page.next_after;
            let mut chunk = vec![];
            let told = page.events.iter().filter(|e| e.sequence <= self.end);
            for event in told.take(usize::try_from(self.left).unwrap_or(usize::MAX)) {
                line(event, &mut chunk);
                self.left -= 1;
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk.into()));
            }
        }
        Ok(None)
    }

    async fn page(&mut self) -> Result<EventPage, BrokeOff> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        if self.api.state.draining.is_cancelled() {
            return Err(BrokeOff);
        }
        let page = self.api.stream_read(&self.query).await.map_err(|e| {
            tracing::warn!(error = %e, "an export broke off");
            BrokeOff
        })?;
        // Retention has overtaken a slow reader: what it asks for next is gone.
        match page.oldest > self.query.after {
            true => Err(BrokeOff),
            false => Ok(page),
        }
    }
}
