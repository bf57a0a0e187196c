//! Reading the event log: once, page by page, or for ever.

use super::client::{Client, ClientError, ClientFlags, LONG_POLL, Parameter};
use super::exit::CliError;
use super::{follow, output, values};
use crate::ports::clock::Clock;
use serde_json::Value;
use std::time::Duration;

/// Events per request; the most the service gives.
pub const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Filters {
    /// Only these, comma-separated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = values::event_types())]
    types: Vec<String>,

    /// Only of tasks with this label; all of several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,

    /// Only of these models, comma-separated
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,

    /// Only of this task
    #[arg(long, value_name = "ID", value_parser = values::task_id)]
    task: Option<String>,

    /// One JSON object a line
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    pub ndjson: bool,

    #[command(flatten)]
    pub client: ClientFlags,
}

/// A position in the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// Before the first event that is still there.
    Oldest,
    Sequence(u64),
    /// What comes next.
    Latest,
}

/// A part of the log.
pub struct Page {
    pub events: Vec<Value>,
    /// Where to read on: filters may have passed events over.
    pub next_after: u64,
    pub done: bool,
}

pub async fn page(
    client: &Client,
    filters: &Filters,
    after: After,
    limit: u32,
    hold: Option<Duration>,
) -> Result<Page, ClientError> {
    let mut query = filters.parameters();
    match after {
        After::Oldest => {}
        After::Sequence(sequence) => query.push(("after".to_owned(), sequence.to_string())),
        After::Latest => query.push(("after".to_owned(), "latest".to_owned())),
    }
    query.push(("limit".to_owned(), limit.to_string()));
    let body = client.get(&["v1", "events"], &query, hold).await?.body;
    let next_after = body.get("nextAfter").and_then(Value::as_u64);
    let goes_on = |next: &u64| !matches!(after, After::Sequence(sequence) if sequence > *next);
    let Some(next_after) = next_after.filter(goes_on) else {
        let why = "the answer does not say where to read on".to_owned();
        return Err(ClientError::Foreign { why });
    };
    Ok(Page {
        events: output::items(&body).to_vec(),
        next_after,
        done: body.get("done").and_then(Value::as_bool).unwrap_or(false),
    })
}

impl Filters {
    fn parameters(&self) -> Vec<Parameter> {
        let mut query = values::label_filters(&self.labels);
        for (name, words) in [("type", &self.types), ("model", &self.models)] {
            if !words.is_empty() {
                query.push((name.to_owned(), words.join(",")));
            }
        }
        query.extend(self.task.iter().map(|task| ("task".to_owned(), task.clone())));
        query
    }
}

/// Follows the log, through times when the service is away.
pub struct Follower<'a> {
    client: &'a Client,
    clock: &'a dyn Clock,
    filters: &'a Filters,
    limit: u32,
    after: After,
    failures: u32,
}

impl<'a> Follower<'a> {
    pub fn new(
        client: &'a Client,
        clock: &'a dyn Clock,
        filters: &'a Filters,
        limit: u32,
        after: After,
    ) -> Self {
        Self {
            client,
            clock,
            filters,
            limit,
            after,
            failures: 0,
        }
    }

    /// What comes next: none or more events.
    ///
    /// # Errors
    /// An answer that another try would not change, such as a revoked key or a position that is too old.
    pub async fn next(&mut self) -> Result<Vec<Value>, CliError> {
        loop {
            // Until a position is known nothing is waited for, or what comes while the line breaks would be missed.
            let hold = matches!(self.after, After::Sequence(_)).then_some(LONG_POLL);
            match page(self.client, self.filters, self.after, self.limit, hold).await {
                Ok(page) => {
                    self.failures = 0;
                    self.after = After::Sequence(page.next_after);
                    return Ok(page.events);
                }
                Err(error) if error.is_temporary() => self.rest(error).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn rest(&mut self, error: ClientError) {
        let pause = follow::pause(self.failures, error.retry_after());
        if self.failures == 0 {
            output::note(&format!("{}; trying on", CliError::from(error).message));
        }
        self.failures = self.failures.saturating_add(1);
        self.clock.sleep(pause).await;
    }
}
