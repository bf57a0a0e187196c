use super::*;
use crate::http::routes::TABLE;
use std::collections::BTreeSet;

/// Set to write the document instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

fn read() -> Value {
    serde_json::from_str(document()).unwrap()
}

#[test]
fn the_document_in_the_repository_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == document(),
        "openapi.json is stale: run this test with {UPDATE}=1"
    );
}

#[test]
fn t15_the_document_describes_every_route_and_no_other() {
    let served: BTreeSet<String> = TABLE
        .iter()
        .flat_map(|e| e.methods.iter().map(|(m, _)| format!("{m} {}", e.path)))
        .collect();
    let document = read();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |m| format!("{} {path}", m.to_uppercase()))
        })
        .collect();
    assert_eq!(served, described);
}

#[test]
fn operations_have_names_of_their_own() {
    let document = read();
    let operations = document["paths"].as_object().unwrap().values();
    let ids = operations.flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = ids.map(|o| o["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => (),
        }
    }
    let document = read();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_under_v1_wants_a_key_and_has_an_example() {
    let document = read();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = serde_json::to_string(&operation["security"]).unwrap();
            assert_eq!(
                security.contains("apiKey"),
                path.starts_with("/v1") || path == "/metrics",
                "{path}"
            );
            let text = serde_json::to_string(operation).unwrap();
            assert!(
                text.contains("\"example")
                    || method == "delete"
                    || path == "/metrics"
                    || path == "/openapi.json"
                    || path == "/docs/problems",
                "{method} {path}"
            );
        }
    }
}

#[test]
fn the_schema_of_a_known_model_is_its_table() {
    let document = read();
    let avatar = &document["components"]["schemas"]["AvatarTask"];
    assert_eq!(avatar["properties"]["outputQuality"]["maximum"], 99);
    assert_eq!(
        avatar["properties"]["inputs"]["required"],
        json!(["image", "audio"])
    );
    assert_eq!(avatar["additionalProperties"], false);
}
