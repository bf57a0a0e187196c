use super::*;
use crate::http::tasks::models::{self, Others};
use crate::http::testing::{Counting, NOW};
use crate::http::{KeyLimits, Rate};
use serde_json::json;
use std::num::NonZeroU32;

fn settings() -> ApiSettings {
    ApiSettings {
        max_body: 1 << 20,
        default_ttl: Duration::from_secs(604_800),
        min_ttl: Duration::from_secs(3_600),
        default_prompt: None,
        key_limits: KeyLimits {
            concurrent_requests: 64,
            event_streams: 32,
            rate: Rate {
                per_second: NonZeroU32::MIN,
                burst: NonZeroU32::MIN,
            },
        },
    }
}

fn drafted(text: &str, settings: &ApiSettings) -> (TaskDraft, Value) {
    let value: Value = serde_json::from_str(text).unwrap();
    let task = value.as_object().unwrap();
    let checked = Checked {
        at: "/2",
        task,
        text: serde_json::from_str(text).unwrap(),
        is_known_model: models::table(task["model"].as_str()).1 == Others::Refused,
    };
    let draft = draft(&Counting::default(), settings, &checked, NOW);
    let document = serde_json::from_str(&draft.document).unwrap();
    (draft, document)
}

const PLAIN: &str = r#"{"taskType":"videoInference","model":"klingai:avatar@2.0-pro",
    "inputs":{"image":"https://a.example/i","audio":"https://a.example/a"}}"#;

fn with(members: &str) -> String {
    PLAIN.replacen('{', &format!("{{{members},"), 1)
}

fn changed(draft: &TaskDraft) -> Vec<(&str, Value, Value)> {
    draft
        .adjusted
        .iter()
        .map(|a| (a.pointer.as_str(), a.from.clone(), a.to.clone()))
        .collect()
}

#[test]
fn what_is_absent_is_added_and_listed() {
    let (draft, document) = drafted(PLAIN, &settings());
    assert_eq!(
        changed(&draft),
        [
            ("/2/includeCost", json!(null), json!(true)),
            ("/2/deliveryMethod", json!(null), json!("async")),
            ("/2/ttl", json!(null), json!(604_800)),
        ]
    );
    assert_eq!(document["taskUUID"], draft.id.to_string());
    assert_eq!(
        (&document["ttl"], &document["includeCost"]),
        (&json!(604_800), &json!(true))
    );
    assert_eq!((draft.number_results, draft.ext, draft.deadline), (1, None, None));
}

#[test]
fn what_is_right_already_is_left_alone() {
    let text = with(r#""includeCost":true,"deliveryMethod":"async","ttl":86400"#);
    let (draft, document) = drafted(&text, &settings());
    assert_eq!(
        (changed(&draft), draft.ttl),
        (vec![], Duration::from_secs(86_400))
    );
    assert_eq!(document["ttl"], 86_400);
}

#[test]
fn ours_win_and_the_answer_says_what_was() {
    let text = with(r#""includeCost":false,"deliveryMethod":"sync","ttl":60"#);
    let (draft, document) = drafted(&text, &settings());
    assert_eq!(
        changed(&draft),
        [
            ("/2/includeCost", json!(false), json!(true)),
            ("/2/deliveryMethod", json!("sync"), json!("async")),
            ("/2/ttl", json!(60), json!(3_600)),
        ]
    );
    assert_eq!(
        (&document["deliveryMethod"], &document["ttl"]),
        (&json!("async"), &json!(3_600))
    );
}

#[test]
fn the_document_is_the_clients_own_text_without_what_is_for_us() {
    let text = with(
        r#""seed":12345678901234567890123,"scale":0.10,"model":"runware:1@1","webhookURL":"https://h.example/?t=1","catchment":{"labels":{"a":"b"},"keyPrefix":"p/"}"#,
    )
    .replacen(r#""model":"klingai:avatar@2.0-pro","#, "", 1);
    let (draft, document) = drafted(&text, &settings());
    assert!(
        draft.document.contains(r#""seed":12345678901234567890123"#),
        "{}",
        draft.document
    );
    assert!(draft.document.contains(r#""scale":0.10"#), "{}", draft.document);
    assert!(document.get("catchment").is_none() && document.get("webhookURL").is_none());
    assert_eq!(draft.webhook.unwrap().url, "https://h.example/?t=1");
    assert_eq!(draft.task_type.as_deref(), Some("videoInference"));
    assert_eq!(
        (draft.labels["a"].as_str(), draft.key_prefix.as_deref()),
        ("b", Some("p/"))
    );
}

#[test]
fn a_given_uuid_is_kept_in_lower_case() {
    let text =
        with(r#""taskUUID":"11111111-2222-4333-8444-55555555555A","outputFormat":"WEBM","numberResults":3"#);
    let (draft, document) = drafted(&text, &settings());
    assert_eq!(document["taskUUID"], "11111111-2222-4333-8444-55555555555a");
    assert_eq!((draft.number_results, draft.ext.unwrap().as_str()), (3, "webm"));
}

#[test]
fn a_made_uuid_reads_as_v4() {
    let (draft, _) = drafted(PLAIN, &settings());
    assert_eq!(
        (draft.id.0.get_version_num(), draft.id.0.get_variant()),
        (4, uuid::Variant::RFC4122)
    );
}

#[test]
fn g2_the_fingerprint_is_of_what_was_sent_before_defaults() {
    let of = |text: &str, settings: &ApiSettings| drafted(text, settings).0.fingerprint;
    let other_defaults = ApiSettings {
        default_ttl: Duration::from_secs(86_400),
        default_prompt: Some("Speak.".into()),
        ..settings()
    };
    let plain = of(PLAIN, &settings());
    assert_eq!(plain, of(PLAIN, &other_defaults));
    assert_eq!(plain, of(&PLAIN.replace('\n', " "), &settings()));
    assert_ne!(plain, of(&with(r#""ttl":604800"#), &settings()));
    assert_ne!(
        plain,
        of(&with(r#""catchment":{"labels":{"a":"b"}}"#), &settings())
    );
    let (lower, upper) = (
        with(r#""taskUUID":"11111111-2222-4333-8444-55555555555a""#),
        with(r#""taskUUID":"11111111-2222-4333-8444-55555555555A""#),
    );
    assert_eq!(of(&lower, &settings()), of(&upper, &settings()));
}

#[test]
fn a_default_prompt_fills_only_what_is_absent_and_only_for_models_we_know() {
    let prompting = ApiSettings {
        default_prompt: Some("Speak \"calmly\".".into()),
        ..settings()
    };
    let (draft, document) = drafted(PLAIN, &prompting);
    assert_eq!(document["positivePrompt"], "Speak \"calmly\".");
    assert!(
        draft.adjusted.iter().all(|a| a.pointer != "/2/positivePrompt"),
        "stored for ever"
    );
    let (_, document) = drafted(&with(r#""positivePrompt":"mine""#), &prompting);
    assert_eq!(document["positivePrompt"], "mine");
    let (_, document) = drafted(&PLAIN.replace("klingai:avatar@2.0-pro", "other:1@1"), &prompting);
    assert!(document.get("positivePrompt").is_none());
}

#[test]
fn a_deadline_counts_from_now() {
    let (draft, _) = drafted(&with(r#""catchment":{"deadline":"6h"}"#), &settings());
    assert_eq!(draft.deadline, Some(NOW.plus(Duration::from_secs(6 * 3_600))));
    let (draft, _) = drafted(
        &with(r#""catchment":{"deadline":"2026-01-02T04:00:00Z"}"#),
        &settings(),
    );
    assert_eq!(draft.deadline.unwrap().to_string(), "2026-01-02T04:00:00.000Z");
}

#[test]
fn a_long_value_is_not_repeated() {
    let (draft, _) = drafted(
        &with(&format!(r#""deliveryMethod":"{}""#, "x".repeat(5_000))),
        &settings(),
    );
    assert_eq!(draft.adjusted[1].from, Value::Null);
}
