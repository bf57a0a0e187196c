//! The state machine: stories, and properties in `anything`.

mod anything;
mod claims;
mod links;
mod retries;
mod risk;
mod rounds;

use super::*;
use crate::domain::asset::{AssetReason, ObjectKey, SourceUrl, Stored};
use crate::domain::backoff::Jitter;
use crate::domain::ids::Digest;
use crate::domain::report::{Item, Report, Success};
use crate::domain::task::{Failure, TaskStatus};

const J: Jitter = Jitter(0.5);
const HOUR: Duration = Duration::from_secs(3600);

fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(s * 1000)
}

fn policy() -> Policy {
    Policy {
        poll_first_after: Duration::from_secs(180),
        poll_max_interval: Duration::from_secs(300),
        poll_deadline: 24 * HOUR,
        trust_after: Duration::from_secs(120),
        retry_max_interval: Duration::from_secs(60),
        resend_window: Duration::from_secs(600),
        max_hold: 7 * 24 * HOUR,
        at_risk_after: 0.5,
        default_ttl: 24 * HOUR,
    }
}

fn task(number_results: u32) -> Task {
    let adopted = TaskFile::adopt(
        TaskId(uuid::Uuid::from_u128(1)),
        Tenant::default_tenant(),
        Origin::Submitted,
        &policy(),
        at(0),
    );
    Task {
        model: "klingai:avatar@2.0-pro".to_owned(),
        number_results,
        submission: Submission::None,
        state: TaskState::Accepted,
        submitted_at: None,
        deadline: None,
        ..adopted.task
    }
}

/// What a store does with a transition, without the numbers.
fn apply(mut file: TaskFile, t: Transition) -> TaskFile {
    file.task = t.task;
    file.task.version += 1;
    for asset in t.assets {
        match file.assets.iter_mut().find(|a| a.id == asset.id) {
            Some(known) => *known = asset,
            None => file.assets.push(asset),
        }
    }
    file
}

fn submitted(number_results: u32) -> TaskFile {
    let file = TaskFile {
        task: task(number_results),
        assets: vec![],
    };
    let t = file.clone().submission_begins(at(0));
    let file = apply(file, t);
    let t = file.clone().submitted(Submission::Confirmed, &policy(), at(0), J);
    apply(file, t)
}

fn success(name: &str) -> Item {
    Item::Success(Success {
        result: ResultId::given(name).unwrap(),
        source: SourceUrl(format!("https://vm.runware.ai/{name}.mp4")),
        cost: Some(1.5),
        nsfw: None,
    })
}

fn failure(code: &str) -> Item {
    Item::Failed(Failure {
        code: code.to_owned(),
        message: "no".to_owned(),
        content_policy: code == "promptBlocked",
    })
}

fn answer(items: Vec<Item>) -> Asked {
    Asked {
        answer: Some(Report {
            items,
            ..Report::default()
        }),
        claims: vec![],
        at_least: None,
    }
}

fn claim(receipt: i64, at: Timestamp, items: Vec<Item>) -> Claim {
    Claim {
        receipt,
        at,
        report: Report {
            items,
            ..Report::default()
        },
        hosts_allowed: true,
    }
}

fn stored(name: &str) -> Stored {
    Stored {
        bucket: "b".to_owned(),
        key: ObjectKey(name.to_owned()),
        size_bytes: 1,
        sha256: Digest([1; 32]),
        content_type: "video/mp4".to_owned(),
        duration_ms: None,
        width: None,
        height: None,
        archived_at: at(0),
    }
}

fn archive(file: TaskFile, name: &str, now: Timestamp) -> (TaskFile, Vec<EventKind>) {
    let result = ResultId::given(name).unwrap();
    let t = file
        .clone()
        .copied(&result, CopyOutcome::Archived(stored(name)), &policy(), now, J);
    let kinds = t.events.iter().map(|e| e.kind).collect();
    (apply(file, t), kinds)
}

fn status(file: &TaskFile) -> TaskStatus {
    file.task.state.status()
}

#[test]
fn the_ideal_run_tells_each_step_once() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    assert_eq!(
        t.events.iter().map(|e| e.kind).collect::<Vec<_>>(),
        [EventKind::AssetDiscovered]
    );
    let (file, kinds) = archive(apply(file, t), "a", at(61));
    assert_eq!(kinds, [EventKind::AssetArchived, EventKind::TaskCompleted]);
    assert_eq!(
        (status(&file), file.task.cost, file.task.due_at),
        (TaskStatus::Completed, Some(1.5), None)
    );
}

#[test]
fn f18_some_of_several_fail_and_the_task_is_partial_with_the_reason() {
    let file = submitted(3);
    let items = vec![
        success("a"),
        failure("timeoutProvider"),
        failure("timeoutProvider"),
    ];
    let t = file.clone().ingest(answer(items), &policy(), at(60), J);
    let (file, kinds) = archive(apply(file, t), "a", at(61));
    assert_eq!(kinds, [EventKind::AssetArchived, EventKind::TaskPartial]);
    let verdict = file.task.state.verdict().unwrap();
    assert_eq!(verdict.reason, Some(TaskReason::ProviderError));
    assert_eq!(verdict.provider_code.as_deref(), Some("timeoutProvider"));
    assert_eq!(file.task.failures.len(), 1, "kept by (code, message)");
}

#[test]
fn f17_the_cost_does_not_depend_on_which_result_came_first() {
    let costing = |(name, cost): (&str, f64)| match success(name) {
        Item::Success(success) => Item::Success(Success {
            cost: Some(cost),
            ..success
        }),
        other => other,
    };
    let total = |costs: [(&str, f64); 3]| {
        let items = costs.map(costing).into();
        submitted(3).ingest(answer(items), &policy(), at(60), J).task.cost
    };
    assert_eq!(total([("a", 0.1), ("b", 0.2), ("c", 0.3)]), Some(0.6));
    assert_eq!(total([("c", 0.3), ("b", 0.2), ("a", 0.1)]), Some(0.6));
}

#[test]
fn g8_a_forged_failure_changes_nothing_until_a_query_agrees() {
    let file = submitted(1);
    let mut asked = answer(vec![Item::Running]);
    asked.claims = vec![claim(1, at(50), vec![failure("forged")])];
    let t = file.clone().ingest(asked, &policy(), at(60), J);
    assert_eq!(
        (t.task.state.status(), t.task.failures.len()),
        (TaskStatus::Submitted, 0)
    );
    assert_eq!(t.receipts_done, [1]);
    let t = apply(file.clone(), t).ingest(answer(vec![failure("real")]), &policy(), at(70), J);
    assert_eq!(t.task.state.status(), TaskStatus::Failed);
}

#[test]
fn g8_a_forged_success_is_dropped_when_the_query_shows_all_others() {
    let file = submitted(1);
    let mut asked = answer(vec![success("real")]);
    asked.claims = vec![claim(1, at(50), vec![success("forged")])];
    let t = file.clone().ingest(asked, &policy(), at(60), J);
    assert_eq!(t.assets.len(), 1);
    assert_eq!(t.assets[0].id.result.as_str(), "real");
    assert_eq!(t.receipts_done, [1]);
}

#[test]
fn a_plain_claim_is_trusted_only_after_the_provider_stayed_silent() {
    let file = submitted(1);
    let asked = |answer: Option<Report>| Asked {
        answer,
        claims: vec![claim(1, at(50), vec![success("a")])],
        at_least: None,
    };
    let early = file.clone().ingest(asked(None), &policy(), at(60), J);
    assert!(early.assets.is_empty() && early.receipts_done.is_empty());
    assert!(
        early.task.due_at.unwrap() <= at(170),
        "asked again by the time the claim may be trusted"
    );
    let running = Report {
        items: vec![Item::Running],
        ..Report::default()
    };
    let denied = file.clone().ingest(asked(Some(running)), &policy(), at(200), J);
    assert!(denied.assets.is_empty(), "the query says it is still running");
    let late = file.clone().ingest(asked(None), &policy(), at(170), J);
    assert_eq!((late.assets.len(), late.assets[0].confirmed), (1, false));
    let agreed = apply(file, late).ingest(answer(vec![success("a")]), &policy(), at(180), J);
    assert!(agreed.assets[0].confirmed);
}

#[test]
fn a_claim_with_two_links_for_one_result_is_never_plain() {
    let file = submitted(1);
    let mut other = success("a");
    if let Item::Success(s) = &mut other {
        s.source = SourceUrl("https://vm.runware.ai/other.mp4".to_owned());
    }
    let claims = vec![claim(1, at(1), vec![success("a")]), claim(2, at(2), vec![other])];
    let t = file.ingest(
        Asked {
            answer: None,
            claims,
            at_least: None,
        },
        &policy(),
        at(500),
        J,
    );
    assert!(t.assets.is_empty());
}

#[test]
fn the_deadline_ends_a_silent_task_and_spares_known_results() {
    let day = 24 * 3600;
    let t = submitted(1).ingest(answer(vec![]), &policy(), at(day), J);
    assert_eq!(
        t.task.state.verdict().unwrap().reason,
        Some(TaskReason::NoOutcome)
    );
    assert_eq!(t.task.state.status(), TaskStatus::TimedOut);
    let unanswered = Asked {
        answer: None,
        claims: vec![],
        at_least: None,
    };
    let t = submitted(1).ingest(unanswered, &policy(), at(day), J);
    assert_eq!(
        t.task.state.status(),
        TaskStatus::Submitted,
        "not before a query was answered"
    );

    let file = submitted(2);
    let t = file
        .clone()
        .ingest(answer(vec![success("a"), Item::Running]), &policy(), at(60), J);
    let file = apply(file, t);
    let t = file
        .clone()
        .ingest(answer(vec![success("a"), Item::Running]), &policy(), at(day), J);
    let file = apply(file, t);
    assert_eq!(
        status(&file),
        TaskStatus::Archiving,
        "a known result keeps its own clock"
    );
    let (file, _) = archive(file, "a", at(day + 9));
    assert_eq!(status(&file), TaskStatus::Partial);
    assert_eq!(
        file.task.state.verdict().unwrap().reason,
        Some(TaskReason::NoOutcome)
    );
}

#[test]
fn i7_money_beats_verdict_and_completed_never_changes() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![failure("timeoutProvider")]), &policy(), at(60), J);
    let file = apply(file, t);
    assert_eq!(status(&file), TaskStatus::Failed);
    let t = file.clone().ingest(
        answer(vec![failure("timeoutProvider"), success("late")]),
        &policy(),
        at(90),
        J,
    );
    let kinds: Vec<_> = t.events.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EventKind::TaskRecovered, EventKind::AssetDiscovered]);
    let (file, kinds) = archive(apply(file, t), "late", at(91));
    assert_eq!(
        (file.task.round, kinds.last()),
        (2, Some(&EventKind::TaskPartial))
    );
}

#[test]
fn an_item_more_than_asked_for_is_archived_too() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a"), success("b")]), &policy(), at(60), J);
    let (file, _) = archive(apply(file, t), "a", at(61));
    assert_eq!(status(&file), TaskStatus::Archiving);
    let (file, _) = archive(file, "b", at(62));
    assert_eq!(status(&file), TaskStatus::Completed);
}

#[test]
fn a_sure_no_restarts_the_clock_of_doubt_and_an_unclear_one_does_not() {
    let file = TaskFile {
        task: task(1),
        assets: vec![],
    };
    assert_eq!(file.doubt(&policy(), at(0)), Doubt::None);
    let t = file.clone().submission_begins(at(0));
    let begun = apply(file, t);
    let sure = begun
        .clone()
        .not_accepted("http_429", true, None, &policy(), at(1), J);
    assert_eq!(sure.task.first_attempt_at, None);
    let unclear = apply(
        begun.clone(),
        begun.not_accepted("timeout", false, None, &policy(), at(1), J),
    );
    assert_eq!(unclear.doubt(&policy(), at(599)), Doubt::Ask);
    assert_eq!(unclear.doubt(&policy(), at(600)), Doubt::WindowClosed);
}

#[test]
fn a_row_at_the_provider_confirms_a_submission_that_was_in_doubt() {
    let file = TaskFile {
        task: task(1),
        assets: vec![],
    };
    let t = file
        .clone()
        .submitted(Submission::Unconfirmed, &policy(), at(0), J);
    let file = apply(file, t);
    let nothing = file.clone().ingest(answer(vec![]), &policy(), at(60), J);
    assert_eq!(nothing.task.submission, Submission::Unconfirmed);
    let row = file.ingest(answer(vec![Item::Running]), &policy(), at(60), J);
    assert_eq!(row.task.submission, Submission::Confirmed);
}

#[test]
fn a_task_never_sent_is_rejected_after_max_hold_and_one_in_doubt_is_not() {
    let week = 7 * 24 * 3600;
    let file = TaskFile {
        task: task(1),
        assets: vec![],
    };
    let t = apply(file.clone(), file.clone().submission_begins(at(week)));
    let sure = t
        .clone()
        .not_accepted("http_429", true, None, &policy(), at(week), J);
    assert_eq!(
        sure.task.state.verdict().unwrap().reason,
        Some(TaskReason::NotSubmitted)
    );
    let unclear = t.not_accepted("timeout", false, None, &policy(), at(week), J);
    assert_eq!(unclear.task.state.status(), TaskStatus::Submitting);
}

#[test]
fn f12_a_dead_link_gets_its_tries_its_time_and_fresh_links() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    let mut file = apply(file, t);
    let result = ResultId::given("a").unwrap();
    let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 404 });
    // A clock far beyond archive_by does not expire it before five tries over twenty minutes (I18).
    let mut now = at(100 * 24 * 3600);
    let mut tries = 0;
    while status(&file) == TaskStatus::Archiving {
        let t = file.clone().copied(&result, dead.clone(), &policy(), now, J);
        file = apply(file, t);
        tries += 1;
        assert_eq!(
            file.assets[0].trouble.wants_fresh,
            !file.assets[0].state.is_terminal(),
            "a fresh link before each further try"
        );
        let t = file.clone().ingest(answer(vec![success("a")]), &policy(), now, J);
        file = apply(file, t);
        now = file.assets[0].due_at.unwrap_or(now);
        assert!(tries < 20);
    }
    assert_eq!(tries, 6);
    assert_eq!(file.assets[0].state, AssetState::Expired(AssetReason::SourceGone));
    assert_eq!(
        file.task.state.verdict().unwrap().reason,
        Some(TaskReason::NoAssetArchived)
    );
}

#[test]
fn a_file_nobody_understands_is_kept_after_one_refresh() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    let mut file = apply(file, t);
    let result = ResultId::given("a").unwrap();
    let odd = CopyOutcome::NotStored(NotStored::NotUnderstood {
        what: "unknown_container",
    });
    for _ in 0..4 {
        assert!(!file.assets[0].keeps_unverified());
        let t = file.clone().copied(&result, odd.clone(), &policy(), at(70), J);
        file = apply(file, t);
        assert!(
            file.assets[0].trouble.refreshed || file.task.due_at == Some(at(70)),
            "a fresh link is asked for"
        );
        let t = file
            .clone()
            .ingest(answer(vec![success("a")]), &policy(), at(80), J);
        file = apply(file, t);
    }
    assert!(file.assets[0].keeps_unverified());
    let t = file.clone().copied(
        &result,
        CopyOutcome::KeptUnverified(stored("x")),
        &policy(),
        at(90),
        J,
    );
    let file = apply(file, t);
    assert_eq!(file.assets[0].state.reason(), Some(AssetReason::BadContent));
    assert!(
        file.assets[0].state.stored().is_some(),
        "the asset names the kept object"
    );
}
