//! What the tests build their stories from. Ids, times and links are made from small numbers.

use catchment::domain::asset::{ObjectKey, SourceUrl, Stored};
use catchment::domain::backoff::Jitter;
use catchment::domain::delivery::{Endpoint, Secret};
use catchment::domain::event::EventKind;
use catchment::domain::fair_share::Places;
use catchment::domain::file::{Asked, CopyOutcome, Policy, TaskFile};
use catchment::domain::ids::{AssetId, Digest, EndpointId, ResultId, TaskId, Tenant};
use catchment::domain::lease::{Fence, Lease};
use catchment::domain::report::{Item, Report, Success};
use catchment::domain::task::{Origin, Outcome, Submission, Task, TaskState};
use catchment::domain::time::Timestamp;
use catchment::domain::transition::Transition;
use catchment::ports::store::*;
use std::time::Duration;
use uuid::Uuid;

pub const LEASE: Duration = Duration::from_secs(60);
/// For calls of tasks' own webhooks: more than any story needs, two a receiver.
pub const PLACES: Places = Places {
    all: 100,
    per_origin: 2,
};
pub const J: Jitter = Jitter(0.5);

/// Seconds after the tests' epoch.
pub fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + s * 1000)
}

pub fn id(n: u32) -> TaskId {
    TaskId(Uuid::from_u128(
        0x1000_4000_8000_0000_0000 | (u128::from(n) << 96) | u128::from(n),
    ))
}

pub fn result(name: &str) -> ResultId {
    ResultId::given(name).unwrap()
}

pub fn tenant(name: &str) -> Tenant {
    Tenant(name.to_owned())
}

pub fn acme() -> Tenant {
    tenant("acme")
}

pub fn policy() -> Policy {
    let s = Duration::from_secs;
    Policy {
        poll_first_after: s(180),
        poll_max_interval: s(300),
        poll_deadline: s(24 * 3600),
        trust_after: s(120),
        retry_max_interval: s(60),
        resend_window: s(600),
        max_hold: s(7 * 24 * 3600),
        at_risk_after: 0.5,
        default_ttl: s(7 * 24 * 3600),
    }
}

pub fn task(n: u32, owner: &Tenant, now: Timestamp) -> Task {
    Task {
        id: id(n),
        tenant: owner.clone(),
        version: 0,
        model: "klingai:avatar@2.0-pro".to_owned(),
        number_results: 1,
        labels: Default::default(),
        key_prefix: None,
        ext: None,
        ttl: Duration::from_secs(3600),
        origin: Origin::Submitted,
        submission: Submission::None,
        state: TaskState::Accepted,
        created_at: now,
        first_attempt_at: None,
        submitted_at: None,
        deadline: None,
        settled_at: None,
        items_named: 0,
        outcome: Outcome::Open,
        cost: None,
        failures: vec![],
        round: 1,
        event_count: 0,
        queries: 0,
        attempts: 0,
        due_at: Some(now),
    }
}

/// A task whose body is `body`.
pub fn new_task(task: Task, body: &str) -> NewTask {
    NewTask {
        entry: format!("{{\"taskUUID\":\"{}\"}}", task.id),
        transition: TaskFile::accept(task),
        document: body.to_owned(),
        fingerprint: Digest::of(body.as_bytes()),
        task_type: Some("videoInference".to_owned()),
        webhook: None,
    }
}

pub fn submission(owner: &Tenant, key: Option<&str>, tasks: Vec<NewTask>) -> NewSubmission {
    let whole: String = tasks.iter().map(|t| t.document.as_str()).collect();
    NewSubmission {
        tenant: owner.clone(),
        idempotency: key.map(|key| IdempotencyKey {
            key: key.to_owned(),
            fingerprint: Digest::of(whole.as_bytes()),
        }),
        tasks,
    }
}

pub async fn accept(s: &dyn Store, n: u32, now: Timestamp) {
    let answer = s
        .accept(submission(
            &acme(),
            None,
            vec![new_task(task(n, &acme(), now), "{}")],
        ))
        .await
        .unwrap();
    assert!(matches!(answer, Accepted::Stored(_)), "{answer:?}");
}

pub async fn file(s: &dyn Store, n: u32) -> TaskFile {
    s.task(None, id(n)).await.unwrap().expect("the task is stored")
}

pub fn claim(now: Timestamp, limit: u32) -> Claim {
    Claim {
        now,
        lease: LEASE,
        limit,
    }
}

pub fn task_fence<T>(lease: &Lease<T>, id: TaskId) -> Fence {
    Fence::Task {
        id,
        epoch: lease.epoch,
    }
}

pub fn asset_fence(lease: &Lease<CopyJob>) -> Fence {
    Fence::Asset {
        id: lease.item.asset.clone(),
        epoch: lease.epoch,
    }
}

/// Accepted, then submitted by a worker, all at `now`.
pub async fn submit(s: &dyn Store, n: u32, now: Timestamp) {
    accept(s, n, now).await;
    let lease = s.claim_submissions(claim(now, 1)).await.unwrap().remove(0);
    assert_eq!(
        lease.item.task.id,
        id(n),
        "another task was waiting to be submitted"
    );
    let fence = task_fence(&lease, id(n));
    let begun = lease.item.submission_begins(now);
    let version = s.commit_and_hold(begun.clone(), fence.clone()).await.unwrap();
    let mut file = TaskFile {
        task: begun.task,
        assets: vec![],
    };
    file.task.version = version;
    s.commit(file.submitted(Submission::Confirmed, &policy(), now, J), fence)
        .await
        .unwrap();
}

pub fn success(name: &str) -> Item {
    Item::Success(Success {
        result: result(name),
        source: SourceUrl(format!("https://vm.runware.ai/{name}.mp4")),
        cost: Some(1.5),
        nsfw: Some(false),
    })
}

pub fn answered(items: Vec<Item>) -> Asked {
    Asked {
        answer: Some(Report {
            items,
            ..Report::default()
        }),
        claims: vec![],
        at_least: None,
    }
}

/// What a status query that shows these results comes to.
pub fn discovery(file: TaskFile, results: &[&str], now: Timestamp) -> Transition {
    let items = results.iter().map(|name| success(name)).collect();
    file.ingest(answered(items), &policy(), now, J)
}

/// Submitted, and its results known by a status query nobody had to be claimed for.
pub async fn discover(s: &dyn Store, n: u32, results: &[&str], now: Timestamp) {
    submit(s, n, now).await;
    let t = discovery(file(s, n).await, results, now);
    s.commit(t, Fence::Version).await.unwrap();
}

pub fn stored(name: &str, now: Timestamp) -> Stored {
    Stored {
        bucket: "videos".to_owned(),
        key: ObjectKey(format!("{name}.mp4")),
        size_bytes: 1 << 40,
        sha256: Digest::of(name.as_bytes()),
        content_type: "video/mp4".to_owned(),
        duration_ms: Some(5000),
        width: Some(1080),
        height: Some(1920),
        archived_at: now,
    }
}

pub fn archived(file: TaskFile, name: &str, now: Timestamp) -> Transition {
    let outcome = CopyOutcome::Archived(stored(name, now));
    file.copied(&result(name), outcome, &policy(), now, J)
}

/// The whole life of a task with one result.
pub async fn complete(s: &dyn Store, n: u32, now: Timestamp) {
    discover(s, n, &["only"], now).await;
    let t = archived(file(s, n).await, "only", now);
    s.commit(t, Fence::Version).await.unwrap();
}

pub fn asset_id(n: u32, name: &str) -> AssetId {
    AssetId {
        task: id(n),
        result: result(name),
    }
}

pub fn receipt(n: u32, body: &str, now: Timestamp) -> NewReceipt {
    NewReceipt {
        task: id(n),
        sha256: Digest::of(body.as_bytes()),
        body: body.as_bytes().to_vec(),
        at: now,
    }
}

pub fn endpoint(n: u8, owner: &Tenant, types: &[EventKind], cursor: u64) -> Endpoint {
    let url = "https://hooks.example.com/".to_owned();
    let id = EndpointId::new([n; 16]);
    Endpoint {
        types: types.to_vec(),
        cursor,
        ..Endpoint::new(id, owner.clone(), url, Secret(vec![n; 32]), at(0))
    }
}

pub fn all_events(owner: &Tenant) -> EventQuery {
    EventQuery {
        tenant: owner.clone(),
        after: 0,
        limit: 1000,
        types: vec![],
        models: vec![],
        labels: Default::default(),
        task: None,
    }
}

pub fn all_tasks(owner: &Tenant) -> TaskQuery {
    TaskQuery {
        tenant: owner.clone(),
        statuses: vec![],
        model: None,
        labels: Default::default(),
        since: None,
        until: None,
        limit: 200,
        cursor: None,
    }
}
