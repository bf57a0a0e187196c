use super::*;
use crate::domain::asset::{AssetReason, AssetState, ObjectKey, SourceUrl, Stored, Trouble};
use crate::domain::ids::{AssetId, Digest, ResultId, TaskId, Tenant};
use crate::domain::task::{Failure, Origin, Outcome, Submission, Task, TaskReason, TaskState, Verdict};
use serde_json::json;
use std::time::Duration;

const AT: Timestamp = Timestamp::from_millis(0);
const STAMP: &str = "1970-01-01T00:00:00.000Z";

fn task() -> Task {
    Task {
        id: TaskId(uuid::Uuid::from_u128(1)),
        tenant: Tenant("acme".into()),
        version: 3,
        model: "m".into(),
        number_results: 2,
        labels: [("a".to_owned(), "b".to_owned())].into(),
        key_prefix: None,
        ext: None,
        ttl: Duration::from_secs(60),
        origin: Origin::Submitted,
        submission: Submission::Confirmed,
        state: TaskState::Partial(Verdict {
            reason: Some(TaskReason::ProviderError),
            provider_code: Some("timeoutProvider".into()),
        }),
        created_at: AT,
        first_attempt_at: Some(AT),
        submitted_at: Some(AT),
        deadline: None,
        settled_at: Some(AT),
        items_named: 2,
        outcome: Outcome::Known,
        cost: Some(0.435),
        failures: vec![Failure {
            code: "timeoutProvider".into(),
            message: "too slow".into(),
            content_policy: false,
        }],
        round: 1,
        event_count: 4,
        queries: 0,
        attempts: 0,
        due_at: None,
    }
}

fn asset(state: AssetState) -> Asset {
    Asset {
        id: AssetId {
            task: TaskId(uuid::Uuid::from_u128(1)),
            result: ResultId::given("r1").unwrap(),
        },
        round: 1,
        state,
        source: SourceUrl("https://vm.runware.ai/canary".into()),
        archive_by: AT,
        confirmed: true,
        nsfw: None,
        cost: Some(0.435),
        at_risk_at: None,
        discovered_at: AT,
        left: None,
        intent: None,
        trouble: Trouble::default(),
        due_at: None,
        attempts: 1,
    }
}

fn stored() -> Stored {
    Stored {
        bucket: "videos".into(),
        key: ObjectKey("k/r1.mp4".into()),
        size_bytes: 10,
        sha256: Digest([0xab; 32]),
        content_type: "video/mp4".into(),
        duration_ms: Some(5_040),
        width: Some(1_080),
        height: None,
        archived_at: AT,
    }
}

fn shown(assets: Vec<Asset>) -> serde_json::Value {
    serde_json::to_value(TaskView::of(TaskFile { task: task(), assets })).unwrap()
}

#[test]
fn a_task_reads_as_documented() {
    let mut expected = json!({
        "taskUUID": "00000000-0000-0000-0000-000000000001", "status": "partial", "reason": "provider_error",
        "providerCode": "timeoutProvider", "origin": "submitted", "submission": "confirmed", "model": "m",
        "numberResults": 2, "labels": {"a": "b"}, "cost": 0.435, "createdAt": STAMP, "submittedAt": STAMP,
        "deadline": null, "settledAt": STAMP,
        "assets": [{
            "resultId": "r1", "status": "archived", "reason": null, "round": 1, "confirmed": true,
            "bucket": "videos", "key": "k/r1.mp4", "size": 10, "sha256": "ab".repeat(32), "contentType": "video/mp4",
            "duration": 5.04, "width": 1080, "height": null, "nsfw": null, "archiveBy": STAMP, "archivedAt": STAMP,
        }],
        "failures": [{"code": "timeoutProvider", "message": "too slow"}],
    });
    assert_eq!(shown(vec![asset(AssetState::Archived(stored()))]), expected);

    let line = TimelineLine {
        at: AT,
        kind: "submitted".into(),
        detail: json!({}),
    };
    let file = TaskFile {
        task: task(),
        assets: vec![asset(AssetState::Archived(stored()))],
    };
    expected["timeline"] = json!([{"at": STAMP, "kind": "submitted", "detail": {}}]);
    let whole = TaskView::of(file).with_timeline(vec![line]);
    assert_eq!(serde_json::to_value(whole).unwrap(), expected);
}

#[test]
fn an_asset_without_an_object_shows_nulls_and_its_reason() {
    let shown = shown(vec![
        asset(AssetState::Expired(AssetReason::SourceGone)),
        asset(AssetState::Pending),
    ]);
    let [expired, pending] = [&shown["assets"][0], &shown["assets"][1]];
    assert_eq!(
        (&expired["status"], &expired["reason"]),
        (&json!("expired"), &json!("source_gone"))
    );
    assert_eq!(
        (&pending["status"], &pending["reason"]),
        (&json!("pending"), &json!(null))
    );
    for member in [
        "bucket",
        "key",
        "size",
        "sha256",
        "contentType",
        "duration",
        "width",
        "height",
        "archivedAt",
    ] {
        assert_eq!(pending.get(member), Some(&json!(null)), "{member}");
    }
}

#[test]
fn g12_a_provider_link_is_never_shown() {
    let kept = AssetState::Failed {
        reason: AssetReason::BadContent,
        kept: Some(stored()),
    };
    let shown = shown(vec![asset(AssetState::Archiving), asset(kept)]);
    assert_eq!(shown["assets"][1]["key"], "k/r1.mp4");
    assert!(!shown.to_string().contains("canary") && !shown.to_string().contains("acme"));
}
