//! G12, T16: at the most talkative level, with every fault that makes it complain, no secret is told.

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use catchment::simulator::{Faults, Options};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn g12_no_secret_reaches_a_log_a_metric_an_event_or_an_answer() {
    const PROVIDER_KEY: &str = "canary-provider-key-6b1f";
    const PROMPT: &str = "canary prompt of a calm presenter 77aa";
    const STORE_KEY: &str = "a-secret-for-tests";
    let faults = Faults {
        at_most: 2,
        refuse_submit: 0.5,
        cut_after_accept: 0.3,
        refuse_query: 0.3,
        cut_query: 0.2,
        refuse_download: 0.5,
        html_downloads: 0.3,
        double_callbacks: 0.5,
        forge_success: 0.5,
        wrong_token: 1.0,
        ..Faults::none()
    };
    let mut outside = Outside::with(Options {
        faults,
        api_key: Some(PROVIDER_KEY.to_owned()),
        ..Options::default()
    })
    .await;
    outside.set("CATCHMENT_RUNWARE__API_KEY", PROVIDER_KEY);
    outside.set("CATCHMENT_LOG__LEVEL", "trace");
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    let mut secrets = vec![PROVIDER_KEY.to_owned(), PROMPT.to_owned(), STORE_KEY.to_owned()];
    secrets.extend([serve.key.clone(), outside.secret.clone()]);
    secrets.push(outside.secret.strip_prefix("whsec_").unwrap().to_owned());
    let mut told = vec![];
    for n in 0..8 {
        let mut sample = task(n, "");
        sample["positivePrompt"] = json!(PROMPT);
        sample["inputs"]["image"] = json!("https://cdn.example.com/canary-face.png?signature=canary-signed");
        let answer = serve.post("/v1/tasks", &sample, None).await.unwrap();
        assert_eq!(answer.status(), 202);
        told.push(answer.text().await.unwrap());
        // And refused, once with a fault that quotes a name and once with the same UUID.
        sample["canary"] = json!(PROMPT);
        told.push(
            serve
                .post("/v1/tasks", &sample, None)
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
        );
        sample.as_object_mut().unwrap().remove("canary");
        sample["numberResults"] = json!(2);
        told.push(
            serve
                .post("/v1/tasks", &sample, None)
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
        );
    }
    secrets.push("canary-signed".to_owned());
    serve.wait_settled(8).await;
    for n in 0..8 {
        let url = details_url(&outside, &serve, PROVIDER_KEY, &uuid(n)).await;
        secrets.push(url.rsplit('/').next().unwrap().to_owned());
        // Refused by us: too large, encoded, not JSON at all.
        let large = "x".repeat(300 * 1024);
        let status = serve.client.post(&url).body(large).send().await.unwrap().status();
        assert_eq!(status, 413);
        let sent = serve
            .client
            .post(&url)
            .header("content-encoding", "gzip")
            .body(PROMPT);
        assert_eq!(sent.send().await.unwrap().status(), 415);
        assert_eq!(
            serve
                .client
                .post(&url)
                .body(PROMPT)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
        let links = outside.generation(&uuid(n)).unwrap().results;
        secrets.extend(links.iter().filter_map(|r| r.url.clone()));
        told.push(serve.task(&uuid(n)).await.to_string());
    }
    let wrong = serve
        .client
        .get(format!("{}/v1/tasks", serve.base))
        .bearer_auth("ck_canary-wrong-key");
    told.push(wrong.send().await.unwrap().text().await.unwrap());
    secrets.push("ck_canary-wrong-key".to_owned());
    told.push(json!(serve.events().await).to_string());
    told.push(serve.get("/v1/endpoints").await.unwrap().to_string());
    told.push(serve.readiness().await.1.to_string());
    told.push(serve.metrics().await);
    serve.stop().await;
    let log = outside.log();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the log is at its most talkative"
    );
    assert!(log.contains(&uuid(0)), "and about our tasks");
    told.push(log);
    for secret in &secrets {
        for text in &told {
            let line = text.lines().find(|l| l.contains(secret.as_str()));
            assert_eq!(line, None, "{secret} was told");
        }
    }
}

async fn details_url(outside: &Outside, serve: &Serve, key: &str, task: &str) -> String {
    let ask = json!([{ "taskType": "getTaskDetails", "taskUUID": task }]);
    let request = serve.client.post(outside.simulator.api_url()).bearer_auth(key);
    // The switches of one request: this one is to be answered.
    let request = request.header("X-Simulate", "refuse-query=0;cut-query=0");
    let told: serde_json::Value = request.json(&ask).send().await.unwrap().json().await.unwrap();
    told["data"][0]["request"][0]["webhookURL"]
        .as_str()
        .unwrap()
        .to_owned()
}
