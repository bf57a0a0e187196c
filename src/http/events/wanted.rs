//! What a request for events asks for: which, from where, and in what form.

use super::super::Api;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::fault::FaultCode;
use super::super::query::{Query, number};
use crate::domain::event::EventKind;
use crate::domain::ids::{TaskId, Tenant};
use crate::ports::store::EventQuery;
use actix_web::HttpRequest;
use actix_web::http::header::ACCEPT;
use std::collections::BTreeMap;
use std::time::Duration;

const DEFAULT_LIMIT: u32 = 100;
/// As the store allows.
const MAX_LIMIT: u32 = 1_000;
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Page,
    /// `application/x-ndjson`
    Export,
    /// `text/event-stream`
    Live,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first that is still there.
    Oldest,
    After(u64),
    /// What comes next.
    Latest,
}

pub struct Wanted {
    pub form: Form,
    pub start: Start,
    pub limit: Option<u32>,
    pub wait: Duration,
    tenant: Tenant,
    types: Vec<EventKind>,
    models: Vec<String>,
    labels: BTreeMap<String, String>,
    task: Option<TaskId>,
}

impl Wanted {
    /// # Errors
    /// `InvalidQuery`, with every fault.
    pub fn of(req: &HttpRequest, caller: &Caller<'_>) -> Result<Self, ApiError> {
        let form = form(req);
        let mut query = Query::of(req);
        let asked = query.parsed("after", "a whole number or `latest`", start);
        let wanted = Self {
            form,
            start: last_event_id(req, form, &mut query)
                .or(asked)
                .unwrap_or(Start::Oldest),
            limit: query.optional_limit(),
            wait: query.wait(),
            tenant: caller.tenant.clone(),
            types: query.list("type", "the types of events", EventKind::parse),
            models: query.list("model", "the names of models", |m| {
                (!m.is_empty()).then(|| m.to_owned())
            }),
            labels: query.labels(),
            task: query.parsed("task", "a task's UUID", TaskId::parse),
        };
        if form != Form::Page && !wanted.wait.is_zero() {
            query.fault(
                "wait",
                FaultCode::NotAllowed,
                "is for pages: a stream waits by itself",
            );
        }
        if form == Form::Live && wanted.limit.is_some() {
            query.fault(
                "limit",
                FaultCode::NotAllowed,
                "is for pages and exports: a stream has no end",
            );
        }
        query.finish()?;
        Ok(wanted)
    }

    pub fn page_limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
    }

    /// The first read.
    pub fn query(&self, api: &Api, limit: u32) -> EventQuery {
        EventQuery {
            tenant: self.tenant.clone(),
            after: match self.start {
                Start::Oldest => 0,
                Start::After(sequence) => sequence,
                Start::Latest => *api.store.last_sequence().borrow(),
            },
            limit,
            types: self.types.clone(),
            models: self.models.clone(),
            labels: self.labels.clone(),
            task: self.task,
        }
    }
}

fn start(text: &str) -> Option<Start> {
    match text {
        "latest" => Some(Start::Latest),
        _ => number(text).map(Start::After),
    }
}

/// A browser that reconnects sends it beside the address it was given first, so it goes before `after`. An empty one
/// says that nothing came yet.
fn last_event_id(req: &HttpRequest, form: Form, query: &mut Query) -> Option<Start> {
    let given = req.headers().get(LAST_EVENT_ID).filter(|_| form == Form::Live)?;
    let text = given.to_str().unwrap_or("?").trim();
    let id = number(text);
    if id.is_none() && !text.is_empty() {
        query.fault(
            LAST_EVENT_ID,
            FaultCode::InvalidFormat,
            "must be the `id` of a message",
        );
    }
    id.map(Start::After)
}

fn form(req: &HttpRequest) -> Form {
    let accepted: Vec<String> = req
        .headers()
        .get_all(ACCEPT)
        .filter_map(|v| v.to_str().ok())
        .map(str::to_ascii_lowercase)
        .collect();
    let accepts = |kind| accepted.iter().any(|v| v.contains(kind));
    if accepts("text/event-stream") {
        Form::Live
    } else if accepts("application/x-ndjson") || accepts("application/ndjson") {
        Form::Export
    } else {
        Form::Page
    }
}
