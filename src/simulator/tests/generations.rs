//! Submissions repeated, queries, and what the simulator says about itself.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Bench, avatar, read, uuid};
use crate::simulator::{Faults, Options, ResultState};

#[tokio::test]
async fn a_known_uuid_is_refused_and_not_rendered_again() {
    let bench = Bench::new(Faults::none());
    bench.finished(avatar(1, json!({}))).await;
    let details = json!([{"taskType": "getTaskDetails", "taskUUID": uuid(1)}]);
    let (_, before) = bench.post(details.clone()).await;
    assert_eq!(before["data"][0]["response"]["data"][0]["status"], "success");
    assert_eq!(before["data"][0]["request"][0]["model"], "klingai:avatar@2.0-pro");

    let (status, body) = bench.post(json!([avatar(1, json!({}))])).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (400, &json!("conflictTaskUUID"))
    );
    assert_eq!(body["errors"][0]["taskUUID"], json!(uuid(1)));
    assert_eq!(body.get("data"), None);

    let (_, after) = bench.post(details).await;
    assert_eq!(
        after["data"][0]["response"]["errors"][0]["code"], "conflictTaskUUID",
        "the refusal is archived"
    );
    assert_eq!(
        bench.query(1).await["data"][0]["status"],
        "success",
        "getResponse knows better"
    );
    let generations = bench.simulator.generations();
    assert_eq!(
        (
            generations.len(),
            generations[0].accepted,
            generations[0].conflicts
        ),
        (1, 1, 1)
    );
}

#[tokio::test]
async fn answers_are_cumulative_and_truthful_about_failures() {
    let bench = Bench::new(Faults {
        fail: 1,
        stick: 1,
        ..Faults::none()
    });
    bench
        .post(json!([avatar(1, json!({"numberResults": 4, "ttl": 60}))]))
        .await;
    bench
        .until("two results ended", |simulator| {
            let results = &simulator.generations()[0].results;
            results
                .iter()
                .filter(|result| result.state == ResultState::Succeeded)
                .count()
                == 2
        })
        .await;
    let first = bench.query(1).await;
    let of = |status: &str| -> Vec<&Value> {
        first["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|item| item["status"] == status)
            .collect()
    };
    assert_eq!((of("success").len(), of("processing").len()), (2, 1), "{first}");
    assert_eq!(first["errors"][0]["code"], "timeoutProvider");
    let ids: HashSet<&str> = of("success")
        .iter()
        .map(|item| item["videoUUID"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let running = of("processing")[0].as_object().unwrap();
    assert!(
        running.keys().all(|key| !key.ends_with("URL")),
        "clients take any URL for a result"
    );
    assert_eq!(
        bench.query(1).await["data"].as_array().unwrap().len(),
        3,
        "nothing vanishes by being read"
    );
}

#[tokio::test]
async fn failures_can_be_told_inside_data() {
    let bench = Bench::new(Faults {
        fail: 1,
        nest_errors: 1.0,
        ..Faults::none()
    });
    let answer = bench.finished(avatar(1, json!({}))).await;
    assert_eq!(answer["data"][0]["status"], "error");
    assert_eq!(answer["data"][0]["error"]["code"], "timeoutProvider");
    assert_eq!(answer.get("errors"), None);
}

#[tokio::test]
async fn unknown_hidden_and_forgotten_tasks_look_alike() {
    let options = Options {
        retention: Duration::from_secs(3600),
        render_ms: 0..=0,
        ..Options::default()
    };
    let bench = Bench::with(options);
    let nothing = json!({"data": []});
    assert_eq!(bench.query(9).await, nothing);
    bench
        .post(json!([avatar(
            1,
            json!({"positivePrompt": "[sim: hide-queued=10s]"})
        )]))
        .await;
    assert_eq!(bench.query(1).await, nothing);
    bench.simulator.advance(Duration::from_secs(11));
    assert_eq!(bench.query(1).await["data"][0]["status"], "success");
    bench.simulator.advance(Duration::from_secs(3600));
    assert_eq!(bench.query(1).await, nothing);

    bench.simulator.set_faults(Faults {
        unknown_as_error: true,
        ..Faults::none()
    });
    let (status, body) = bench
        .post(json!([{"taskType": "getResponse", "taskUUID": uuid(9)}]))
        .await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (404, &json!("taskFailedOrNotFound"))
    );
}

#[tokio::test]
async fn cost_follows_the_model_and_the_clip_and_is_told_on_request() {
    let bench = Bench::new(Faults::none());
    let pro = bench.finished(avatar(1, json!({"outputFormat": "MOV"}))).await;
    assert_eq!(pro["data"][0]["cost"], json!(0.435), "5 s at 0.087");
    let standard = json!({"outputFormat": "WEBM", "model": "klingai:avatar@2.0-standard"});
    assert_eq!(
        bench.finished(avatar(2, standard)).await["data"][0]["cost"],
        json!(0.088),
        "2 s at 0.044"
    );
    assert_eq!(
        bench.finished(avatar(3, json!({"includeCost": false}))).await["data"][0].get("cost"),
        None
    );
}

#[tokio::test]
async fn renders_wait_for_the_clock_and_not_for_us() {
    let bench = Bench::new(Faults::none());
    bench
        .post(json!([avatar(1, json!({"positivePrompt": "[sim: render=2h]"}))]))
        .await;
    assert_eq!(bench.query(1).await["data"][0]["status"], "processing");
    bench.simulator.advance(Duration::from_secs(3599 * 2));
    assert_eq!(bench.query(1).await["data"][0]["progress"], json!(99));
    bench.simulator.advance(Duration::from_secs(2));
    assert_eq!(bench.query(1).await["data"][0]["status"], "success");
}

#[tokio::test]
async fn the_same_seed_tells_the_same_story() {
    let story = async |seed: u64| {
        let bench = Bench::with(Options {
            seed,
            faults: Faults::harsh(),
            render_ms: 0..=0,
            ..Options::default()
        });
        let mut statuses = Vec::new();
        for n in 1..=12 {
            let task = json!([avatar(n, json!({"numberResults": 3}))]);
            statuses.push(
                bench
                    .try_post(task)
                    .await
                    .map(|answer| answer.status().as_u16())
                    .ok(),
            );
        }
        let generations = bench.simulator.generations();
        let results = generations.into_iter().flat_map(|generation| generation.results);
        let fates: Vec<_> = results
            .map(|result| (result.id, result.code, result.sha256))
            .collect();
        (statuses, fates)
    };
    let first = story(7).await;
    assert_eq!(first, story(7).await);
    assert_ne!(first, story(8).await);
}

#[tokio::test]
async fn control_is_over_http_too() {
    let bench = Bench::new(Faults::none());
    let at = |path: &str| format!("{}/sim/v1/{path}", bench.simulator.cdn_url());
    let set = json!({"profile": "mild", "loseCallbacks": 0.5, "render": "1h", "cut-download": 7});
    let (status, body) = read(bench.http.post(at("faults")).json(&set).send().await.unwrap()).await;
    assert_eq!(
        (status, &body["loseCallbacks"], &body["atMost"]),
        (200, &json!(0.5), &json!(2))
    );
    let faults: Faults = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(
        serde_json::to_value(&faults).unwrap(),
        body,
        "what is shown can be set again"
    );
    let wrong = json!({"loseCalbacks": 1});
    let (status, _) = read(bench.http.post(at("faults")).json(&wrong).send().await.unwrap()).await;
    assert_eq!(status, 422);

    let (status, _) = bench
        .post(json!([avatar(
            1,
            json!({"positivePrompt": "[sim: refuse-submit=0; cut-before-accept=0; cut-after-accept=0]"})
        )]))
        .await;
    assert_eq!(status, 200);
    bench
        .http
        .post(at("advance"))
        .json(&json!({"by": "90m"}))
        .send()
        .await
        .unwrap();
    let (_, list) = read(bench.get(&at("generations")).await).await;
    assert_eq!(
        (&list[0]["taskUUID"], &list[0]["results"][0]["state"]),
        (&json!(uuid(1)), &json!("succeeded"))
    );
    let (_, stats) = read(bench.get(&at("stats")).await).await;
    assert_eq!(stats["accepted"], json!(1));
}
