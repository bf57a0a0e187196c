//! Keys made and revoked beside a running service, and tenants that do not see each other (T1).

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use serde_json::{Value, json};

fn keys(outside: &Outside, args: &[&str]) -> Value {
    let made = outside
        .command()
        .arg("keys")
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

async fn as_key(serve: &Serve, key: &str, path: &str) -> (u16, Value) {
    let request = serve.client.get(format!("{}{path}", serve.base)).bearer_auth(key);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn t1_keys_come_and_go_beside_the_service_and_tenants_stay_apart() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let made = keys(&outside, &["create", "films", "--tenant", "films"]);
    let theirs = made["key"].as_str().unwrap();
    serve.submit(&task(0, "")).await;
    serve.wait_status(&uuid(0), "completed").await;

    let ours = &serve.key;
    let (_, mine) = as_key(&serve, ours, "/v1/events").await;
    assert!(mine["data"].as_array().unwrap().len() >= 4);
    let asset = serve.task(&uuid(0)).await["assets"][0]["resultId"]
        .as_str()
        .unwrap()
        .to_owned();
    for path in [
        format!("/v1/tasks/{}", uuid(0)),
        format!("/v1/assets/{}/{asset}", uuid(0)),
        format!("/v1/assets/{}/{asset}/content", uuid(0)),
    ] {
        let (status, body) = as_key(&serve, theirs, &path).await;
        assert_eq!(
            (status, &body["code"]),
            (404, &json!("not_found")),
            "{path}: {body:#}"
        );
    }
    for path in ["/v1/tasks", "/v1/events"] {
        let (status, body) = as_key(&serve, theirs, path).await;
        assert_eq!((status, &body["data"]), (200, &json!([])), "{path}");
    }
    // Their own work is theirs; the name of our task is taken all the same, and tells them nothing.
    let post = |body: Value| {
        let request = serve
            .client
            .post(format!("{}/v1/tasks", serve.base))
            .bearer_auth(theirs);
        request.json(&body).send()
    };
    let taken = post(task(0, "")).await.unwrap();
    assert_eq!(taken.status(), 409);
    let taken: Value = taken.json().await.unwrap();
    assert_eq!(taken["code"], "task_uuid_conflict");
    assert!(!taken.to_string().contains("klingai"), "{taken}");
    assert_eq!(post(task(1, "")).await.unwrap().status(), 202);
    serve.wait_ended_for(theirs, &uuid(1)).await;
    let (_, body) = as_key(&serve, theirs, "/v1/events").await;
    let events = body["data"].as_array().unwrap();
    assert!(
        !events.is_empty() && events.iter().all(|e| e["data"]["taskUUID"] == uuid(1)),
        "{body:#}"
    );
    assert!(
        serve
            .events()
            .await
            .iter()
            .all(|e| e["data"]["taskUUID"] != uuid(1))
    );
    assert_eq!(
        as_key(&serve, ours, &format!("/v1/tasks/{}", uuid(1))).await.0,
        404
    );

    keys(&outside, &["revoke", "films", "--yes"]);
    for path in ["/v1/tasks", "/v1/events"] {
        let (status, body) = as_key(&serve, theirs, path).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthorized")), "{body:#}");
    }
    assert_eq!(
        as_key(&serve, ours, "/v1/tasks").await.0,
        200,
        "another key is not touched"
    );
    serve.stop().await;
}

impl Serve {
    async fn wait_ended_for(&self, key: &str, id: &str) {
        for _ in 0..1500 {
            let (_, task) = as_key(self, key, &format!("/v1/tasks/{id}")).await;
            if task["status"] == "completed" {
                return;
            }
            crate::outside::pause().await;
        }
        panic!("{id} did not end");
    }
}
