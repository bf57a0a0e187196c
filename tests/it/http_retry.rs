//! An operator's retry, over the API: what it may do, for whom, and that it is written down.

use crate::harness::{Service, answer, avatar, avatar_with};
use catchment::domain::asset::SourceUrl;
use catchment::domain::backoff::Jitter;
use catchment::domain::file::{Asked, CopyOutcome, NotStored, Policy, TaskFile};
use catchment::domain::ids::{ResultId, TaskId};
use catchment::domain::lease::Fence;
use catchment::domain::report::{Item, Report, Success};
use catchment::domain::task::Submission;
use catchment::domain::time::Timestamp;
use catchment::domain::transition::Transition;
use catchment::ports::store::TaskStore as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const J: Jitter = Jitter(0.5);
const DAY: Duration = Duration::from_secs(86_400);

/// What workers would have done by now.
async fn decide(service: &Service, id: &str, decision: impl FnOnce(TaskFile) -> Transition) {
    let id = TaskId::parse(id).unwrap();
    let file = service.store.task(None, id).await.unwrap().unwrap();
    service
        .store
        .commit(decision(file), Fence::Version)
        .await
        .unwrap();
}

async fn submitted(service: &Service, body: &Value, policy: &Policy) -> (String, Timestamp) {
    let id = service.submit(body).await;
    let mut at = Timestamp::from_millis(0);
    decide(service, &id, |file| {
        at = file.task.created_at;
        file.submission_begins(at)
    })
    .await;
    decide(service, &id, |file| {
        file.submitted(Submission::Confirmed, policy, at, J)
    })
    .await;
    (id, at)
}

fn says(items: Vec<Item>) -> Asked {
    let answer = Report {
        items,
        ..Report::default()
    };
    Asked {
        answer: Some(answer),
        claims: vec![],
        at_least: None,
    }
}

async fn timed_out(service: &Service, body: &Value) -> String {
    let policy = crate::harness::policy();
    let (id, at) = submitted(service, body, &policy).await;
    decide(service, &id, |f| f.ingest(says(vec![]), &policy, at.plus(DAY), J)).await;
    id
}

/// One result, whose file was too large.
async fn failed(service: &Service, body: &Value) -> String {
    let policy = crate::harness::policy();
    let (id, at) = submitted(service, body, &policy).await;
    let result = ResultId::given("a").unwrap();
    let success = Item::Success(Success {
        result: result.clone(),
        source: SourceUrl("https://vm.runware.ai/a.mp4".to_owned()),
        cost: Some(1.0),
        nsfw: None,
    });
    decide(service, &id, |f| f.ingest(says(vec![success]), &policy, at, J)).await;
    let too_large = CopyOutcome::NotStored(NotStored::TooLarge { size_bytes: 1 });
    decide(service, &id, |f| f.copied(&result, too_large, &policy, at, J)).await;
    id
}

fn log(service: &Service) -> Vec<(String, String, String)> {
    let conn = rusqlite::Connection::open(service.store.path()).unwrap();
    let mut rows = conn
        .prepare("SELECT actor, action, subject FROM operator_log ORDER BY id")
        .unwrap();
    let rows = rows.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[actix_web::test]
async fn i7_a_retry_gives_what_failed_a_new_round_and_is_written_down() {
    let service = Service::start().await;
    let id = failed(&service, &avatar()).await;
    let path = format!("/v1/tasks/{id}/retry");
    let before = service.get(&format!("/v1/tasks/{id}")).await.body;
    assert_eq!(
        (&before["status"], &before["reason"]),
        (&json!("failed"), &json!("no_asset_archived"))
    );

    let told = answer(service.request(Method::POST, &path)).await;
    assert_eq!(told.status, 202, "{}", told.body);
    assert_eq!(
        told.body,
        service.get(&format!("/v1/tasks/{id}")).await.body,
        "as GET shows it"
    );
    assert_eq!(
        (&told.body["status"], &told.body["settledAt"]),
        (&json!("archiving"), &Value::Null)
    );
    let asset = &told.body["assets"][0];
    assert_eq!(
        (&asset["status"], &asset["round"]),
        (&json!("pending"), &json!(2))
    );
    let kinds: Vec<&str> = told.body["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.last(), Some(&"retried"));
    let events = service
        .get(&format!("/v1/events?task={id}&type=task.recovered"))
        .await
        .body;
    assert_eq!(events["data"][0]["data"]["round"], 2);

    answer(service.request(Method::POST, &path))
        .await
        .is_problem(409, "nothing_to_retry");
    let [(actor, action, subject)] = &log(&service)[..] else {
        panic!("one line: {:?}", log(&service))
    };
    assert!(actor.starts_with("key_"), "{actor}");
    assert_eq!((action.as_str(), subject), ("retry", &id));
}

#[actix_web::test]
async fn a_task_without_results_is_asked_about_once_more_and_never_bought_again() {
    let service = Service::start().await;
    let id = timed_out(&service, &avatar()).await;
    let told = service.post(&format!("/v1/tasks/{id}/retry"), &json!({})).await;
    assert_eq!(
        (told.status.as_u16(), &told.body["status"]),
        (202, &json!("timed_out"))
    );
    let file = service
        .store
        .task(None, TaskId::parse(&id).unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(file.task.due_at.is_some(), "the next query is due");
}

#[actix_web::test]
async fn t1_only_what_can_be_retried_of_ones_own_is() {
    let service = Service::start().await;
    let under_way = service.submit(&avatar()).await;
    let refused = service
        .post(&format!("/v1/tasks/{under_way}/retry"), &json!({}))
        .await;
    assert_eq!(
        refused.is_problem(409, "nothing_to_retry").body["taskUUID"],
        json!(under_way)
    );
    let id = failed(&service, &avatar()).await;
    let stranger = service.key_of("stranger").await;
    let path = format!("/v1/tasks/{id}/retry");
    answer(service.request_by(&stranger, Method::POST, &path))
        .await
        .is_problem(404, "not_found");
    let all = service
        .request_by(&stranger, Method::POST, "/v1/tasks/retry")
        .json(&json!({}));
    assert_eq!(answer(all).await.body, json!({"count": 0, "nextCursor": null}));
    for unknown in ["00000000-0000-4000-8000-000000000000", "nonsense"] {
        let path = format!("/v1/tasks/{unknown}/retry");
        answer(service.request(Method::POST, &path))
            .await
            .is_problem(404, "not_found");
    }
    assert!(log(&service).is_empty());
}

#[actix_web::test]
async fn many_are_retried_by_filter_each_with_its_line() {
    let service = Service::start().await;
    let labelled = |team: &str| avatar_with("catchment", json!({"labels": {"team": team}}));
    let mut ids = vec![];
    for _ in 0..3 {
        ids.push(failed(&service, &labelled("red")).await);
        ids.push(timed_out(&service, &labelled("blue")).await);
    }
    let retry = async |filter: Value| service.post("/v1/tasks/retry", &filter).await;
    for (filter, count) in [
        (json!({"reason": "conflict"}), 0),
        (json!({"model": "other:1@1"}), 0),
        (json!({"until": "2020-01-01T00:00:00Z"}), 0),
        (json!({"status": "failed", "label.team": "blue"}), 0),
        (json!({"reason": "too_large", "labels": {"team": "red"}}), 3),
        (
            json!({"status": ["timed_out"], "since": "2020-01-01T00:00:00Z"}),
            3,
        ),
        (json!({"status": "failed"}), 0),
    ] {
        let told = retry(filter.clone()).await;
        assert_eq!(
            (told.status.as_u16(), &told.body["count"]),
            (202, &json!(count)),
            "{filter}: {}",
            told.body
        );
        assert_eq!(told.body["nextCursor"], Value::Null);
    }
    assert_eq!(log(&service).len(), 6);
    let faulty =
        retry(json!({"status": "lost", "reason": 7, "since": "soon", "label.X": "y", "colour": "red"})).await;
    faulty.is_problem(422, "invalid_filter");
    let pointers: Vec<&str> = faulty.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/colour", "/status", "/label.X", "/since", "/reason"]);
}
