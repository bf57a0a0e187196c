//! Tasks on their way to the provider.

use super::{ProviderPace, Shared};
use crate::domain::file::TaskFile;
use crate::domain::identity::Earlier;
use crate::domain::ids::TaskId;
use crate::domain::lease::Lease;
use crate::domain::time::Timestamp;
use crate::domain::token::CallbackKeys;
use crate::ports::health::Component;
use crate::ports::provider::Provider;
use crate::ports::store::{Claim, Held, Queue, StoreError};
use crate::steps::dispatch::{Dispatch, Dispatched, Setback, dispatch};
use crate::steps::journal::Journalling;
use crate::telemetry::metrics::SubmissionOutcome;
use crate::worker::{Gate, Work};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

pub struct Submissions {
    pub shared: Shared,
    pub provider: Arc<dyn Provider>,
    pub keys: CallbackKeys,
    pub callback_base: String,
    pub pace: Arc<ProviderPace>,
    /// `None`: no journal is kept.
    pub journal: Option<Journalling>,
}

#[async_trait]
impl Work for Submissions {
    type Item = TaskFile;
    const QUEUE: Queue = Queue::Submissions;

    fn gate(&self, free: u32, now: Timestamp) -> Gate {
        self.pace.submissions.gate(free, now)
    }

    fn idle(&self, now: Timestamp) {
        self.pace.submissions.undecided(now);
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<TaskFile>>, StoreError> {
        self.shared.store.claim_submissions(claim).await
    }

    fn held(lease: &Lease<TaskFile>) -> Held {
        Held::Task {
            id: lease.item.task.id,
            epoch: lease.epoch,
        }
    }

    async fn work(&self, leases: Vec<Lease<TaskFile>>) {
        for lease in leases {
            let id = lease.item.task.id;
            let s = &self.shared;
            let earlier = match self.journalled(&lease).await {
                Ok(earlier) => earlier,
                Err(e) => {
                    self.undecided();
                    error!(task = %id, error = %e, "not journalled, not submitted; taken up when the lease lapses");
                    continue;
                }
            };
            let ctx = Dispatch {
                store: &*s.store,
                provider: &*self.provider,
                clock: &*s.clock,
                rng: &*s.rng,
                policy: &s.policy,
                keys: &self.keys,
                callback_base: &self.callback_base,
                earlier,
            };
            match dispatch(&ctx, lease).await {
                Ok(dispatched) => {
                    self.settle_journal(id, earlier, &dispatched).await;
                    self.note(id, &dispatched);
                }
                Err(StoreError::LeaseLost) => warn!(task = %id, "submission dropped: lease lost"),
                Err(e) => {
                    error!(task = %id, error = %e, "submission not recorded; taken up when the lease lapses")
                }
            }
        }
    }
}

impl Submissions {
    /// The task's identity is in the bucket before the provider is paid for it.
    async fn journalled(&self, lease: &Lease<TaskFile>) -> Result<Earlier, StoreError> {
        match &self.journal {
            Some(journal) => journal.before_first_attempt(&lease.item.task).await,
            None => Ok(Earlier::Nothing),
        }
    }

    /// A task that an earlier life may have sent is asked about until its fate is known.
    async fn settle_journal(&self, id: TaskId, earlier: Earlier, dispatched: &Dispatched) {
        let settled = matches!(
            dispatched,
            Dispatched::Submitted | Dispatched::Found | Dispatched::Rejected { .. }
        );
        if let (Some(journal), Earlier::Perhaps, true) = (&self.journal, earlier, settled)
            && let Err(e) = journal.settled(id).await
        {
            warn!(task = %id, error = %e, "the journal's note stays; it is put again at the next start");
        }
    }

    fn note(&self, task: TaskId, dispatched: &Dispatched) {
        let s = &self.shared;
        match dispatched {
            Dispatched::Submitted => {
                self.answered();
                s.metrics.submission(SubmissionOutcome::Submitted);
                s.wakeups.ring(Queue::Queries); // a callback may have come before the acknowledgement
                info!(%task, "submitted");
            }
            Dispatched::Found => {
                self.reached();
                s.metrics.submission(SubmissionOutcome::Submitted);
                s.wakeups.ring(Queue::Queries);
                info!(%task, "submitted before: the provider has it");
            }
            Dispatched::Unconfirmed => {
                self.undecided();
                s.wakeups.ring(Queue::Queries);
                warn!(%task, "not sent again: it may have been accepted, and is asked about");
            }
            Dispatched::Postponed { code, retry_after } => {
                self.failed(code, *retry_after);
                s.metrics.submission(SubmissionOutcome::TryLater);
                info!(%task, code, "submission postponed");
            }
            Dispatched::Parked { code } => {
                self.park(code);
                s.metrics.submission(SubmissionOutcome::Parked);
                warn!(%task, code, "the account is refused: the queue is parked");
            }
            Dispatched::Unasked { code } => {
                let wait = Some(s.policy.retry_max_interval);
                self.failed(&format!("parked: {code}"), wait);
                s.metrics.submission(SubmissionOutcome::Parked);
                warn!(%task, code, "the account is refused: nothing can be asked, nothing is sent");
            }
            Dispatched::Rejected { code } => {
                self.answered(); // a refusal of one task is an answer to the account
                s.metrics.submission(SubmissionOutcome::Refused);
                warn!(%task, code, "rejected");
            }
            Dispatched::GivenUp { code, setback } => {
                match setback {
                    None => self.undecided(),
                    Some(Setback { parked: true, .. }) => self.park(code),
                    Some(Setback { retry_after, .. }) => self.failed(code, *retry_after),
                }
                s.metrics.submission(SubmissionOutcome::Refused);
                warn!(%task, code, "rejected without a try");
            }
        }
    }

    /// A claim that ended without a word on whether submissions are taken: if it was a probe, the next one goes at once.
    fn undecided(&self) {
        self.pace.submissions.undecided(self.shared.clock.now());
    }

    /// A question was answered: the provider is there, which says nothing of what it takes.
    fn reached(&self) {
        self.pace.submissions.reached(self.shared.clock.now());
        self.shared.provider_fine(&self.pace);
    }

    fn failed(&self, code: &str, retry_after: Option<Duration>) {
        let s = &self.shared;
        self.pace
            .submissions
            .failed(s.clock.now(), retry_after, s.rng.jitter());
        s.trouble(Component::Provider, code);
    }

    fn park(&self, code: &str) {
        self.pace.submissions.park(self.shared.clock.now());
        self.shared
            .trouble(Component::Provider, &format!("parked: {code}"));
    }

    fn answered(&self) {
        if self.pace.submissions.succeeded() {
            info!("the provider takes submissions again");
        }
        self.shared.provider_fine(&self.pace);
    }
}
