//! T2, T5, T6: what is not a proper request is refused with a reason, and nothing of it is kept.

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn t2_t5_improper_bodies_are_refused_and_nothing_of_them_is_kept() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_SERVER__MAX_BODY", "64KiB");
    let mut serve = Serve::start(&outside, None).await;
    let good = task(0, "").to_string();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let padded = task(0, &"x".repeat(70_000)).to_string();
    let cases = [
        (
            "malformed",
            good[..good.len() - 1].to_owned(),
            None,
            400,
            "malformed_json",
        ),
        ("empty", String::new(), None, 400, "malformed_json"),
        ("deep", deep, None, 400, "malformed_json"),
        ("not a task", "7".to_owned(), None, 422, "invalid_task"),
        ("an empty array", "[]".to_owned(), None, 422, "invalid_task"),
        ("oversized", padded, None, 413, "body_too_large"),
        (
            "compressed",
            good.clone(),
            Some("gzip"),
            415,
            "unsupported_media_type",
        ),
        (
            "compressed otherwise",
            good,
            Some("zstd, br"),
            415,
            "unsupported_media_type",
        ),
    ];
    for (what, body, encoding, status, code) in cases {
        let mut request = serve
            .client
            .post(format!("{}/v1/tasks", serve.base))
            .bearer_auth(&serve.key);
        request = request.header("content-type", "application/json");
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.body(body).send().await.unwrap();
        let told = answer.status().as_u16();
        assert_eq!(
            answer.headers()["content-type"],
            "application/problem+json",
            "{what}"
        );
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(
            (told, &problem["code"]),
            (status, &json!(code)),
            "{what}: {problem:#}"
        );
        assert!(
            problem["detail"].as_str().is_some_and(|d| !d.is_empty()),
            "{what}"
        );
    }

    // One bad element of three: every fault of it is named, and its good neighbours are not kept either.
    let mut bad = task(2, "");
    bad["ttl"] = json!(1);
    bad["numberResults"] = json!("two");
    bad["unheardOf"] = json!(true);
    bad["inputs"].as_object_mut().unwrap().remove("audio");
    let answer = serve
        .post("/v1/tasks", &json!([task(1, ""), bad, task(3, "")]), Some("one"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.unwrap();
    let faults = problem["errors"].as_array().unwrap();
    let named: BTreeSet<_> = faults.iter().map(|f| f["pointer"].as_str().unwrap()).collect();
    let expected = ["/1/ttl", "/1/numberResults", "/1/unheardOf", "/1/inputs/audio"];
    assert_eq!(named, BTreeSet::from(expected), "{problem:#}");
    assert_eq!(serve.tasks().await, Vec::<Value>::new());
    assert_eq!(serve.events().await, Vec::<Value>::new());

    // Neither the names nor the idempotency key are used up by a refusal.
    let all = json!([task(1, ""), task(2, ""), task(3, "")]);
    assert_eq!(
        serve.post("/v1/tasks", &all, Some("one")).await.unwrap().status(),
        202
    );
    serve.wait_settled(3).await;
    assert_eq!(outside.simulator.generations().len(), 3);
    serve.stop().await;
}

/// Everything of an answer but when it was made.
async fn dateless(serve: &Serve, url: &str) -> (u16, String, String) {
    let body = json!({ "data": [{ "taskUUID": uuid(0), "status": "success" }] });
    let answer = serve.client.post(url).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    let mut headers: HeaderMap = answer.headers().clone();
    headers.remove("date").expect("a Date");
    (status, format!("{headers:?}"), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn t6_every_altered_token_gets_one_and_the_same_404() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "render=1h")).await;
    let url = outside.callback_url(&serve, &uuid(0)).await;
    let (base, token) = url.rsplit_once('/').unwrap();
    let mut answers = BTreeSet::new();
    for at in 0..token.len() {
        let old = token.as_bytes()[at];
        for new in [
            if old == b'A' { 'B' } else { 'A' },
            if old == b'_' { '-' } else { '_' },
        ] {
            let altered = format!("{}{new}{}", &token[..at], &token[at + 1..]);
            answers.insert(dateless(&serve, &format!("{base}/{altered}")).await);
        }
    }
    for altered in [
        token[1..].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        token.to_uppercase(),
        "x".into(),
    ] {
        answers.insert(dateless(&serve, &format!("{base}/{altered}")).await);
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(answers.first().unwrap().0, 404);
    assert_eq!(
        serve.call_back(&url, &json!({ "data": [] })).await,
        200,
        "the true one still works"
    );
    let lines = serve.task(&uuid(0)).await;
    let callbacks = lines["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|l| l["kind"] == "callback");
    assert_eq!(callbacks.count(), 1, "nothing else was stored");
    serve.stop().await;
}
