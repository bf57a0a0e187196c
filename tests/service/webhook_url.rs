//! A client's own `webhookURL`: a subscription for its task alone; and the archived file by its address.

use crate::hook::{Call, Hook};
use crate::outside::stores::Kind;
use crate::outside::{Outside, Serve, pause, sha256_hex, until};
use crate::world::{task, uuid};
use catchment::simulator::Options;
use serde_json::{Value, json};

const TOKEN: &str = "canary-client-token-5e1c";

fn calling(n: usize, simulate: &str, hook: &Hook) -> Value {
    let mut task = task(n, simulate);
    task["webhookURL"] = json!(format!("{}/rw/{n}?token={TOKEN}", hook.origin));
    task
}

async fn wait_for_taken(hook: &Hook, count: usize) -> Vec<Call> {
    until(&format!("{count} calls taken"), || hook.taken().len() >= count).await;
    assert_eq!(hook.taken().len(), count, "{:#?}", hook.taken());
    hook.taken().into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_tasks_own_webhook_gets_each_result_in_the_providers_shape_and_the_provider_never_sees_it() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_LOG__LEVEL", "trace");
    let hook = Hook::start(&[500, 302, 429]);
    let mut serve = Serve::start(&outside, None).await;
    let mut two = calling(0, "fail=1", &hook);
    two["numberResults"] = json!(2);
    serve.submit(&two).await;
    serve.submit(&calling(1, "", &hook)).await;
    serve.submit(&task(2, "")).await;
    serve.wait_settled(3).await;
    let taken = wait_for_taken(&hook, 3).await;

    let of = |n: usize| {
        taken
            .iter()
            .filter(move |c| c.target == format!("/rw/{n}?token={TOKEN}"))
    };
    let whole = &of(1).next().unwrap().body["data"][0];
    let (asset, generation) = (
        &serve.task(&uuid(1)).await["assets"][0],
        outside.generation(&uuid(1)).unwrap(),
    );
    for (name, value) in [
        ("taskType", &json!("videoInference")),
        ("taskUUID", &json!(uuid(1))),
        ("status", &json!("success")),
        ("videoUUID", &asset["resultId"]),
        ("cost", &json!(generation.results[0].cost)),
    ] {
        assert_eq!(&whole[name], value, "{name}: {whole:#}");
    }
    // Our link, readable by anyone, to the archived bytes.
    let link = whole["videoURL"].as_str().unwrap();
    assert!(link.starts_with(outside.s3.endpoint().as_str()), "{link}");
    let file = serve.client.get(link).send().await.unwrap();
    assert_eq!(file.status(), 200);
    assert_eq!(asset["sha256"], sha256_hex(&file.bytes().await.unwrap()));

    // The failed one of two is told with its task, by the provider's own code.
    let failed: Vec<_> = of(0).filter(|c| c.body["errors"].is_array()).collect();
    assert_eq!((of(0).count(), failed.len()), (2, 1));
    let error = &failed[0].body["errors"][0];
    assert_eq!(
        (&error["status"], &error["taskUUID"]),
        (&json!("error"), &json!(uuid(0)))
    );
    assert_eq!(error["code"], serve.task(&uuid(0)).await["failures"][0]["code"]);

    assert!(
        taken.iter().all(|c| c.raw.len() < 20_000),
        "small, never inline media"
    );

    // Repeated until taken, under one id; at least once, dedupe by it.
    let calls = hook.calls();
    let refused: Vec<_> = calls.iter().filter(|c| c.status >= 300).collect();
    assert_eq!(refused.len(), 3, "{calls:#?}");
    for call in &refused {
        let again = &hook.taken()[&call.headers["webhook-id"]];
        assert_eq!(again.target, call.target);
    }
    assert!(
        calls
            .iter()
            .all(|c| c.headers["content-type"] == "application/json")
    );
    assert!(
        calls.iter().all(|c| !c.headers.contains_key("webhook-signature")),
        "no secret is shared"
    );

    tries_are_told(&serve, &hook).await;
    // The provider was told our callback and nothing else.
    for n in [0, 1] {
        let told = outside.callback_url(&serve, &uuid(n)).await;
        assert!(told.starts_with(&format!("{}/cb/v1/", serve.base)), "{told}");
    }
    assert_eq!(serve.get("/v1/endpoints").await.unwrap()["data"], json!([]));
    let seen = provider_saw(&outside, &serve).await;
    assert!(seen.contains("/cb/v1/"), "{seen}");
    serve.stop().await;
    for told in [outside.log(), seen] {
        assert!(
            !told.is_empty() && !told.contains(TOKEN),
            "the client's token was told"
        );
    }
}

async fn tries_are_told(serve: &Serve, hook: &Hook) {
    let (mut tries, mut told) = (0, serve.metrics().await);
    for n in [0, 1] {
        let shown = serve.task(&uuid(n)).await;
        told += &shown.to_string();
        for line in shown["timeline"].as_array().unwrap() {
            if line["kind"] == "delivery_attempt" {
                tries += 1;
                assert_eq!(line["detail"]["endpoint"], "webhookURL");
                assert_eq!(line["detail"]["origin"], hook.origin.as_str());
            }
        }
    }
    assert_eq!(tries, hook.calls().len(), "every try is in a timeline");
    told += &serde_json::to_string(&serve.events().await).unwrap();
    assert!(!told.contains(TOKEN) && !told.contains("/rw/"), "{told}");
}

/// What the provider keeps of the requests.
async fn provider_saw(outside: &Outside, serve: &Serve) -> String {
    let mut seen = String::new();
    for n in [0, 1] {
        let ask = json!([{ "taskType": "getTaskDetails", "taskUUID": uuid(n) }]);
        let request = serve
            .client
            .post(outside.simulator.api_url())
            .bearer_auth("provider-key");
        seen += &request.json(&ask).send().await.unwrap().text().await.unwrap();
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn g7_a_task_without_a_result_is_told_and_a_dead_call_can_be_sent_again() {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_EVENTS__SCHEDULE", "0s,100ms,100ms");
    let hook = Hook::start(&[500, 503, 500]);
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&calling(0, "fail", &hook)).await;
    serve.wait_status(&uuid(0), "failed").await;
    let mut dead = vec![];
    for _ in 0..1500 {
        dead = serve.events().await;
        dead.retain(|e| e["type"] == "delivery.dead");
        if !dead.is_empty() {
            break;
        }
        pause().await;
    }
    assert_eq!(hook.calls().len(), 3, "dead after the last try");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["data"]["taskUUID"], uuid(0));
    let redrive = format!("/v1/tasks/{}/webhook/redrive", uuid(0));
    let again = serve.post(&redrive, &json!({}), None).await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.json::<Value>().await.unwrap(), json!({"redriven": 1}));
    let taken = wait_for_taken(&hook, 1).await;
    let errors = taken[0].body["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["taskType"]),
        (1, &json!("videoInference"))
    );
    assert_eq!(
        taken[0].headers["webhook-id"],
        dead[0]["data"]["event"].as_str().unwrap()
    );

    // 410: never again, at once.
    hook.answer_next(&[410]);
    serve.submit(&calling(1, "", &hook)).await;
    serve.wait_status(&uuid(1), "completed").await;
    until("the 410", || hook.calls().iter().any(|c| c.status == 410)).await;
    serve
        .wait_task(&uuid(1), "its try is told", |t| {
            let lines = t["timeline"].as_array().unwrap().iter();
            lines.filter(|l| l["kind"] == "delivery_attempt").count() == 1
        })
        .await;
    let events = serve.events().await;
    assert_eq!(events.iter().filter(|e| e["type"] == "delivery.dead").count(), 2);
    serve.stop().await;
}

/// F1: killed around a call, it is made again under the same id.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread")]
async fn f1_killed_around_a_call_it_is_made_again_and_none_is_missed() {
    for point in [
        "call_task.before_try",
        "call_task.after_try",
        "call_task.after_commit",
    ] {
        let outside = Outside::start().await;
        let hook = Hook::start(&[]);
        drop(Serve::start(&outside, None).await);
        let mut serve = Serve::start(&outside, Some(point)).await;
        serve.submit(&calling(0, "", &hook)).await;
        for _ in 0..1500 {
            if serve.has_died() {
                break;
            }
            pause().await;
        }
        assert!(serve.has_died(), "{point}: never passed");
        let mut serve = Serve::start(&outside, None).await;
        serve.wait_status(&uuid(0), "completed").await;
        // Whether a call that was cut off was taken, nobody here can know: it is made again.
        let calls = if point == "call_task.after_try" { 2 } else { 1 };
        until(point, || hook.calls().len() >= calls).await;
        assert_eq!(hook.calls().len(), calls, "{point}");
        assert_eq!(hook.taken().len(), 1, "{point}: one id");
        serve.stop().await;
    }
}

/// T12, I5: the address of an asset leads to its bytes, on a store that is ours and on one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn t12_an_assets_address_leads_to_its_bytes_for_a_while() {
    for store in [Kind::Embedded, Kind::Seaweed] {
        let outside = Outside::on(store, Options::default()).await;
        let mut serve = Serve::start(&outside, None).await;
        let mut sample = task(0, "");
        sample["catchment"] = json!({ "keyPrefix": "a.b_c/" });
        serve.submit(&sample).await;
        let done = serve.wait_status(&uuid(0), "completed").await;
        let asset = &done["assets"][0];
        let path = format!("/v1/assets/{}/{}", uuid(0), asset["resultId"].as_str().unwrap());
        let shown = serve.get(&path).await.unwrap();
        assert_eq!(
            (&shown["key"], &shown["sha256"]),
            (&asset["key"], &asset["sha256"])
        );
        for (query, saved) in [("", false), ("?download=1", true)] {
            // The key is for us: a client that follows leaves it behind.
            let url = format!("{}{path}/content{query}", serve.base);
            let file = serve
                .client
                .get(url)
                .bearer_auth(&serve.key)
                .send()
                .await
                .unwrap();
            assert_eq!(file.status(), 200, "{store:?}");
            let header = |name: &str| file.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(header("content-type").as_deref(), Some("video/mp4"), "{store:?}");
            let disposition = header("content-disposition");
            let is_attachment = disposition
                .as_deref()
                .is_some_and(|d| d.starts_with("attachment; filename="));
            assert_eq!(is_attachment, saved, "{store:?}: {disposition:?}");
            let bytes = file.bytes().await.unwrap();
            assert_eq!(asset["sha256"], sha256_hex(&bytes), "{store:?}");
        }
        serve.stop().await;
    }
}
