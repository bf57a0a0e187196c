//! The few columns that hold JSON: small closed shapes nobody searches by.

use crate::domain::asset::{Intent, ObjectKey, Trouble};
use crate::domain::ids::Digest;
use crate::domain::task::Failure;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) fn labels_text(labels: &BTreeMap<String, String>) -> String {
    to_text(labels)
}

pub(super) fn failures_text(failures: &[Failure]) -> String {
    let rows: Vec<FailureJson> = failures
        .iter()
        .map(|f| FailureJson {
            code: f.code.clone(),
            message: f.message.clone(),
            content_policy: f.content_policy,
        })
        .collect();
    to_text(&rows)
}

pub(super) fn failures(text: &str) -> Result<Vec<Failure>, serde_json::Error> {
    let rows: Vec<FailureJson> = serde_json::from_str(text)?;
    let failure = |f: FailureJson| Failure {
        code: f.code,
        message: f.message,
        content_policy: f.content_policy,
    };
    Ok(rows.into_iter().map(failure).collect())
}

pub(super) fn intent_text(intent: &Intent) -> String {
    to_text(&IntentJson {
        key: intent.key.0.clone(),
        size: intent.size_bytes,
        sha256: intent.sha256.hex(),
        content_type: intent.content_type.clone(),
        duration_ms: intent.duration_ms,
        width: intent.width,
        height: intent.height,
        unverified: intent.unverified,
    })
}

pub(super) fn intent(text: &str) -> Result<Intent, serde_json::Error> {
    let row: IntentJson = serde_json::from_str(text)?;
    let sha256 =
        digest(&row.sha256).ok_or_else(|| <serde_json::Error as serde::de::Error>::custom("sha256"))?;
    Ok(Intent {
        key: ObjectKey(row.key),
        size_bytes: row.size,
        sha256,
        content_type: row.content_type,
        duration_ms: row.duration_ms,
        width: row.width,
        height: row.height,
        unverified: row.unverified,
    })
}

/// `None` for no trouble at all, which is nearly every asset.
pub(super) fn trouble_text(t: &Trouble) -> Option<String> {
    (*t != Trouble::default()).then(|| {
        to_text(&TroubleJson {
            dead_tries: t.dead_tries,
            dead_since: t.dead_since.map(Timestamp::as_millis),
            bad_tries: t.bad_tries,
            bad_since: t.bad_since.map(Timestamp::as_millis),
            failed_tries: t.failed_tries,
            source_tries: t.source_tries,
            refused_tries: t.refused_tries,
            wants_fresh: t.wants_fresh,
            refreshed: t.refreshed,
        })
    })
}

pub(super) fn trouble(text: &str) -> Result<Trouble, serde_json::Error> {
    let row: TroubleJson = serde_json::from_str(text)?;
    Ok(Trouble {
        dead_tries: row.dead_tries,
        dead_since: row.dead_since.map(Timestamp::from_millis),
        bad_tries: row.bad_tries,
        bad_since: row.bad_since.map(Timestamp::from_millis),
        failed_tries: row.failed_tries,
        source_tries: row.source_tries,
        refused_tries: row.refused_tries,
        wants_fresh: row.wants_fresh,
        refreshed: row.refreshed,
    })
}

pub(super) fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and maps with string keys serialize")
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureJson {
    code: String,
    message: String,
    content_policy: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntentJson {
    key: String,
    size: u64,
    /// Lower-case hex.
    sha256: String,
    content_type: String,
    duration_ms: Option<u64>,
    width: Option<u32>,
    height: Option<u32>,
    unverified: bool,
}

/// Times are Unix ms, UTC.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TroubleJson {
    dead_tries: u32,
    dead_since: Option<i64>,
    bad_tries: u32,
    bad_since: Option<i64>,
    failed_tries: u32,
    #[serde(default)]
    source_tries: u32,
    #[serde(default)]
    refused_tries: u32,
    wants_fresh: bool,
    refreshed: bool,
}

fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(Digest(bytes))
}
