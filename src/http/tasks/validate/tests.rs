use super::*;
use crate::http::fault::Fault;
use proptest::prelude::*;
use serde_json::json;

const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_678);

fn faults(body: &Value) -> Vec<Fault> {
    let mut faults = Faults::default();
    tasks(body, NOW, &mut faults);
    faults.into_vec()
}

fn told(body: &Value) -> Vec<(String, FaultCode)> {
    faults(body).into_iter().map(|f| (f.pointer, f.code)).collect()
}

fn avatar() -> Value {
    json!({
        "taskType": "videoInference", "model": "klingai:avatar@2.0-pro",
        "inputs": { "image": "https://cdn.example/face.png", "audio": "https://cdn.example/voice.mp3" },
    })
}

fn avatar_with(name: &str, value: Value) -> Value {
    let mut task = avatar();
    task[name] = value;
    task
}

#[test]
fn a_plain_task_has_no_faults() {
    assert_eq!(told(&avatar()), []);
    assert_eq!(told(&json!([avatar(), avatar()])), []);
    assert_eq!(
        told(&avatar_with("model", json!("klingai:avatar@2.0-standard"))),
        []
    );
}

#[test]
fn every_parameter_has_its_bounds() {
    use FaultCode::*;
    let cases = [
        ("taskType", json!("imageInference"), Some(NotAllowed)),
        ("taskUUID", json!("not-a-uuid"), Some(InvalidFormat)),
        (
            "taskUUID",
            json!("{11111111-2222-4333-8444-555555555555}"),
            Some(InvalidFormat),
        ),
        (
            "taskUUID",
            json!("11111111-2222-1333-8444-555555555555"),
            Some(InvalidFormat),
        ), // v1
        (
            "taskUUID",
            json!("11111111-2222-4333-c444-555555555555"),
            Some(InvalidFormat),
        ), // other variant
        ("taskUUID", json!("11111111-2222-4333-8444-55555555555A"), None),
        ("positivePrompt", json!(""), Some(TooShort)),
        ("positivePrompt", json!("é".repeat(2_500)), None),
        ("positivePrompt", json!("é".repeat(2_501)), Some(TooLong)),
        ("positivePrompt", json!(null), Some(WrongType)),
        ("outputType", json!("base64Data"), Some(NotAllowed)),
        ("outputType", json!(["URL"]), Some(WrongType)),
        ("outputFormat", json!("mp4"), Some(NotAllowed)),
        ("outputFormat", json!("MOV"), None),
        ("outputQuality", json!(19), Some(OutOfRange)),
        ("outputQuality", json!(20), None),
        ("outputQuality", json!(99), None),
        ("outputQuality", json!(100), Some(OutOfRange)),
        ("outputQuality", json!("95"), Some(WrongType)),
        ("outputQuality", json!(95.5), Some(WrongType)),
        ("numberResults", json!(0), Some(OutOfRange)),
        ("numberResults", json!(4), None),
        ("numberResults", json!(5), Some(OutOfRange)),
        ("numberResults", json!(true), Some(WrongType)),
        ("numberResults", json!(2.0), None),
        ("numberResults", json!(u64::MAX), Some(OutOfRange)),
        ("numberResults", json!(1e300), Some(OutOfRange)),
        ("ttl", json!(59), Some(OutOfRange)),
        ("ttl", json!(60), None),
        ("ttl", json!("3600"), Some(WrongType)),
        ("deliveryMethod", json!("sync"), None),
        ("deliveryMethod", json!({"any": "thing"}), None),
        ("includeCost", json!("yes"), Some(WrongType)),
        ("includeCost", json!(false), None),
        ("uploadEndpoint", json!("ftp://x/y"), Some(InvalidFormat)),
        ("uploadEndpoint", json!("https://bucket.example/k?sig=1"), None),
        ("webhookURL", json!("https://hooks.example/x?token=1"), None),
        ("webhookURL", json!("ftp://hooks.example"), Some(InvalidFormat)),
        ("webhookURL", json!(null), Some(WrongType)),
        (
            "webhookURL",
            json!(format!("https://hooks.example/{}", "x".repeat(2_000))),
            Some(TooLong),
        ),
        ("routing", json!({"anything": 1}), None),
        ("routing", json!("x"), Some(WrongType)),
        ("safety", json!({"checkContent": true, "mode": "full"}), None),
        ("safety", json!(true), Some(WrongType)),
        ("catchment", json!([]), Some(WrongType)),
    ];
    for (name, value, expected) in cases {
        let expected: Vec<_> = expected
            .map(|code| (format!("/{name}"), code))
            .into_iter()
            .collect();
        let task = avatar_with(name, value.clone());
        assert_eq!(told(&task), expected, "{name} = {value}");
    }
}

#[test]
fn inputs_are_media_in_any_form_the_provider_reads() {
    let with =
        |image: Value, audio: Value| told(&avatar_with("inputs", json!({"image": image, "audio": audio})));
    let uuid = json!("11111111-2222-4333-8444-555555555555");
    assert_eq!(with(uuid.clone(), uuid), []);
    assert_eq!(
        with(
            json!("data:image/png;base64,AAAA"),
            json!("data:audio/mpeg;base64,AAAA")
        ),
        []
    );
    assert_eq!(with(json!("iVBORw0KGgo="), json!("http://cdn.example/a.wav")), []);
    assert_eq!(
        with(json!(["https://cdn.example/face.png"]), json!("")),
        [
            ("/inputs/image".into(), FaultCode::WrongType),
            ("/inputs/audio".into(), FaultCode::TooShort)
        ]
    );
    assert_eq!(
        with(json!("face.png"), json!("iVBORw0KGgo=")),
        [
            ("/inputs/image".into(), FaultCode::InvalidFormat),
            ("/inputs/audio".into(), FaultCode::InvalidFormat)
        ]
    );
}

#[test]
fn all_faults_of_all_tasks_are_told_at_once() {
    let body = json!([
        avatar(),
        {"taskType": "videoInference", "model": "klingai:avatar@2.0-pro", "inputs": {}, "seed": 7, "ttl": 1},
        "task",
        avatar_with("safety", json!({"mode": "slow", "level": 3})),
        {},
    ]);
    use FaultCode::*;
    let expected = [
        ("/1/inputs/image", Required),
        ("/1/inputs/audio", Required),
        ("/1/ttl", OutOfRange),
        ("/1/seed", UnknownMember),
        ("/2", WrongType),
        ("/3/safety/mode", NotAllowed),
        ("/3/safety/level", UnknownMember),
        ("/4/taskType", Required),
        ("/4/model", Required),
    ];
    assert_eq!(told(&body), expected.map(|(p, c)| (p.to_owned(), c)));
}

#[test]
fn a_body_is_a_task_or_up_to_a_hundred() {
    assert_eq!(told(&json!([])), [(String::new(), FaultCode::TooShort)]);
    assert_eq!(told(&json!(vec![avatar(); 100])), []);
    assert_eq!(
        told(&json!(vec![avatar(); 101])),
        [(String::new(), FaultCode::TooLong)]
    );
    for other in [json!(null), json!(1), json!("x"), json!(true)] {
        assert_eq!(told(&other), [(String::new(), FaultCode::WrongType)]);
    }
}

#[test]
fn i2_one_array_cannot_name_a_task_twice() {
    let one = avatar_with("taskUUID", json!("11111111-2222-4333-8444-55555555555a"));
    let same = avatar_with("taskUUID", json!("11111111-2222-4333-8444-55555555555A"));
    assert_eq!(
        told(&json!([one, avatar(), same])),
        [("/2/taskUUID".into(), FaultCode::Duplicate)]
    );
}

#[test]
fn of_other_models_the_envelope_is_checked_and_the_rest_passes() {
    use FaultCode::*;
    let other = |members: Value| {
        let mut task = json!({"taskType": "imageInference", "model": "runware:100@1", "positivePrompt": "a cat", "width": 512});
        task.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        told(&task)
    };
    assert_eq!(
        other(json!({"seed": 1, "outputFormat": "PNG", "outputType": ["URL"]})),
        []
    );
    assert_eq!(
        other(json!({"numberResults": 21})),
        [("/numberResults".into(), OutOfRange)]
    );
    assert_eq!(
        other(json!({"outputType": "dataURI"})),
        [("/outputType".into(), NotAllowed)]
    );
    assert_eq!(
        other(json!({"outputType": ["URL", "base64Data"]})),
        [("/outputType".into(), NotAllowed)]
    );
    assert_eq!(
        other(json!({"webhookURL": "hooks.example"})),
        [("/webhookURL".into(), InvalidFormat)]
    );
    assert_eq!(other(json!({"model": ""})), [("/model".into(), TooShort)]);
    assert_eq!(
        other(json!({"model": "m".repeat(201)})),
        [("/model".into(), TooLong)]
    );
    assert_eq!(other(json!({"model": 5})), [("/model".into(), WrongType)]);
    for utility in UTILITIES {
        assert_eq!(
            other(json!({"taskType": utility})),
            [("/taskType".into(), NotAllowed)]
        );
    }
}

#[test]
fn the_reserved_member_is_checked_in_full() {
    use FaultCode::*;
    let with = |reserved: Value| {
        let strip = |(p, c): (String, FaultCode)| (p.strip_prefix("/catchment").unwrap().to_owned(), c);
        told(&avatar_with("catchment", reserved))
            .into_iter()
            .map(strip)
            .collect::<Vec<_>>()
    };
    let many: Map<String, Value> = (0..17).map(|n| (format!("k{n}"), json!("v"))).collect();
    let heavy: Map<String, Value> = (0..9)
        .map(|n| (format!("k{n}"), json!("v".repeat(120))))
        .collect();
    let cases = [
        (
            json!({"labels": {"a": "x", "b.c-d_1": "é".repeat(64)}, "keyPrefix": "team/a.b/"}),
            None,
        ),
        (json!({"labels": {"A": "x"}}), Some(("/labels/A", InvalidFormat))),
        (json!({"labels": {"a": 1}}), Some(("/labels/a", WrongType))),
        (
            json!({"labels": {"a": "é".repeat(65)}}),
            Some(("/labels/a", TooLong)),
        ),
        (json!({"labels": many}), Some(("/labels", TooLong))),
        (json!({"labels": heavy}), Some(("/labels", TooLong))),
        (json!({"labels": ["a"]}), Some(("/labels", WrongType))),
        (json!({"keyPrefix": ""}), Some(("/keyPrefix", TooShort))),
        (json!({"keyPrefix": "/a"}), Some(("/keyPrefix", InvalidFormat))),
        (
            json!({"keyPrefix": "a/../b"}),
            Some(("/keyPrefix", InvalidFormat)),
        ),
        (json!({"keyPrefix": "a b"}), Some(("/keyPrefix", InvalidFormat))),
        (
            json!({"keyPrefix": "a".repeat(129)}),
            Some(("/keyPrefix", TooLong)),
        ),
        (json!({"deadline": "6h"}), None),
        (json!({"deadline": 3600}), None),
        (json!({"deadline": "2026-01-03T00:00:00+01:00"}), None),
        (
            json!({"deadline": "2026-01-01T00:00:00Z"}),
            Some(("/deadline", OutOfRange)),
        ),
        (json!({"deadline": "31d"}), Some(("/deadline", OutOfRange))),
        (json!({"deadline": 0}), Some(("/deadline", OutOfRange))),
        (json!({"deadline": "soon"}), Some(("/deadline", InvalidFormat))),
        (json!({"deadline": true}), Some(("/deadline", WrongType))),
        (json!({"maxCost": 5}), Some(("/maxCost", NotSupportedYet))),
        (json!({"label": {}}), Some(("/label", UnknownMember))),
    ];
    for (reserved, expected) in cases {
        let expected: Vec<_> = expected.map(|(p, c)| (p.to_owned(), c)).into_iter().collect();
        assert_eq!(with(reserved.clone()), expected, "{reserved}");
    }
}

#[test]
fn g12_no_fault_repeats_what_was_sent() {
    let canary = "canary-7f3a";
    let body = json!({
        "taskType": canary, "model": "klingai:avatar@2.0-pro", "inputs": {"image": [canary], "audio": canary},
        "positivePrompt": canary.repeat(500), "outputFormat": canary, "catchment": {"keyPrefix": format!("..{canary}")},
    });
    let told = serde_json::to_string(&faults(&body)).unwrap();
    assert!(
        told.contains("/inputs/audio") && !told.contains("canary"),
        "{told}"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just("taskType".to_owned()),
        Just("model".to_owned()),
        Just("inputs".to_owned()),
        Just("catchment".to_owned()),
        Just("labels".to_owned()),
        Just("safety".to_owned()),
        Just("ttl".to_owned()),
        "[a-z~/\"é]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("klingai:avatar@2.0-pro")),
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..8).prop_map(|m| json!(m)),
        ]
    })
}

prop_compose! {
    fn valid_task()(
        prompt in prop::option::of(prop::collection::vec(any::<char>(), 1..2_500).prop_map(String::from_iter)),
        id in prop::option::of(any::<u128>()),
        quality in prop::option::of(20..=99i64),
        results in prop::option::of(1..=4i64),
        ttl in prop::option::of(60..=10_000_000i64),
        format in prop::option::of(prop::sample::select(vec!["MP4", "WEBM", "MOV"])),
        mode in prop::option::of(prop::sample::select(vec!["none", "fast", "full"])),
        method in prop::option::of(any_json()),
        labels in prop::collection::btree_map("[a-z][a-z0-9_.-]{0,10}", ".{0,10}", 0..10),
    ) -> Value {
        let id = id.map(|n| uuid::Builder::from_random_bytes(n.to_be_bytes()).into_uuid().to_string());
        let mut task = avatar();
        let members = [
            ("positivePrompt", json!(prompt)), ("taskUUID", json!(id)), ("outputQuality", json!(quality)),
            ("numberResults", json!(results)), ("ttl", json!(ttl)), ("outputFormat", json!(format)),
        ];
        for (name, value) in members.into_iter().filter(|(_, v)| !v.is_null()) {
            task[name] = value;
        }
        if let Some(mode) = mode { task["safety"] = json!({ "mode": mode }); }
        if let Some(method) = method { task["deliveryMethod"] = method; }
        task["catchment"] = json!({ "labels": labels });
        task
    }
}

proptest! {
    #[test]
    fn t2_any_json_is_judged_and_every_pointer_leads_somewhere(body in any_json()) {
        for fault in faults(&body) {
            let parent = fault.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            prop_assert!(
                body.pointer(&fault.pointer).is_some()
                    || fault.code == FaultCode::Required && body.pointer(parent).is_some_and(Value::is_object),
                "{:?} in {}", fault, body
            );
        }
    }

    #[test]
    fn a_valid_task_always_passes(task in valid_task()) {
        prop_assert_eq!(told(&task), []);
    }
}
