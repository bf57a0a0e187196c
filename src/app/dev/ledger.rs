//! What was paid, held against what lies in the bucket and what the service says of it: read from the simulator's own
//! book and from the object files, not from what the service believes.

use super::{AppError, Stages};
use crate::domain::asset::{AssetState, Stored};
use crate::domain::event::{Event, EventKind};
use crate::domain::file::TaskFile;
use crate::domain::ids::{Digest, ResultId, TaskId, Tenant};
use crate::domain::task::{Failure, TaskState};
use crate::domain::time::Timestamp;
use crate::ports::store::{EventQuery, Store};
use crate::simulator::{Generation, GenerationResult, ResultState, Simulator};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// The outcome of the audit.
#[derive(Debug, Default, PartialEq)]
pub struct Book {
    /// Accepted by the provider, each as often as it was accepted.
    pub generations: u64,
    pub paid: u64,
    pub archived: u64,
    pub bytes: u64,
    /// Results that the provider failed.
    pub failed: u64,
    pub lost: u64,
    /// Where the service says something else than the book: one sentence each.
    pub untrue: Vec<String>,
}

pub async fn audit(simulator: &Simulator, store: &dyn Store, bucket: &Path) -> Result<Book, AppError> {
    let mut book = Book::default();
    for generation in simulator.generations() {
        let file = store.task(None, TaskId(generation.task_uuid)).await?;
        book.enter(&generation, file.as_ref(), bucket).await;
    }
    Ok(book)
}

impl Book {
    async fn enter(&mut self, generation: &Generation, file: Option<&TaskFile>, bucket: &Path) {
        self.generations += u64::from(generation.accepted);
        self.lost += u64::from(generation.accepted.saturating_sub(1));
        let (mut archived, mut paid) = (0, 0);
        for result in &generation.results {
            match result.state {
                ResultState::Succeeded => paid += 1,
                ResultState::Failed => self.failed += 1,
                ResultState::Rendering | ResultState::Stuck => {}
            }
            if let Some(size) = archived_size(file, result, bucket).await {
                archived += 1;
                self.bytes += size;
            }
        }
        self.paid += paid;
        self.archived += archived;
        self.lost += paid.saturating_sub(archived);
        let Some(file) = file else { return };
        let objects = objects_of(&bucket.join(file.task.id.to_string()));
        let faults = [
            verdict_fault(generation, &file.task.state, &file.task.failures),
            (objects != archived).then(|| format!("{objects} objects for {archived} results")),
        ];
        let told = faults.into_iter().flatten();
        self.untrue
            .extend(told.map(|what| format!("{}: {what}", file.task.id)));
    }
}

/// Whether the task ended as the book says, with the provider's own words for what failed.
fn verdict_fault(generation: &Generation, state: &TaskState, failures: &[Failure]) -> Option<String> {
    let codes_of = |r: &GenerationResult| (r.state == ResultState::Failed).then(|| r.code.clone()).flatten();
    let codes: BTreeSet<String> = generation.results.iter().filter_map(codes_of).collect();
    let told: BTreeSet<String> = failures.iter().map(|f| f.code.clone()).collect();
    let count = |state| generation.results.iter().filter(|r| r.state == state).count();
    let (made, failed) = (count(ResultState::Succeeded), count(ResultState::Failed));
    let of_book = |code: &Option<String>| code.as_ref().is_some_and(|code| codes.contains(code));
    let is_true = match state {
        TaskState::Completed => failed == 0 && told.is_empty(),
        TaskState::Partial(_) => made > 0 && failed > 0 && told == codes,
        // A provider may tell one failure for all.
        TaskState::Failed(verdict) => {
            made == 0 && of_book(&verdict.provider_code) && !told.is_empty() && told.is_subset(&codes)
        }
        _ => false,
    };
    let status = state.status();
    (!is_true).then(|| {
        format!("{made} results were made and {failed} failed ({codes:?}); told as {status} ({told:?})")
    })
}

/// The size of the object that the service names for this result, if it is archived with the source's bytes.
async fn archived_size(file: Option<&TaskFile>, result: &GenerationResult, bucket: &Path) -> Option<u64> {
    let id = ResultId::given(&result.id.to_string())?;
    let AssetState::Archived(Stored { key, size_bytes, .. }) = &file?.asset(&id)?.state else {
        return None;
    };
    let bytes = tokio::fs::read(bucket.join(&key.0)).await.ok()?;
    let same = result.sha256.as_deref() == Some(Digest::of(&bytes).hex().as_str());
    (same && *size_bytes == bytes.len() as u64).then_some(*size_bytes)
}

/// Objects under one task's prefix; the store keeps its own notes in files that begin with a dot.
fn objects_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .count() as u64
}

/// Every event after a sequence.
pub async fn events(store: &dyn Store, after: u64) -> Result<Vec<Event>, AppError> {
    let mut query = EventQuery {
        tenant: Tenant::default_tenant(),
        after,
        limit: 1000,
        types: vec![],
        models: vec![],
        labels: BTreeMap::new(),
        task: None,
    };
    let mut all = vec![];
    loop {
        let page = store.events(&query).await?;
        all.extend(page.events);
        query.after = page.next_after;
        if page.done {
            return Ok(all);
        }
    }
}

/// A counter's value on the metrics page.
pub fn counter(page: &str, name: &str, label: &str) -> u64 {
    let line = page.lines().find(|line| {
        let rest = line.strip_prefix("catchment_").and_then(|l| l.strip_prefix(name));
        rest.is_some_and(|r| {
            if label.is_empty() {
                r.starts_with(' ')
            } else {
                r.contains(&format!("\"{label}\""))
            }
        })
    });
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

/// Medians over tasks; `taken` is when the endpoint took each event.
pub fn stages(events: &[Event], taken: &BTreeMap<String, Timestamp>) -> Stages {
    let mut by_task: BTreeMap<TaskId, Vec<&Event>> = BTreeMap::new();
    for event in events {
        if let Some(task) = event.task {
            by_task.entry(task).or_default().push(event);
        }
    }
    let between = |from: fn(EventKind) -> bool, to: fn(EventKind) -> bool| {
        median(by_task.values().filter_map(|told| {
            let start = told.iter().find(|e| from(e.kind))?.at;
            Some(told.iter().rfind(|e| to(e.kind))?.at.since(start))
        }))
    };
    let ended = |k: EventKind| {
        matches!(
            k,
            EventKind::TaskCompleted | EventKind::TaskPartial | EventKind::TaskFailed
        )
    };
    Stages {
        submit: between(
            |k| k == EventKind::TaskAccepted,
            |k| k == EventKind::TaskSubmitted,
        ),
        render: between(
            |k| k == EventKind::TaskSubmitted,
            |k| k == EventKind::AssetDiscovered,
        ),
        archive: between(|k| k == EventKind::AssetDiscovered, ended),
        deliver: median(
            events
                .iter()
                .filter_map(|e| Some(taken.get(e.id.as_str())?.since(e.at))),
        ),
    }
}

fn median(durations: impl Iterator<Item = Duration>) -> f64 {
    let mut all: Vec<Duration> = durations.collect();
    all.sort_unstable();
    all.get(all.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

#[cfg(test)]
mod tests;
