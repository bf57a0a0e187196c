//! Endpoints by API: made, changed, rotated, tried out, and what came of their deliveries.

use crate::harness::{Answer, Service, answer, avatar, avatar_with};
use catchment::domain::backoff::Jitter;
use catchment::domain::delivery::{After, Attempt, Delivery, Outcome};
use catchment::domain::lease::Lease;
use catchment::domain::time::Timestamp;
use catchment::ports::store::{Claim, Leases as _, Outbox as _, SettledDelivery};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const URL: &str = "https://hooks.example.com/in";
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn create(service: &Service, body: Value) -> Value {
    let made = service.post("/v1/endpoints", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.body
}

async fn patch(service: &Service, path: &str, body: &Value) -> Answer {
    answer(service.request(Method::PATCH, path).json(body)).await
}

fn path_of(endpoint: &Value) -> String {
    format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap())
}

#[actix_web::test]
async fn an_endpoint_is_made_changed_and_shown() {
    let service = Service::start().await;
    let made = create(
        &service,
        json!({"url": URL, "types": ["task.failed"], "labels": {"team": "a"}, "models": ["m"], "format": "cloudevents"}),
    )
    .await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let path = path_of(&made);
    let shown = service.get(&path).await.body;
    let mut without_secret = made.clone();
    without_secret.as_object_mut().unwrap().remove("secret");
    assert_eq!(shown, without_secret);
    assert_eq!(service.get("/v1/endpoints").await.body["data"], json!([shown]));

    let changed = patch(
        &service,
        &path,
        &json!({"url": "https://other.example.com/", "types": null, "labels": {}, "models": ["n"], "format": "runware"}),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        changed.body["types"].as_array().unwrap().len(),
        8,
        "the default ones"
    );
    for (name, value) in [
        ("url", json!("https://other.example.com/")),
        ("labels", json!({})),
        ("models", json!(["n"])),
        ("format", json!("runware")),
        ("disabled", json!(false)),
    ] {
        assert_eq!(changed.body[name], value, "{name}");
    }
    let off = patch(&service, &path, &json!({"disabled": true})).await.body;
    assert_eq!(
        (&off["disabled"], &off["disabledReason"]),
        (&json!(true), &json!("by_hand"))
    );
    assert!(off["disabledAt"].is_string() && off.get("secret").is_none());
    let on = patch(&service, &path, &json!({"disabled": false})).await.body;
    assert_eq!(
        (&on["disabled"], &on["disabledAt"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(
        patch(&service, &path, &json!({})).await.body,
        on,
        "nothing named, nothing changed"
    );
}

#[actix_web::test]
async fn t9_bad_input_is_told_in_full_and_leaves_nothing_half_made() {
    let service = Service::start().await;
    for url in [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://user:pw@hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com/#part",
        "ftp://hooks.example.com/",
        "javascript:alert(1)",
        "//hooks.example.com/",
        "",
    ] {
        let refused = service.post("/v1/endpoints", &json!({"url": url})).await;
        refused.is_problem(422, "invalid_endpoint");
        assert_eq!(refused.body["errors"][0]["pointer"], "/url", "{url}");
    }
    let bad = json!({"url": "https://127.0.0.1/", "types": ["nope"], "labels": {"Team": 1}, "models": [""],
        "format": "xml", "secret": "whsec_AAAA", "from": 99, "disabled": "no", "colour": "red"});
    let refused = service.post("/v1/endpoints", &bad).await;
    refused.is_problem(422, "invalid_endpoint");
    let pointers: Vec<&str> = refused.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    for pointer in [
        "/colour",
        "/url",
        "/types/0",
        "/labels",
        "/models/0",
        "/format",
        "/disabled",
        "/secret",
        "/from",
    ] {
        assert!(pointers.contains(&pointer), "{pointer} is not in {pointers:?}");
    }
    assert_eq!(service.get("/v1/endpoints").await.body["data"], json!([]));

    let made = create(&service, json!({"url": URL, "types": ["task.failed"]})).await;
    let path = path_of(&made);
    let before = service.get(&path).await.body;
    for bad in [
        json!({"url": "https://10.0.0.1/", "types": ["task.completed"]}),
        json!({"models": ["m"], "secret": SECRET}),
        json!({"models": ["m"], "from": 0}),
        json!([]),
    ] {
        patch(&service, &path, &bad)
            .await
            .is_problem(422, "invalid_endpoint");
    }
    for (what, bad) in [
        ("rotate", json!({"secret": "whsec_AAAA"})),
        ("rotate", json!({"overlap": "8d"})),
        ("rotate", json!({"overlap": "soon"})),
        ("rotate", json!({"overlaps": "1h"})),
        ("redrive", json!({"since": "yesterday"})),
        ("redrive", json!({"all": true, "event": "evt_1"})),
    ] {
        service
            .post(&format!("{path}/{what}"), &bad)
            .await
            .is_problem(422, "invalid_endpoint");
    }
    let odd = service
        .get(&format!(
            "{path}/deliveries?status=lost&limit=0&colour=red&cursor=x"
        ))
        .await;
    odd.is_problem(400, "invalid_query");
    assert_eq!(odd.body["errors"].as_array().unwrap().len(), 4, "{}", odd.body);
    assert_eq!(service.get(&path).await.body, before, "nothing was changed");
    let huge = service
        .request(Method::GET, &path)
        .header("x-padding", "x".repeat(200_000));
    let status = answer(huge).await.status.as_u16();
    assert!(
        [400, 431].contains(&status),
        "an oversized header is refused: {status}"
    );
}

#[actix_web::test]
async fn a_rotated_secret_is_told_once_and_bodies_may_be_left_out() {
    let service = Service::start().await;
    let made = create(&service, json!({"url": URL})).await;
    let path = path_of(&made);
    // No body at all, not even a type for it.
    let rotated = answer(service.request(Method::POST, &format!("{path}/rotate"))).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let secret = rotated.body["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && rotated.body["secret"] != made["secret"]);
    assert!(rotated.body["oldSecretUntil"].is_string());
    let own = service
        .post(
            &format!("{path}/rotate"),
            &json!({"secret": SECRET, "overlap": "0s"}),
        )
        .await
        .body;
    assert_eq!(
        (own["secret"].as_str(), &own["oldSecretUntil"]),
        (Some(SECRET), &Value::Null)
    );
    assert!(service.get(&path).await.body.get("secret").is_none());
    let tested = answer(service.request(Method::POST, &format!("{path}/test"))).await;
    assert_eq!(
        (&tested.body["delivered"], &tested.body["status"]),
        (&json!(true), &json!(204))
    );
    assert!(tested.body["durationMs"].is_u64() && tested.body["id"].as_str().unwrap().starts_with("evt_"));
    let form = service
        .request(Method::POST, &format!("{path}/rotate"))
        .header("content-type", "text/plain")
        .body("x");
    answer(form).await.is_problem(415, "unsupported_media_type");
    for what in ["rotate", "test", "redrive", "deliveries"] {
        let method = if what == "deliveries" {
            Method::GET
        } else {
            Method::POST
        };
        let nobody = answer(service.request(method.clone(), &format!("/v1/endpoints/ep_none/{what}"))).await;
        nobody.is_problem(404, "not_found");
        let stranger = service.key_of("stranger").await;
        let theirs = service.request_by(&stranger, method, &format!("{path}/{what}"));
        answer(theirs).await.is_problem(404, "not_found");
    }
    patch(&service, "/v1/endpoints/ep_none", &json!({}))
        .await
        .is_problem(404, "not_found");
}

async fn claim(service: &Service) -> Vec<Lease<Delivery>> {
    claim_at(service, Timestamp::from_millis(4_000_000_000_000)).await
}

async fn claim_at(service: &Service, now: Timestamp) -> Vec<Lease<Delivery>> {
    service.store.fan_out(now, Duration::ZERO, 200).await.unwrap();
    let claim = Claim {
        now,
        lease: Duration::from_secs(60),
        limit: 100,
    };
    service.store.claim_deliveries(claim, 100).await.unwrap()
}

async fn settle(service: &Service, lease: &Lease<Delivery>, outcome: Outcome, after: After) {
    let attempt = Attempt {
        number: lease.item.attempt,
        at: Timestamp::from_millis(4_000_000_000_000),
        duration: Duration::from_millis(41),
        outcome,
    };
    let settled = SettledDelivery {
        id: lease.item.id,
        epoch: lease.epoch,
        attempt,
        after,
        events: vec![],
        if_disabled: None,
        jitter: Jitter(0.5),
    };
    service.store.settle_delivery(settled).await.unwrap();
}

#[actix_web::test]
async fn deliveries_are_looked_at_and_sent_again() {
    let service = Service::start().await;
    let made = create(
        &service,
        json!({"url": URL, "types": ["task.accepted"], "labels": {"team": "blue"}}),
    )
    .await;
    let path = path_of(&made);
    for team in ["blue", "red", "blue"] {
        service
            .submit(&avatar_with("catchment", json!({"labels": {"team": team}})))
            .await;
    }
    service.submit(&avatar()).await;
    let leases = claim(&service).await;
    assert_eq!(leases.len(), 2, "the filter holds");
    let refused = Outcome::Refused {
        status: 503,
        retry_after: Some(Duration::from_secs(7)),
        excerpt: "busy".to_owned(),
    };
    settle(&service, &leases[0], refused, After::Dead).await;
    settle(
        &service,
        &leases[1],
        Outcome::Delivered { status: 204 },
        After::Delivered,
    )
    .await;

    let all = service.get(&format!("{path}/deliveries")).await.body;
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert_eq!(all["nextCursor"], Value::Null);
    let dead = service.get(&format!("{path}/deliveries?status=dead")).await.body["data"][0].clone();
    assert_eq!(
        (&dead["reason"], &dead["attemptCount"], &dead["nextAttemptAt"]),
        (&json!("out_of_tries"), &json!(1), &Value::Null)
    );
    assert_eq!(dead["event"], leases[0].item.event.id.as_str());
    let attempt = &dead["attempts"][0];
    for (name, value) in [
        ("number", json!(1)),
        ("status", json!(503)),
        ("code", Value::Null),
        ("durationMs", json!(41)),
        ("retryAfter", json!(7)),
        ("excerpt", json!("busy")),
    ] {
        assert_eq!(attempt[name], value, "{name}");
    }
    let task = service
        .get(&format!("/v1/tasks/{}", dead["taskUUID"].as_str().unwrap()))
        .await
        .body;
    let lines = task["timeline"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|l| l["kind"] == "delivery_attempt" && l["detail"]["status"] == 503),
        "{lines:#?}"
    );

    let none = service
        .post(
            &format!("{path}/redrive"),
            &json!({"since": "2999-01-01T00:00:00Z"}),
        )
        .await;
    assert_eq!((none.status.as_u16(), &none.body), (202, &json!({"redriven": 0})));
    let unknown = service
        .post(&format!("{path}/redrive"), &json!({"event": "evt_none"}))
        .await;
    unknown.is_problem(404, "not_found");
    let again = answer(service.request(Method::POST, &format!("{path}/redrive"))).await;
    assert_eq!(
        (again.status.as_u16(), &again.body),
        (202, &json!({"redriven": 1}))
    );
    let one = json!({"delivery": all["data"][0]["id"]});
    assert_eq!(
        service.post(&format!("{path}/redrive"), &one).await.body,
        json!({"redriven": 1})
    );
    let rested = Timestamp::from_millis(4_000_000_000_000 + 8_000); // it asked for seven seconds
    assert_eq!(claim(&service).await.len(), 0);
    assert_eq!(
        claim_at(&service, rested).await.len(),
        1,
        "one at a time until it is well"
    );
}
