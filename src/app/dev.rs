//! `catchment dev`: everything on one machine, no account, no key, no network: the simulator, an S3 server, the service
//! as it is, and a sample endpoint that verifies signatures. The files are real videos.

mod ledger; // what was paid against what is in the bucket
mod sample; // the tasks it submits
mod summary; // what a run did

use super::assemble::{Assembly, Service};
use super::{AppError, StopSignal};
use crate::adapters::embedded_s3::EmbeddedS3;
use crate::adapters::s3::Access;
use crate::adapters::sources::Patience;
use crate::config::Settings;
use crate::domain::ids::{Digest, Tenant, hex};
use crate::http::sample_endpoint::SampleEndpoint;
use crate::ports::store::{Accounts as _, NewApiKey, Outbox as _, TaskStore as _};
use crate::simulator::{Faults, Simulator, Tally};
use futures_util::stream::{self, StreamExt as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tracing::info;

use summary::Misdeeds;
pub use summary::{DevSummary, Stages};

const BUCKET: &str = "catchment-dev";
const S3_KEY: &str = "dev";
/// Submissions under way at once.
const SUBMITTERS: usize = 8;
/// Longest silence of a source that is waited for, and how long one that stalls is silent: shorter than in earnest, so
/// that a demonstration need not wait for half a minute.
const SILENCE: Duration = Duration::from_secs(5);
const STALL: Duration = Duration::from_secs(8);
/// Between looks at what is still open.
const LOOK: Duration = Duration::from_millis(100);
/// A run that has not settled by then has lost something.
const SETTLE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How `catchment dev` is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct DevOptions {
    /// Sample tasks to submit.
    pub tasks: u32,
    pub faults: FaultLevel,
    /// End when all is settled and delivered, instead of at a signal.
    pub exit: bool,
    /// Where the simulator's chance starts.
    pub seed: u64,
    /// Exists already when `exit` is set, else is made.
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
}

/// How the simulated provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultLevel {
    /// As documented
    None,
    /// Lost and doubled callbacks, slow answers, a broken download now and then
    Mild,
    /// Everything that has ever been seen to go wrong, often
    Harsh,
}

impl FaultLevel {
    /// The simulator's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mild => "mild",
            Self::Harsh => "harsh",
        }
    }
}

/// Runs the whole thing on this machine. Ends at SIGINT or SIGTERM, or, with `options.exit`, when all tasks are settled
/// and all events delivered.
///
/// # Errors
/// It could not start, or, with `options.exit`, did not settle within its own limit.
pub async fn dev(options: DevOptions) -> Result<DevSummary, AppError> {
    let mut stop = StopSignal::listen()?;
    let world = World::start(&options).await?;
    let run = async {
        world.submit_samples(options.tasks).await?;
        if options.exit {
            world.settled().await
        } else {
            world.watch().await
        }
    };
    let outcome = tokio::select! {
        done = run => done,
        signal = stop.received() => { info!(signal, "stopping"); Ok(()) }
    };
    let summary = world.summary(u64::from(options.tasks)).await;
    world.stop().await;
    outcome?;
    summary
}

/// Everything that runs.
struct World {
    simulator: Simulator,
    s3: EmbeddedS3,
    objects: PathBuf,
    endpoint: SampleEndpoint,
    service: Service,
    key: String,
    client: reqwest::Client,
    /// Tells this run's tasks from those of an earlier one on the same directory. The tasks' UUIDs follow from it, and
    /// the simulator's chance from those.
    run: String,
    /// The log's end when this run began.
    since: u64,
}

impl World {
    async fn start(options: &DevOptions) -> Result<Self, AppError> {
        let failed = |what: &'static str| move |e: std::io::Error| AppError::failed(what, e);
        let simulator = Simulator::start(simulator_options(options)?).map_err(failed("the simulator"))?;
        let objects = options.data_dir.join("s3");
        let secret = hex(&super::rng().bytes16());
        let s3 = EmbeddedS3::start(&objects, S3_KEY, &secret)
            .await
            .map_err(failed("the object store"))?;
        s3.create_bucket(BUCKET).map_err(failed("the bucket"))?;
        let secret_of_endpoint = sample::endpoint_secret();
        let endpoint = SampleEndpoint::start(secret_of_endpoint.clone(), super::clock());
        let endpoint = endpoint.map_err(failed("the endpoint"))?;
        let assembly = Assembly {
            s3_access: Access::Static {
                access_key: S3_KEY.to_owned(),
                secret_key: secret.into(),
            },
            patience: Patience {
                idle: SILENCE,
                ..Patience::default()
            },
            ..Assembly::of(settings(options, &simulator, &s3)?)
        };
        let service = Service::start(assembly).await?;
        let key = first_key(&service).await?;
        let client = reqwest::Client::builder().no_proxy().build();
        let client = client.map_err(|e| AppError::failed("the HTTP client cannot be set up", e))?;
        forget_endpoints(&service).await?;
        let since = *service.store.last_sequence().borrow();
        let run = run_name(options.seed, since);
        let world = Self {
            run,
            since,
            simulator,
            s3,
            objects,
            endpoint,
            service,
            key,
            client,
        };
        world.subscribe(&secret_of_endpoint.reveal()).await?;
        world.greet();
        Ok(world)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.addr())
    }

    async fn stop(self) {
        self.service.stop().await;
        self.endpoint.stop().await;
        self.simulator.stop();
        self.s3.stop().await;
    }

    fn greet(&self) {
        let line = |what: &str, where_: &str| eprintln!("  {what:<12} {where_}");
        eprintln!("Catchment, with everything it needs, on this machine:");
        line("API", &self.url("/v1/tasks"));
        line("API key", &self.key);
        line("provider", &self.simulator.api_url());
        line("bucket", &self.objects.join(BUCKET).display().to_string());
        line("endpoint", &self.endpoint.url());
        eprintln!(
            "Try: curl -s -H 'Authorization: Bearer {}' {}",
            self.key,
            self.url("/v1/tasks")
        );
    }
}

/// On a directory of its own a run is repeated by its seed.
fn run_name(seed: u64, since: u64) -> String {
    match since {
        0 => format!("seed-{seed}"),
        _ => hex(&super::rng().bytes16()[..4]),
    }
}

fn simulator_options(options: &DevOptions) -> Result<crate::simulator::Options, AppError> {
    let mut faults: Faults = options.faults.as_str().parse().map_err(|e| AppError::Failed {
        what: format!("fault profile: {e}"),
        source: None,
    })?;
    faults.stall_for = faults.stall_for.min(STALL);
    // A link that is dead for good is waited for an hour past its life before it is given up: not in a demonstration.
    faults.fresh_link = 1.0;
    // One failure told for several results settles nothing: the rest is waited for until the deadline. Not here, either.
    faults.one_error_for_all = 0.0;
    Ok(crate::simulator::Options {
        seed: options.seed,
        render_ms: 300..=2_000,
        faults,
        ..crate::simulator::Options::default()
    })
}

/// The settings of a service that only talks to this machine, and whose provider is quick.
fn settings(options: &DevOptions, simulator: &Simulator, s3: &EmbeddedS3) -> Result<Settings, AppError> {
    let mut settings = Settings::default();
    let bad = |what: &str| AppError::Failed {
        what: format!("{what} is no URL"),
        source: None,
    };
    let local = format!("http://{}", options.listen); // port 0 stands for the port that was bound
    settings.server.listen = options.listen;
    settings.server.public_url = Some(local.parse().map_err(|_| bad("the address of the API"))?);
    settings.data.dir = options.data_dir.clone();
    settings.runware.base_url = simulator.api_url().parse().map_err(|_| bad("the simulator"))?;
    settings.runware.api_key = Some("simulator".to_owned().into());
    settings.runware.max_in_flight = 16;
    settings.s3.bucket = Some(BUCKET.to_owned());
    settings.s3.region = Some("us-east-1".to_owned());
    settings.s3.endpoint = Some(
        s3.endpoint()
            .as_str()
            .parse()
            .map_err(|_| bad("the object store"))?,
    );
    settings.s3.force_path_style = true;
    settings.archive.allowed_hosts = vec!["127.0.0.1".parse().map_err(|_| bad("the host of the links"))?];
    settings.net.allow_private = vec!["127.0.0.0/8".parse().map_err(|_| bad("the loopback"))?];
    settings.retry.max_interval = Duration::from_secs(2);
    settings.callback.trust_after = Duration::from_secs(10);
    settings.poll.first_after = Duration::from_secs(3);
    settings.poll.max_interval = Duration::from_secs(5);
    settings.poll.deadline = Duration::from_secs(600);
    settings.events.schedule = [0, 1, 2, 5, 10, 30].map(Duration::from_secs).to_vec();
    Ok(settings)
}

/// Those of an earlier run on this directory: nobody listens there any more.
async fn forget_endpoints(service: &Service) -> Result<(), AppError> {
    for endpoint in service.store.endpoints(None).await? {
        service
            .store
            .delete_endpoint(&endpoint.tenant, &endpoint.id)
            .await?;
    }
    Ok(())
}

async fn first_key(service: &Service) -> Result<String, AppError> {
    let rng = super::rng();
    let key = format!("ck_{}{}", hex(&rng.bytes16()), hex(&rng.bytes16()));
    let id = format!("key_{}", hex(&rng.bytes16()));
    service
        .store
        .create_key(NewApiKey {
            name: format!("dev-{}", &id[4..12]),
            id,
            tenant: Tenant::default_tenant(),
            sha256: Digest::of(key.as_bytes()),
            created_at: service.clock.now(),
        })
        .await?;
    Ok(key)
}

impl World {
    /// The sample endpoint subscribes as a user would: over HTTP.
    async fn subscribe(&self, secret: &str) -> Result<(), AppError> {
        let body = serde_json::json!({ "url": self.endpoint.url(), "secret": secret, "types": sample::event_types() });
        self.post("/v1/endpoints", &body, None).await
    }

    /// Submits over HTTP, each under an idempotency key of its own.
    async fn submit_samples(&self, count: u32) -> Result<(), AppError> {
        let submit = |n| async move {
            self.post(
                "/v1/tasks",
                &sample::task(&self.run, n),
                Some(format!("sample-{}-{n}", self.run)),
            )
            .await
        };
        let mut answers = stream::iter(0..count).map(submit).buffer_unordered(SUBMITTERS);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        Ok(())
    }

    async fn post(&self, path: &str, body: &serde_json::Value, key: Option<String>) -> Result<(), AppError> {
        let mut request = self.client.post(self.url(path)).bearer_auth(&self.key).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request
            .send()
            .await
            .map_err(|e| AppError::failed(format!("POST {path}"), e))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        Err(AppError::Failed {
            what: format!("POST {path} answered {status}: {text}"),
            source: None,
        })
    }

    /// Until every task has ended and the endpoint has every event.
    async fn settled(&self) -> Result<(), AppError> {
        let limit = self.service.clock.now().plus(SETTLE_LIMIT);
        loop {
            let (open, missing) = (self.open_tasks().await?, self.missing_events().await?);
            if open == 0 && missing == 0 {
                return Ok(());
            }
            if self.service.clock.now() >= limit {
                let what = format!("not settled in time: {open} tasks open, {missing} events not delivered");
                return Err(AppError::Failed { what, source: None });
            }
            self.service.clock.sleep(LOOK).await;
        }
    }

    /// Until a signal: tells when tasks end.
    async fn watch(&self) -> Result<(), AppError> {
        let mut told = self.since;
        loop {
            for event in ledger::events(&*self.service.store, told).await? {
                told = event.sequence;
                if event.kind.is_default() {
                    let what = event.data.key.as_deref().unwrap_or_default();
                    info!(task = event.data.task_uuid, event = %event.kind, key = what, "told");
                }
            }
            self.service.clock.sleep(LOOK).await;
        }
    }

    async fn open_tasks(&self) -> Result<u64, AppError> {
        let figures = self.service.store.figures(self.service.clock.now()).await?;
        Ok(figures
            .tasks
            .iter()
            .filter(|(status, _)| !status.is_terminal())
            .map(|(_, n)| n)
            .sum())
    }

    async fn missing_events(&self) -> Result<u64, AppError> {
        let emitted = ledger::events(&*self.service.store, self.since).await?;
        let taken = self.endpoint.taken();
        Ok(emitted
            .iter()
            .filter(|e| !e.kind.is_operator() && !taken.contains_key(e.id.as_str()))
            .count() as u64)
    }

    async fn summary(&self, tasks: u64) -> Result<DevSummary, AppError> {
        let emitted = ledger::events(&*self.service.store, self.since).await?;
        let taken = self.endpoint.taken();
        let book = ledger::audit(&self.simulator, &*self.service.store, &self.objects.join(BUCKET)).await?;
        let page = self.service.metrics.render();
        let received = |result: &str| ledger::counter(&page, "callbacks_received_total", result);
        let stored = received("stored") + received("over_limit");
        let told = emitted.iter().filter(|e| !e.kind.is_operator());
        for what in &book.untrue {
            tracing::error!("not as the provider's book says: {what}");
        }
        let Tally {
            faults,
            bodies,
            clips,
            number_results,
        } = self.simulator.tally();
        Ok(DevSummary {
            tasks,
            generations: book.generations,
            results: book.paid,
            archived: book.archived,
            bytes: book.bytes,
            failed: book.failed,
            untrue: book.untrue.len() as u64,
            events_emitted: told.clone().count() as u64,
            events_delivered: told.filter(|e| taken.contains_key(e.id.as_str())).count() as u64,
            callbacks_received: stored + received("duplicate"),
            callbacks_duplicate: received("duplicate"),
            recovered_by_poll: ledger::counter(&page, "recovered_by_poll_total", ""),
            lost: book.lost,
            faults: Misdeeds::new(self.simulator.stats(), faults, bodies),
            containers: clips,
            number_results,
            stages: ledger::stages(&emitted, &taken),
        })
    }
}
