//! Tasks submitted elsewhere, or by this service before its disk was lost, become ours: asked about at the provider's
//! pace, archived like any other. Never submitted: importing costs nothing at the provider.

use crate::domain::file::Policy;
use crate::domain::identity::Identity;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::task::{Origin, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use crate::ports::blobs::BlobError;
use crate::ports::clock::Clock;
use crate::ports::journal::{Journal, Recalled};
use crate::ports::records::{Adopted, Records};
use crate::ports::store::{Queue, Store, StoreError};
use crate::ports::wake::Wakeups;
use std::time::Duration;

pub struct Import<'a> {
    pub store: &'a dyn Store,
    pub records: &'a dyn Records,
    pub clock: &'a dyn Clock,
    pub wakeups: &'a Wakeups,
    pub policy: &'a Policy,
}

/// Tasks in one commit: a callback that comes meanwhile waits for one of these, not for all.
const CHUNK: usize = 200;

/// So many may wait for their first question at once; each further one is due a moment later than the one before, so
/// that a large import does not stand in front of the tasks that somebody waits for. These are places in a queue: the
/// store serves in each the task whose links die first.
const AT_ONCE: u64 = 1000;
const A_SECOND: u64 = 25;

/// What became of one task of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    pub id: TaskId,
    pub as_what: Adopted,
}

impl Imported {
    /// As its owner may see it; `None`: refused.
    pub fn standing(&self) -> Option<(TaskStatus, Origin)> {
        match self.as_what {
            Adopted::New => Some((TaskStatus::Submitted, Origin::Imported)),
            Adopted::Known { status, origin } => Some((status, origin)),
            Adopted::Refused => None,
        }
    }
}

/// Adopts what is not known yet. Durable when it returns; broken off, a repeat does the rest.
pub async fn import(ctx: &Import<'_>, identities: Vec<Identity>) -> Result<Vec<Imported>, StoreError> {
    adopt(ctx, identities, false).await
}

/// The same for tasks whose identity is in the journal already.
pub async fn import_known(ctx: &Import<'_>, identities: Vec<Identity>) -> Result<Vec<Imported>, StoreError> {
    adopt(ctx, identities, true).await
}

/// What one page of the journal came to.
pub struct JournalPage {
    /// Of the tenant who asked, in the order of their names.
    pub own: Vec<Imported>,
    /// Tasks of other tenants that were taken up as well.
    pub others: u64,
    /// Entries that cannot be read.
    pub unreadable: u64,
    pub next: Option<TaskId>,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bucket(#[from] BlobError),
}

/// Re-learns one page of the journal, every tenant's tasks as their own: it is this service's memory.
pub async fn import_journal(
    ctx: &Import<'_>,
    journal: &dyn Journal,
    tenant: &Tenant,
    after: Option<TaskId>,
    limit: u32,
) -> Result<JournalPage, JournalError> {
    let names = journal.list(after, limit).await?;
    let standings = ctx.records.standings(tenant.clone(), names.ids.clone()).await?;
    let known = |(id, standing): (&TaskId, &Option<Adopted>)| {
        let as_what = standing.filter(|s| matches!(s, Adopted::Known { .. }))?;
        Some(Imported { id: *id, as_what })
    };
    let own = names.ids.iter().zip(&standings).filter_map(known).collect();
    let nobodys = names.ids.iter().zip(&standings).filter(|(_, s)| s.is_none());
    let strangers: Vec<TaskId> = nobodys.map(|(id, _)| *id).collect();
    let Recalled {
        identities,
        unreadable,
    } = journal.recall_all(&strangers).await?;
    let owners: Vec<Tenant> = identities.iter().map(|i| i.tenant.clone()).collect();
    let imported = adopt(ctx, identities, true).await?;
    let mut page = JournalPage {
        own,
        others: 0,
        unreadable,
        next: names.next,
    };
    for (one, owner) in imported.into_iter().zip(owners) {
        match owner == *tenant {
            true => page.own.push(one),
            false => page.others += u64::from(one.as_what == Adopted::New),
        }
    }
    page.own.sort_by_key(|one| one.id);
    Ok(page)
}

async fn adopt(
    ctx: &Import<'_>,
    identities: Vec<Identity>,
    journalled: bool,
) -> Result<Vec<Imported>, StoreError> {
    let now = ctx.clock.now();
    let waiting = waiting(ctx, now).await?;
    let mut imported = Vec::with_capacity(identities.len());
    let mut identities = identities.into_iter().enumerate().peekable();
    while identities.peek().is_some() {
        let adoption = |(n, identity): (usize, Identity)| {
            let due = due(waiting + n as u64, now);
            identity.adopt(Origin::Imported, ctx.policy, now, due)
        };
        let chunk: Vec<Transition> = identities.by_ref().take(CHUNK).map(adoption).collect();
        let ids: Vec<TaskId> = chunk.iter().map(|t| t.task.id).collect();
        let adopted = ctx.records.adopt_all(chunk, journalled).await?;
        let pairs = ids.into_iter().zip(adopted);
        imported.extend(pairs.map(|(id, as_what)| Imported { id, as_what }));
        ctx.wakeups.ring(Queue::Queries);
    }
    Ok(imported)
}

/// How many wait for an answer already, from the counts.
async fn waiting(ctx: &Import<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let figures = ctx.store.figures(now).await?;
    let submitted = figures
        .tasks
        .iter()
        .find(|(status, _)| *status == TaskStatus::Submitted);
    Ok(submitted.map_or(0, |(_, n)| *n))
}

fn due(ahead: u64, now: Timestamp) -> Timestamp {
    let late = ahead.saturating_sub(AT_ONCE);
    now.plus(Duration::from_millis(late.saturating_mul(1000 / A_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f26_a_large_import_is_asked_about_at_a_pace_and_not_at_once() {
        let now = Timestamp::from_millis(0);
        assert_eq!(due(0, now), now);
        assert_eq!(due(AT_ONCE, now), now);
        let hour = Duration::from_secs(3600);
        assert_eq!(due(AT_ONCE + 3600 * A_SECOND, now), now.plus(hour));
    }
}
