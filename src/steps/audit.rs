//! The loss proof: what is paid, held against what lies in the bucket and, if asked for, against what the provider
//! names; then what the journal names against the database. Page by page in the order of arrival: memory does not grow
//! with the number of tasks, and a page can be asked for again at any time.

use crate::domain::asset::{Asset, AssetState, ObjectKey, Stored};
use crate::domain::file::{Policy, TaskFile};
use crate::domain::identity::Identity;
use crate::domain::ids::{ResultId, TaskId, Tenant};
use crate::domain::report::Report;
use crate::domain::time::Timestamp;
use crate::ports::blobs::{BlobError, Blobs};
use crate::ports::clock::Clock;
use crate::ports::holdings::Found;
use crate::ports::journal::{Journal, Recalled};
use crate::ports::operator::OperatorEntry;
use crate::ports::provider::{MAX_QUERY, Provider, ProviderError};
use crate::ports::records::{Records, Walk};
use crate::ports::store::{Queue, Store, StoreError};
use crate::ports::wake::Wakeups;
use futures_util::StreamExt as _;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub struct Audit {
    pub store: Arc<dyn Store>,
    pub records: Arc<dyn Records>,
    pub blobs: Arc<dyn Blobs>,
    /// `None`: no journal is kept.
    pub journal: Option<Arc<dyn Journal>>,
    pub provider: Arc<dyn Provider>,
    pub clock: Arc<dyn Clock>,
    pub wakeups: Wakeups,
    pub policy: Arc<Policy>,
}

#[derive(Clone, Debug)]
pub struct AuditQuery {
    pub tenant: Tenant,
    pub from: Position,
    /// Tasks created at or after, before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Tasks, or entries of the journal, looked at.
    pub limit: u32,
    /// Ask the provider about each task, too.
    pub ask_provider: bool,
    /// Mend what is missing, in the name of this API key.
    pub repair: Option<String>,
}

/// How far an audit is: first the tasks, then the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Tasks(u64),
    Journal(Option<TaskId>),
}

#[derive(Debug, Default)]
pub struct AuditPage {
    pub tasks: u64,
    /// Results that the provider made, as far as anyone here knows.
    pub paid: u64,
    /// In the database and, as recorded, in the bucket.
    pub archived: u64,
    /// Known and still being copied.
    pub in_progress: u64,
    /// Neither: each is a finding.
    pub missing: u64,
    /// Nobody could say: bucket or provider did not answer; see `trouble`.
    pub unchecked: u64,
    pub findings: Vec<Finding>,
    /// Tasks that the journal names and nobody here knows, to be imported; each is a finding.
    pub unknown: Vec<Identity>,
    /// The last thing that kept a question from being answered.
    pub trouble: Option<Trouble>,
    /// `None`: the end.
    pub next: Option<Position>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal cannot be listed now: its end is not known, so nothing may look like it.
    #[error(transparent)]
    Journal(BlobError),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// `object_store`, `journal`, `provider`.
    pub component: &'static str,
    pub code: String,
}

/// Something paid that is not in the bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub task: TaskId,
    /// `None`: the whole task is unknown here.
    pub result: Option<ResultId>,
    pub problem: Problem,
    /// Where it should lie.
    pub key: Option<ObjectKey>,
    pub repaired: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// Recorded as archived; the bucket has no such object.
    ObjectGone,
    /// Recorded as archived; the bucket has other bytes under the key.
    ObjectDiffers,
    /// It ended without being archived, for this reason.
    NotArchived(&'static str),
    /// The provider names it, the database does not.
    ResultUnknown,
    /// The journal names the task, the database does not.
    TaskUnknown,
}

impl Problem {
    /// Stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ObjectGone => "object_gone",
            Self::ObjectDiffers => "object_differs",
            Self::NotArchived(_) => "not_archived",
            Self::ResultUnknown => "result_unknown",
            Self::TaskUnknown => "task_unknown",
        }
    }

    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::NotArchived(reason) => Some(reason),
            _ => None,
        }
    }
}

/// A page is answered after this long with what it has by then: nobody waits for a slow bucket for minutes.
const PATIENCE: Duration = Duration::from_secs(20);
/// Questions to the bucket at once.
const HEADS_AT_ONCE: usize = 16;
/// Times a repair is decided again when a worker changed the task meanwhile.
const MAX_CONFLICTS: u32 = 8;

impl Audit {
    pub async fn page(&self, query: &AuditQuery) -> Result<AuditPage, AuditError> {
        match query.from {
            Position::Tasks(after) => Ok(self.tasks(query, after).await?),
            Position::Journal(after) => self.journal(query, after).await,
        }
    }

    async fn tasks(&self, query: &AuditQuery, after: u64) -> Result<AuditPage, StoreError> {
        let began = self.clock.now();
        let walked = self
            .records
            .walk(Walk {
                tenant: query.tenant.clone(),
                after,
                since: query.since,
                until: query.until,
                limit: query.limit,
            })
            .await?;
        let mut page = AuditPage {
            next: Some(walked.next.map_or(Position::Journal(None), Position::Tasks)),
            ..AuditPage::default()
        };
        let mut batches = walked.tasks.chunks(MAX_QUERY).peekable();
        while let Some(batch) = batches.next() {
            let findings_before = page.findings.len();
            self.batch(query, batch, &mut page).await;
            if let Some(actor) = &query.repair {
                self.repair(actor, batch, &mut page.findings[findings_before..])
                    .await?;
            }
            let late = self.clock.now().since(began) >= PATIENCE;
            if let (true, Some(_), Some((last, _))) = (late, batches.peek(), batch.last()) {
                page.next = Some(Position::Tasks(*last));
                break;
            }
        }
        Ok(page)
    }

    async fn batch(&self, query: &AuditQuery, batch: &[(u64, TaskFile)], page: &mut AuditPage) {
        let (mut assets, mut looks) = (vec![], vec![]);
        for asset in batch.iter().flat_map(|(_, file)| &file.assets) {
            assets.push(asset);
            looks.push(self.look(asset));
        }
        let mut looks = futures_util::stream::iter(looks).buffered(HEADS_AT_ONCE);
        for asset in assets {
            if let Some(stands) = looks.next().await {
                page.count(asset, stands);
            }
        }
        drop(looks);
        page.tasks += batch.len() as u64;
        if query.ask_provider {
            self.ask_provider(batch, page).await;
        }
    }

    async fn look(&self, asset: &Asset) -> Stands {
        match &asset.state {
            AssetState::Pending | AssetState::Archiving => Stands::InProgress,
            AssetState::Archived(stored) => match self.blobs.find(&stored.key).await {
                Ok(Some(found)) if is_as_recorded(&found, stored) => Stands::Archived,
                Ok(Some(_)) => Stands::Missing(Problem::ObjectDiffers),
                Ok(None) => Stands::Missing(Problem::ObjectGone),
                Err(e) => Stands::Unchecked(e),
            },
            AssetState::Expired(reason) | AssetState::Failed { reason, .. } => {
                Stands::Missing(Problem::NotArchived(reason.as_str()))
            }
        }
    }

    /// What the provider names and nobody here knows. Its silence about old tasks says nothing.
    async fn ask_provider(&self, batch: &[(u64, TaskFile)], page: &mut AuditPage) {
        let ids: Vec<TaskId> = batch.iter().map(|(_, file)| file.task.id).collect();
        let reports = match self.provider.query(&ids).await {
            Ok(reports) => reports,
            Err(e) => return page.provider_trouble(&e, batch.len()),
        };
        for ((_, file), report) in batch.iter().zip(reports) {
            let report = match report.is_empty() {
                false => Ok(report),
                true => self
                    .provider
                    .details(file.task.id)
                    .await
                    .map(Option::unwrap_or_default),
            };
            match report {
                Ok(report) => page.compare(file, &report),
                Err(e) => page.provider_trouble(&e, 1),
            }
        }
    }

    /// Wakes each task that something is missing of. What is under a key already is never written over.
    async fn repair(
        &self,
        actor: &str,
        batch: &[(u64, TaskFile)],
        findings: &mut [Finding],
    ) -> Result<(), StoreError> {
        for (_, file) in batch {
            let id = file.task.id;
            let mut own: Vec<&mut Finding> = findings
                .iter_mut()
                .filter(|f| f.task == id && f.problem != Problem::ObjectDiffers)
                .collect();
            if own.is_empty() {
                continue;
            }
            let results: Vec<ResultId> = own.iter().filter_map(|f| f.result.clone()).collect();
            if self.requeue(actor, id, &results).await? {
                own.iter_mut().for_each(|f| f.repaired = true);
            }
        }
        Ok(())
    }

    async fn requeue(&self, actor: &str, id: TaskId, results: &[ResultId]) -> Result<bool, StoreError> {
        for _ in 0..MAX_CONFLICTS {
            let Some(file) = self.store.task(None, id).await? else {
                return Ok(false);
            };
            let now = self.clock.now();
            let named: Vec<&str> = results.iter().map(ResultId::as_str).collect();
            let entry = OperatorEntry {
                at: now,
                tenant: file.task.tenant.clone(),
                actor: actor.to_owned(),
                action: "audit_repair",
                subject: id.to_string(),
                detail: json!({ "results": named }),
            };
            let requeued = file.requeue(results, &self.policy, now);
            match self.store.commit_by_operator(requeued, entry).await {
                Ok(()) => {
                    self.wakeups.ring(Queue::Copies);
                    self.wakeups.ring(Queue::Queries);
                    return Ok(true);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(false) // a worker is at it, and whatever it does is seen by the next audit
    }

    async fn journal(&self, query: &AuditQuery, after: Option<TaskId>) -> Result<AuditPage, AuditError> {
        let mut page = AuditPage::default();
        let Some(journal) = &self.journal else {
            return Ok(page);
        };
        let names = match journal.list(after, query.limit).await {
            Ok(names) => names,
            Err(e @ (BlobError::Misconfigured { .. } | BlobError::Refused { .. })) => {
                // It would be no other the next time: the audit ends here, and says that it is not whole.
                page.trouble("journal", &e);
                return Ok(page);
            }
            Err(e) => return Err(AuditError::Journal(e)),
        };
        let standings = self.records.standings(query.tenant.clone(), names.ids.clone());
        let standings = standings.await?;
        let nobodys = names.ids.iter().zip(&standings).filter(|(_, s)| s.is_none());
        let strangers: Vec<TaskId> = nobodys.map(|(id, _)| *id).collect();
        match journal.recall_all(&strangers).await {
            Ok(recalled) => page.name_unknown(query, recalled),
            Err(e) => {
                page.unchecked += strangers.len() as u64;
                page.trouble("journal", &e);
            }
        }
        page.next = names.next.map(|id| Position::Journal(Some(id)));
        Ok(page)
    }
}

enum Stands {
    Archived,
    InProgress,
    Missing(Problem),
    Unchecked(BlobError),
}

/// A store without a SHA-256 of the whole is believed by the size: create-only keys change no bytes afterwards.
fn is_as_recorded(found: &Found, stored: &Stored) -> bool {
    found.size_bytes == stored.size_bytes && found.sha256.is_none_or(|sha256| sha256 == stored.sha256)
}

impl AuditPage {
    /// Every question of this page was answered.
    pub fn is_complete(&self) -> bool {
        self.trouble.is_none() && self.unchecked == 0
    }

    fn count(&mut self, asset: &Asset, stands: Stands) {
        self.paid += 1;
        match stands {
            Stands::Archived => self.archived += 1,
            Stands::InProgress => self.in_progress += 1,
            Stands::Unchecked(e) => {
                self.unchecked += 1;
                self.trouble("object_store", &e);
            }
            Stands::Missing(problem) => {
                self.missing += 1;
                self.findings.push(Finding {
                    task: asset.id.task,
                    result: Some(asset.id.result.clone()),
                    problem,
                    key: asset.state.stored().map(|stored| stored.key.clone()),
                    repaired: false,
                });
            }
        }
    }

    fn compare(&mut self, file: &TaskFile, report: &Report) {
        for success in report.successes().filter(|s| file.asset(&s.result).is_none()) {
            self.paid += 1;
            if !file.task.state.is_terminal() {
                self.in_progress += 1; // the next query of an open task finds it
                continue;
            }
            self.missing += 1;
            self.findings.push(Finding {
                task: file.task.id,
                result: Some(success.result.clone()),
                problem: Problem::ResultUnknown,
                key: None,
                repaired: false,
            });
        }
    }

    fn name_unknown(&mut self, query: &AuditQuery, recalled: Recalled) {
        self.unchecked += recalled.unreadable;
        self.unknown = recalled.identities;
        self.unknown.retain(|identity| {
            identity.tenant == query.tenant
                && query.since.is_none_or(|since| identity.created_at >= since)
                && query.until.is_none_or(|until| identity.created_at < until)
        });
        self.missing += self.unknown.len() as u64;
        self.findings.extend(self.unknown.iter().map(|identity| Finding {
            task: identity.id,
            result: None,
            problem: Problem::TaskUnknown,
            key: None,
            repaired: false,
        }));
    }

    /// Of the unknown tasks these are known now; one that is somebody else's is not repaired.
    pub fn taken_up(&mut self, tasks: impl Iterator<Item = TaskId>) {
        for id in tasks {
            let of_it = |f: &&mut Finding| f.task == id && f.problem == Problem::TaskUnknown;
            self.findings
                .iter_mut()
                .filter(of_it)
                .for_each(|f| f.repaired = true);
        }
    }

    fn provider_trouble(&mut self, error: &ProviderError, tasks: usize) {
        self.unchecked += tasks as u64;
        self.trouble = Some(Trouble {
            component: "provider",
            code: error.code.clone(),
        });
    }

    fn trouble(&mut self, component: &'static str, error: &BlobError) {
        self.trouble = Some(Trouble {
            component,
            code: error.code().to_owned(),
        });
    }
}
