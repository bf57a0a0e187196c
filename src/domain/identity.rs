//! What a task is, apart from what became of it: enough to find its results again, and to put them under the same
//! keys, when the database is gone. No prompt, no media, no link, no secret.

use super::asset::ObjectExt;
use super::file::{Policy, TaskFile};
use super::ids::{TaskId, Tenant};
use super::task::{Origin, Task};
use super::time::Timestamp;
use super::transition::Transition;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub id: TaskId,
    pub tenant: Tenant,
    pub created_at: Timestamp,
    /// `unknown` of an adopted task that nobody described.
    pub model: String,
    /// 0: nobody knows.
    pub number_results: u32,
    pub labels: BTreeMap<String, String>,
    pub key_prefix: Option<String>,
    pub ext: Option<ObjectExt>,
    /// `None`: the service's own default.
    pub ttl: Option<Duration>,
}

/// What the journal knows of a task that this database never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    Nothing,
    /// Its entry was there already: a process before a lost disk, a restore or a kill may have sent it. Ask first.
    Perhaps,
}

/// The model of an adopted task until somebody tells.
pub const UNKNOWN_MODEL: &str = "unknown";

impl Identity {
    pub fn of(task: &Task) -> Self {
        Self {
            id: task.id,
            tenant: task.tenant.clone(),
            created_at: task.created_at,
            model: task.model.clone(),
            number_results: task.number_results,
            labels: task.labels.clone(),
            key_prefix: task.key_prefix.clone(),
            ext: task.ext.clone(),
            ttl: Some(task.ttl),
        }
    }

    /// Nothing but the name.
    pub fn bare(id: TaskId, tenant: Tenant, now: Timestamp) -> Self {
        Self {
            id,
            tenant,
            created_at: now,
            model: UNKNOWN_MODEL.to_owned(),
            number_results: 0,
            labels: BTreeMap::new(),
            key_prefix: None,
            ext: None,
            ttl: None,
        }
    }

    /// The task as adopted, to be asked about from `due` on.
    pub fn adopt(self, origin: Origin, policy: &Policy, now: Timestamp, due: Timestamp) -> Transition {
        let mut adopted = TaskFile::adopt(self.id, self.tenant.clone(), origin, policy, now);
        self.describe(&mut adopted.task);
        adopted.task.due_at = Some(due);
        // The deadline counts from when we start to ask, and that may be an hour of other imports away.
        adopted.task.deadline = Some(due.plus(policy.poll_deadline));
        adopted
    }

    /// Gives an adopted task back what it was, before anything was learned of it elsewhere.
    pub fn describe(self, task: &mut Task) {
        task.tenant = self.tenant;
        task.created_at = self.created_at;
        task.submitted_at = Some(self.created_at);
        task.model = self.model;
        task.number_results = self.number_results;
        task.labels = self.labels;
        task.key_prefix = self.key_prefix;
        task.ext = self.ext;
        task.ttl = self.ttl.unwrap_or(task.ttl);
    }
}
