//! Properties over any sequence of reports, copies and time.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Answer(Vec<u8>),
    NoAnswer,
    Claim(Vec<u8>),
    Copy(u8, u8),
    AtRisk(u8),
    Retry,
    Wait(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let items = || proptest::collection::vec(0u8..7, 0..5);
    let step = prop_oneof![
        items().prop_map(Step::Answer),
        Just(Step::NoAnswer),
        items().prop_map(Step::Claim),
        (0u8..4, 0u8..8).prop_map(|(r, o)| Step::Copy(r, o)),
        (0u8..4).prop_map(Step::AtRisk),
        Just(Step::Retry),
        (1u32..200_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

fn item(n: u8) -> Item {
    match n {
        0..4 => success(["a", "b", "c", "d"][n as usize]),
        4 => failure("timeoutProvider"),
        5 => failure("promptBlocked"),
        _ => Item::Running,
    }
}

fn outcome(n: u8) -> CopyOutcome {
    CopyOutcome::NotStored(match n {
        0 | 1 => return CopyOutcome::Archived(stored("k")),
        2 => NotStored::SourceDead { status: 404 },
        3 => NotStored::SourceUnavailable {
            code: "x".to_owned(),
            retry_after: None,
        },
        4 => NotStored::NotAFile { what: "markup" },
        5 => NotStored::NotUnderstood { what: "incomplete" },
        6 => NotStored::StoreUnavailable {
            code: "slow_down".to_owned(),
        },
        _ => NotStored::TooLarge { size_bytes: 1 },
    })
}

/// On whose word a step was made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Query,
    Operator,
    Us,
}

/// What must hold after every step, whatever came before.
fn check(file: &TaskFile, before: &TaskFile, by: By, told: &mut BTreeMap<String, u32>, t: &Transition) {
    let task = &file.task;
    // I4, I13
    let archived = file.archived();
    if status(file) == TaskStatus::Completed {
        assert!(archived >= file.task.number_results && archived > 0);
    }
    if task.state.is_terminal() {
        let completed = status(file) == TaskStatus::Completed; // may still copy a result beyond what was asked for
        assert!(completed || file.assets.iter().all(|a| a.state.is_terminal()));
        assert!(task.settled_at.is_some());
    } else {
        assert!(task.due_at.is_some(), "I11");
    }
    for asset in &file.assets {
        let terminal = asset.state.is_terminal();
        assert!(terminal || asset.due_at.is_some(), "I11");
        assert!(
            !terminal || asset.at_risk_at.is_none(),
            "what ended is not at risk"
        );
    }
    // I7: a verdict changes only when a query was answered or an operator asked; completed never.
    if before.task.state.is_terminal() && before.task.state != task.state {
        assert!(by != By::Us && status(before) != TaskStatus::Completed);
        assert!(t.events.iter().any(|e| e.kind == EventKind::TaskRecovered));
    }
    let stays = |a: &&Asset| by != By::Operator || matches!(a.state, AssetState::Archived(_));
    for known in before
        .assets
        .iter()
        .filter(|a| a.state.is_terminal())
        .filter(stays)
    {
        assert_eq!(
            Some(&known.state),
            file.asset(&known.id.result).map(|a| &a.state),
            "I7"
        );
    }
    // I9 and one event per (type, task, result, round)
    let sequences: Vec<u32> = t.events.iter().map(|e| e.task_sequence).collect();
    let first = before.task.event_count + 1;
    assert_eq!(sequences, (first..=task.event_count).collect::<Vec<_>>());
    for event in &t.events {
        let times = told.entry(event.id.as_str().to_owned()).or_default();
        *times += 1;
        assert_eq!(*times, 1, "{:?} told twice", event.kind);
    }
}

proptest! {
    #[test]
    fn i4_i7_i9_i11_i13_hold_whatever_happens(n in 1u32..4, steps in steps()) {
        let mut file = submitted(n);
        let mut now = at(1);
        let mut told = BTreeMap::new();
        for step in steps {
            let asked = |answer, claims| Asked { answer, claims, at_least: None };
            let report = |items: &[u8]| Report { items: items.iter().map(|n| item(*n)).collect(), ..Report::default() };
            let (t, by) = match &step {
                Step::Wait(s) => { now = now.plus(Duration::from_secs(u64::from(*s))); continue }
                Step::Answer(items) => (file.clone().ingest(asked(Some(report(items)), vec![]), &policy(), now, J), By::Query),
                Step::NoAnswer => (file.clone().ingest(asked(None, vec![]), &policy(), now, J), By::Us),
                Step::Claim(items) => {
                    let c = Claim { receipt: 1, at: at(0), report: report(items), hosts_allowed: true };
                    (file.clone().ingest(asked(None, vec![c]), &policy(), now, J), By::Us)
                }
                Step::Copy(r, o) => {
                    let result = ResultId::given(["a", "b", "c", "d"][*r as usize]).unwrap();
                    if file.asset(&result).is_none_or(|a| a.state.is_terminal()) { continue }
                    (file.clone().copied(&result, outcome(*o), &policy(), now, J), By::Us)
                }
                Step::AtRisk(r) => {
                    let result = ResultId::given(["a", "b", "c", "d"][*r as usize]).unwrap();
                    let Some(t) = file.clone().tell_at_risk(&result, now) else { continue };
                    (t, By::Us)
                }
                Step::Retry => match file.clone().retry(&policy(), now) {
                    Some(retried) => (retried.transition, By::Operator),
                    None => continue,
                },
            };
            let before = file.clone();
            file = apply(file, t.clone());
            check(&file, &before, by, &mut told, &t);
        }
    }

    /// I16: once faults stop, every task ends.
    #[test]
    fn i16_a_healed_world_settles_every_task(n in 1u32..4, steps in steps()) {
        let mut file = submitted(n);
        let mut now = at(1);
        for step in steps {
            let t = match step {
                Step::Answer(items) => {
                    let report = Report { items: items.iter().map(|n| item(*n)).collect(), ..Report::default() };
                    file.clone().ingest(Asked { answer: Some(report), claims: vec![], at_least: None }, &policy(), now, J)
                }
                Step::Wait(s) => { now = now.plus(Duration::from_secs(u64::from(s % 100))); continue }
                _ => continue,
            };
            file = apply(file, t);
        }
        let all: Vec<Item> = (0..n.max(file.task.items_named)).map(|k| match k { 0..4 => item(k as u8), _ => failure("x") }).collect();
        for _ in 0..50 {
            if file.task.state.is_terminal() { break }
            now = now.plus(Duration::from_secs(3600));
            let open = file.assets.iter().find(|a| !a.state.is_terminal()).map(|a| a.id.result.clone());
            let t = match open {
                Some(result) => file.clone().copied(&result, CopyOutcome::Archived(stored("k")), &policy(), now, J),
                None => file.clone().ingest(answer(all.clone()), &policy(), now, J),
            };
            file = apply(file, t);
        }
        prop_assert!(file.task.state.is_terminal(), "{file:?}");
    }
}
