//! What the provider said. A status query is the truth; a callback is a claim, acted on by itself only when no query
//! could confirm or contradict it for `callback.trust_after`, and then only a plain success.

use super::{Draft, Policy, TaskFile};
use crate::domain::asset::{Asset, AssetState, SourceUrl, Trouble};
use crate::domain::backoff::{self, Jitter};
use crate::domain::event::EventKind;
use crate::domain::ids::{AssetId, ResultId};
use crate::domain::report::{Report, RequestEcho, Success};
use crate::domain::task::{Outcome, Submission, Task, TaskState};
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;
use std::time::Duration;

/// Everything known about one task at the end of a query.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `None`: the query brought no answer; it says nothing about the task.
    pub answer: Option<Report>,
    /// Callbacks not settled yet, oldest first.
    pub claims: Vec<Claim>,
    /// The provider's `Retry-After`, if it sent one.
    pub at_least: Option<Duration>,
}

impl Asked {
    /// No question was put; the task is put off as after one that was not answered.
    pub fn nothing() -> Self {
        Self {
            answer: None,
            claims: vec![],
            at_least: None,
        }
    }
}

/// What one callback said.
#[derive(Clone, Debug)]
pub struct Claim {
    pub receipt: i64,
    pub at: Timestamp,
    pub report: Report,
    /// Every link in it lies on an allowed host.
    pub hosts_allowed: bool,
}

/// While a callback's claim waits for the query to agree, ask again at most this late: the provider's two sides
/// disagree for seconds, not minutes.
const CLAIM_INTERVAL: Duration = Duration::from_secs(15);

/// A file whose every result is known is still looked at this often until its copies end: a net under the archiver,
/// and where an unconfirmed claim finds its confirmation.
const SAFETY_INTERVAL: Duration = Duration::from_secs(3600);

impl TaskFile {
    /// Applies an answer and the claims beside it.
    pub fn ingest(self, asked: Asked, policy: &Policy, now: Timestamp, jitter: Jitter) -> Transition {
        let mut draft = Draft::of(self, now);
        let known_before = (draft.file.assets.len(), draft.file.task.failures.len());
        // A task rejected before it was ever submitted has none, and may turn out to be paid for.
        let deadline = &mut draft.file.task.deadline;
        deadline.get_or_insert(now.plus(policy.poll_deadline));
        if let Some(answer) = &asked.answer {
            draft.believe(answer, policy);
        }
        let undecided = draft.weigh_claims(&asked, policy);
        draft.pass_deadline(&asked, undecided.is_some());
        draft.conclude();
        let news = known_before != (draft.file.assets.len(), draft.file.task.failures.len());
        draft.plan_next_query(&asked, news, undecided, policy, jitter);
        draft.finish()
    }
}

impl Draft {
    /// A status query's answer: every result in it is real, and so is the count.
    fn believe(&mut self, answer: &Report, policy: &Policy) {
        let count = answer.items.len();
        self.note(
            "queried",
            json!({ "items": count, "terminal": answer.terminal_items(), "doubt": answer.doubt }),
        );
        if let Some(echo) = &answer.request {
            self.learn_request(echo);
        }
        for success in answer.successes() {
            self.learn(success, true, policy);
        }
        self.answer_wishes();
        for failure in answer.failed() {
            let known =
                |f: &crate::domain::task::Failure| (&f.code, &f.message) == (&failure.code, &failure.message);
            if !self.file.task.failures.iter().any(known) {
                self.file.task.failures.push(failure.clone());
            }
        }
        let task = &mut self.file.task;
        if !answer.is_empty() && task.submission == Submission::Unconfirmed {
            task.submission = Submission::Confirmed; // it has the task, whatever became of our attempts
        }
        task.items_named = task.items_named.max(answer.items_named());
        let terminal = answer.terminal_items();
        if terminal > 0
            && terminal >= task.number_results.max(task.items_named)
            && task.outcome == Outcome::Open
        {
            task.outcome = Outcome::Known;
        }
    }

    /// Whoever still wants a fresh link now knows that there is none: the provider does not name the result any more.
    fn answer_wishes(&mut self) {
        for asset in self.file.assets.iter_mut().filter(|a| a.trouble.wants_fresh) {
            asset.trouble.wants_fresh = false;
            asset.trouble.refreshed = true;
            self.changed.insert(asset.id.result.clone());
        }
    }

    /// What an adopted task was asked for, as the provider's archive tells it.
    fn learn_request(&mut self, echo: &RequestEcho) {
        let task = &mut self.file.task;
        if task.number_results == 0 {
            task.number_results = echo.number_results.unwrap_or(1); // the provider's default
        }
        if task.model == "unknown" {
            task.model = echo.model.clone().unwrap_or_else(|| task.model.clone());
        }
        if task.ext.is_none() {
            task.ext = echo
                .output_format
                .as_deref()
                .and_then(crate::domain::asset::ObjectExt::new);
        }
        if let (Some(ttl_s), Some(at), true) = (echo.ttl_s, task.submitted_at, self.file.assets.is_empty()) {
            let _ = at;
            task.ttl = Duration::from_secs(ttl_s);
        }
    }

    /// A result: new, or known and now confirmed or given a fresh link.
    fn learn(&mut self, success: &Success, confirmed: bool, policy: &Policy) {
        match self.file.asset(&success.result) {
            None => self.discover(success, confirmed, policy.at_risk_after),
            Some(known) => {
                let terminal = known.state.is_terminal();
                let moved = known.source != success.source;
                let asked_for = known.trouble.wants_fresh;
                if !confirmed {
                    // Doubt: a callback never overwrites; the query decides.
                    if moved {
                        self.note(
                            "doubt",
                            json!({ "result": success.result.as_str(), "what": "other link" }),
                        );
                    }
                } else if !known.confirmed || (!terminal && (moved || asked_for)) {
                    self.refresh(success);
                }
            }
        }
    }

    fn discover(&mut self, success: &Success, confirmed: bool, at_risk_after: f64) {
        let now = self.now;
        // `completed` never changes (I7): a result beyond it is archived all the same, since it is paid for.
        let completed = self.file.task.state == TaskState::Completed;
        self.reopen();
        let mut asset = new_asset(&self.file.task, success, confirmed, now);
        asset.at_risk_at = Some(asset.at_risk_from(now, at_risk_after));
        self.file.assets.push(asset);
        if !completed {
            self.file.task.state = TaskState::Archiving;
        }
        self.file.task.cost = total_cost(&self.file.assets);
        self.changed.insert(success.result.clone());
        self.tell_asset(EventKind::AssetDiscovered, &success.result);
        self.note(
            "discovered",
            json!({ "result": success.result.as_str(), "confirmed": confirmed }),
        );
    }

    fn refresh(&mut self, success: &Success) {
        let now = self.now;
        let Some(asset) = self.change(&success.result) else {
            return;
        };
        let moved = asset.source != success.source && !asset.state.is_terminal();
        asset.confirmed = true;
        asset.nsfw = success.nsfw.or(asset.nsfw);
        asset.cost = success.cost.or(asset.cost);
        asset.trouble.refreshed |= asset.trouble.wants_fresh;
        asset.trouble.wants_fresh = false;
        if moved {
            asset.source = success.source.clone();
            if asset.state == AssetState::Pending {
                asset.due_at = Some(now); // a fresh link need not wait for the dead one's schedule
            }
        }
        self.file.task.cost = total_cost(&self.file.assets);
        if moved {
            self.note("fresh_link", json!({ "result": success.result.as_str() }));
        }
    }

    /// Settles what can be settled of the callbacks. Answers when the first undecided claim may be trusted; a time
    /// that has passed means that all of them wait for the deadline.
    fn weigh_claims(&mut self, asked: &Asked, policy: &Policy) -> Option<Timestamp> {
        let mut undecided = vec![];
        for claim in &asked.claims {
            let trust_at = claim.at.plus(policy.trust_after);
            let mut open = asked.answer.is_none(); // nothing in it counts before one query was answered
            for success in claim.report.successes() {
                match self.weigh(success, claim, asked, policy) {
                    Weight::Settled => {}
                    Weight::Trusted => self.learn(success, false, policy),
                    Weight::Undecided => open = true,
                }
            }
            // A verdict is re-opened by a query alone, which may lag behind the callback for as long.
            let terminal = self.file.task.state.is_terminal();
            let hopeless = terminal && asked.answer.is_some() && self.now >= trust_at;
            if open && !hopeless && !self.all_known(claim) {
                undecided.push(trust_at);
            } else {
                self.receipts_done.push(claim.receipt);
            }
        }
        let still_young = undecided.iter().filter(|t| **t > self.now).min();
        still_young.or(undecided.first()).copied()
    }

    fn all_known(&self, claim: &Claim) -> bool {
        let mut successes = claim.report.successes().peekable();
        successes.peek().is_some() && successes.all(|s| self.file.asset(&s.result).is_some())
    }

    fn weigh(&mut self, success: &Success, claim: &Claim, asked: &Asked, policy: &Policy) -> Weight {
        let trust_at = claim.at.plus(policy.trust_after);
        if self.file.asset(&success.result).is_some() {
            self.learn(success, false, policy); // only to note a doubt
            return Weight::Settled;
        }
        // What the query shows of an ended task may lag behind a callback that brings more (money beats verdict).
        let reopenable = self.file.task.state.verdict().is_some() && self.now < trust_at;
        if self.file.task.outcome == Outcome::Known && !reopenable {
            self.note(
                "doubt",
                json!({ "result": success.result.as_str(), "what": "contradicted by the query" }),
            );
            return Weight::Settled;
        }
        // An answer that lists the task and not this result is silence about it only while it may still appear.
        let silent = asked.answer.as_ref().is_none_or(Report::is_empty);
        let plain = claim.hosts_allowed && !claim.report.doubt && self.is_plain(success, &asked.claims);
        let closing = self.now >= trust_at && self.is_past_deadline() && asked.answer.is_some();
        if self.now >= trust_at && (silent || closing) && plain && !self.file.task.state.is_terminal() {
            Weight::Trusted
        } else if closing {
            // Nobody may act on it, and nobody confirmed it: it must not keep the task open for ever.
            self.note(
                "doubt",
                json!({ "result": success.result.as_str(), "what": "never confirmed" }),
            );
            Weight::Settled
        } else {
            Weight::Undecided
        }
    }

    /// Within numberResults, named by an id of the provider's, and never claimed with another link.
    fn is_plain(&self, success: &Success, claims: &[Claim]) -> bool {
        let room = (self.file.assets.len() as u64) < u64::from(self.file.task.number_results);
        let mut others = claims
            .iter()
            .flat_map(|c| c.report.successes())
            .filter(|o| o.result == success.result);
        room && !success.result.is_from_url() && others.all(|o| o.source == success.source)
    }

    /// Past the deadline nothing more is waited for, once a query was answered and no claim is in the air.
    fn pass_deadline(&mut self, asked: &Asked, undecided: bool) {
        let passed = self.is_past_deadline();
        let task = &mut self.file.task;
        if passed && asked.answer.is_some() && !undecided && task.outcome == Outcome::Open {
            task.outcome = Outcome::DeadlinePassed;
        }
    }

    fn is_past_deadline(&self) -> bool {
        self.file.task.deadline.is_some_and(|d| self.now >= d)
    }

    fn plan_next_query(
        &mut self,
        asked: &Asked,
        news: bool,
        undecided: Option<Timestamp>,
        policy: &Policy,
        jitter: Jitter,
    ) {
        let now = self.now;
        let unconfirmed = self.file.assets.iter().any(|a| !a.confirmed);
        let past_deadline = self.is_past_deadline();
        let wants_fresh = self
            .file
            .assets
            .iter()
            .any(|a| a.trouble.wants_fresh && !a.state.is_terminal());
        let task = &mut self.file.task;
        task.queries = if news { 0 } else { task.queries.saturating_add(1) };
        if asked.answer.is_some() {
            task.attempts = 0;
        }
        // An ended task is asked about because somebody wants to know: not answered, the wish is still there.
        let answered = asked.answer.is_some() || task.due_at.is_none();
        if task.state.is_terminal() && undecided.is_none() && answered && (!unconfirmed || past_deadline) {
            task.due_at = None;
            return;
        }
        let usual = backoff::poll_interval(
            task.queries,
            policy.poll_first_after,
            policy.poll_max_interval,
            jitter,
        );
        let wait = if asked.answer.is_none() {
            backoff::delay(
                task.attempts.max(1),
                policy.retry_max_interval,
                asked.at_least,
                jitter,
            )
        } else if undecided.is_some_and(|trust_at| trust_at > now) {
            backoff::delay(task.queries.max(1), CLAIM_INTERVAL, None, jitter)
        } else if task.outcome == Outcome::Open || wants_fresh {
            usual
        } else {
            SAFETY_INTERVAL.max(usual)
        };
        let mut due = now.plus(wait);
        if let Some(trust_at) = undecided.filter(|t| *t > now && asked.at_least.is_none()) {
            due = due.min(trust_at);
        }
        if let Some(deadline) = task.deadline.filter(|d| *d > now) {
            due = due.min(deadline);
        }
        task.due_at = Some(due);
    }
}

enum Weight {
    Settled,
    Trusted,
    Undecided,
}

fn new_asset(task: &Task, success: &Success, confirmed: bool, now: Timestamp) -> Asset {
    Asset {
        id: AssetId {
            task: task.id,
            result: ResultId::clone(&success.result),
        },
        round: 1,
        state: AssetState::Pending,
        source: SourceUrl::clone(&success.source),
        archive_by: task.submitted_at.unwrap_or(task.created_at).plus(task.ttl),
        confirmed,
        nsfw: success.nsfw,
        cost: success.cost,
        discovered_at: now,
        at_risk_at: None,
        left: None,
        intent: None,
        trouble: Trouble::default(),
        due_at: Some(now),
        attempts: 0,
    }
}

/// To the billionth of a dollar: finer digits are an artefact of adding, and would depend on which result came first.
fn total_cost(assets: &[Asset]) -> Option<f64> {
    let costs: Vec<f64> = assets.iter().filter_map(|a| a.cost).collect();
    let total: f64 = costs.iter().sum();
    (!costs.is_empty()).then(|| (total * 1e9).round() / 1e9)
}
