//! An event: an immutable fact, numbered, told to whoever subscribed.

use super::asset::Asset;
use super::ids::{EventId, TaskId, Tenant};
use super::task::{Task, words};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    TaskAccepted,
    TaskSubmitted,
    TaskRejected,
    TaskCompleted,
    TaskPartial,
    TaskFailed,
    TaskTimedOut,
    TaskRecovered,
    AssetDiscovered,
    AssetArchived,
    AssetAtRisk,
    AssetExpired,
    AssetFailed,
    EndpointDisabled,
    DeliveryDead,
}

words!(EventKind {
    TaskAccepted = "task.accepted",
    TaskSubmitted = "task.submitted",
    TaskRejected = "task.rejected",
    TaskCompleted = "task.completed",
    TaskPartial = "task.partial",
    TaskFailed = "task.failed",
    TaskTimedOut = "task.timed_out",
    TaskRecovered = "task.recovered",
    AssetDiscovered = "asset.discovered",
    AssetArchived = "asset.archived",
    AssetAtRisk = "asset.at_risk",
    AssetExpired = "asset.expired",
    AssetFailed = "asset.failed",
    EndpointDisabled = "endpoint.disabled",
    DeliveryDead = "delivery.dead",
});

impl EventKind {
    pub const ALL: [Self; 15] = [
        Self::TaskAccepted,
        Self::TaskSubmitted,
        Self::TaskRejected,
        Self::TaskCompleted,
        Self::TaskPartial,
        Self::TaskFailed,
        Self::TaskTimedOut,
        Self::TaskRecovered,
        Self::AssetDiscovered,
        Self::AssetArchived,
        Self::AssetAtRisk,
        Self::AssetExpired,
        Self::AssetFailed,
        Self::EndpointDisabled,
        Self::DeliveryDead,
    ];

    /// What an endpoint without a filter gets: each asset's end and each task's end.
    pub fn is_default(self) -> bool {
        matches!(
            self,
            Self::AssetArchived
                | Self::AssetExpired
                | Self::AssetFailed
                | Self::TaskCompleted
                | Self::TaskPartial
                | Self::TaskFailed
                | Self::TaskTimedOut
                | Self::TaskRejected
        )
    }

    /// About our own deliveries, not about a task: a dead one begets no other.
    pub fn is_operator(self) -> bool {
        matches!(self, Self::EndpointDisabled | Self::DeliveryDead)
    }
}

/// An event that a decision wants written; the store numbers it in the same transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub id: EventId,
    pub kind: EventKind,
    pub tenant: Tenant,
    /// `None` only for operator events.
    pub task: Option<TaskId>,
    /// From 1 without gaps within the task; 0 for operator events.
    pub task_sequence: u32,
    pub at: Timestamp,
    pub data: EventData,
}

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub sequence: u64,
    pub id: EventId,
    pub kind: EventKind,
    pub tenant: Tenant,
    pub task: Option<TaskId>,
    pub task_sequence: u32,
    pub at: Timestamp,
    pub data: EventData,
}

impl Event {
    /// The one form every consumer sees, whether it reads the log or is sent deliveries.
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: self.id.as_str(),
            sequence: self.sequence,
            task_sequence: self.task.map(|_| self.task_sequence),
            kind: self.kind.as_str(),
            timestamp: self.at,
            data: &self.data,
        }
    }
}

/// An [`Event`] as it is told. Members are only ever added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<'a> {
    id: &'a str,
    sequence: u64,
    /// Absent from operator events, which belong to no task.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_sequence: Option<u32>,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: &'a EventData,
}

/// What every consumer reads under `data`. Version 1 of the payload: members are only ever added.
/// Never a provider link, a prompt or a secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventData {
    #[serde(rename = "taskUUID", skip_serializing_if = "Option::is_none")]
    pub task_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Lower-case hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nsfw: Option<bool>,
    /// `asset.at_risk`: when the provider's link dies at the latest we count on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_by: Option<Timestamp>,
    /// Results archived and expected, on a task's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<u32>,
    /// Operator events: which endpoint, and which event could not be delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

impl EventData {
    pub fn about_task(task: &Task) -> Self {
        let verdict = task.state.verdict();
        Self {
            task_uuid: Some(task.id.to_string()),
            status: Some(task.state.status().to_string()),
            reason: verdict.and_then(|v| v.reason).map(|r| r.to_string()),
            provider_code: verdict.and_then(|v| v.provider_code.clone()),
            model: Some(task.model.clone()),
            labels: task.labels.clone(),
            round: Some(task.round),
            cost: task.cost,
            ..Self::default()
        }
    }

    pub fn about_asset(task: &Task, asset: &Asset) -> Self {
        let stored = asset.state.stored();
        Self {
            task_uuid: Some(task.id.to_string()),
            result_id: Some(asset.id.result.to_string()),
            status: Some(asset.state.status().to_string()),
            reason: asset.state.reason().map(|r| r.to_string()),
            model: Some(task.model.clone()),
            labels: task.labels.clone(),
            round: Some(asset.round),
            bucket: stored.map(|s| s.bucket.clone()),
            key: stored.map(|s| s.key.0.clone()),
            size: stored.map(|s| s.size_bytes),
            sha256: stored.map(|s| s.sha256.hex()),
            content_type: stored.map(|s| s.content_type.clone()),
            duration: stored.and_then(|s| s.duration_ms).map(|ms| ms as f64 / 1000.0),
            width: stored.and_then(|s| s.width),
            height: stored.and_then(|s| s.height),
            cost: asset.cost,
            nsfw: asset.nsfw,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(kind: EventKind, task: Option<TaskId>) -> Event {
        Event {
            sequence: 41,
            id: EventId::stored("evt_1".to_owned()),
            kind,
            tenant: Tenant::default_tenant(),
            task,
            task_sequence: if task.is_some() { 3 } else { 0 },
            at: Timestamp::from_millis(1_767_323_045_678),
            data: EventData::default(),
        }
    }

    #[test]
    fn an_event_is_told_in_one_form() {
        let about_a_task = event(EventKind::AssetArchived, Some(TaskId(Uuid::nil())));
        assert_eq!(
            serde_json::to_string(&about_a_task.envelope()).unwrap(),
            r#"{"id":"evt_1","sequence":41,"taskSequence":3,"type":"asset.archived","timestamp":"2026-01-02T03:04:05.678Z","data":{"labels":{}}}"#
        );
        let about_us = event(EventKind::DeliveryDead, None);
        assert_eq!(
            serde_json::to_string(&about_us.envelope()).unwrap(),
            r#"{"id":"evt_1","sequence":41,"type":"delivery.dead","timestamp":"2026-01-02T03:04:05.678Z","data":{"labels":{}}}"#
        );
    }
}
