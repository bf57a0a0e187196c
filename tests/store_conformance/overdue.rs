//! What the clock alone decides, what operators decide, and stories that do not grow for ever.

use crate::kit::*;
use catchment::domain::file::{CopyOutcome, NotStored};
use catchment::domain::ids::AssetId;
use catchment::domain::lease::Fence;
use catchment::domain::transition::Transition;
use catchment::ports::operator::OperatorEntry;
use catchment::ports::overdue::SendLimits;
use catchment::ports::store::*;
use serde_json::json;
use std::time::Duration;

fn names(due: &[AssetId]) -> Vec<&str> {
    due.iter().map(|a| a.result.as_str()).collect()
}

/// The links of the kit live an hour from submission.
pub async fn g6_what_is_at_risk_is_told_by_the_clock_alone_earliest_first(s: &dyn Store) {
    discover(s, 1, &["later"], at(60)).await;
    discover(s, 2, &["sooner", "done"], at(0)).await;
    let t = archived(file(s, 2).await, "done", at(1));
    s.commit(t, Fence::Version).await.unwrap();
    assert!(s.at_risk(at(1799), 9).await.unwrap().is_empty());
    assert_eq!(names(&s.at_risk(at(3000), 9).await.unwrap()), ["sooner", "later"]);
    assert_eq!(names(&s.at_risk(at(3000), 1).await.unwrap()), ["sooner"]);
    // A copier holds it: it is at risk all the same.
    let lease = s.claim_copies(claim(at(1800), 1)).await.unwrap().remove(0);
    assert_eq!(lease.item.asset, asset_id(2, "sooner"));
    let t = file(s, 2)
        .await
        .tell_at_risk(&result("sooner"), at(1800))
        .unwrap();
    s.commit(t, Fence::Version).await.unwrap();
    assert_eq!(
        names(&s.at_risk(at(3000), 9).await.unwrap()),
        ["later"],
        "told once"
    );
    let told = s.events(&all_events(&acme())).await.unwrap().events;
    assert_eq!(
        told.iter().filter(|e| e.kind.as_str() == "asset.at_risk").count(),
        1
    );
    s.renew(
        &Held::Asset {
            id: lease.item.asset,
            epoch: lease.epoch,
        },
        at(1900),
    )
    .await
    .expect("the copier's lease is as it was");
}

pub async fn g6_copies_put_off_by_the_store_are_due_when_it_is_back(s: &dyn Store) {
    discover(s, 1, &["store", "source"], at(0)).await;
    let away = |code: &str| code.to_owned();
    for (name, why) in [
        (
            "store",
            NotStored::StoreUnavailable {
                code: away("http_503"),
            },
        ),
        (
            "source",
            NotStored::SourceUnavailable {
                code: away("http_503"),
                retry_after: None,
            },
        ),
    ] {
        let mut t = file(s, 1)
            .await
            .copied(&result(name), CopyOutcome::NotStored(why), &policy(), at(1), J);
        t.assets[0].due_at = Some(at(50));
        s.commit(t, Fence::Version).await.unwrap();
    }
    assert_eq!(s.hasten_copies(at(2)).await.unwrap(), 1);
    let due = s.claim_copies(claim(at(2), 9)).await.unwrap();
    assert_eq!(
        due.into_iter().map(|l| l.item.asset).collect::<Vec<_>>(),
        [asset_id(1, "store")]
    );
    assert_eq!(
        s.hasten_copies(at(3)).await.unwrap(),
        0,
        "what is in hand is left alone"
    );
}

fn limits(now: i64) -> SendLimits {
    SendLimits {
        attempted_by: at(now - 600),
        created_by: at(now - 7 * 24 * 3600),
    }
}

pub async fn a_submission_whose_time_is_over_is_claimed_before_it_is_due(s: &dyn Store) {
    // 1 is in doubt and waits for its next try; 2 was never attempted; 3 is in hand.
    for n in 1..=3 {
        accept(s, n, at(0)).await;
    }
    for lease in s.claim_submissions(claim(at(0), 3)).await.unwrap() {
        let id = lease.item.task.id;
        let fence = task_fence(&lease, id);
        if id == crate::kit::id(2) {
            s.release(&Held::Task {
                id,
                epoch: lease.epoch,
            })
            .await
            .unwrap();
            continue;
        }
        let begun = lease.item.submission_begins(at(0));
        let version = s.commit_and_hold(begun.clone(), fence.clone()).await.unwrap();
        if id == crate::kit::id(3) {
            s.renew(
                &Held::Task {
                    id,
                    epoch: lease.epoch,
                },
                at(9999),
            )
            .await
            .unwrap();
            continue;
        }
        let mut file = catchment::domain::file::TaskFile {
            task: begun.task,
            assets: vec![],
        };
        file.task.version = version;
        let wait = Some(Duration::from_secs(3600));
        let mut later = file.not_accepted("timeout", false, wait, &policy(), at(0), J);
        later.task.due_at = Some(at(5000)); // whatever its due time says
        s.commit(later, fence).await.unwrap();
    }
    let ids = async |now: i64| -> Vec<_> {
        let leases = s.claim_unsendable(claim(at(now), 9), limits(now)).await.unwrap();
        for l in &leases {
            let held = Held::Task {
                id: l.item.task.id,
                epoch: l.epoch,
            };
            s.release(&held).await.unwrap();
        }
        leases.into_iter().map(|l| l.item.task.id).collect()
    };
    assert!(ids(599).await.is_empty());
    assert_eq!(ids(600).await, [id(1)]);
    assert_eq!(
        ids(7 * 24 * 3600).await,
        [id(1), id(3), id(2)],
        "lapsed leases, and what was held too long"
    );
}

fn entry(action: &'static str) -> OperatorEntry {
    OperatorEntry {
        at: at(1),
        tenant: acme(),
        actor: "key_1".to_owned(),
        action,
        subject: id(1).to_string(),
        detail: json!({ "results": ["a"] }),
    }
}

pub async fn i8_an_operators_decision_and_its_line_are_one_commit(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    let read = file(s, 1).await;
    let note = |task, kind| Transition::of(task).note(at(1), kind, json!({}));
    s.commit_by_operator(note(read.task.clone(), "retried"), entry("retry"))
        .await
        .unwrap();
    let stale = s
        .commit_by_operator(note(read.task, "again"), entry("retry"))
        .await;
    assert!(matches!(stale, Err(StoreError::Conflict { .. })), "{stale:?}");
    let kinds: Vec<String> = s
        .timeline(id(1))
        .await
        .unwrap()
        .into_iter()
        .map(|l| l.kind)
        .collect();
    assert!(kinds.contains(&"retried".to_owned()) && !kinds.contains(&"again".to_owned()));
}

pub async fn i12_a_story_of_many_equal_tries_stays_short(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    for n in 0..400 {
        let t = Transition::of(file(s, 1).await.task)
            .note(
                at(n),
                "copy_postponed",
                json!({ "result": "a", "why": "source_http_404" }),
            )
            .note(at(n), "submitting", json!({ "attempt": n }));
        s.commit(t, Fence::Version).await.unwrap();
    }
    let lines = s.timeline(id(1)).await.unwrap();
    assert!(lines.len() <= 105, "{} lines", lines.len());
    let tries = |kind: &str| -> i64 {
        let of_kind = lines.iter().filter(|l| l.kind == kind);
        of_kind.map(|l| l.detail["times"].as_i64().unwrap_or(1)).sum()
    };
    assert_eq!(tries("copy_postponed"), 400, "each is counted");
    let last = lines.iter().find(|l| l.detail["times"].is_i64()).unwrap();
    assert_eq!(last.detail["until"], json!(at(399)));
    assert!(last.at < at(60), "it keeps when it began");
    // Another story is told in full, until there is far too much of it.
    for n in 0..1000 {
        let t = Transition::of(file(s, 1).await.task).note(at(n), "doubt", json!({ "n": n }));
        s.commit(t, Fence::Version).await.unwrap();
    }
    let lines = s.timeline(id(1)).await.unwrap();
    assert!((400..=510).contains(&lines.len()), "{} lines", lines.len());
}

/// I3 after a restore: the clock alone decides nothing of a task that an earlier life may have sent.
pub async fn a_submission_in_doubt_of_an_earlier_life_is_left_to_be_asked_about(s: &dyn Store) {
    accept(s, 1, at(0)).await;
    let lease = s.claim_submissions(claim(at(0), 1)).await.unwrap().remove(0);
    let fence = task_fence(&lease, id(1));
    let mut later = lease.item.not_asked("timeout", None, &policy(), at(0), J);
    later.task.deadline = Some(at(60));
    s.commit(later, fence).await.unwrap();
    let far = 30 * 24 * 3600;
    assert!(
        s.claim_unsendable(claim(at(far), 9), limits(far))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(s.claim_submissions(claim(at(far), 9)).await.unwrap().len(), 1);
}
