use super::*;
use crate::domain::asset::SourceUrl;
use crate::domain::file::TaskFile;
use crate::domain::ids::{ResultId, TaskId, Tenant};
use crate::domain::report::{Item, RequestEcho, Success};
use crate::ports::provider::SubmitOutcome;
use async_trait::async_trait;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

/// Answers every query alike; its archive knows the request, or refuses.
struct Told {
    items: Vec<Item>,
    archive: Result<u32, Duration>,
    lookups: AtomicU32,
}

#[async_trait]
impl Provider for Told {
    async fn submit(&self, _: TaskId, _: &str, _: &str) -> SubmitOutcome {
        SubmitOutcome::Accepted
    }

    async fn query(&self, ids: &[TaskId]) -> Result<Vec<Report>, ProviderError> {
        let report = Report {
            items: self.items.clone(),
            ..Report::default()
        };
        Ok(vec![report; ids.len()])
    }

    async fn details(&self, _: TaskId) -> Result<Option<Report>, ProviderError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let number_results = self.archive.map_err(|wait| ProviderError {
            code: "http_429".to_owned(),
            retry_after: Some(wait),
            parked: false,
        })?;
        let request = RequestEcho {
            number_results: Some(number_results),
            ..RequestEcho::default()
        };
        Ok(Some(Report {
            request: Some(request),
            ..Report::default()
        }))
    }

    fn read_callback(&self, _: TaskId, _: &[u8]) -> Report {
        Report::default()
    }
}

struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }

    async fn sleep(&self, _: Duration) {}
}

fn policy() -> Policy {
    Policy {
        poll_first_after: Duration::from_secs(180),
        poll_max_interval: Duration::from_secs(300),
        poll_deadline: Duration::from_secs(86_400),
        trust_after: Duration::from_secs(120),
        retry_max_interval: Duration::from_secs(60),
        resend_window: Duration::from_secs(600),
        max_hold: Duration::from_secs(86_400),
        at_risk_after: 0.5,
        default_ttl: Duration::from_secs(86_400),
    }
}

fn adopted(n: u128) -> Inquiry {
    let (id, tenant) = (TaskId(Uuid::from_u128(n)), Tenant::default_tenant());
    let adopted = TaskFile::adopt(id, tenant, Origin::Recovered, &policy(), Still.now());
    Inquiry {
        file: TaskFile {
            task: adopted.task,
            assets: vec![],
        },
        receipts: vec![],
    }
}

async fn ask(provider: &Told, inquiries: &[Inquiry]) -> (Vec<Asked>, Option<ProviderError>) {
    let ctx = Poll {
        provider,
        clock: &Still,
        policy: &policy(),
        host_allowed: &|_| true,
    };
    poll(&ctx, inquiries).await
}

fn finished() -> Item {
    Item::Success(Success {
        result: ResultId::given("a").unwrap(),
        source: SourceUrl("https://vm.runware.ai/a.mp4".to_owned()),
        cost: None,
        nsfw: None,
    })
}

#[tokio::test]
async fn i13_an_adopted_task_learns_how_many_results_there_are_to_be_before_it_is_settled() {
    let provider = Told {
        items: vec![finished()],
        archive: Ok(2),
        lookups: AtomicU32::new(0),
    };
    let inquiry = adopted(1);
    let (mut asked, error) = ask(&provider, std::slice::from_ref(&inquiry)).await;
    assert!(error.is_none());
    let t = inquiry.file.ingest(
        asked.remove(0),
        &policy(),
        Still.now(),
        crate::domain::backoff::Jitter(0.5),
    );
    assert_eq!((t.assets.len(), t.task.number_results), (1, 2));
    assert_eq!(t.task.outcome, Outcome::Open, "one of two is not all");
}

#[tokio::test]
async fn i12_after_a_refused_look_into_the_archive_no_other_follows() {
    let wait = Duration::from_secs(40);
    let provider = Told {
        items: vec![],
        archive: Err(wait),
        lookups: AtomicU32::new(0),
    };
    let (asked, error) = ask(&provider, &[adopted(1), adopted(2), adopted(3)]).await;
    assert_eq!(provider.lookups.load(Ordering::Relaxed), 1);
    assert_eq!(error.unwrap().code, "http_429");
    for one in asked {
        assert!(
            one.answer.is_none(),
            "a task that was not looked up was not answered"
        );
        assert_eq!(one.at_least, Some(wait));
    }
}
