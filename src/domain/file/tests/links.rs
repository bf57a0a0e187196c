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

fn refused() -> NotStored {
    NotStored::StoreRefused {
        code: "http_400".to_owned(),
    }
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

#[test]
fn one_refusal_after_an_outage_is_not_the_stores_last_word() {
    let mut file = discovered();
    let away = NotStored::StoreUnavailable {
        code: "http_503".to_owned(),
    };
    for n in 0..9 {
        file = fails(file, away.clone(), at(100 + n));
    }
    for n in 0..4 {
        file = fails(file, refused(), at(200 + n));
    }
    assert_eq!(file.assets[0].state, AssetState::Pending);
    file = fails(file, away, at(300));
    file = fails(file, refused(), at(301));
    assert_eq!(
        file.assets[0].state,
        AssetState::Pending,
        "five in a row, not in all"
    );
    for n in 0..4 {
        file = fails(file, refused(), at(400 + n));
    }
    assert_eq!(file.assets[0].state.reason(), Some(AssetReason::StoreRefused));
}

#[test]
fn i18_one_hiccup_of_a_source_after_a_long_outage_of_the_store_expires_nothing() {
    let mut file = discovered();
    let late = 100 * 24 * 3600;
    for n in 0..9 {
        let away = NotStored::StoreUnavailable {
            code: "http_503".to_owned(),
        };
        file = fails(file, away, at(late + n));
    }
    let hiccup = || NotStored::SourceUnavailable {
        code: "http_503".to_owned(),
        retry_after: None,
    };
    for n in 0..4 {
        file = fails(file, hiccup(), at(late + 100 + n));
        assert_eq!(file.assets[0].state, AssetState::Pending);
    }
    file = fails(file, hiccup(), at(late + 200));
    assert_eq!(file.assets[0].state, AssetState::Expired(AssetReason::SourceGone));
}

#[test]
fn f14_an_error_page_in_place_of_a_file_is_given_time_to_go_away() {
    let mut file = discovered();
    let mut now = at(61);
    let mut tries = 0;
    while file.assets[0].state == AssetState::Pending {
        file = fails(file, NotStored::NotAFile { what: "markup" }, now);
        now = file.assets[0].due_at.unwrap_or(now);
        tries += 1;
        assert!(tries < 20);
    }
    assert_eq!(file.assets[0].state.reason(), Some(AssetReason::BadContent));
    assert!(now >= at(61 + 120), "a page of a minute costs no paid file");
    assert_eq!(
        tries, 16,
        "and a file is not read for ever, though no fresh link was ever answered"
    );
}
