//! The core whole: the real store and the real workers, over a clock, a provider, sources and a bucket that the test
//! owns. Nothing runs by itself: the world moves when it is told to, and tells what it was asked.

mod outside;

pub use outside::{Bucket, Call, Cdn, Mood, Runware, video};

use catchment::adapters::manual_clock::{ManualClock, SeededRng};
use catchment::adapters::sqlite::{OpenOptions, Role, SqliteStore};
use catchment::domain::asset::KeyRule;
use catchment::domain::event::{Event, EventKind};
use catchment::domain::file::{Policy, TaskFile};
use catchment::domain::ids::{Digest, TaskId, Tenant};
use catchment::domain::time::Timestamp;
use catchment::domain::token::CallbackKeys;
use catchment::ports::clock::Clock as _;
use catchment::ports::health::Health;
use catchment::ports::journal::Journal;
use catchment::ports::records::Records as _;
use catchment::ports::store::*;
use catchment::ports::wake::Wakeups;
use catchment::steps::import::{Import, JournalPage, import_journal};
use catchment::steps::overdue::{Overdue, sweep};
use catchment::telemetry::Metrics;
use catchment::worker::jobs::{Copies, ProviderPace, Queries, Shared, Submissions};
use catchment::worker::pace::Pace;
use catchment::worker::{Gate, Work};
use futures_util::future::join_all;
use serde_json::json;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);
pub const DAY: Duration = Duration::from_secs(86_400);
pub const MODEL: &str = "klingai:avatar@2.0-pro";

/// Between two looks at what the clock alone decides, as a service has its own beat for it.
const SWEEP: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(60);
/// How often the clock's own decisions are looked at, at least: in a long life seldom.
const TICKS: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1_800));
pub const IN_FLIGHT: u32 = 4;
pub const COPIES: u32 = 8;

pub struct World {
    pub clock: Arc<ManualClock>,
    pub store: Arc<SqliteStore>,
    pub runware: Arc<Runware>,
    pub cdn: Arc<Cdn>,
    pub bucket: Arc<Bucket>,
    pub health: Health,
    /// What a round of work costs, whatever is done in it.
    pub round: Duration,
    copiers: u32,
    swept_at: Cell<Option<Timestamp>>,
    shared: Shared,
    submissions: Submissions,
    queries: Queries,
    copies: Copies,
    dir: tempfile::TempDir,
}

pub fn policy() -> Policy {
    Policy {
        poll_first_after: 3 * MINUTE,
        poll_max_interval: 5 * MINUTE,
        poll_deadline: DAY,
        trust_after: 2 * MINUTE,
        retry_max_interval: MINUTE,
        resend_window: 10 * MINUTE,
        max_hold: 7 * DAY,
        at_risk_after: 0.5,
        default_ttl: 7 * DAY,
    }
}

pub fn id(n: u32) -> TaskId {
    TaskId(Uuid::from_u128(0x1000_4000_8000_0000_0000 | u128::from(n)))
}

impl World {
    pub fn new() -> Self {
        Self::with(policy())
    }

    pub fn with(policy: Policy) -> Self {
        Self::with_copiers(policy, COPIES)
    }

    pub fn with_copiers(policy: Policy, copiers: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let store = SqliteStore::open(OpenOptions {
            path: dir.path().join("catchment.db"),
            now: START,
            role: Role::Serve,
        })
        .unwrap();
        let runware = Arc::new(Runware::new(clock.clone()));
        let (cdn, bucket) = (Arc::new(Cdn::default()), Arc::new(Bucket::default()));
        let again = policy.retry_max_interval;
        let shared = Shared {
            store: store.clone(),
            clock: clock.clone(),
            rng: Arc::new(SeededRng::new(7)),
            wakeups: Wakeups::default(),
            health: Health::default(),
            metrics: Metrics::new(),
            policy: Arc::new(policy),
        };
        let pace = Arc::new(ProviderPace::new(IN_FLIGHT, again));
        Self {
            submissions: Submissions {
                journal: None,
                shared: shared.clone(),
                provider: runware.clone(),
                keys: CallbackKeys::new(&[[7; 32]]).unwrap(),
                callback_base: "https://svc.example/cb/v1/".to_owned(),
                pace: pace.clone(),
            },
            queries: Queries {
                journal: None,
                shared: shared.clone(),
                provider: runware.clone(),
                host_allowed: Arc::new(|_| true),
                pace,
            },
            copies: Copies {
                shared: shared.clone(),
                sources: cdn.clone(),
                blobs: bucket.clone(),
                keys: KeyRule {
                    template: "{prefix}{taskUUID}/{resultId}.{ext}".to_owned(),
                    prefix: String::new(),
                },
                max_object_bytes: 1 << 30,
                pace: Pace::new(copiers, again),
            },
            health: shared.health.clone(),
            round: Duration::ZERO,
            copiers,
            swept_at: Cell::new(None),
            shared,
            clock,
            store,
            runware,
            cdn,
            bucket,
            dir,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Stores tasks `from..to` as a client would, all at once.
    pub async fn accept(&self, tasks: std::ops::Range<u32>, number_results: u32) {
        let new = |n| {
            let mut task = TaskFile::adopt(
                id(n),
                Tenant::default_tenant(),
                catchment::domain::task::Origin::Submitted,
                &self.shared.policy,
                self.now(),
            )
            .task;
            task.model = MODEL.to_owned();
            task.number_results = number_results;
            task.submission = catchment::domain::task::Submission::None;
            task.state = catchment::domain::task::TaskState::Accepted;
            (task.submitted_at, task.deadline) = (None, None);
            let document = json!({"taskType": "videoInference", "taskUUID": id(n).to_string()}).to_string();
            NewTask {
                entry: "{}".to_owned(),
                fingerprint: Digest::of(document.as_bytes()),
                task_type: None,
                webhook: None,
                transition: TaskFile::accept(task),
                document,
            }
        };
        let stored = tasks.map(|n| {
            self.store.accept(NewSubmission {
                tenant: Tenant::default_tenant(),
                idempotency: None,
                tasks: vec![new(n)],
            })
        });
        for stored in join_all(stored).await {
            assert!(matches!(stored.unwrap(), Accepted::Stored(_)));
        }
    }

    /// Lives until `end`: whatever is due is worked, then the clock moves to what is due next.
    pub async fn live_until(&self, end: Timestamp) {
        let tick = (end.since(self.now()) / 200).clamp(TICKS.0, TICKS.1);
        loop {
            let worked = self.turn().await;
            if worked && !self.round.is_zero() {
                self.clock.advance(self.round);
            }
            if self.now() >= end {
                return;
            }
            if !worked {
                let next = self.next_due(tick).await.min(end);
                let by = next.since(self.now()).max(Duration::from_millis(1));
                self.clock.advance(by);
            }
        }
    }

    pub async fn live_for(&self, time: Duration) {
        self.live_until(self.now().plus(time)).await;
    }

    /// One round of every worker. Answers whether any had something to do.
    async fn turn(&self) -> bool {
        let s = &self.shared;
        let ctx = Overdue {
            store: &*s.store,
            clock: &*s.clock,
            rng: &*s.rng,
            wakeups: &s.wakeups,
            policy: &s.policy,
            lease: LEASE,
        };
        let mut swept = false;
        if self.swept_at.get().is_none_or(|at| self.now().since(at) >= SWEEP) {
            swept = sweep(&ctx).await.unwrap() > 0;
            self.swept_at.set((!swept).then_some(self.now())); // more may wait
        }
        let submitted = self.work(&self.submissions, IN_FLIGHT).await;
        let asked = self.work(&self.queries, IN_FLIGHT).await;
        let copied = self.work(&self.copies, self.copiers).await;
        swept || submitted || asked || copied
    }

    async fn work<W: Work>(&self, work: &W, workers: u32) -> bool {
        let now = self.now();
        let Gate::Open(free) = work.gate(workers, now) else {
            return false;
        };
        let claim = Claim {
            now,
            lease: LEASE,
            limit: free * W::BATCH,
        };
        let mut leases = work.claim(claim).await.unwrap().into_iter().peekable();
        let mut batches = vec![];
        while leases.peek().is_some() {
            batches.push(leases.by_ref().take(W::BATCH as usize).collect::<Vec<_>>());
        }
        let had_work = !batches.is_empty();
        if !had_work {
            work.idle(now);
        }
        join_all(batches.into_iter().map(|batch| work.work(batch))).await;
        had_work
    }

    async fn next_due(&self, tick: Duration) -> Timestamp {
        let now = self.now();
        let mut next = now.plus(tick);
        let gates = [
            (Queue::Submissions, self.shut_until(&self.submissions, now)),
            (Queue::Queries, self.shut_until(&self.queries, now)),
            (Queue::Copies, self.shut_until(&self.copies, now)),
        ];
        for (queue, shut) in gates {
            let due = self.store.next_due(queue).await.unwrap();
            next = due.map_or(next, |due| next.min(shut.map_or(due, |shut| due.max(shut))));
        }
        next
    }

    /// No worker is free for it, so a queue that is open says `Full`, and a probe is not used up.
    fn shut_until<W: Work>(&self, work: &W, now: Timestamp) -> Option<Timestamp> {
        match work.gate(0, now) {
            Gate::ClosedUntil(until) => Some(until),
            _ => None,
        }
    }

    /// One page of a lost service's journal, as an operator imports it.
    pub async fn import(&self, journal: &dyn Journal, after: Option<TaskId>) -> JournalPage {
        let ctx = Import {
            store: &*self.store,
            records: &*self.store,
            clock: &*self.clock,
            wakeups: &self.shared.wakeups,
            policy: &self.shared.policy,
        };
        import_journal(&ctx, journal, &Tenant::default_tenant(), after, 1000)
            .await
            .unwrap()
    }

    /// As if this database were a backup that was put back in the place of a later one. No journal is kept.
    pub async fn is_put_back(&self) {
        let other = rusqlite::Connection::open(self.dir.path().join("catchment.db")).unwrap();
        other
            .execute("INSERT INTO meta (key, value) VALUES ('backup', '1')", [])
            .unwrap();
        assert!(self.store.keep_journal(false).await.unwrap());
    }

    pub async fn file(&self, n: u32) -> TaskFile {
        self.store.task(None, id(n)).await.unwrap().unwrap()
    }

    pub async fn status(&self, n: u32) -> String {
        self.file(n).await.task.state.status().to_string()
    }

    /// A callback that says so.
    pub async fn call_back(&self, n: u32, body: &str) {
        let receipt = NewReceipt {
            task: id(n),
            sha256: Digest::of(body.as_bytes()),
            body: body.as_bytes().to_vec(),
            at: self.now(),
        };
        self.store.record(receipt).await.unwrap();
    }

    pub async fn events(&self) -> Vec<Event> {
        let mut query = EventQuery {
            tenant: Tenant::default_tenant(),
            after: 0,
            limit: 1000,
            types: vec![],
            labels: Default::default(),
            task: None,
            models: vec![],
        };
        let mut all = vec![];
        loop {
            let page = self.store.events(&query).await.unwrap();
            query.after = page.next_after;
            all.extend(page.events);
            if page.done {
                return all;
            }
        }
    }

    /// What was told of one task, in order.
    pub async fn told(&self, n: u32) -> Vec<&'static str> {
        let events = self.events().await.into_iter();
        events
            .filter(|e| e.task == Some(id(n)))
            .map(|e| e.kind.as_str())
            .collect()
    }

    pub async fn count(&self, kind: EventKind) -> usize {
        self.events().await.iter().filter(|e| e.kind == kind).count()
    }
}
