use super::*;
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{NO_CREDENTIALS, Outcome};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use std::time::Duration;

const NOON: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HALF: Jitter = Jitter(0.5);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn endpoint() -> Endpoint {
    let id = EndpointId::new([1; 16]);
    let url = "https://hooks.example.com/".to_owned();
    Endpoint::new(id, Tenant::default_tenant(), url, Secret(vec![1; 32]), NOON)
}

fn event(kind: EventKind, model: &str, labels: &[(&str, &str)]) -> Event {
    let pairs = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Event {
        sequence: 1,
        id: EventId::derive(&["a"]),
        kind,
        tenant: Tenant::default_tenant(),
        task: None,
        task_sequence: 1,
        at: NOON,
        data: EventData {
            model: Some(model.to_owned()),
            labels: pairs.collect(),
            ..EventData::default()
        },
    }
}

fn failed() -> Outcome {
    Outcome::Unreached { code: "timeout" }
}

#[test]
fn every_filter_must_hold() {
    let filtered = Endpoint {
        types: vec![EventKind::AssetArchived, EventKind::EndpointDisabled],
        labels: [
            ("team".to_owned(), "a".to_owned()),
            ("shot".to_owned(), "1".to_owned()),
        ]
        .into(),
        models: vec!["m1".to_owned(), "m2".to_owned()],
        ..endpoint()
    };
    let both = [("team", "a"), ("shot", "1"), ("more", "x")];
    let archived = EventKind::AssetArchived;
    assert!(filtered.wants(&event(archived, "m2", &both)));
    assert!(!filtered.wants(&event(EventKind::AssetFailed, "m2", &both)));
    assert!(!filtered.wants(&event(archived, "m3", &both)));
    assert!(!filtered.wants(&event(archived, "m1", &both[..1])));
    assert!(!filtered.wants(&event(archived, "m1", &[("team", "b"), ("shot", "1")])));
    // Events about our own deliveries have no task, and never go to the endpoint they are about.
    let mut about = event(EventKind::EndpointDisabled, "none", &[]);
    assert!(filtered.wants(&about));
    about.data.endpoint = Some(filtered.id.0.clone());
    assert!(!filtered.wants(&about));
    assert!(endpoint().wants(&event(archived, "any", &[])));
}

#[test]
fn both_secrets_sign_during_the_overlap_and_one_after_it() {
    let mut rotated = endpoint();
    rotated.rotate(Secret(vec![2; 32]), DAY, NOON);
    let keys = |e: &Endpoint, at: Timestamp| e.secrets(at).map(|s| s.0[0]).collect::<Vec<_>>();
    assert_eq!(keys(&rotated, NOON), [2, 1]);
    assert_eq!(keys(&rotated, NOON.plus(DAY)), [2]);
    rotated.rotate(Secret(vec![3; 32]), Duration::ZERO, NOON);
    assert_eq!(keys(&rotated, NOON), [3]);
    assert_eq!(rotated.old_secret, None);
}

#[test]
fn a_change_touches_what_it_names() {
    let mut changed = endpoint();
    changed.health.failures = 7;
    assert!(!changed.change(Change::default(), NOON));
    assert_eq!(
        (changed.health.failures, changed.url.as_str()),
        (7, "https://hooks.example.com/")
    );
    let off = Change {
        disabled: Some(true),
        models: Some(vec!["m".to_owned()]),
        ..Change::default()
    };
    assert!(!changed.change(off.clone(), NOON));
    changed.change(off, NOON.plus(DAY));
    let disabled = changed.disabled.unwrap();
    assert_eq!(
        (disabled.at, disabled.reason),
        (NOON, DisabledReason::ByHand),
        "disabled once"
    );
    let on = Change {
        disabled: Some(false),
        ..Change::default()
    };
    assert!(changed.change(on, NOON));
    assert_eq!(
        (changed.disabled, changed.health, changed.models.len()),
        (None, Health::default(), 1)
    );
}

/// Tries as fast as they are allowed, each failing at once: when each was made.
fn failing_for(span: Duration) -> (Vec<Timestamp>, Health) {
    let (mut now, mut health, mut tries) = (NOON, Health::default(), vec![]);
    while now.since(NOON) < span {
        tries.push(now);
        now = now.plus(Duration::from_millis(5));
        health = health.after(&failed(), now, HALF);
        now = health.rests_until.map_or(now, |at| at.max(now));
    }
    (tries, health)
}

#[test]
fn f20_a_short_fault_costs_little_and_a_long_one_is_probed_once_a_minute() {
    let (first_minute, _) = failing_for(Duration::from_secs(60));
    assert!((200..600).contains(&first_minute.len()), "{}", first_minute.len());
    let (a_day, health) = failing_for(DAY);
    assert!((1_440..2_500).contains(&a_day.len()), "{}", a_day.len());
    assert!(health.down_since.is_some());
    let last = a_day.windows(2).last().unwrap();
    assert!(last[1].since(last[0]) <= SECOND * 61);
    assert_eq!(health.room(health.rests_until.unwrap()), 1, "one at a time");
    let later = NOON.plus(DAY * 2);
    let well = health.after(&Outcome::Delivered { status: 204 }, later, HALF);
    assert_eq!((well, well.room(later)), (Health::default(), MAX_AT_ONCE));
}

#[test]
fn slow_down_is_obeyed_at_once() {
    for status in [429, 502, 504] {
        let refused = Outcome::Refused {
            status,
            retry_after: None,
            excerpt: String::new(),
        };
        let health = Health::default().after(&refused, NOON, HALF);
        assert_eq!(health.room(NOON.plus(SECOND)), 1, "{status}");
        assert_eq!(health.down_since, None);
    }
    assert_eq!(
        Health::default().after(&failed(), NOON, HALF).room(NOON),
        MAX_AT_ONCE
    );
}

#[test]
fn i12_a_rest_it_asked_for_is_kept_though_it_takes_what_was_on_its_way() {
    let busy = |status| Outcome::Refused {
        status,
        retry_after: Some(DAY),
        excerpt: String::new(),
    };
    let hour = SECOND * 3600;
    let asked = Health::default().after(&busy(503), NOON, HALF);
    assert_eq!(asked.rests_until, Some(NOON.plus(hour)), "not the whole day");
    let taken = asked.after(&Outcome::Delivered { status: 200 }, NOON.plus(SECOND), HALF);
    let worse = taken.after(&failed(), NOON.plus(SECOND * 2), HALF);
    for health in [asked, taken, worse] {
        assert_eq!(health.room(NOON.plus(hour - SECOND)), 0);
        assert_eq!(health.room(NOON.plus(hour)), 1);
    }
    assert_eq!((taken.failures, taken.failing_since), (0, None));
    let of_one = Health::default().after(&busy(500), NOON, HALF);
    assert_eq!(
        of_one.rests_until, None,
        "a broken message is not a busy endpoint"
    );
}

#[test]
fn our_own_faults_change_nothing() {
    let ours = Outcome::Unreached { code: NO_CREDENTIALS };
    let failing = Health::default().after(&failed(), NOON, HALF);
    for health in [Health::default(), failing] {
        assert_eq!(health.after(&ours, NOON.plus(DAY), HALF), health);
    }
}

#[test]
fn it_is_given_up_after_days_of_nothing_but_failure() {
    let mut health = Health::default();
    for day in 0..6 {
        assert!(!health.is_given_up());
        health = health.after(&failed(), NOON.plus(DAY * day), HALF);
    }
    assert!(health.is_given_up());
    let once = health.after(&Outcome::Delivered { status: 200 }, NOON.plus(DAY * 5), HALF);
    assert!(!once.is_given_up());
}

#[test]
fn a_time_without_a_try_is_no_time_of_failure() {
    let first = Health::default().after(&failed(), NOON, HALF);
    let second = first.after(&failed(), NOON.plus(DAY * 30), HALF);
    assert!(!second.is_given_up(), "twice in a month");
    assert_eq!(second.failing_since, Some(NOON.plus(DAY * 30)));
    assert_eq!(second.failures, 2);
}

#[test]
fn f20_what_is_refused_twice_is_in_trouble_of_its_own_and_whoever_is_away_blames_nothing() {
    let refused = |status| Outcome::Refused {
        status,
        retry_after: None,
        excerpt: String::new(),
    };
    let (well, failing) = (Health::default(), Health::default().after(&failed(), NOON, HALF));
    let down = Health {
        down_since: Some(NOON),
        ..failing
    };
    for health in [well, failing] {
        assert!(
            !health.is_own_trouble(&refused(400), 1),
            "it may be the endpoint's"
        );
        assert!(health.is_own_trouble(&refused(400), 2));
    }
    assert!(!down.is_own_trouble(&refused(500), 9), "it takes nothing");
    for away in [refused(503), failed()] {
        assert!(!failing.is_own_trouble(&away, 9));
        assert!(!well.is_own_trouble(&away, 3));
        assert!(well.is_own_trouble(&away, 4), "others were taken between");
    }
}

proptest! {
    /// I12: a rest has a cap, whatever happened before.
    #[test]
    fn i12_no_rest_is_longer_than_its_cap(failures in 0u32..1_000, since_s in 0u64..10_000_000, j in 0.0f64..1.0) {
        let now = NOON.plus(Duration::from_secs(since_s));
        let before = Health { failures, failing_since: Some(NOON), ..Health::default() };
        let after = before.after(&failed(), now, Jitter(j));
        prop_assert!(after.rests_until.is_none_or(|at| at.since(now) <= SECOND * 72));
    }
}
