//! Random histories against a small model that knows only what the port's contract says of versions, leases and
//! claims: whatever the order of claims, lapses, late commits and callbacks, the store must answer as it does.

use crate::kit::*;
use catchment::domain::file::TaskFile;
use catchment::domain::ids::{ResultId, TaskId};
use catchment::domain::lease::Fence;
use catchment::domain::task::{Submission, TaskStatus};
use catchment::domain::time::Timestamp;
use catchment::domain::transition::Transition;
use catchment::ports::store::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Op {
    Accept,
    Wait(u16),
    ClaimSubmissions(u8),
    ClaimQueries(u8),
    ClaimCopies(u8),
    /// What some earlier claim wants written, however late it is; or `hold` the lease.
    Settle {
        claim: usize,
        hold: bool,
        due: u16,
    },
    /// The same, after reading the task anew: only the lease can stop it.
    SettleAnew {
        claim: usize,
        due: u16,
    },
    Renew(usize),
    Release(usize),
    Record {
        task: usize,
        body: u8,
    },
    VoidLeases,
}

pub fn history() -> impl Strategy<Value = Vec<Op>> {
    let any_claim = 0usize..64;
    let op = prop_oneof![
        3 => Just(Op::Accept),
        4 => (1u16..90).prop_map(Op::Wait),
        3 => (1u8..4).prop_map(Op::ClaimSubmissions),
        4 => (1u8..4).prop_map(Op::ClaimQueries),
        4 => (1u8..4).prop_map(Op::ClaimCopies),
        8 => (any_claim.clone(), any::<bool>(), 0u16..90)
            .prop_map(|(claim, hold, due)| Op::Settle { claim, hold, due }),
        4 => (any_claim.clone(), 0u16..90).prop_map(|(claim, due)| Op::SettleAnew { claim, due }),
        2 => any_claim.clone().prop_map(Op::Renew),
        2 => any_claim.prop_map(Op::Release),
        3 => (0usize..8, 0u8..4).prop_map(|(task, body)| Op::Record { task, body }),
        1 => Just(Op::VoidLeases),
    ];
    proptest::collection::vec(op, 1..60)
}

#[derive(Clone, Debug, Default)]
struct Holding {
    epoch: u64,
    until: Option<Timestamp>,
}

impl Holding {
    /// Ready at `now`, given when the row itself is due.
    fn ready_at(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        due?;
        self.until.or(due)
    }

    fn is_held(&self, epoch: u64) -> bool {
        self.until.is_some() && self.epoch == epoch
    }
}

#[derive(Clone, Debug)]
struct Row {
    file: TaskFile,
    lease: Holding,
    assets: BTreeMap<ResultId, Holding>,
    woken: Option<Timestamp>,
    bodies: Vec<u8>,
}

/// A claim somebody holds or held, with what was read under it.
#[derive(Clone, Debug)]
struct Claimed {
    file: TaskFile,
    held: Held,
}

impl Claimed {
    fn fence(&self) -> Fence {
        match self.held.clone() {
            Held::Task { id, epoch } => Fence::Task { id, epoch },
            Held::Asset { id, epoch } => Fence::Asset { id, epoch },
            Held::Delivery { .. } | Held::TaskDelivery { .. } => {
                unreachable!("the model claims no deliveries")
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Written,
    Conflict,
    LeaseLost,
}

fn verdict<T>(answer: &Result<T, StoreError>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Written,
        Err(StoreError::Conflict { .. }) => Verdict::Conflict,
        Err(StoreError::LeaseLost) => Verdict::LeaseLost,
        Err(other) => panic!("{other:?}"),
    }
}

pub struct Model {
    now: Timestamp,
    /// In the order they were accepted.
    rows: Vec<Row>,
    claims: Vec<Claimed>,
}

pub async fn follows_the_model(s: &dyn Store, history: Vec<Op>) {
    let mut model = Model {
        now: at(0),
        rows: vec![],
        claims: vec![],
    };
    for op in history {
        model.step(s, &op).await;
        model.compare(s, &op).await;
    }
}

impl Model {
    async fn step(&mut self, s: &dyn Store, op: &Op) {
        match op {
            Op::Accept => self.accept(s).await,
            Op::Wait(seconds) => self.now = self.now.plus(Duration::from_secs(u64::from(*seconds))),
            Op::ClaimSubmissions(n) => self.claim_submissions(s, *n).await,
            Op::ClaimQueries(n) => self.claim_queries(s, *n).await,
            Op::ClaimCopies(n) => self.claim_copies(s, *n).await,
            Op::Settle { claim, hold, due } => self.settle(s, *claim, *hold, *due).await,
            Op::SettleAnew { claim, due } => {
                if let Some(n) = self.pick(*claim) {
                    let id = self.claims[n].file.task.id;
                    self.claims[n].file = self.row(id).file.clone();
                    self.settle(s, n, false, *due).await;
                }
            }
            Op::Renew(claim) => self.renew(s, *claim).await,
            Op::Release(claim) => self.release(s, *claim).await,
            Op::Record { task, body } => self.record(s, *task, *body).await,
            Op::VoidLeases => self.void_leases(s).await,
        }
    }

    fn row(&mut self, id: TaskId) -> &mut Row {
        self.rows.iter_mut().find(|r| r.file.task.id == id).unwrap()
    }

    fn pick(&self, claim: usize) -> Option<usize> {
        (!self.claims.is_empty()).then(|| claim % self.claims.len())
    }

    async fn accept(&mut self, s: &dyn Store) {
        let n = u32::try_from(self.rows.len()).unwrap() + 1;
        accept(s, n, self.now).await;
        self.rows.push(Row {
            file: file(s, n).await,
            lease: Holding::default(),
            assets: BTreeMap::new(),
            woken: None,
            bodies: vec![],
        });
    }

    async fn claim_submissions(&mut self, s: &dyn Store, n: u8) {
        let now = self.now;
        let mut ready: Vec<(Timestamp, Timestamp, usize)> = vec![];
        for (at, row) in self.rows.iter().enumerate() {
            let ready_at = row.lease.ready_at(row.file.task.due_at);
            if is_unsent(row) && ready_at.is_some_and(|t| t <= now) {
                ready.push((row.file.task.created_at, ready_at.unwrap(), at));
            }
        }
        ready.sort_unstable();
        ready.truncate(usize::from(n));
        let leases = s.claim_submissions(claim(now, u32::from(n))).await.unwrap();
        assert_eq!(leases.len(), ready.len());
        for (lease, (_, _, at)) in leases.into_iter().zip(ready) {
            let row = &mut self.rows[at];
            row.claim_task(now);
            assert_eq!((lease.epoch, &lease.item), (row.lease.epoch, &row.file));
            self.hold_task(lease.item, lease.epoch);
        }
    }

    async fn claim_queries(&mut self, s: &dyn Store, n: u8) {
        let now = self.now;
        let free = |row: &Row| row.lease.until.is_none_or(|until| until <= now);
        let mut woken = vec![];
        let mut due = vec![];
        for (at, row) in self.rows.iter().enumerate().filter(|(_, r)| !is_unsent(r)) {
            let completed = row.file.task.state.status() == TaskStatus::Completed;
            match row.woken.filter(|_| !completed) {
                Some(since) if free(row) => woken.push((since, at)),
                Some(_) => {}
                None => {
                    let ready_at = row.lease.ready_at(row.file.task.due_at);
                    due.extend(ready_at.filter(|t| *t <= now).map(|t| (t, at)));
                }
            }
        }
        woken.sort_unstable();
        due.sort_unstable();
        woken.extend(due);
        woken.truncate(usize::from(n));
        let leases = s.claim_queries(claim(now, u32::from(n))).await.unwrap();
        assert_eq!(leases.len(), woken.len());
        for (lease, (_, at)) in leases.into_iter().zip(woken) {
            let row = &mut self.rows[at];
            row.claim_task(now);
            row.woken = None;
            assert_eq!((lease.epoch, &lease.item.file), (row.lease.epoch, &row.file));
            let bodies: Vec<u8> = lease.item.receipts.iter().map(|r| r.body[0]).collect();
            assert_eq!(bodies, row.bodies);
            self.hold_task(lease.item.file, lease.epoch);
        }
    }

    fn hold_task(&mut self, file: TaskFile, epoch: u64) {
        let held = Held::Task {
            id: file.task.id,
            epoch,
        };
        self.claims.push(Claimed { file, held });
    }

    async fn claim_copies(&mut self, s: &dyn Store, n: u8) {
        let now = self.now;
        let mut ready = vec![];
        for (at, row) in self.rows.iter().enumerate() {
            for asset in row.file.assets.iter().filter(|a| !a.state.is_terminal()) {
                let ready_at = row.assets[&asset.id.result].ready_at(asset.due_at);
                let ready_at = ready_at.filter(|t| *t <= now);
                ready.extend(ready_at.map(|t| (asset.archive_by, t, at, asset.id.result.clone())));
            }
        }
        ready.sort_unstable_by_key(|(by, t, at, _)| (*by, *t, *at));
        ready.truncate(usize::from(n));
        let leases = s.claim_copies(claim(now, u32::from(n))).await.unwrap();
        assert_eq!(leases.len(), ready.len());
        for (_, _, at, result) in &ready {
            self.rows[*at].claim_asset(result, now);
        }
        for (lease, (_, _, at, result)) in leases.into_iter().zip(ready) {
            let row = &self.rows[at];
            assert_eq!(lease.item.asset.result, result);
            assert_eq!(
                (lease.epoch, &lease.item.file),
                (row.assets[&result].epoch, &row.file)
            );
            let held = Held::Asset {
                id: lease.item.asset,
                epoch: lease.epoch,
            };
            self.claims.push(Claimed {
                file: lease.item.file,
                held,
            });
        }
    }

    async fn settle(&mut self, s: &dyn Store, claim: usize, hold: bool, due: u16) {
        let Some(n) = self.pick(claim) else { return };
        let claimed = self.claims[n].clone();
        let due = self.now.plus(Duration::from_secs(u64::from(due)));
        let Some(transition) = next(&claimed, due, self.now) else {
            return;
        };
        let fence = claimed.fence();
        let row = self.row(claimed.file.task.id);
        let expected = if !row.holds(&claimed.held) {
            Verdict::LeaseLost
        } else if row.file.task.version != claimed.file.task.version {
            Verdict::Conflict
        } else {
            Verdict::Written
        };
        let answer = match hold {
            true => s.commit_and_hold(transition.clone(), fence).await.map(Some),
            false => s.commit(transition.clone(), fence).await.map(|()| None),
        };
        assert_eq!(verdict(&answer), expected, "{claimed:?}");
        if expected == Verdict::Written {
            row.write(transition);
            if let Ok(Some(version)) = answer {
                assert_eq!(version, row.file.task.version);
            }
            if !hold {
                row.give_up(&claimed.held);
            }
        }
    }

    async fn renew(&mut self, s: &dyn Store, claim: usize) {
        let Some(n) = self.pick(claim) else { return };
        let (id, held) = (self.claims[n].file.task.id, self.claims[n].held.clone());
        let until = self.now.plus(LEASE);
        let row = self.row(id);
        let expected = row.holds(&held);
        let answer = s.renew(&held, until).await;
        assert_eq!(verdict(&answer) == Verdict::Written, expected);
        if expected {
            row.holding(&held).until = Some(until);
        }
    }

    async fn release(&mut self, s: &dyn Store, claim: usize) {
        let Some(n) = self.pick(claim) else { return };
        let (id, held) = (self.claims[n].file.task.id, self.claims[n].held.clone());
        let row = self.row(id);
        let expected = row.holds(&held);
        let answer = s.release(&held).await;
        assert_eq!(verdict(&answer) == Verdict::Written, expected);
        if expected {
            row.give_up(&held);
            row.file = s.task(None, id).await.unwrap().unwrap(); // the attempt may be given back, or not
        }
    }

    async fn record(&mut self, s: &dyn Store, task: usize, body: u8) {
        let now = self.now;
        let known = task < self.rows.len();
        let n = u32::try_from(task).unwrap() + 1;
        let mut new = receipt(n, "", now);
        (new.body, new.sha256) = (vec![body], catchment::domain::ids::Digest::of(&[body]));
        let answer = s.record(new).await.unwrap();
        if !known {
            assert_eq!(answer, Recorded::UnknownTask);
            return;
        }
        let row = &mut self.rows[task];
        if row.bodies.contains(&body) {
            assert_eq!(answer, Recorded::Duplicate);
            return;
        }
        assert_eq!(answer, Recorded::New);
        row.bodies.push(body);
        row.woken = row.woken.or(Some(now));
    }

    async fn void_leases(&mut self, s: &dyn Store) {
        let mut held = 0;
        for row in &mut self.rows {
            for holding in std::iter::once(&mut row.lease).chain(row.assets.values_mut()) {
                held += u64::from(holding.until.take().is_some());
            }
        }
        assert_eq!(s.void_leases().await.unwrap(), held);
    }

    /// After each step the store holds exactly what the model does, and knows when to look next.
    async fn compare(&self, s: &dyn Store, op: &Op) {
        for row in &self.rows {
            let stored = s.task(None, row.file.task.id).await.unwrap();
            assert_eq!(stored.as_ref(), Some(&row.file), "after {op:?}");
        }
        let unsent = self.rows.iter().filter(|r| is_unsent(r));
        let next = unsent.filter_map(|r| r.lease.ready_at(r.file.task.due_at)).min();
        assert_eq!(
            s.next_due(Queue::Submissions).await.unwrap(),
            next,
            "after {op:?}"
        );
        let open = self.rows.iter().flat_map(|r| {
            let open = r.file.assets.iter().filter(|a| !a.state.is_terminal());
            open.filter_map(|a| r.assets[&a.id.result].ready_at(a.due_at))
        });
        assert_eq!(
            s.next_due(Queue::Copies).await.unwrap(),
            open.min(),
            "after {op:?}"
        );
    }
}

impl Row {
    fn claim_task(&mut self, now: Timestamp) {
        self.lease.epoch += 1;
        self.lease.until = Some(now.plus(LEASE));
        let task = &mut self.file.task;
        task.attempts += 1;
        task.version += 1;
        task.due_at = Some(task.due_at.map_or(now, |due| due.min(now)));
    }

    fn claim_asset(&mut self, result: &ResultId, now: Timestamp) {
        let holding = self.assets.get_mut(result).unwrap();
        holding.epoch += 1;
        holding.until = Some(now.plus(LEASE));
        self.file.task.version += 1;
        let asset = self
            .file
            .assets
            .iter_mut()
            .find(|a| a.id.result == *result)
            .unwrap();
        asset.state = catchment::domain::asset::AssetState::Archiving;
        asset.attempts += 1;
        asset.due_at = asset.due_at.map(|due| due.min(now));
    }

    fn holding(&mut self, held: &Held) -> &mut Holding {
        match held {
            Held::Task { .. } => &mut self.lease,
            Held::Asset { id, .. } => self.assets.get_mut(&id.result).unwrap(),
            Held::Delivery { .. } | Held::TaskDelivery { .. } => {
                unreachable!("the model claims no deliveries")
            }
        }
    }

    fn holds(&mut self, held: &Held) -> bool {
        let (Held::Task { epoch, .. }
        | Held::Asset { epoch, .. }
        | Held::Delivery { epoch, .. }
        | Held::TaskDelivery { epoch, .. }) = held;
        self.holding(held).is_held(*epoch)
    }

    fn give_up(&mut self, held: &Held) {
        self.holding(held).until = None;
    }

    fn write(&mut self, transition: Transition) {
        self.file.task = transition.task;
        self.file.task.version += 1;
        for asset in transition.assets {
            self.assets.entry(asset.id.result.clone()).or_default();
            match self.file.assets.iter_mut().find(|a| a.id == asset.id) {
                Some(known) => *known = asset,
                None => self.file.assets.push(asset),
            }
        }
        if self.file.task.state.status() == TaskStatus::Completed && self.file.task.due_at.is_none() {
            self.woken = None; // nobody will ask about it again
        }
    }
}

fn is_unsent(row: &Row) -> bool {
    let status = row.file.task.state.status();
    matches!(status, TaskStatus::Accepted | TaskStatus::Submitting)
}

/// What the holder of a claim wants written: a submission made, results found one by one, a copy made or postponed.
/// `None`: what it read leaves nothing to do.
fn next(claimed: &Claimed, due: Timestamp, now: Timestamp) -> Option<Transition> {
    let file = claimed.file.clone();
    let mut t = match &claimed.held {
        Held::Asset { id, .. } => {
            if file.asset(&id.result)?.state.is_terminal() {
                return None;
            }
            archived(file, id.result.as_str(), now)
        }
        _ => match file.task.state.status() {
            TaskStatus::Accepted => file.submission_begins(now),
            TaskStatus::Submitting => file.submitted(Submission::Confirmed, &policy(), now, J),
            _ if file.assets.len() < 3 => {
                let found = ["a", "b", "c"];
                let known = file.assets.len();
                discovery(file, &found[..=known], now)
            }
            _ => Transition::of(file.task),
        },
    };
    // Receipts stay open in the model; times are made small so that they come round within a history.
    t.receipts_done.clear();
    if t.task.due_at.is_some() {
        t.task.due_at = Some(due);
    }
    Some(t)
}
