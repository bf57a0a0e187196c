//! Whatever comes in: no panic, no foreign row taken, no bound passed.

use super::{LINK, OTHER, OURS, ours};
use crate::adapters::runware::map::{MAX_ROWS, read_callback, read_details, read_query};
use proptest::prelude::*;
use serde_json::{Value, json};

/// JSON made of the members that are looked at, with anything in them.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "data",
        "errors",
        "error",
        "taskUUID",
        "taskType",
        "status",
        "videoUUID",
        "videoURL",
        "resultIndex",
        "cost",
        "code",
        "message",
        "parameter",
        "request",
        "response",
        "NSFWContent",
        "other",
    ];
    let texts = [
        "",
        "success",
        "error",
        "processing",
        OTHER,
        LINK,
        "conflictTaskUUID",
        "rateLimitExceeded",
        "ping",
        "é",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
    ];
    let names = prop::sample::select(names.to_vec());
    leaf.prop_recursive(5, 60, 8, move |inner| {
        let object = prop::collection::btree_map(names.clone(), inner.clone(), 0..6)
            .prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>());
        prop_oneof![prop::collection::vec(inner, 0..5).prop_map(Value::from), object]
    })
}

proptest! {
    #[test]
    fn t8_any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let report = read_callback(ours(), &bytes);
        prop_assert!(report.items.is_empty() || serde_json::from_slice::<Value>(&bytes).is_ok());
        let _answer = read_query(&[ours()], &bytes);
        let _archived = read_details(ours(), &bytes);
    }

    /// No message that names only other tasks, or none, answers a query about ours.
    #[test]
    fn g8_a_query_takes_only_rows_that_name_the_task(value in any_json()) {
        let bytes = value.to_string();
        let query = read_query(&[ours()], bytes.as_bytes());
        prop_assert!(query.is_err() || query.is_ok_and(|r| r[0].is_empty()), "{}", bytes);
        let archived = read_details(ours(), bytes.as_bytes());
        prop_assert!(matches!(archived, Ok(None) | Err(_)), "{}", bytes);
    }

    #[test]
    fn g8_a_callback_that_names_only_others_reports_nothing(mut rows in prop::collection::vec(any_json(), 0..5)) {
        rows.retain(Value::is_object);
        for members in rows.iter_mut().filter_map(Value::as_object_mut) {
            members.retain(|name, _| !["data", "errors"].contains(&name.as_str()));
            members.insert("taskUUID".to_owned(), json!(OTHER));
        }
        for body in [json!(rows), json!({"data": rows}), json!({"data": rows, "errors": rows})] {
            let report = read_callback(ours(), body.to_string().as_bytes());
            prop_assert!(report.items.is_empty(), "{}", body);
            let foreign = rows.iter().any(|r| !matches!(r["taskType"].as_str(), Some("ping")));
            prop_assert!(report.doubt || !foreign, "{}", body);
        }
    }

    #[test]
    fn reading_is_bounded_and_deduplicated(value in any_json()) {
        let bytes = value.to_string().replace(OTHER, OURS);
        let report = read_callback(ours(), bytes.as_bytes());
        prop_assert!(report.items.len() <= MAX_ROWS);
        let ids: Vec<_> = report.successes().map(|s| &s.result).collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        prop_assert_eq!(ids.len(), distinct.len());
        prop_assert!(report.successes().all(|s| s.cost.is_none_or(|c| c.is_finite() && c > 0.0)));
    }
}
