//! Keys, the envelope and the parameter table.

use serde_json::{Value, json};

use super::harness::{Bench, avatar, read, uuid};
use crate::simulator::{Faults, Options};

#[tokio::test]
async fn an_ack_is_identity_and_nothing_else() {
    let bench = Bench::new(Faults::none());
    let (status, body) = bench.post(json!([avatar(1, json!({"numberResults": 4}))])).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({"data": [{"taskType": "videoInference", "taskUUID": uuid(1)}]})
    );
}

#[tokio::test]
async fn a_key_in_the_body_is_greeted_first() {
    let bench = Bench::with(Options {
        api_key: Some("right".to_owned()),
        ..Options::default()
    });
    let login = |key: &str| json!({"taskType": "authentication", "apiKey": key});
    let send = async |body: Value| {
        read(
            bench
                .http
                .post(bench.simulator.api_url())
                .json(&body)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let (status, body) = send(json!([login("right"), avatar(1, json!({}))])).await;
    assert_eq!(
        (status, &body["data"][0]["taskType"]),
        (200, &json!("authentication")),
        "{body}"
    );
    assert!(body["data"][0]["connectionSessionUUID"].is_string());
    assert_eq!(body["data"][1]["taskUUID"], json!(uuid(1)));

    let (status, body) = send(json!([login("wrong"), avatar(2, json!({}))])).await;
    assert_eq!(status, 401);
    let entry = &body["errors"][0];
    assert_eq!(entry["code"], "invalidApiKey");
    assert_eq!(
        (&entry["parameter"], &entry["taskType"]),
        (&json!("apiKey"), &json!("authentication"))
    );
    assert_eq!(entry.get("taskUUID"), None);

    let (status, _) = send(json!([avatar(3, json!({}))])).await;
    assert_eq!(status, 401, "no key at all");
    assert_eq!(bench.simulator.stats().accepted, 1);
}

#[tokio::test]
async fn every_rule_of_the_avatar_table_is_enforced() {
    let bench = Bench::new(Faults::none());
    let cases = [
        (json!({"model": 7}), "model", "invalidModel"),
        (json!({"taskUUID": "nonsense"}), "taskUUID", "invalidTaskUUID"),
        (
            json!({"taskUUID": "0190163d-8694-739b-aea5-966c26f8ad91"}),
            "taskUUID",
            "invalidTaskUUID",
        ),
        (
            json!({"inputs": {"image": "https://a.example/b"}}),
            "inputs.audio",
            "missingAudio",
        ),
        (json!({"inputs": []}), "inputs", "invalidInputs"),
        (
            json!({"inputs": {"image": ["https://a.example"], "audio": uuid(9)}}),
            "inputs.image",
            "invalidImage",
        ),
        (
            json!({"inputs": {"image": "face", "audio": uuid(9)}}),
            "inputs.image",
            "invalidImage",
        ),
        (
            json!({"inputs": {"image": uuid(8), "audio": uuid(9), "video": uuid(7)}}),
            "inputs.video",
            "unsupportedParameter",
        ),
        (
            json!({"positivePrompt": ""}),
            "positivePrompt",
            "invalidPositivePrompt",
        ),
        (
            json!({"positivePrompt": "é".repeat(2501)}),
            "positivePrompt",
            "invalidPositivePrompt",
        ),
        (json!({"outputType": ["URL"]}), "outputType", "invalidOutputType"),
        (
            json!({"outputFormat": "mp4"}),
            "outputFormat",
            "invalidOutputFormat",
        ),
        (
            json!({"outputQuality": 100}),
            "outputQuality",
            "invalidOutputQuality",
        ),
        (
            json!({"numberResults": 0}),
            "numberResults",
            "invalidNumberResults",
        ),
        (
            json!({"numberResults": 1.5}),
            "numberResults",
            "invalidNumberResults",
        ),
        (
            json!({"deliveryMethod": "sync"}),
            "deliveryMethod",
            "invalidDeliveryMethod",
        ),
        (
            json!({"webhookURL": "ftp://a.example"}),
            "webhookURL",
            "invalidWebhookURL",
        ),
        (
            json!({"uploadEndpoint": "nowhere"}),
            "uploadEndpoint",
            "invalidUploadEndpoint",
        ),
        (json!({"ttl": 59}), "ttl", "invalidTtl"),
        (json!({"includeCost": "yes"}), "includeCost", "invalidIncludeCost"),
        (json!({"safety": {"mode": "slow"}}), "safety.mode", "invalidMode"),
        (
            json!({"safety": {"checkContent": 1}}),
            "safety.checkContent",
            "invalidCheckContent",
        ),
        (json!({"seed": 1}), "seed", "unsupportedParameter"),
        (json!({"catchment": {}}), "catchment", "unsupportedParameter"),
    ];
    for (more, parameter, code) in cases {
        let (status, body) = bench.post(json!([avatar(1, more.clone())])).await;
        let told = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        if more["model"] == 7 {
            // Without a model the envelope applies.
            assert_eq!((status, &told[0]["code"]), (400, &json!(code)));
            continue;
        }
        assert_eq!((status, told.len()), (400, 1), "{more}: {body}");
        assert_eq!(
            (&told[0]["parameter"], &told[0]["code"]),
            (&json!(parameter), &json!(code)),
            "{body}"
        );
    }
    assert_eq!(bench.simulator.stats().accepted, 0);
}

#[tokio::test]
async fn faults_name_their_bounds_and_come_all_at_once() {
    let bench = Bench::new(Faults::none());
    let wrong = json!({"ttl": 1, "numberResults": 9, "outputFormat": "AVI"});
    let (_, body) = bench.post(json!([avatar(1, wrong)])).await;
    let entry = |parameter: &str| {
        let entries = body["errors"].as_array().unwrap();
        entries
            .iter()
            .find(|entry| entry["parameter"] == parameter)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&entry("ttl")["min"], entry("ttl").get("max")),
        (&json!(60), None)
    );
    assert_eq!(
        (&entry("numberResults")["min"], &entry("numberResults")["max"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(
        entry("outputFormat")["allowedValues"],
        json!(["MP4", "WEBM", "MOV"])
    );
    assert_eq!(entry("ttl")["taskUUID"], json!(uuid(1)));
}

#[tokio::test]
async fn everything_the_table_allows_is_accepted() {
    let bench = Bench::new(Faults::none());
    let full = json!({
        "positivePrompt": "Speak calmly", "outputType": "URL", "outputFormat": "WEBM", "outputQuality": 20,
        "numberResults": 4, "deliveryMethod": "async", "webhookURL": "http://127.0.0.1:9/x?token=1",
        "uploadEndpoint": "http://127.0.0.1:9/y", "ttl": 60, "safety": {"checkContent": true, "mode": "full"},
        "routing": {"any": 1}, "model": "klingai:avatar@2.0-standard",
        "inputs": {"image": format!("data:image/png;base64,{}", "AAAA"), "audio": uuid(7)},
    });
    let (status, body) = bench.post(json!([avatar(1, full)])).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn good_and_bad_tasks_of_one_request_do_not_mix() {
    let bench = Bench::new(Faults::none());
    let other =
        json!({"taskType": "videoInference", "taskUUID": uuid(3), "model": "other:1@1", "duration": 5});
    let odd = json!({"taskType": "makeCoffee", "taskUUID": uuid(4)});
    let (status, body) = bench
        .post(json!([
            avatar(1, json!({})),
            avatar(2, json!({"ttl": 0})),
            other,
            odd
        ]))
        .await;
    assert_eq!(status, 200);
    let ids = |list: &str| -> Vec<Value> {
        body[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["taskUUID"].clone())
            .collect()
    };
    assert_eq!(ids("data"), [json!(uuid(1)), json!(uuid(3))]);
    assert_eq!(ids("errors"), [json!(uuid(2)), json!(uuid(4))]);
    assert_eq!(body["errors"][1]["code"], "unsupportedTaskType");
}

#[tokio::test]
async fn only_arrays_are_understood() {
    let bench = Bench::new(Faults::none());
    for body in [
        avatar(1, json!({})),
        json!([]),
        json!(["task"]),
        json!([{"taskUUID": uuid(1)}]),
    ] {
        let (status, answer) = bench.post(body).await;
        assert_eq!(
            (status, answer["errors"].as_array().unwrap().len()),
            (400, 1),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_prices_and_forgets() {
    let bench = Bench::new(Faults::none());
    let body = json!([avatar(1, json!({"outputFormat": "MOV", "numberResults": 2}))]);
    let dry = bench
        .request(&body)
        .header("X-Runware-Dry-Run", "1")
        .send()
        .await
        .unwrap();
    let (status, answer) = read(dry).await;
    assert_eq!(
        (status, &answer["data"][0]["cost"]),
        (200, &json!(5.0 * 0.087 * 2.0))
    );
    assert_eq!(bench.post(body).await.0, 200, "the UUID is still free");
    assert_eq!(bench.simulator.stats().accepted, 1);
}

#[tokio::test]
async fn the_small_tasks_answer() {
    let bench = Bench::new(Faults::none());
    let (_, body) = bench
        .post(json!([
            {"taskType": "ping", "taskUUID": uuid(1)},
            {"taskType": "accountManagement", "taskUUID": uuid(2), "operation": "getDetails"},
            {"taskType": "mediaStorage", "taskUUID": uuid(3), "operation": "upload", "media": "https://a.example/b"},
        ]))
        .await;
    assert_eq!(
        (&body["data"][0]["pong"], &body["data"][0]["taskUUID"]),
        (&json!(true), &json!(uuid(1)))
    );
    assert_eq!(body["data"][1]["balance"], json!(1000.0));
    assert!(body["data"][2]["mediaUUID"].is_string(), "{body}");
}

#[tokio::test]
async fn pictures_and_sounds_come_with_the_answer() {
    let bench = Bench::new(Faults::none());
    let (_, body) = bench
        .post(json!([
            {"taskType": "imageInference", "taskUUID": uuid(1), "model": "any:1@1", "positivePrompt": "a cat"},
            {"taskType": "audioInference", "taskUUID": uuid(2), "model": "any:2@1"},
        ]))
        .await;
    let picture = bench.get(body["data"][0]["imageURL"].as_str().unwrap()).await;
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    assert!(picture.bytes().await.unwrap().starts_with(&[0xFF, 0xD8, 0xFF]));
    let sound = bench.get(body["data"][1]["audioURL"].as_str().unwrap()).await;
    assert_eq!(sound.headers()["content-type"], "audio/mpeg");
    assert!(sound.bytes().await.unwrap().starts_with(b"ID3"));
}
