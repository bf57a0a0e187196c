//! A task as its owner sees it. Never a provider link, a prompt or a token.

use crate::domain::asset::Asset;
use crate::domain::file::TaskFile;
use crate::domain::time::Timestamp;
use crate::ports::store::TimelineLine;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub struct TaskView {
    #[serde(rename = "taskUUID")]
    #[schema(format = "uuid")]
    task_uuid: String,
    /// `accepted`, `submitting`, `submitted`, `archiving`, `completed`, `partial`, `failed`, `timed_out`, `rejected`.
    status: &'static str,
    /// Why it ended other than `completed`: `provider_error`, `content_policy`, `not_submitted`,
    /// `submission_unconfirmed`, `no_outcome`, `no_asset_archived`.
    reason: Option<&'static str>,
    /// The provider's own code behind `reason`.
    provider_code: Option<String>,
    /// `submitted`, `imported`, `recovered`.
    origin: &'static str,
    /// `none` until the provider has it, then `confirmed`; `unconfirmed` when that could never be learned, or, after a
    /// restore, is still to be asked.
    submission: &'static str,
    model: String,
    /// Results asked for; 0 while nobody knows (adopted tasks).
    number_results: u32,
    labels: BTreeMap<String, String>,
    /// USD, as far as the provider reported it.
    cost: Option<f64>,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = "date-time")]
    submitted_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = "date-time")]
    deadline: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = "date-time")]
    settled_at: Option<Timestamp>,
    assets: Vec<AssetView>,
    failures: Vec<FailureView>,
    /// Every submission, callback, query, copy and delivery attempt, newest last. Only where one task is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<LineView>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Asset)]
pub struct AssetView {
    result_id: String,
    /// `pending`, `archiving`, `archived`, `expired`, `failed`.
    status: &'static str,
    /// Of `expired` and `failed`: `source_gone`, `bad_content`, `conflict`, `too_large`, `store_refused`.
    reason: Option<&'static str>,
    round: u32,
    /// A status query has shown it, not only a callback.
    confirmed: bool,
    bucket: Option<String>,
    key: Option<String>,
    /// Bytes.
    size: Option<u64>,
    /// Lower-case hex.
    sha256: Option<String>,
    content_type: Option<String>,
    /// Seconds.
    duration: Option<f64>,
    /// Pixels.
    width: Option<u32>,
    height: Option<u32>,
    nsfw: Option<bool>,
    /// When the provider's link dies at the latest we count on.
    #[schema(value_type = String, format = "date-time")]
    archive_by: Timestamp,
    #[schema(value_type = Option<String>, format = "date-time")]
    archived_at: Option<Timestamp>,
}

/// A failed item, as the provider told it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub struct FailureView {
    code: String,
    message: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineLine)]
pub struct LineView {
    #[schema(value_type = String, format = "date-time")]
    at: Timestamp,
    kind: String,
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

impl TaskView {
    /// Without its timeline.
    pub fn of(file: TaskFile) -> Self {
        let TaskFile { task, assets } = file;
        let verdict = task.state.verdict().cloned();
        Self {
            task_uuid: task.id.to_string(),
            status: task.state.status().as_str(),
            reason: verdict.as_ref().and_then(|v| v.reason).map(|r| r.as_str()),
            provider_code: verdict.and_then(|v| v.provider_code),
            origin: task.origin.as_str(),
            submission: task.submission.as_str(),
            model: task.model,
            number_results: task.number_results,
            labels: task.labels,
            cost: task.cost,
            created_at: task.created_at,
            submitted_at: task.submitted_at,
            deadline: task.deadline,
            settled_at: task.settled_at,
            assets: assets.into_iter().map(AssetView::of).collect(),
            failures: task
                .failures
                .into_iter()
                .map(|f| FailureView {
                    code: f.code,
                    message: f.message,
                })
                .collect(),
            timeline: None,
        }
    }

    pub fn with_timeline(self, lines: Vec<TimelineLine>) -> Self {
        let line = |l: TimelineLine| LineView {
            at: l.at,
            kind: l.kind,
            detail: l.detail,
        };
        Self {
            timeline: Some(lines.into_iter().map(line).collect()),
            ..self
        }
    }
}

impl AssetView {
    pub fn of(asset: Asset) -> Self {
        let stored = asset.state.stored();
        Self {
            result_id: asset.id.result.to_string(),
            status: asset.state.status().as_str(),
            reason: asset.state.reason().map(|r| r.as_str()),
            round: asset.round,
            confirmed: asset.confirmed,
            bucket: stored.map(|s| s.bucket.clone()),
            key: stored.map(|s| s.key.0.clone()),
            size: stored.map(|s| s.size_bytes),
            sha256: stored.map(|s| s.sha256.hex()),
            content_type: stored.map(|s| s.content_type.clone()),
            duration: stored.and_then(|s| s.duration_ms).map(|ms| ms as f64 / 1000.0),
            width: stored.and_then(|s| s.width),
            height: stored.and_then(|s| s.height),
            nsfw: asset.nsfw,
            archive_by: asset.archive_by,
            archived_at: stored.map(|s| s.archived_at),
        }
    }
}

#[cfg(test)]
mod tests;
