use super::*;
use serde_json::json;

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
    let (kinds, faults) = found(|f| {
        types(
            Some(&json!(["asset.archived", "task.failed", "asset.archived"])),
            f,
        )
    });
    assert_eq!(
        (kinds, faults),
        (vec![EventKind::AssetArchived, EventKind::TaskFailed], vec![])
    );
    let (_, faults) = found(|f| types(Some(&json!(["asset.archived", "nope", 3])), f));
    assert_eq!(
        faults,
        [
            ("/types/1".into(), FaultCode::NotAllowed),
            ("/types/2".into(), FaultCode::NotAllowed)
        ]
    );
    assert_eq!(
        found(|f| types(Some(&json!([])), f)).1,
        [("/types".into(), FaultCode::TooShort)]
    );
    assert_eq!(
        found(|f| types(Some(&json!("asset.archived")), f)).1,
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
fn what_is_not_done_yet_is_said_and_what_is_unknown_too() {
    let names = |body: Value| found(|f| check_names(body.as_object().unwrap(), f)).1;
    assert_eq!(names(json!({"url": "x", "format": "standard", "types": []})), []);
    for format in ["cloudevents", "runware"] {
        assert_eq!(
            names(json!({"format": format})),
            [("/format".into(), FaultCode::NotSupportedYet)]
        );
    }
    assert_eq!(
        names(json!({"format": "xml"})),
        [("/format".into(), FaultCode::NotAllowed)]
    );
    assert_eq!(
        names(json!({"format": 1})),
        [("/format".into(), FaultCode::WrongType)]
    );
    assert_eq!(
        names(json!({"labels": {"a": "b"}})),
        [("/labels".into(), FaultCode::NotSupportedYet)]
    );
    assert_eq!(
        names(json!({"uri": "x"})),
        [("/uri".into(), FaultCode::UnknownMember)]
    );
}

#[test]
fn a_url_is_absolute() {
    let of = |value: Option<Value>| {
        let members: Map<String, Value> = value.into_iter().map(|v| ("url".to_owned(), v)).collect();
        let (url, faults) = found(|f| url(&members, f));
        (url.is_some(), faults.first().map(|(_, code)| *code))
    };
    assert_eq!(of(Some(json!("https://a.example/x"))), (true, None));
    assert_eq!(of(Some(json!("/x"))), (false, Some(FaultCode::InvalidFormat)));
    assert_eq!(
        of(Some(json!(format!("https://a.example/{}", "x".repeat(2_000))))),
        (false, Some(FaultCode::TooLong))
    );
    assert_eq!(of(Some(json!(1))), (false, Some(FaultCode::WrongType)));
    assert_eq!(of(None), (false, Some(FaultCode::Required)));
}

#[test]
fn a_secret_is_shown_only_where_it_is_put() {
    let endpoint = Endpoint {
        id: EndpointId("ep_1".into()),
        tenant: Tenant("acme".into()),
        url: "https://a.example/".into(),
        types: vec![],
        format: Format::Standard,
        secret: Secret(vec![7; 32]),
        created_at: Timestamp::from_millis(0),
        disabled_at: None,
        cursor: 4,
    };
    let shown = serde_json::to_value(EndpointView::of(endpoint)).unwrap();
    assert_eq!(
        shown,
        json!({
            "id": "ep_1", "url": "https://a.example/", "format": "standard", "disabledAt": null,
            "createdAt": "1970-01-01T00:00:00.000Z",
            "types": ["task.rejected", "task.completed", "task.partial", "task.failed", "task.timed_out",
                "asset.archived", "asset.expired", "asset.failed"],
        })
    );
}
