//! What was paid, held against what lies in the bucket: read from the simulator's own book and from the object files,
//! not from what the service believes.

use super::{AppError, Stages};
use crate::domain::event::{Event, EventKind};
use crate::domain::ids::{Digest, ResultId, TaskId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::store::{EventQuery, Store};
use crate::simulator::{Generation, GenerationResult, ResultState, Simulator};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The outcome of the audit.
#[derive(Default)]
pub struct Book {
    pub paid: u64,
    pub archived: u64,
    pub bytes: u64,
    pub lost: u64,
}

pub async fn audit(simulator: &Simulator, store: &dyn Store, bucket: &Path) -> Result<Book, AppError> {
    let mut book = Book::default();
    for generation in simulator.generations() {
        book.lost += u64::from(generation.accepted.saturating_sub(1));
        for result in generation
            .results
            .iter()
            .filter(|r| r.state == ResultState::Succeeded)
        {
            book.paid += 1;
            match object_of(store, &generation, result, bucket).await? {
                Some(size) => {
                    book.archived += 1;
                    book.bytes += size;
                }
                None => book.lost += 1,
            }
        }
    }
    Ok(book)
}

/// The size of the object that the service names for this result, if its bytes are the source's.
async fn object_of(
    store: &dyn Store,
    generation: &Generation,
    result: &GenerationResult,
    bucket: &Path,
) -> Result<Option<u64>, AppError> {
    let Some(file) = store.task(None, TaskId(generation.task_uuid)).await? else {
        return Ok(None);
    };
    let id = ResultId::given(&result.id.to_string());
    let stored = id.and_then(|id| file.asset(&id).and_then(|a| a.state.stored().cloned()));
    let Some(stored) = stored else { return Ok(None) };
    let Ok(bytes) = tokio::fs::read(bucket.join(&stored.key.0)).await else {
        return Ok(None);
    };
    let same = result.sha256.as_deref() == Some(Digest::of(&bytes).hex().as_str());
    Ok((same && stored.size_bytes == bytes.len() as u64).then_some(stored.size_bytes))
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
