//! Time running out is told once per round.

use super::*;

fn discovered() -> TaskFile {
    let file = submitted(1);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), at(4 * 3600), J);
    apply(file, t)
}

fn result() -> ResultId {
    ResultId::given("a").unwrap()
}

#[test]
fn g6_at_risk_is_told_once_after_the_share_of_the_time_between_discovery_and_the_links_end() {
    let file = discovered(); // known at 4 h, gone at 24 h: half of it has passed at 14 h
    let due = at(14 * 3600);
    assert_eq!(file.assets[0].at_risk_at, Some(due));
    assert_eq!(
        file.clone()
            .tell_at_risk(&result(), due.minus(Duration::from_millis(1))),
        None
    );
    let t = file.clone().tell_at_risk(&result(), due).unwrap();
    let told: Vec<_> = t.events.iter().map(|e| (e.kind, e.data.archive_by)).collect();
    assert_eq!(told, [(EventKind::AssetAtRisk, Some(at(24 * 3600)))]);
    let file = apply(file, t);
    assert_eq!(file.clone().tell_at_risk(&result(), at(23 * 3600)), None, "once");
    assert_eq!(
        file.assets[0].state,
        AssetState::Pending,
        "and nothing else changes"
    );
}

#[test]
fn what_is_archived_in_time_is_never_at_risk() {
    let (file, _) = archive(discovered(), "a", at(5 * 3600));
    assert_eq!(file.tell_at_risk(&result(), at(23 * 3600)), None);
}

#[test]
fn a_result_found_with_no_time_left_is_at_risk_at_once() {
    let file = submitted(1);
    let late = at(25 * 3600);
    let t = file
        .clone()
        .ingest(answer(vec![success("a")]), &policy(), late, J);
    assert!(apply(file, t).tell_at_risk(&result(), late).is_some());
}
