use super::parse::*;
use super::*;
use crate::domain::delivery::{Format, Secret};
use crate::domain::ids::{EventId, Tenant};
use crate::http::fault::{FaultCode, Faults};
use crate::ports::endpoints::Which;
use serde_json::{Map, Value, json};
use std::time::Duration;

fn found<T>(check: impl FnOnce(&mut Faults) -> T) -> (T, Vec<(String, FaultCode)>) {
    let mut faults = Faults::default();
    let value = check(&mut faults);
    let faults = faults
        .into_vec()
        .into_iter()
        .map(|f| (f.pointer, f.code))
        .collect();
    (value, faults)
}

#[test]
fn types_are_known_words_each_once() {
    let (kinds, faults) = found(|f| types(&json!(["asset.archived", "task.failed", "asset.archived"]), f));
    assert_eq!(
        (kinds, faults),
        (vec![EventKind::AssetArchived, EventKind::TaskFailed], vec![])
    );
    let (_, faults) = found(|f| types(&json!(["asset.archived", "nope", 3]), f));
    assert_eq!(
        faults,
        [
            ("/types/1".into(), FaultCode::NotAllowed),
            ("/types/2".into(), FaultCode::NotAllowed)
        ]
    );
    assert_eq!(
        found(|f| types(&json!([]), f)).1,
        [("/types".into(), FaultCode::TooShort)]
    );
    assert_eq!(
        found(|f| types(&json!("asset.archived"), f)).1,
        [("/types".into(), FaultCode::WrongType)]
    );
}

#[test]
fn an_own_secret_has_24_to_64_bytes() {
    use base64::Engine as _;
    let of = |n: usize| {
        format!(
            "whsec_{}",
            base64::engine::general_purpose::STANDARD.encode(vec![7; n])
        )
    };
    for good in [24, 64] {
        assert!(found(|f| secret(Some(&json!(of(good))), f)).0.is_some());
    }
    for bad in [json!(of(23)), json!(of(65)), json!("whsec_***"), json!("secret")] {
        assert_eq!(
            found(|f| secret(Some(&bad), f)).1,
            [("/secret".into(), FaultCode::InvalidFormat)],
            "{bad}"
        );
    }
    assert_eq!(
        found(|f| secret(Some(&json!(5)), f)).1,
        [("/secret".into(), FaultCode::WrongType)]
    );
}

#[test]
fn from_names_the_first_event_wanted() {
    let at = |from: Option<Value>| found(|f| cursor(from.as_ref(), 10, f));
    assert_eq!(at(None), (10, vec![]));
    assert_eq!(at(Some(json!(0))), (0, vec![]));
    assert_eq!(at(Some(json!(1))), (0, vec![]));
    assert_eq!(at(Some(json!(11))), (10, vec![]));
    assert_eq!(at(Some(json!(12))).1, [("/from".into(), FaultCode::OutOfRange)]);
    assert_eq!(at(Some(json!("1"))).1, [("/from".into(), FaultCode::WrongType)]);
}

#[test]
fn filters_have_forms_and_bounds() {
    let (found_labels, faults) = found(|f| labels(&json!({"team": "a", "x.y": ""}), f));
    assert_eq!((found_labels.len(), faults), (2, vec![]));
    assert_eq!(found(|f| labels(&Value::Null, f)), (BTreeMap::new(), vec![]));
    let many: Map<String, Value> = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (value, pointer, code) in [
        (json!([]), "/labels", FaultCode::WrongType),
        (json!({"team": 1}), "/labels/team", FaultCode::WrongType),
        (json!({"Team": "a"}), "/labels", FaultCode::InvalidFormat),
        (
            json!({"team": "x".repeat(129)}),
            "/labels/team",
            FaultCode::TooLong,
        ),
        (Value::Object(many), "/labels", FaultCode::TooLong),
    ] {
        assert_eq!(
            found(|f| labels(&value, f)).1,
            [(pointer.to_owned(), code)],
            "{value}"
        );
    }
    assert_eq!(
        found(|f| models(&json!(["m", "m", "n"]), f)),
        (vec!["m".to_owned(), "n".to_owned()], vec![])
    );
    for (value, pointer, code) in [
        (json!("m"), "/models", FaultCode::WrongType),
        (json!(["m", 1]), "/models/1", FaultCode::WrongType),
        (json!([""]), "/models/0", FaultCode::InvalidFormat),
        (json!(vec!["m"; 21]), "/models", FaultCode::TooLong),
    ] {
        assert_eq!(
            found(|f| models(&value, f)).1,
            [(pointer.to_owned(), code)],
            "{value}"
        );
    }
    for word in ["standard", "cloudevents", "runware"] {
        assert_eq!(found(|f| format(&json!(word), f)).0, Format::parse(word));
    }
    assert_eq!(
        found(|f| format(&json!("xml"), f)).1,
        [("/format".into(), FaultCode::NotAllowed)]
    );
    assert_eq!(
        found(|f| format(&json!(1), f)).1,
        [("/format".into(), FaultCode::WrongType)]
    );
}

#[test]
fn an_overlap_is_a_day_when_nothing_is_said_and_a_week_at_most() {
    let day = Duration::from_secs(24 * 3600);
    let of = |value: Option<Value>| found(|f| overlap(value.as_ref(), f));
    for (given, wanted) in [
        (None, day),
        (Some(json!("7d")), day * 7),
        (Some(json!("0s")), Duration::ZERO),
        (Some(json!(0)), Duration::ZERO),
        (Some(json!("90m")), Duration::from_secs(5_400)),
    ] {
        assert_eq!(of(given), (wanted, vec![]));
    }
    assert_eq!(
        of(Some(json!("8d"))).1,
        [("/overlap".into(), FaultCode::OutOfRange)]
    );
    for bad in [json!("soon"), json!(-1), json!(1.5), json!([])] {
        assert_eq!(of(Some(bad)).1, [("/overlap".into(), FaultCode::InvalidFormat)]);
    }
}

#[test]
fn a_redrive_names_one_way_of_choosing() {
    let of = |body: Value| found(|f| which(body.as_object().unwrap(), f));
    let all = Which::Dead {
        since: None,
        until: None,
    };
    assert_eq!(of(json!({})), (all.clone(), vec![]));
    assert_eq!(of(json!({"all": true})), (all, vec![]));
    assert_eq!(of(json!({"delivery": "dlv_7"})), (Which::Delivery(7), vec![]));
    assert_eq!(
        of(json!({"event": "evt_1"})),
        (Which::Event(EventId::stored("evt_1".into())), vec![])
    );
    let since = Some(Timestamp::from_millis(1_000));
    let ranged = of(json!({"since": "1970-01-01T00:00:01Z", "until": null}));
    assert_eq!(ranged, (Which::Dead { since, until: None }, vec![]));
    for (body, pointer, code) in [
        (json!({"delivery": "7"}), "/delivery", FaultCode::InvalidFormat),
        (json!({"since": "yesterday"}), "/since", FaultCode::InvalidFormat),
        (json!({"event": 1}), "/event", FaultCode::WrongType),
        (json!({"all": "yes"}), "/all", FaultCode::WrongType),
        (json!({"all": true, "event": "evt_1"}), "", FaultCode::NotAllowed),
    ] {
        assert_eq!(of(body.clone()).1, [(pointer.to_owned(), code)], "{body}");
    }
}

#[test]
fn a_url_is_absolute() {
    let of = |value: Value| {
        let (url, faults) = found(|f| read_url(&value, f));
        (url.is_some(), faults.first().map(|(_, code)| *code))
    };
    assert_eq!(of(json!("https://a.example/x")), (true, None));
    assert_eq!(of(json!("/x")), (false, Some(FaultCode::InvalidFormat)));
    assert_eq!(
        of(json!(format!("https://a.example/{}", "x".repeat(2_000)))),
        (false, Some(FaultCode::TooLong))
    );
    assert_eq!(of(json!(1)), (false, Some(FaultCode::WrongType)));
}

#[test]
fn a_secret_is_shown_only_where_it_is_put() {
    let now = Timestamp::from_millis(0);
    let id = EndpointId("ep_1".into());
    let url = "https://a.example/".to_owned();
    let mut endpoint = Endpoint::new(id, Tenant("acme".into()), url, Secret(vec![7; 32]), now);
    endpoint.rotate(Secret(vec![8; 32]), Duration::from_secs(1), now);
    let shown = serde_json::to_value(EndpointView::of(endpoint.clone(), now)).unwrap();
    assert_eq!(
        shown,
        json!({
            "id": "ep_1", "url": "https://a.example/", "format": "standard", "disabled": false, "disabledAt": null,
            "disabledReason": null, "failingSince": null, "labels": {}, "models": [],
            "createdAt": "1970-01-01T00:00:00.000Z", "oldSecretUntil": "1970-01-01T00:00:01.000Z",
            "types": ["task.rejected", "task.completed", "task.partial", "task.failed", "task.timed_out",
                "asset.archived", "asset.expired", "asset.failed"],
        })
    );
    let later = EndpointView::of(endpoint, now.plus(Duration::from_secs(1)));
    assert_eq!(later.old_secret_until, None);
}
