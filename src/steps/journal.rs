//! The journal: a task's identity is in the bucket before the provider is paid for it. A bucket that is down is waited
//! for a few seconds, once; what could not be put then is put later, and nothing else waits for it.

use crate::crash_point;
use crate::domain::identity::{Earlier, Identity};
use crate::domain::ids::TaskId;
use crate::domain::lease::{Fence, Lease};
use crate::domain::task::{Origin, Task};
use crate::domain::transition::Transition;
use crate::ports::blobs::BlobError;
use crate::ports::clock::Clock;
use crate::ports::health::{Component, Health};
use crate::ports::journal::{Journal, Kept};
use crate::ports::records::{Need, Records};
use crate::ports::store::{Inquiry, Store, StoreError};
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// What the steps need to keep the journal.
#[derive(Clone)]
pub struct Journalling {
    pub journal: Arc<dyn Journal>,
    pub records: Arc<dyn Records>,
    pub health: Health,
    pub clock: Arc<dyn Clock>,
}

/// Longest wait of one submission for the bucket. It answers in a tenth of a second, or it is in trouble.
const WAIT: Duration = Duration::from_secs(3);

/// Entries put at once when catching up: small requests, mostly waiting for their answers.
const AT_ONCE: usize = 16;
/// Entries read from the database at once.
const BATCH: u32 = 256;

impl Journalling {
    /// Puts the entry of a task about to be sent for the first time.
    pub async fn before_first_attempt(&self, task: &Task) -> Result<Earlier, StoreError> {
        if self.records.journal_need(task.id).await? != Some(Need::First) {
            return Ok(Earlier::Nothing);
        }
        if self.is_down() {
            self.records.journal_later(task.id).await?;
            return Ok(Earlier::Nothing);
        }
        let identity = Identity::of(task);
        let kept = tokio::select! {
            kept = self.journal.keep(&identity) => kept,
            () = self.clock.sleep(WAIT) => Err(BlobError::Unavailable { code: "timeout".to_owned(), source: None }),
        };
        crash_point!("journal.after_put");
        match kept {
            Ok(Kept::New) => self.settled(task.id).await?,
            Ok(Kept::Before) => return Ok(Earlier::Perhaps),
            Err(e) => {
                self.trouble(&e);
                self.records.journal_later(task.id).await?;
            }
        }
        Ok(Earlier::Nothing)
    }

    async fn unknown_there(&self, id: TaskId) -> Result<bool, StoreError> {
        self.records.journal_later(id).await?;
        Ok(true)
    }

    /// The journal has it, and whether it was sent before is known.
    pub async fn settled(&self, id: TaskId) -> Result<(), StoreError> {
        self.records.journal_done(vec![id]).await
    }

    /// Puts what nobody waits for. Answers whether more of it is left, or what keeps the bucket from taking it.
    pub async fn catch_up(&self) -> Result<CaughtUp, StoreError> {
        let backlog = self.records.journal_backlog(BATCH).await?;
        if backlog.is_empty() {
            return Ok(CaughtUp::All);
        }
        let full = backlog.len() == BATCH as usize;
        let identities: Vec<Identity> = backlog.iter().map(|file| Identity::of(&file.task)).collect();
        let (mut done, mut error) = (vec![], None);
        // The first one alone: against a bucket that is down, one try is enough.
        let (first, rest) = identities.split_at(1);
        for batch in [first, rest] {
            let mut puts = vec![];
            for identity in batch {
                puts.push(self.journal.keep(identity));
            }
            let mut puts = futures_util::stream::iter(puts).buffered(AT_ONCE);
            for identity in batch {
                match puts.next().await {
                    Some(Ok(_)) => done.push(identity.id),
                    Some(Err(e)) => error = Some(e),
                    None => break,
                }
            }
            if error.is_some() {
                break;
            }
        }
        self.records.journal_done(done).await?;
        Ok(match error {
            Some(e) => {
                self.trouble(&e);
                CaughtUp::Stuck
            }
            None => {
                self.fine();
                if full { CaughtUp::More } else { CaughtUp::All }
            }
        })
    }

    /// Gives an adopted task back what the journal knows of it: whose it is, and which keys its results have. Answers
    /// whether the provider may be asked now; not before the bucket has said yes or no, or its results might be put
    /// under other keys a second time.
    pub async fn recall(&self, store: &dyn Store, lease: &mut Lease<Inquiry>) -> Result<bool, StoreError> {
        let task = &mut lease.item.file.task;
        if task.origin == Origin::Submitted || self.records.journal_need(task.id).await? != Some(Need::Recall)
        {
            return Ok(true);
        }
        match self.journal.recall(task.id).await {
            Ok(Some(identity)) => {
                identity.describe(task);
                let now = self.clock.now();
                let told = Transition::of(task.clone()).note(now, "recalled", serde_json::json!({}));
                let fence = Fence::Task {
                    id: task.id,
                    epoch: lease.epoch,
                };
                task.version = store.commit_and_hold(told, fence).await?;
                self.records.journal_done(vec![task.id]).await?;
                Ok(true)
            }
            Ok(None) => self.unknown_there(task.id).await,
            // Without the right to list the bucket, S3 says 403 of a key that is not there. Any other trouble with the
            // credentials says nothing about the entry: it may name another tenant, and is waited for.
            Err(BlobError::Misconfigured { code }) if code == "access_denied" => {
                self.unknown_there(task.id).await
            }
            Err(BlobError::Refused { code }) => {
                warn!(task = %task.id, code, "the journal's entry cannot be used; the provider describes the task");
                self.records.journal_done(vec![task.id]).await?;
                Ok(true)
            }
            Err(e) => {
                // The probe of the bucket finds out when it is back.
                self.health
                    .degrade(Component::ObjectStore, e.code(), self.clock.now());
                Ok(false)
            }
        }
    }

    /// Known to be down: nobody waits for it. Catching up finds out when it is back.
    fn is_down(&self) -> bool {
        let degraded = self.health.degraded();
        degraded
            .iter()
            .any(|d| matches!(d.component, Component::Journal | Component::ObjectStore))
    }

    fn trouble(&self, error: &BlobError) {
        let code = error.code();
        if self.health.degrade(Component::Journal, code, self.clock.now()) {
            warn!(
                code,
                "the journal cannot be written; submissions go on, and it is caught up later"
            );
        }
    }

    fn fine(&self) {
        if self.health.recover(Component::Journal) {
            info!("the journal is written again");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaughtUp {
    All,
    More,
    Stuck,
}
