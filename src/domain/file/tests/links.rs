//! Links and contents that fail: how much must be tried before a paid result is given up.

use super::*;

fn discovered() -> TaskFile {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(60), J);
    apply(file, t)
}

fn fails(file: TaskFile, why: NotStored, now: Timestamp) -> TaskFile {
    let result = ResultId::given("a").unwrap();
    let t = file
        .clone()
        .copied(&result, CopyOutcome::NotStored(why), &policy(), now, J);
    apply(file, t)
}

fn dead() -> NotStored {
    NotStored::SourceDead { status: 404 }
}

#[test]
fn g6_no_link_expires_before_the_question_for_a_fresh_one_was_answered() {
    let mut file = discovered();
    let mut now = at(100 * 24 * 3600);
    for _ in 0..10 {
        file = fails(file, dead(), now);
        assert!(file.assets[0].trouble.wants_fresh, "asked until it is answered");
        now = file.assets[0]
            .due_at
            .expect("not expired: nobody could ask for a fresh link");
    }
    // An answer without the result is an answer, too.
    let t = file.clone().ingest(answer(vec![]), &policy(), now, J);
    file = apply(file, t);
    assert!(!file.assets[0].trouble.wants_fresh);
    file = fails(file, dead(), now);
    assert_eq!(file.assets[0].state, AssetState::Expired(AssetReason::SourceGone));
}

#[test]
fn i12_a_dead_link_ends_after_a_day_of_tries_though_the_provider_never_answers() {
    let mut file = discovered();
    let mut now = at(100 * 24 * 3600);
    let mut tries = 0;
    while file.assets[0].state == AssetState::Pending {
        file = fails(file, dead(), now);
        now = file.assets[0].due_at.unwrap_or(now);
        tries += 1;
        assert!(tries < 40);
    }
    assert!(now >= at(101 * 24 * 3600));
    assert_eq!(file.assets[0].state, AssetState::Expired(AssetReason::SourceGone));
}
