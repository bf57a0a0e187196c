//! What the simulated provider knows: its clock, its faults, every task it accepted, and what it counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Options;
use super::clock::SimClock;
use super::dice::Dice;
use super::directive::Overlay;
use super::faults::Faults;
use super::tally::Tally;
use super::task::{Outcome, Task};

/// What happened so far. Counts only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Generation tasks accepted, so many renders are billed.
    pub accepted: u64,
    /// Task objects refused by validation, the wrong key among them.
    pub rejected: u64,
    /// Task objects refused with `conflictTaskUUID`.
    pub conflicts: u64,
    /// Dry runs answered.
    pub dry_runs: u64,
    /// `getResponse` and `getTaskDetails` task objects answered.
    pub queries: u64,
    /// Requests with a submission refused by a fault.
    pub submissions_refused: u64,
    /// Requests with a submission whose connection was cut, before or after accepting, or in the answer.
    pub submissions_cut: u64,
    /// Requests with only queries refused by a fault.
    pub queries_refused: u64,
    /// Requests with only queries whose connection was cut.
    pub queries_cut: u64,
    /// Callbacks sent, doubles and forgeries among them; retries not counted.
    pub callbacks_sent: u64,
    /// HTTP requests made for callbacks.
    pub callback_tries: u64,
    /// Callbacks that got their 2xx.
    pub callbacks_answered: u64,
    /// Callbacks given up after the last try.
    pub callbacks_given_up: u64,
    pub callbacks_lost: u64,
    /// Copies sent beside a callback.
    pub callbacks_doubled: u64,
    pub callbacks_delayed: u64,
    pub callbacks_reordered: u64,
    pub callbacks_before_ack: u64,
    pub callbacks_forged: u64,
    /// Results that failed, and results that will never end.
    pub results_failed: u64,
    pub results_stuck: u64,
    /// Downloads begun from a living link (status 200 or 206), spoiled ones among them.
    pub downloads: u64,
    /// Downloads refused, cut, truncated, stalled, mis-sized or replaced by a fault.
    pub downloads_spoiled: u64,
    /// Downloads of a link that was dead or not there yet.
    pub downloads_dead: u64,
    pub bytes_served: u64,
    /// Files put to an `uploadEndpoint` and answered with 2xx.
    pub uploads: u64,
    pub uploads_failed: u64,
}

pub struct World {
    /// Scheme, host and port under which clients reach this simulator.
    pub origin: String,
    pub options: Options,
    pub clock: SimClock,
    pub dice: Dice,
    pub http: reqwest::Client,
    /// Where renders and callbacks run: they outlive the request that started them.
    pub background: tokio::runtime::Handle,
    faults: RwLock<Arc<Faults>>,
    tasks: Mutex<Tasks>,
    strikes: Mutex<HashMap<(&'static str, Uuid), Strikes>>,
    stats: Mutex<Stats>,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tasks {
    in_order: Vec<Arc<Task>>,
    by_uuid: HashMap<Uuid, Arc<Task>>,
    by_result: HashMap<Uuid, (Arc<Task>, usize)>,
}

#[derive(Default)]
struct Strikes {
    rolled: u64,
    hit: u32,
}

impl World {
    pub fn new(
        origin: String,
        options: Options,
        http: reqwest::Client,
        background: tokio::runtime::Handle,
    ) -> Self {
        Self {
            origin,
            clock: SimClock::new(),
            dice: Dice::new(options.seed),
            http,
            background,
            faults: RwLock::new(Arc::new(options.faults.clone())),
            tasks: Mutex::default(),
            strikes: Mutex::default(),
            stats: Mutex::default(),
            tally: Mutex::default(),
            options,
        }
    }

    pub fn faults(&self) -> Arc<Faults> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
    }

    /// The faults in force now, with a task's or request's own on top.
    pub fn faults_with(&self, overlay: &Overlay) -> Faults {
        overlay.over(&self.faults())
    }

    /// Rolls for an occasion that happens repeatedly to one subject; at most `at_most` rolls hit (0: no limit).
    pub fn strike<T>(
        &self,
        occasion: &'static str,
        subject: Uuid,
        at_most: u32,
        roll: impl FnOnce(&mut StdRng) -> Option<T>,
    ) -> Option<T> {
        let mut all = held(&self.strikes);
        let strikes = all.entry((occasion, subject)).or_default();
        let n = strikes.rolled;
        strikes.rolled += 1;
        if at_most > 0 && strikes.hit >= at_most {
            return None;
        }
        let struck = roll(&mut self.dice.cast(occasion, subject, n));
        strikes.hit += u32::from(struck.is_some());
        struck
    }

    pub fn count(&self, what: impl FnOnce(&mut Stats)) {
        what(&mut held(&self.stats));
    }

    pub fn stats(&self) -> Stats {
        *held(&self.stats)
    }

    pub fn note(&self, what: impl FnOnce(&mut Tally)) {
        what(&mut held(&self.tally));
    }

    pub fn tally(&self) -> Tally {
        held(&self.tally).clone()
    }

    /// Whether the fault of this name struck, as the caller found; notes it if so.
    pub fn struck(&self, switch: &'static str, hit: bool) -> bool {
        if hit {
            self.note(|tally| tally.fault(switch));
        }
        hit
    }

    pub fn task(&self, uuid: Uuid) -> Option<Arc<Task>> {
        held(&self.tasks).by_uuid.get(&uuid).cloned()
    }

    pub fn tasks(&self) -> Vec<Arc<Task>> {
        held(&self.tasks).in_order.clone()
    }

    /// The task and the index of the result whose file has this id.
    pub fn result(&self, id: Uuid) -> Option<(Arc<Task>, usize)> {
        held(&self.tasks).by_result.get(&id).cloned()
    }

    /// Accepts the task that `make` plans, unless its UUID is known: then the known task comes back as the error.
    ///
    /// # Errors
    /// The task that has this UUID already.
    pub fn accept(&self, uuid: Uuid, make: impl FnOnce() -> Task) -> Result<Arc<Task>, Arc<Task>> {
        let mut tasks = held(&self.tasks);
        if let Some(known) = tasks.by_uuid.get(&uuid) {
            return Err(known.clone());
        }
        let task = Arc::new(make());
        for Outcome { index, id, .. } in &task.results {
            tasks.by_result.insert(*id, (task.clone(), *index));
        }
        tasks.by_uuid.insert(uuid, task.clone());
        tasks.in_order.push(task.clone());
        Ok(task)
    }
}

/// A lock whose holder panicked still guards plain data: carry on.
pub fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
