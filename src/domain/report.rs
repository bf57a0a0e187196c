//! A report: one meaning for a callback's body and a status query's answer.

use super::asset::SourceUrl;
use super::ids::ResultId;
use super::task::Failure;
use std::collections::BTreeSet;

/// What the provider said about one task, in one message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub items: Vec<Item>,
    /// Something in the message was odd: items for another task, members we could not read. Changes nothing;
    /// the provider is asked.
    pub doubt: bool,
    /// What the provider says it was asked for (`getTaskDetails` only): adopted tasks learn from it.
    pub request: Option<RequestEcho>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Still being made, or a word for a state we do not know: unknown words mean running.
    Running,
    /// Finished, but without a link yet (an `uploadEndpoint`, or a short delay at the provider).
    Linkless,
    Success(Success),
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Success {
    pub result: ResultId,
    pub source: SourceUrl,
    pub cost: Option<f64>,
    pub nsfw: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestEcho {
    pub model: Option<String>,
    pub number_results: Option<u32>,
    pub output_format: Option<String>,
    pub ttl_s: Option<u64>,
}

impl Report {
    pub fn successes(&self) -> impl Iterator<Item = &Success> {
        self.items.iter().filter_map(|item| match item {
            Item::Success(s) => Some(s),
            _ => None,
        })
    }

    pub fn failed(&self) -> impl Iterator<Item = &Failure> {
        self.items.iter().filter_map(|item| match item {
            Item::Failed(f) => Some(f),
            _ => None,
        })
    }

    /// Items that will not change any more: each result once, however often the answer repeats it.
    pub fn terminal_items(&self) -> u32 {
        let results: BTreeSet<&ResultId> = self.successes().map(|s| &s.result).collect();
        u32::try_from(results.len() + self.failed().count()).unwrap_or(u32::MAX)
    }

    /// Items named, finished or not, each result once.
    pub fn items_named(&self) -> u32 {
        let open = self
            .items
            .iter()
            .filter(|i| matches!(i, Item::Running | Item::Linkless))
            .count();
        self.terminal_items()
            .saturating_add(u32::try_from(open).unwrap_or(u32::MAX))
    }

    /// The provider has no row for the task: pending or unknown, never failed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
