//! What reaches the `webhookURL` and the `uploadEndpoint`, and when.

use serde_json::{Value, json};

use super::harness::{Bench, Received, Receiver, avatar, uuid};
use crate::simulator::Faults;
use crate::simulator::setting::{OneOf, Shape};

async fn only_body(faults: Faults) -> Value {
    let (bench, receiver) = (Bench::new(faults), Receiver::start(&[]).await);
    bench
        .post(json!([avatar(1, json!({"webhookURL": receiver.url}))]))
        .await;
    let received = receiver.wait_for(1).await;
    assert_eq!(received[0].target, "/hook?token=secret");
    assert!(received[0].head.contains("content-type: application/json"));
    received[0].json()
}

fn shaped(shape: Shape, fail: u32) -> Faults {
    Faults {
        callback_shapes: OneOf(vec![shape]),
        fail,
        ..Faults::none()
    }
}

#[tokio::test]
async fn a_success_comes_bare_or_wrapped() {
    for shape in [Shape::A, Shape::D] {
        let body = only_body(shaped(shape, 0)).await;
        assert_eq!(
            (&body["taskUUID"], &body["status"]),
            (&json!(uuid(1)), &json!("success")),
            "{body}"
        );
        assert!(body["videoURL"].is_string());
    }
    for shape in [Shape::B, Shape::C, Shape::E] {
        let body = only_body(shaped(shape, 0)).await;
        assert_eq!(body["data"][0]["taskUUID"], json!(uuid(1)), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_failure_comes_in_each_reported_shape() {
    for shape in [Shape::A, Shape::D] {
        let body = only_body(shaped(shape, 1)).await;
        assert_eq!(
            (&body["status"], &body["code"]),
            (&json!("error"), &json!("timeoutProvider")),
            "{body}"
        );
        assert_eq!(body["taskUUID"], json!(uuid(1)));
    }
    for shape in [Shape::B, Shape::C] {
        let body = only_body(shaped(shape, 1)).await;
        assert_eq!(body["errors"][0]["code"], "timeoutProvider", "{body}");
    }
    let body = only_body(shaped(Shape::E, 1)).await;
    assert_eq!(body["data"][0]["status"], "error", "{body}");
    assert_eq!(body["data"][0]["error"]["code"], "timeoutProvider");
}

#[tokio::test]
async fn status_can_be_absent_and_a_delivery_cumulative() {
    let body = only_body(Faults {
        omit_status: 1.0,
        ..Faults::none()
    })
    .await;
    assert_eq!(body["data"][0].get("status"), None);
    assert!(body["data"][0]["videoUUID"].is_string());
    let faults = Faults {
        cumulative_callbacks: 1.0,
        fail: 1,
        ..Faults::none()
    };
    let (bench, receiver) = (Bench::new(faults), Receiver::start(&[]).await);
    bench
        .post(json!([avatar(
            1,
            json!({"webhookURL": receiver.url, "numberResults": 3})
        )]))
        .await;
    let body = receiver.wait_for(3).await[2].json();
    assert_eq!(
        (
            body["data"].as_array().unwrap().len(),
            body["errors"].as_array().unwrap().len()
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn each_result_calls_by_itself_and_may_call_twice() {
    let bench = Bench::new(Faults {
        double_callbacks: 1.0,
        callback_copies: 3,
        ..Faults::none()
    });
    let receiver = Receiver::start(&[]).await;
    bench
        .post(json!([avatar(
            1,
            json!({"webhookURL": receiver.url, "numberResults": 2})
        )]))
        .await;
    let ids = |received: &[Received]| -> Vec<String> {
        received
            .iter()
            .map(|call| call.json()["data"][0]["videoUUID"].to_string())
            .collect()
    };
    let mut ids = ids(&receiver.wait_for(6).await);
    ids.sort();
    assert_eq!(
        (ids[0] == ids[2], ids[3] == ids[5], ids[0] == ids[3]),
        (true, true, false)
    );
    assert_eq!(bench.simulator.stats().callbacks_doubled, 4);
}

#[tokio::test]
async fn lost_callbacks_never_come() {
    let bench = Bench::new(Faults {
        lose_callbacks: 1.0,
        ..Faults::none()
    });
    let receiver = Receiver::start(&[]).await;
    bench
        .post(json!([avatar(
            1,
            json!({"webhookURL": receiver.url, "numberResults": 4})
        )]))
        .await;
    bench
        .until("four lost", |simulator| simulator.stats().callbacks_lost == 4)
        .await;
    assert_eq!(
        (receiver.all().len(), bench.simulator.stats().callbacks_sent),
        (0, 0)
    );
}

#[tokio::test]
async fn faults_changed_during_the_render_hold_for_its_callback() {
    let bench = Bench::new(Faults::none());
    let receiver = Receiver::start(&[]).await;
    let slow = json!({"webhookURL": receiver.url, "positivePrompt": "[sim: render=1h]"});
    bench.post(json!([avatar(1, slow)])).await;
    bench.simulator.set_faults(Faults {
        lose_callbacks: 1.0,
        ..Faults::none()
    });
    bench.simulator.advance(std::time::Duration::from_secs(3600));
    bench
        .until("it is lost", |simulator| simulator.stats().callbacks_lost == 1)
        .await;
}

#[tokio::test]
async fn reordered_callbacks_come_last_one_first() {
    let faults = Faults {
        reorder_callbacks: 1.0,
        result_index: 1.0,
        ..Faults::none()
    };
    let (bench, receiver) = (Bench::new(faults), Receiver::start(&[]).await);
    bench
        .post(json!([avatar(
            1,
            json!({"webhookURL": receiver.url, "numberResults": 4})
        )]))
        .await;
    let received = receiver.wait_for(4).await;
    let order: Vec<u64> = received
        .iter()
        .map(|call| call.json()["data"][0]["resultIndex"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [3, 2, 1, 0]);
}

#[tokio::test]
async fn a_callback_can_overtake_the_answer() {
    let bench = Bench::new(Faults {
        callback_before_ack: 1.0,
        ..Faults::none()
    });
    let receiver = Receiver::start(&[]).await;
    let task = json!([avatar(1, json!({"webhookURL": receiver.url}))]);
    let sent = bench
        .request(&task)
        .header("X-Simulate", "render=1h")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    assert_eq!(receiver.all().len(), 1, "it was there before the answer");
}

#[tokio::test]
async fn refused_callbacks_are_tried_again_and_then_given_up() {
    let bench = Bench::new(Faults {
        callback_attempts: 3,
        ..Faults::none()
    });
    let stubborn = Receiver::start(&[500, 302]).await;
    bench
        .post(json!([avatar(1, json!({"webhookURL": stubborn.url}))]))
        .await;
    bench
        .until("the third try counts", |simulator| {
            simulator.stats().callbacks_answered == 1
        })
        .await;
    assert_eq!(stubborn.all().len(), 3);

    let deaf = Receiver::start(&[503; 9]).await;
    bench
        .post(json!([avatar(2, json!({"webhookURL": deaf.url}))]))
        .await;
    bench
        .until("it is given up", |simulator| {
            simulator.stats().callbacks_given_up == 1
        })
        .await;
    assert_eq!(deaf.all().len(), 3);
    assert_eq!(bench.simulator.generations()[1].results[0].callbacks_answered, 0);
}

#[tokio::test]
async fn forgeries_say_what_the_query_denies() {
    let faults = Faults {
        forge_failure: 1.0,
        forge_success: 1.0,
        processing_callbacks: 1.0,
        ..Faults::none()
    };
    let bench = Bench::new(Faults {
        wrong_token: 1.0,
        lose_callbacks: 1.0,
        ..faults
    });
    let receiver = Receiver::start(&[]).await;
    bench
        .post(json!([avatar(1, json!({"webhookURL": receiver.url}))]))
        .await;
    let received = receiver.wait_for(4).await;
    assert_eq!(received[0].json()["data"][0]["status"], "processing");
    assert_eq!(received[1].json()["errors"][0]["status"], "error");
    let invented = received[2].json()["data"][0].clone();
    assert_eq!(
        (&received[3].target[..], received[2].target.len()),
        ("/hook?token=secrea", 18)
    );
    let truth = bench.query(1).await;
    assert_eq!(truth["data"][0]["status"], "success");
    assert_ne!(truth["data"][0]["videoUUID"], invented["videoUUID"]);
    assert_eq!(
        bench.get(invented["videoURL"].as_str().unwrap()).await.status(),
        404
    );
}

#[tokio::test]
async fn all_failures_can_be_told_as_one() {
    let bench = Bench::new(Faults {
        fail: 4,
        one_error_for_all: 1.0,
        ..Faults::none()
    });
    let receiver = Receiver::start(&[]).await;
    let answer = bench
        .finished(avatar(1, json!({"webhookURL": receiver.url, "numberResults": 4})))
        .await;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1);
    receiver.wait_for(1).await;
    assert_eq!(bench.simulator.stats().callbacks_sent, 1);
}

#[tokio::test]
async fn the_file_is_put_to_the_upload_endpoint_once() {
    let bench = Bench::new(Faults::none());
    let bucket = Receiver::start(&[]).await;
    bench
        .post(json!([avatar(1, json!({"uploadEndpoint": bucket.url}))]))
        .await;
    let put = bucket.wait_for(1).await.remove(0);
    assert!(
        put.head.starts_with("put ") && put.head.contains("content-type: video/mp4"),
        "{}",
        put.head
    );
    assert!(
        !put.head.contains("transfer-encoding"),
        "stores refuse chunked bodies: {}",
        put.head
    );
    let result = bench.simulator.generations().remove(0).results.remove(0);
    assert_eq!(
        (put.body.len() as u64, super::downloads::sha256(&put.body)),
        (result.size.unwrap(), result.sha256.unwrap())
    );
    bench
        .until("it is counted", |simulator| simulator.stats().uploads == 1)
        .await;
}

#[tokio::test]
async fn a_failed_upload_keeps_the_link() {
    let bench = Bench::new(Faults {
        cut_upload: 1.0,
        ..Faults::none()
    });
    let bucket = Receiver::start(&[]).await;
    let url = bench.link(avatar(1, json!({"uploadEndpoint": bucket.url}))).await;
    bench
        .until("the upload broke", |simulator| {
            simulator.stats().uploads_failed == 1
        })
        .await;
    assert_eq!(bench.get(&url).await.status(), 200);
}
