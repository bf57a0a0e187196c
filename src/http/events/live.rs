//! Server-sent events: the log as it grows.
//!
//! A stream is a position and nothing else: what the reader takes is read from the store, a few events at a time, when
//! its connection has room for them. There is no queue to overflow and no read left open, so a reader that stalls costs
//! its connection alone; the kernel cuts that (see `server`), and `Last-Event-ID` takes up where it was cut.

use super::super::Api;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::limits::Place;
use super::view::message;
use super::wanted::Wanted;
use crate::domain::ids::Digest;
use crate::domain::time::Timestamp;
use crate::ports::store::{EventPage, EventQuery};
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

/// Events per read, some 20 KiB: what a thousand stalled readers may each hold.
const PAGE: u32 = 32;
/// A comment when nothing else came, so that proxies and readers know the stream for alive. As often it is looked
/// whether the key is still good.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Shortest time between two looks at a log that has been read to its end: a busy one would otherwise have every
/// stream look at every commit.
const PACE: Duration = Duration::from_millis(100);
/// Reverse proxies that collect answers must not collect this one.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// The first bytes: the reader sees that it is connected, and how soon to come back.
const HELLO: &[u8] = b": connected\nretry: 1000\n\n";
const BEAT: &[u8] = b":\n\n";

struct Live {
    api: web::Data<Api>,
    key: Digest,
    query: EventQuery,
    news: watch::Receiver<u64>,
    first: Option<EventPage>,
    said_hello: bool,
    /// The last look found the end of the log.
    at_end: bool,
    looked_at: Timestamp,
    told_at: Timestamp,
    key_seen_at: Timestamp,
    _place: Place,
}

pub async fn answer(
    api: web::Data<Api>,
    req: &HttpRequest,
    caller: &Caller<'_>,
    wanted: Wanted,
) -> Result<HttpResponse, ApiError> {
    let place = Place::of(&api, caller)?;
    let news = api.store.last_sequence();
    let mut query = wanted.query(&api, PAGE);
    let first = api.store.events(&query).await?;
    wanted.start.check(&first)?;
    // A stream without a position begins with what there is: it has missed nothing.
    query.after = query.after.max(first.oldest);
    let now = api.clock.now();
    let live = Live {
        key: Api::key_digest(req).ok_or(ApiError::Unauthorized)?,
        query,
        news,
        first: Some(first),
        said_hello: false,
        at_end: false,
        looked_at: now,
        told_at: now,
        key_seen_at: now,
        _place: place,
        api,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((NO_BUFFERING, "no"))
        .streaming(messages(live)))
}

fn messages(live: Live) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(live, async |mut live| {
        let chunk = live.next().await?;
        Some((Ok(chunk), live))
    })
}

impl Live {
    /// What to send next; `None` ends the stream, and the reader comes back to learn why.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.said_hello {
            self.said_hello = true;
            return Some(Bytes::from_static(HELLO));
        }
        while !self.api.state.draining.is_cancelled() && self.key_is_good().await {
            let page = self.look().await?;
            self.at_end = page.done;
            self.query.after = page.next_after;
            if !page.events.is_empty() {
                return Some(self.tell(&page));
            }
            if self.since(self.told_at) >= HEARTBEAT {
                return Some(self.beat());
            }
            if self.at_end && self.wait().await == Woken::Quiet {
                return Some(self.beat());
            }
        }
        None
    }

    async fn look(&mut self) -> Option<EventPage> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if self.at_end {
            let early = PACE.saturating_sub(self.since(self.looked_at));
            if !early.is_zero() {
                self.api.clock.sleep(early).await;
            }
        }
        self.looked_at = self.api.clock.now();
        // Before looking, or what is committed in between is missed.
        self.news.borrow_and_update();
        match self.api.stream_read(&self.query).await {
            // Retention has overtaken the reader: it must hear 410, and comes back for it.
            Ok(page) if page.oldest > self.query.after => None,
            Ok(page) => Some(page),
            Err(e) => {
                tracing::warn!(error = %e, "a live stream ends");
                None
            }
        }
    }

    /// For news, at most until the next comment is due.
    async fn wait(&mut self) -> Woken {
        let quiet = HEARTBEAT.saturating_sub(self.since(self.told_at));
        tokio::select! {
            changed = self.news.changed() => match changed {
                Ok(()) => Woken::News,
                Err(_store_is_gone) => Woken::Quiet,
            },
            () = self.api.clock.sleep(quiet) => Woken::Quiet,
            () = self.api.state.draining.cancelled() => Woken::News,
        }
    }

    /// A revoked key reads no further than this.
    async fn key_is_good(&mut self) -> bool {
        if self.since(self.key_seen_at) < HEARTBEAT {
            return true;
        }
        self.key_seen_at = self.api.clock.now();
        matches!(self.api.store.key_by_hash(&self.key).await, Ok(Some(_)))
    }

    fn tell(&mut self, page: &EventPage) -> Bytes {
        let mut bytes = vec![];
        for event in &page.events {
            message(event, &mut bytes);
        }
        self.told_at = self.api.clock.now();
        bytes.into()
    }

    fn beat(&mut self) -> Bytes {
        self.told_at = self.api.clock.now();
        Bytes::from_static(BEAT)
    }

    fn since(&self, then: Timestamp) -> Duration {
        self.api.clock.now().since(then)
    }
}

#[derive(PartialEq, Eq)]
enum Woken {
    News,
    Quiet,
}
