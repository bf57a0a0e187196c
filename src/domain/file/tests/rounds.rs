//! What an earlier round had put into the bucket is not forgotten by the next one.

use super::*;
use crate::domain::asset::Left;

fn result() -> ResultId {
    ResultId::given("a").unwrap()
}

fn object(key: &str, bytes: &[u8]) -> Stored {
    Stored {
        bucket: "videos".to_owned(),
        key: ObjectKey(key.to_owned()),
        size_bytes: bytes.len() as u64,
        sha256: Digest::of(bytes),
        content_type: "video/mp4".to_owned(),
        duration_ms: None,
        width: None,
        height: None,
        archived_at: at(61),
    }
}

/// A task of one result, whose copy came to this.
fn ended(outcome: CopyOutcome) -> TaskFile {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    let file = apply(file, t);
    copied(file, outcome, at(61)).0
}

fn copied(file: TaskFile, outcome: CopyOutcome, now: Timestamp) -> (TaskFile, Transition) {
    let t = file.clone().copied(&result(), outcome, &policy(), now, J);
    (apply(file, t.clone()), t)
}

fn retried(file: TaskFile, now: Timestamp) -> TaskFile {
    let t = file.clone().retry(&policy(), now).unwrap().transition;
    apply(file, t)
}

/// Until the task has ended: its link is dead, and the provider has no other.
fn dies(mut file: TaskFile, mut now: Timestamp) -> (TaskFile, Vec<NewEvent>) {
    let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 404 });
    loop {
        let (next, t) = copied(file, dead.clone(), now);
        if !next.assets[0].state.is_terminal() {
            let t = next.clone().ingest(answer(vec![]), &policy(), now, J);
            file = apply(next, t);
            now = file.assets[0].due_at.unwrap();
            continue;
        }
        return (next, t.events);
    }
}

const LATE: i64 = 40 * 3600;

#[test]
fn g4_a_file_kept_unverified_stays_named_when_its_source_dies_in_a_later_round() {
    let kept = object("k/a.unverified", b"half a movie");
    let file = ended(CopyOutcome::KeptUnverified(kept.clone()));
    let mut file = retried(file, at(LATE));
    assert_eq!(file.assets[0].left, Some(Left::Kept(kept.clone())));
    for round in 2..5 {
        let (ended, events) = dies(file, at(LATE * i64::from(round)));
        let failed = AssetState::Failed {
            reason: AssetReason::BadContent,
            kept: Some(kept.clone()),
        };
        assert_eq!((&ended.assets[0].state, ended.assets[0].round), (&failed, round));
        assert_eq!(events[0].kind, EventKind::AssetFailed);
        assert_eq!(events[0].data.key.as_deref(), Some("k/a.unverified"));
        file = retried(ended, at(LATE * i64::from(round + 1)));
    }
    // Other ends of a round name it as well; only a whole file takes its place.
    let refused = CopyOutcome::NotStored(NotStored::TooLarge { size_bytes: 1 << 40 });
    let (file, _) = copied(file, refused, at(LATE * 6));
    assert_eq!(file.assets[0].state.stored(), Some(&kept));
    assert_eq!(file.assets[0].state.reason(), Some(AssetReason::TooLarge));
    let whole = object("k/a.mp4", b"a movie");
    let (file, t) = copied(
        retried(file, at(LATE * 7)),
        CopyOutcome::Archived(whole.clone()),
        at(LATE * 7),
    );
    assert_eq!(file.assets[0].state, AssetState::Archived(whole));
    assert_eq!(file.assets[0].left, None);
    let line = t.timeline.iter().find(|l| l.kind == "differs").unwrap();
    assert_eq!(
        line.detail["keyBefore"], "k/a.unverified",
        "it lies in the bucket still"
    );
}

#[test]
fn g4_what_takes_the_place_of_a_lost_object_is_compared_with_it() {
    let (before, other) = (object("k/a.mp4", b"a movie"), object("k/a.mp4", b"another"));
    let lost = |now| {
        let file = ended(CopyOutcome::Archived(before.clone()));
        assert_eq!(status(&file), TaskStatus::Completed);
        let t = file.clone().requeue(&[result()], &policy(), now);
        apply(file, t)
    };
    let differs = |t: &Transition| t.timeline.iter().find(|l| l.kind == "differs").cloned();
    let file = lost(at(LATE));
    assert_eq!(file.assets[0].left, Some(Left::Gone(before.clone())));
    let (file, t) = copied(file, CopyOutcome::Archived(before.clone()), at(LATE + 1));
    assert_eq!(
        (differs(&t), &file.assets[0].left),
        (None, &None),
        "the same bytes"
    );

    let (file, t) = copied(lost(at(LATE)), CopyOutcome::Archived(other.clone()), at(LATE + 1));
    let detail = differs(&t).expect("said plainly").detail;
    assert_eq!(detail["sha256Before"], before.sha256.hex());
    assert_eq!(detail["sha256"], other.sha256.hex());
    assert_eq!(
        file.assets[0].state,
        AssetState::Archived(other),
        "it is what the provider has"
    );

    // Gone at both ends: nothing in the bucket is named, and a later round still knows what it was.
    let (file, _) = dies(lost(at(LATE)), at(LATE));
    assert_eq!(file.assets[0].state, AssetState::Expired(AssetReason::SourceGone));
    assert_eq!(file.assets[0].left, Some(Left::Gone(before.clone())));
    let t = file.clone().requeue(&[result()], &policy(), at(LATE * 3));
    assert_eq!(apply(file, t).assets[0].left, Some(Left::Gone(before)));
}
