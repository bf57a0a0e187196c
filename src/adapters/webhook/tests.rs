use super::*;
use crate::adapters::guard::GuardSettings;
use crate::adapters::manual_clock::ManualClock;
use crate::adapters::test_server::{Reply, TestServer, refused_address};
use crate::domain::address::AddressRule;
use crate::domain::delivery::Format;
use crate::domain::delivery::{Endpoint, Secret};
use crate::domain::event::Event;
use crate::domain::event::EventData;
use crate::domain::event::EventKind;
use crate::domain::fair_share::Places;
use crate::domain::ids::{EndpointId, EventId, TaskId, Tenant};
use crate::domain::lease::Lease;
use crate::domain::signature::verify;
use crate::domain::time::Timestamp;
use crate::ports::BoxError;
use crate::ports::links::{LinkTo, Links, MAX_LINK_LIFE};
use crate::ports::store::{Claim, StoreError};
use crate::ports::task_webhooks::{SettledTaskDelivery, TaskBrief, TaskWebhooks};
use uuid::Uuid;

/// 2026-01-02T03:04:05.678Z
const NOW_MS: i64 = 1_767_323_045_678;
/// Long enough for any machine; only the tests of silence use less.
const PATIENT: Duration = Duration::from_secs(60);

fn sink(timeout: Duration, reachable: &[&str]) -> WebhookSink {
    let rule = AddressRule::new(reachable.iter().map(|net| net.parse().unwrap()).collect());
    let settings = GuardSettings {
        user_agent: "catchment-test".to_owned(),
        connect_timeout: PATIENT,
        read_timeout: PATIENT,
    };
    let clock = ManualClock::at(Timestamp::from_millis(NOW_MS));
    clock.jump_wall(60_000);
    let client = GuardedClient::new(rule, &settings).unwrap();
    let shape = ProviderShape {
        tasks: Arc::new(OneTask),
        links: Arc::new(OneLink),
    };
    WebhookSink::new(client, Arc::new(clock), timeout, "a", shape)
}

struct OneTask;

#[async_trait]
impl TaskWebhooks for OneTask {
    async fn claim_task_deliveries(
        &self,
        _: Claim,
        _: Places,
        _: Duration,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        unreachable!("a sink claims nothing")
    }

    async fn settle_task_delivery(&self, _: SettledTaskDelivery) -> Result<(), StoreError> {
        unreachable!("a sink settles nothing")
    }

    async fn redrive_task(&self, _: &Tenant, _: TaskId, _: Timestamp) -> Result<Option<u64>, StoreError> {
        unreachable!("a sink redrives nothing")
    }

    async fn brief(&self, _: TaskId) -> Result<Option<TaskBrief>, StoreError> {
        Ok(Some(TaskBrief {
            task_type: Some("videoInference".to_owned()),
            failures: vec![],
        }))
    }
}

struct OneLink;

#[async_trait]
impl Links for OneLink {
    async fn link(&self, to: LinkTo<'_>) -> Result<Url, BoxError> {
        assert!(to.valid_for <= MAX_LINK_LIFE && to.save_as.is_none());
        Ok(Url::parse(&format!(
            "https://s3.example/{}/{}?sig=1",
            to.bucket, to.key
        ))?)
    }
}

fn delivery(url: &str, format: Format) -> Delivery {
    let at = Timestamp::from_millis(NOW_MS);
    let task = TaskId(Uuid::from_u128(7));
    Delivery {
        id: 1,
        endpoint: Endpoint {
            format,
            ..Endpoint::new(
                EndpointId::new([1; 16]),
                Tenant::default_tenant(),
                url.to_owned(),
                Secret(vec![9; 32]),
                at,
            )
        },
        event: Event {
            sequence: 41,
            id: EventId::derive(&["a"]),
            kind: EventKind::AssetArchived,
            tenant: Tenant::default_tenant(),
            task: Some(task),
            task_sequence: 3,
            at,
            data: EventData {
                task_uuid: Some(task.to_string()),
                ..EventData::default()
            },
        },
        attempt: 1,
        step: 1,
    }
}

async fn outcome_of(reply: Reply) -> Outcome {
    let server = TestServer::start([reply]).await;
    let sink = sink(PATIENT, &["127.0.0.0/8"]);
    sink.deliver(&delivery(&server.url(), Format::Standard)).await
}

#[tokio::test]
async fn t13_the_signature_covers_exactly_the_bytes_sent() {
    let mut server = TestServer::start([Reply::answer(204, "", "")]).await;
    let delivery = delivery(&server.url(), Format::Standard);
    let outcome = sink(PATIENT, &["127.0.0.0/8"]).deliver(&delivery).await;
    assert_eq!(outcome, Outcome::Delivered { status: 204 });

    let asked = server.asked().await;
    assert!(asked.head.starts_with("POST /v1 HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("webhook-id"), Some(delivery.event.id.as_str()));
    // This try's time by the wall clock, not the service's own.
    let stamp_s = (NOW_MS + 60_000) / 1000;
    assert_eq!(
        asked.header("webhook-timestamp"),
        Some(stamp_s.to_string().as_str())
    );
    let signature = asked.header("webhook-signature").unwrap();
    let secret = &delivery.endpoint.secret;
    assert!(verify(
        secret,
        delivery.event.id.as_str(),
        stamp_s,
        &asked.body,
        signature,
        stamp_s
    ));
    let expected = serde_json::to_vec(&delivery.event.envelope()).unwrap();
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn t13_both_secrets_sign_while_receivers_move_over() {
    let mut server = TestServer::start([Reply::answer(204, "", ""), Reply::answer(204, "", "")]).await;
    let mut delivery = delivery(&server.url(), Format::Standard);
    let now = Timestamp::from_millis(NOW_MS);
    delivery
        .endpoint
        .rotate(Secret(vec![7; 32]), Duration::from_secs(60), now);
    let sink = sink(PATIENT, &["127.0.0.0/8"]);
    sink.deliver(&delivery).await;
    let asked = server.asked().await;
    let signatures = asked.header("webhook-signature").unwrap();
    assert_eq!(signatures.split(' ').count(), 2);
    let stamp_s = (NOW_MS + 60_000) / 1000;
    for key in [7, 9] {
        let (secret, id) = (Secret(vec![key; 32]), delivery.event.id.as_str());
        assert!(
            verify(&secret, id, stamp_s, &asked.body, signatures, stamp_s),
            "{key}"
        );
    }
    delivery.endpoint.old_secret.as_mut().unwrap().until = now;
    sink.deliver(&delivery).await;
    let asked = server.asked().await;
    assert_eq!(asked.header("webhook-signature").unwrap().split(' ').count(), 1);
}

#[tokio::test]
async fn a_ping_is_signed_and_tells_nothing() {
    for (format, kind) in [
        (Format::Standard, serde_json::json!("endpoint.test")),
        (
            Format::CloudEvents,
            serde_json::json!("catchment.endpoint.test.v1"),
        ),
        (Format::Runware, serde_json::Value::Null),
    ] {
        let mut server = TestServer::start([Reply::answer(200, "", "ok")]).await;
        let endpoint = delivery(&server.url(), format).endpoint;
        let id = EventId::derive(&["ping"]);
        let outcome = sink(PATIENT, &["127.0.0.0/8"]).ping(&endpoint, &id).await;
        assert_eq!(outcome, Outcome::Delivered { status: 200 });
        let asked = server.asked().await;
        let stamp_s = (NOW_MS + 60_000) / 1000;
        let signature = asked.header("webhook-signature").unwrap();
        assert!(verify(
            &endpoint.secret,
            id.as_str(),
            stamp_s,
            &asked.body,
            signature,
            stamp_s
        ));
        let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body["type"], kind);
    }
}

#[tokio::test]
async fn t16_an_excerpt_keeps_no_secret() {
    let key = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let echo = format!("bad signature v1,{key} for token=hunter2 at https://h/?sig=abc");
    let Outcome::Refused { excerpt, .. } = outcome_of(Reply::answer(401, "", &echo)).await else {
        panic!("refused");
    };
    assert!(excerpt.starts_with("bad signature v1,["), "{excerpt}");
    for secret in ["g0hM9SsE", "hunter2", "abc"] {
        assert!(!excerpt.contains(secret), "{excerpt}");
    }
    // Cut in the middle of a secret: the rest of it is not shown either.
    let long = format!("{}{key}{key}", "word ".repeat(203));
    let Outcome::Refused { excerpt, .. } = outcome_of(Reply::answer(401, "", &long)).await else {
        panic!("refused");
    };
    assert!(
        !excerpt.contains("g0h") && excerpt.len() <= MAX_EXCERPT_BYTES,
        "{excerpt}"
    );
}

#[tokio::test]
async fn cloudevents_are_structured_and_signed_likewise() {
    let mut server = TestServer::start([Reply::answer(200, "", "ok")]).await;
    let delivery = delivery(&server.url(), Format::CloudEvents);
    sink(PATIENT, &["127.0.0.0/8"]).deliver(&delivery).await;
    let asked = server.asked().await;
    assert_eq!(asked.header("content-type"), Some("application/cloudevents+json"));
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let task = "00000000-0000-0000-0000-000000000007";
    let expected = serde_json::json!({
        "specversion": "1.0",
        "id": delivery.event.id.as_str(),
        "source": "/catchment/a",
        "type": "catchment.asset.archived.v1",
        "subject": task,
        "time": "2026-01-02T03:04:05.678Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000041",
        "partitionkey": task,
        "data": {"taskUUID": task, "labels": {}},
    });
    assert_eq!(body, expected);
    assert!(asked.header("webhook-signature").is_some());
}

#[tokio::test]
async fn a_call_in_the_providers_shape_has_our_link_and_is_signed_where_there_is_a_secret() {
    let mut server = TestServer::start([Reply::answer(200, "", "ok"), Reply::answer(200, "", "ok")]).await;
    let mut delivery = delivery(&server.url(), Format::Runware);
    delivery.event.data.result_id = Some("r1".to_owned());
    delivery.event.data.bucket = Some("films".to_owned());
    delivery.event.data.key = Some("t/r1.mp4".to_owned());
    delivery.event.data.content_type = Some("video/mp4".to_owned());
    let sink = sink(PATIENT, &["127.0.0.0/8"]);
    sink.deliver(&delivery).await;
    let asked = server.asked().await;
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let expected = serde_json::json!({"data": [{
        "taskType": "videoInference", "taskUUID": "00000000-0000-0000-0000-000000000007", "status": "success",
        "videoUUID": "r1", "videoURL": "https://s3.example/films/t/r1.mp4?sig=1",
    }]});
    assert_eq!(body, expected);
    assert!(asked.header("webhook-signature").is_some());

    // A task's own webhook: nobody told us a secret.
    delivery.endpoint.secret = Secret(vec![]);
    sink.deliver(&delivery).await;
    let asked = server.asked().await;
    assert_eq!(asked.header("webhook-id"), Some(delivery.event.id.as_str()));
    assert!(asked.header("webhook-timestamp").is_some());
    assert!(asked.header("webhook-signature").is_none());
}

#[tokio::test]
async fn t9_a_redirect_is_a_refusal_and_is_not_followed() {
    let mut other = TestServer::start([Reply::answer(200, "", "")]).await;
    let outcome = outcome_of(Reply::answer(
        302,
        &format!("location: {}\r\n", other.url()),
        "moved",
    ))
    .await;
    let refused = Outcome::Refused {
        status: 302,
        retry_after: None,
        excerpt: "moved".to_owned(),
    };
    assert_eq!(outcome, refused);
    assert!(other.is_quiet());
}

#[tokio::test]
async fn f20_refusals_tell_status_wait_and_reason() {
    let gone = outcome_of(Reply::answer(410, "", "")).await;
    assert!(
        matches!(
            gone,
            Outcome::Refused {
                status: 410,
                retry_after: None,
                ..
            }
        ),
        "{gone:?}"
    );
    let table = [
        ("retry-after: 7\r\n", Some(7)),
        // The endpoint's date is weighed by the wall clock.
        ("retry-after: Fri, 02 Jan 2026 03:06:05 GMT\r\n", Some(59)),
        ("retry-after: later\r\n", None),
    ];
    for (header, wait_s) in table {
        let outcome = outcome_of(Reply::answer(503, header, "busy\r\nnow\u{7}")).await;
        let Outcome::Refused {
            status,
            retry_after,
            excerpt,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            (status, retry_after.map(|w| w.as_secs())),
            (503, wait_s),
            "{header}"
        );
        assert_eq!(excerpt, "busy  now");
    }
}

#[tokio::test]
async fn t13_a_hostile_answer_is_capped_and_cleaned() {
    let outcome = outcome_of(Reply::answer(500, "", &"é\u{0}".repeat(500_000))).await;
    let Outcome::Refused { excerpt, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        excerpt.len() <= MAX_EXCERPT_BYTES && excerpt.len() > 500,
        "{}",
        excerpt.len()
    );
    assert!(excerpt.chars().all(|c| c == 'é' || c == ' '), "{excerpt}");
    // A body that never ends ends with the try.
    let held = Reply::SayAndHold("HTTP/1.1 500 X\r\ncontent-length: 99\r\n\r\nhalf".to_owned());
    let server = TestServer::start([held]).await;
    let sink = sink(Duration::from_secs(2), &["127.0.0.0/8"]);
    let outcome = sink.deliver(&delivery(&server.url(), Format::Standard)).await;
    assert!(
        matches!(&outcome, Outcome::Refused { status: 500, excerpt, .. } if excerpt == "half"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn whoever_does_not_answer_is_unreached() {
    let unreached = |code| Outcome::Unreached { code };
    let silent = TestServer::start([Reply::SayAndHold(String::new())]).await;
    let impatient = sink(Duration::from_millis(50), &["127.0.0.0/8"]);
    let silent = delivery(&silent.url(), Format::Standard);
    let in_time = tokio::time::timeout(PATIENT / 2, impatient.deliver(&silent)).await;
    let outcome = in_time.expect("the sink's own limit, long before the guard's");
    assert_eq!(outcome, unreached("timeout"));

    assert_eq!(
        outcome_of(Reply::Say(String::new())).await,
        unreached("connection_lost")
    );

    let sink = sink(PATIENT, &["127.0.0.0/8"]);
    let to = |url: String| delivery(&url, Format::Standard);
    let nobody = refused_address().await;
    assert_eq!(
        sink.deliver(&to(format!("http://{nobody}/"))).await,
        unreached("connect")
    );
    let no_tls = TestServer::start([Reply::Interrupt("HTTP/1.1 400 X\r\n\r\n")]).await;
    let url = format!("https://{}/", no_tls.address);
    assert_eq!(sink.deliver(&to(url)).await, unreached("tls"));
    assert_eq!(
        sink.deliver(&to("nonsense".to_owned())).await,
        unreached("invalid_url")
    );
    let mut runware = delivery("http://127.0.0.1:1/", Format::Runware);
    runware.event.kind = EventKind::TaskAccepted;
    assert_eq!(sink.deliver(&runware).await, unreached("unsupported_format"));
}

#[tokio::test]
async fn i15_a_forbidden_address_is_never_reached() {
    let mut server = TestServer::start([Reply::answer(200, "", "")]).await;
    let guarded = sink(PATIENT, &[]);
    let url = server.url().replace("http:", "https:");
    for url in [server.url(), url, "https://127.0.0.1/".to_owned()] {
        let outcome = guarded.deliver(&delivery(&url, Format::Standard)).await;
        assert!(
            matches!(outcome, Outcome::Unreached { code } if code.starts_with("forbidden_")),
            "{outcome:?}"
        );
    }
    assert!(server.is_quiet());
}
