//! Callbacks that no query agrees with: none is lost with a wake-up, none keeps a task open for ever.

use super::*;

fn silence(claims: Vec<Claim>) -> Asked {
    Asked {
        claims,
        ..answer(vec![])
    }
}

fn no_answer(claims: Vec<Claim>) -> Asked {
    Asked {
        answer: None,
        claims,
        at_least: None,
    }
}

/// A link on a host that results do not come from: never plain.
fn odd(receipt: i64, at: Timestamp) -> Claim {
    Claim {
        hosts_allowed: false,
        ..claim(receipt, at, vec![success("odd")])
    }
}

fn timed_out() -> TaskFile {
    let file = submitted(1);
    let t = file.clone().ingest(answer(vec![]), &policy(), at(24 * 3600), J);
    let file = apply(file, t);
    assert_eq!((status(&file), file.task.due_at), (TaskStatus::TimedOut, None));
    file
}

#[test]
fn g3_a_claim_nobody_may_act_on_does_not_outlive_the_deadline() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(silence(vec![odd(1, at(50))]), &policy(), at(60), J);
    let file = apply(file, t);
    let t = file
        .clone()
        .ingest(silence(vec![odd(1, at(50))]), &policy(), at(3600), J);
    assert!(
        t.task.due_at.unwrap() >= at(3600 + 150),
        "the provider's sides agree within trust_after or not at all: asked on the usual schedule"
    );
    let end = at(24 * 3600);
    let t = apply(file, t).ingest(silence(vec![odd(1, at(50))]), &policy(), end, J);
    assert_eq!(t.task.state.status(), TaskStatus::TimedOut);
    assert_eq!((t.receipts_done, t.assets.len()), (vec![1], 0));
}

#[test]
fn a_plain_claim_is_acted_on_at_the_deadline_though_the_query_lists_it_as_running() {
    let file = submitted(1);
    let asked = Asked {
        claims: vec![claim(1, at(50), vec![success("a")])],
        ..answer(vec![Item::Running])
    };
    let t = file.ingest(asked, &policy(), at(24 * 3600), J);
    assert_eq!(t.task.state.status(), TaskStatus::Archiving);
    assert_eq!((t.assets.len(), t.assets[0].confirmed), (1, false));
}

#[test]
fn a_late_callback_is_not_lost_with_the_query_it_asked_for() {
    let file = timed_out();
    let late = at(30 * 3600);
    let claims = || vec![claim(1, late, vec![success("late")])];
    let t = file
        .clone()
        .ingest(no_answer(claims()), &policy(), late.plus(HOUR), J);
    assert!(t.receipts_done.is_empty());
    assert!(t.task.due_at.is_some(), "the query was not answered: asked again");

    let soon = late.plus(Duration::from_secs(1));
    let t = file.clone().ingest(silence(claims()), &policy(), soon, J);
    assert!(t.receipts_done.is_empty());
    let due = t.task.due_at.expect("the query may lag behind the callback");
    assert!(due <= late.plus(policy().trust_after));

    let end = late.plus(policy().trust_after);
    let t = apply(file, t).ingest(silence(claims()), &policy(), end, J);
    assert_eq!((t.receipts_done, t.task.due_at), (vec![1], None));
    assert_eq!(t.task.state.status(), TaskStatus::TimedOut);
}

#[test]
fn t7_a_task_completed_on_a_callbacks_word_is_still_asked_about() {
    let file = submitted(1);
    let asked = no_answer(vec![claim(1, at(50), vec![success("forged")])]);
    let t = file.clone().ingest(asked, &policy(), at(200), J);
    let (file, _) = archive(apply(file, t), "forged", at(201));
    assert_eq!(status(&file), TaskStatus::Completed);
    assert!(file.task.due_at.is_some(), "nothing has confirmed it yet");
    let t = file
        .clone()
        .ingest(answer(vec![success("real")]), &policy(), at(400), J);
    assert_eq!(t.assets[0].id.result.as_str(), "real", "paid for, so archived");
    let (file, _) = archive(apply(file, t), "real", at(401));
    let t = file.ingest(answer(vec![success("real")]), &policy(), at(24 * 3600), J);
    assert_eq!(t.task.due_at, None, "to the deadline, not for ever");
}

#[test]
fn a_rejected_task_that_was_paid_for_after_all_has_an_end_too() {
    let file = TaskFile {
        task: task(2),
        assets: vec![],
    };
    let t = file.clone().submission_begins(at(0));
    let begun = apply(file, t);
    let t = begun.clone().refused("invalidModel", "no", false, at(1));
    let rejected = apply(begun, t);
    let t = rejected
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    let (file, _) = archive(apply(rejected, t), "a", at(61));
    assert_eq!(status(&file), TaskStatus::Archiving);
    let t = file.ingest(answer(vec![success("a")]), &policy(), at(60 + 24 * 3600), J);
    assert_eq!(t.task.state.status(), TaskStatus::Partial);
}

#[test]
fn a_query_that_shows_the_task_confirms_its_submission() {
    let file = TaskFile {
        task: task(1),
        assets: vec![],
    };
    let t = file.clone().submission_begins(at(0));
    let file = apply(file, t);
    let t = file
        .clone()
        .submitted(Submission::Unconfirmed, &policy(), at(700), J);
    let file = apply(file, t);
    let t = file.clone().ingest(answer(vec![]), &policy(), at(701), J);
    assert_eq!(t.task.submission, Submission::Unconfirmed);
    let t = file.ingest(answer(vec![Item::Running]), &policy(), at(701), J);
    assert_eq!(t.task.submission, Submission::Confirmed);
}

#[test]
fn i7_a_late_result_of_a_failed_task_is_asked_about_until_the_query_may_have_caught_up() {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![failure("timeoutProvider")]), &policy(), at(60), J);
    let file = apply(file, t);
    assert_eq!(status(&file), TaskStatus::Failed);
    let late = at(100);
    let asked = |items| Asked {
        claims: vec![claim(1, late, vec![success("late")])],
        ..answer(items)
    };
    let soon = late.plus(Duration::from_secs(1));
    let t = file
        .clone()
        .ingest(asked(vec![failure("timeoutProvider")]), &policy(), soon, J);
    assert!(
        t.receipts_done.is_empty() && t.task.due_at.is_some(),
        "it may lag"
    );
    let file = apply(file, t);
    let end = late.plus(policy().trust_after);
    let t = file
        .clone()
        .ingest(asked(vec![failure("timeoutProvider")]), &policy(), end, J);
    assert_eq!(
        (t.receipts_done, t.task.due_at),
        (vec![1], None),
        "but not for ever"
    );
    let t = file.ingest(asked(vec![success("late")]), &policy(), soon, J);
    assert_eq!(t.events[0].kind, EventKind::TaskRecovered);
}

/// A task of `results`, its only callback forged and trusted after the provider stayed silent for too long.
fn deceived(results: u32) -> TaskFile {
    let file = submitted(results);
    let forged = || vec![claim(1, at(50), vec![success("forged")])];
    let t = file.clone().ingest(no_answer(forged()), &policy(), at(60), J);
    let file = apply(file, t);
    let t = file.clone().ingest(no_answer(forged()), &policy(), at(3600), J);
    let file = apply(file, t);
    assert_eq!((file.assets.len(), file.assets[0].confirmed), (1, false));
    file
}

/// The forged link's tries until it ends; at most a few.
fn until_disproved(mut file: TaskFile) -> TaskFile {
    let id = file.assets[0].id.result.clone();
    for n in 0..4 {
        if file.assets[0].state.is_terminal() {
            return file;
        }
        let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 404 });
        let t = file.clone().copied(&id, dead, &policy(), at(3700 + n * 20), J);
        file = apply(file, t);
    }
    panic!("still waited for: {:?}", file.assets[0]);
}

#[test]
fn g8_a_trusted_forgery_neither_holds_a_task_open_nor_spoils_its_verdict() {
    // The one real result was archived: completed, not partial.
    let file = deceived(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("real")]), &policy(), at(3610), J);
    let (file, _) = archive(apply(file, t), "real", at(3620));
    assert_eq!(
        status(&file),
        TaskStatus::Archiving,
        "a dead link is not given up at once"
    );
    let file = until_disproved(file);
    assert_eq!(status(&file), TaskStatus::Completed);

    // The one real result failed: the provider's word, not ours.
    let file = deceived(1);
    let t = file
        .clone()
        .ingest(answer(vec![failure("timeoutProvider")]), &policy(), at(3610), J);
    let file = until_disproved(apply(file, t));
    let verdict = file.task.state.verdict().cloned().unwrap();
    assert_eq!(status(&file), TaskStatus::Failed);
    assert_eq!(verdict.reason, Some(TaskReason::ProviderError));
    assert_eq!(verdict.provider_code.as_deref(), Some("timeoutProvider"));
}

#[test]
fn g6_a_claim_that_may_still_be_true_keeps_its_patience() {
    let file = deceived(2);
    let t = file.clone().ingest(
        answer(vec![success("real"), Item::Running]),
        &policy(),
        at(3610),
        J,
    );
    let mut file = apply(file, t);
    let id = file.assets[0].id.result.clone();
    for n in 0..10 {
        let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 404 });
        let t = file.clone().copied(&id, dead, &policy(), at(3700 + n * 20), J);
        file = apply(file, t);
    }
    assert_eq!(file.assets[0].state, AssetState::Pending);
}
