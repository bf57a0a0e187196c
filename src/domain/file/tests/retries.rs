//! An operator's retry: a new round, a fresh link, never a new purchase; and what may be retried at all.

use super::*;

fn expired() -> TaskFile {
    let file = submitted(2);
    let t = file
        .clone()
        .ingest(answer(vec![success("a"), success("b")]), &policy(), at(60), J);
    let (mut file, _) = archive(apply(file, t), "b", at(61));
    let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 410 });
    let mut now = at(30 * 3600);
    while status(&file) == TaskStatus::Archiving {
        let t = file.clone().copied(&result(), dead.clone(), &policy(), now, J);
        file = apply(file, t);
        let t = file.clone().ingest(answer(vec![]), &policy(), now, J);
        file = apply(file, t);
        now = file.assets[0].due_at.unwrap_or(now);
    }
    assert_eq!(status(&file), TaskStatus::Partial);
    file
}

fn result() -> ResultId {
    ResultId::given("a").unwrap()
}

#[test]
fn i7_a_retry_reopens_the_task_and_gives_the_expired_result_a_new_round() {
    let (file, now) = (expired(), at(40 * 3600));
    let retried = file.clone().retry(&policy(), now).unwrap();
    assert_eq!(retried.results, [result()]);
    let t = retried.transition;
    let kinds: Vec<_> = t.events.iter().map(|e| (e.kind, e.data.round)).collect();
    assert_eq!(kinds, [(EventKind::TaskRecovered, Some(2))]);
    assert_eq!(t.assets.len(), 1, "what is archived is left alone (I7)");
    let file = apply(file, t);
    let asset = &file.assets[0];
    assert_eq!(
        (status(&file), file.task.due_at),
        (TaskStatus::Archiving, Some(now))
    );
    assert_eq!(
        (&asset.state, asset.round, asset.attempts),
        (&AssetState::Pending, 2, 0)
    );
    assert!(
        asset.trouble.wants_fresh && asset.trouble.dead_tries == 0,
        "a clean start"
    );

    // The fresh link is used, and the task settles anew.
    let fresh = Item::Success(Success {
        result: result(),
        source: SourceUrl("https://vm.runware.ai/again.mp4".to_owned()),
        cost: None,
        nsfw: None,
    });
    let t = file
        .clone()
        .ingest(answer(vec![fresh, success("b")]), &policy(), now, J);
    let file = apply(file, t);
    assert!(file.assets[0].source.0.ends_with("again.mp4"));
    let (file, kinds) = archive(file, "a", now);
    assert_eq!(kinds, [EventKind::AssetArchived, EventKind::TaskCompleted]);
    assert_eq!(file.task.settled_at, Some(now));
    assert_eq!(file.retry(&policy(), now), None, "completed never changes");
}

#[test]
fn a_retry_whose_link_stays_dead_ends_again_with_the_same_patience() {
    let (mut file, start) = (expired(), at(40 * 3600));
    let t = file.clone().retry(&policy(), start).unwrap().transition;
    file = apply(file, t);
    let dead = CopyOutcome::NotStored(NotStored::SourceDead { status: 404 });
    let (mut now, mut tries) = (start, 0);
    while status(&file) == TaskStatus::Archiving {
        let t = file.clone().copied(&result(), dead.clone(), &policy(), now, J);
        file = apply(file, t);
        let t = file.clone().ingest(answer(vec![]), &policy(), now, J);
        file = apply(file, t);
        now = file.assets[0].due_at.unwrap_or(now);
        tries += 1;
    }
    assert!(
        tries >= 5 && now.since(start) >= Duration::from_secs(20 * 60),
        "{tries}"
    );
    assert_eq!((file.task.round, file.assets[0].round), (2, 2));
    assert_eq!(status(&file), TaskStatus::Partial);
}

#[test]
fn a_task_that_ended_without_results_is_asked_about_and_not_reopened_by_the_wish_alone() {
    let file = submitted(1);
    let t = file.clone().ingest(answer(vec![]), &policy(), at(24 * 3600), J);
    let file = apply(file, t);
    assert_eq!(status(&file), TaskStatus::TimedOut);
    let now = at(30 * 3600);
    let retried = file.clone().retry(&policy(), now).unwrap();
    assert!(retried.results.is_empty() && retried.transition.events.is_empty());
    let file = apply(file, retried.transition);
    assert_eq!(
        (status(&file), file.task.due_at),
        (TaskStatus::TimedOut, Some(now))
    );

    // The provider is away: the wish outlives the question that was not answered.
    let away = Asked {
        answer: None,
        claims: vec![],
        at_least: None,
    };
    let t = file.clone().ingest(away, &policy(), now, J);
    let file = apply(file, t);
    assert!(file.task.due_at.is_some());
    // It knows nothing: the verdict stands, and nobody asks again.
    let t = file.clone().ingest(answer(vec![]), &policy(), now, J);
    assert_eq!((t.task.due_at, t.events.len()), (None, 0));
    // It has it after all: money beats verdict.
    let t = file.clone().ingest(answer(vec![success("a")]), &policy(), now, J);
    let kinds: Vec<_> = t.events.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EventKind::TaskRecovered, EventKind::AssetDiscovered]);
    let (file, _) = archive(apply(file, t), "a", now);
    assert_eq!(status(&file), TaskStatus::Completed);
}

#[test]
fn there_is_nothing_to_retry_while_all_goes_well_or_nothing_was_paid() {
    let now = at(70);
    assert_eq!(submitted(1).retry(&policy(), now), None);
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    assert_eq!(apply(file, t).retry(&policy(), now), None);
    let file = TaskFile {
        task: task(1),
        assets: vec![],
    };
    let t = file.clone().submission_begins(at(0));
    let begun = apply(file, t);
    let t = begun.clone().refused("invalidModel", "no", false, at(1));
    assert_eq!(
        apply(begun, t).retry(&policy(), now),
        None,
        "rejected: submit it anew"
    );
}
