//! The audit must notice: an audit that finds everything in order proves nothing by itself.

use super::*;
use crate::domain::task::{TaskReason, Verdict};

fn result(state: ResultState, code: Option<&str>) -> GenerationResult {
    GenerationResult {
        index: 0,
        id: uuid::Uuid::from_u128(7),
        state,
        code: code.map(str::to_owned),
        url: None,
        size: None,
        sha256: None,
        content_type: None,
        link_dies_at: None,
        cost: 0.0,
        callbacks_sent: 0,
        callbacks_answered: 0,
        downloads: 0,
    }
}

fn generation(results: Vec<GenerationResult>) -> Generation {
    Generation {
        task_uuid: uuid::Uuid::from_u128(1),
        model: "m".to_owned(),
        accepted_at: 0,
        accepted: 1,
        conflicts: 0,
        queries: 0,
        results,
    }
}

fn failures(codes: &[&str]) -> Vec<Failure> {
    let failure = |code: &&str| Failure {
        code: (*code).to_owned(),
        message: String::new(),
        content_policy: false,
    };
    codes.iter().map(failure).collect()
}

fn verdict(code: Option<&str>) -> Verdict {
    Verdict {
        reason: code.map(|_| TaskReason::ProviderError),
        provider_code: code.map(str::to_owned),
    }
}

#[test]
fn only_the_true_verdict_with_the_true_code_passes() {
    let (good, bad) = (
        || result(ResultState::Succeeded, None),
        |code| result(ResultState::Failed, Some(code)),
    );
    let partial = || TaskState::Partial(verdict(None));
    let failed = |code| TaskState::Failed(verdict(Some(code)));
    let cases = [
        (vec![good()], TaskState::Completed, &[][..], true),
        (vec![good()], TaskState::Completed, &["forged"][..], false),
        (vec![good()], failed("x"), &["x"][..], false),
        (vec![good()], TaskState::Archiving, &[][..], false),
        (vec![good(), bad("x")], partial(), &["x"][..], true),
        (vec![good(), bad("x")], partial(), &["y"][..], false),
        (vec![good(), bad("x")], TaskState::Completed, &[][..], false),
        (vec![good(), good()], partial(), &["x"][..], false),
        (vec![bad("x"), bad("y")], failed("x"), &["x"][..], true),
        (vec![bad("x")], failed("y"), &["y"][..], false),
        (vec![bad("x")], failed("x"), &[][..], false),
        (
            vec![bad("x")],
            TaskState::TimedOut(verdict(Some("x"))),
            &["x"][..],
            false,
        ),
    ];
    for (n, (results, state, codes, is_true)) in cases.into_iter().enumerate() {
        let fault = verdict_fault(&generation(results), &state, &failures(codes));
        assert_eq!(fault.is_none(), is_true, "case {n}: {fault:?}");
    }
}

#[tokio::test]
async fn a_paid_result_that_is_nowhere_and_a_second_generation_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut twice = generation(vec![result(ResultState::Succeeded, None)]);
    twice.accepted = 2;
    let mut book = Book::default();
    book.enter(&twice, None, dir.path()).await;
    assert_eq!(
        (book.generations, book.paid, book.archived, book.lost),
        (2, 1, 0, 2)
    );
}
