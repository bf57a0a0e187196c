//! Every metric of the service: names, labels and buckets in one place.
//!
//! Base units, bounded labels, no ids. All label values are there from the start, at zero, so that a rate or an
//! alert never waits for the first event.

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crate::domain::{asset::AssetReason, task::TaskStatus};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, text},
    metrics::{
        TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info,
    },
    registry::{Metric, Registry},
};

/// `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label with a closed set of values.
pub trait Label: Copy + fmt::Debug + Hash + Eq + Send + Sync + 'static {
    const NAME: &'static str;
    const ALL: &'static [Self];

    fn value(self) -> &'static str;
}

impl Label for TaskStatus {
    const NAME: &'static str = "status";
    const ALL: &'static [Self] = &TaskStatus::ALL;

    fn value(self) -> &'static str {
        self.as_str()
    }
}

macro_rules! label {
    ($(#[$meta:meta])* $type:ident $name:literal { $($(#[$variant_meta:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[$variant_meta])* $variant),+ }

        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }
    };
}

label! {
    /// How one submission attempt ended.
    SubmissionOutcome "outcome" {
        /// The provider has it.
        Submitted = "submitted",
        /// Surely not accepted; the task is sent again later.
        TryLater = "try_later",
        /// Nobody can say; the task is queried before anything else.
        Unclear = "unclear",
        /// The provider will not take this task.
        Refused = "refused",
        /// The account is at fault (key, credit): the queue is parked.
        Parked = "parked",
    }
}

label! {
    /// What became of a callback request.
    CallbackResult "result" {
        Stored = "stored",
        /// The same body again: answered like the first.
        Duplicate = "duplicate",
        /// The task has all the receipts it may have: answered, not stored, queried.
        OverLimit = "over_limit",
        /// A token fault: the one 404.
        BadToken = "bad_token",
        /// Too large, too slow, or of a type we do not read.
        BadBody = "bad_body",
        /// Could not be stored: 503.
        Unavailable = "unavailable",
    }
}

label! {
    /// Why a copy did not become an archived object: the first five end the asset, the others are tried again.
    ArchiveFailure "reason" {
        SourceGone = "source_gone",
        BadContent = "bad_content",
        Conflict = "conflict",
        TooLarge = "too_large",
        StoreRefused = "store_refused",
        SourceBroke = "source_broke",
        SourceDenied = "source_denied",
        StoreUnavailable = "store_unavailable",
        ChecksumMismatch = "checksum_mismatch",
        LeaseLost = "lease_lost",
    }
}

label! {
    /// What the readiness page names when it is in trouble.
    Component "component" {
        ObjectStore = "object_store",
        Provider = "provider",
        Sources = "sources",
        Deliveries = "deliveries",
        Journal = "journal",
        Nats = "nats",
    }
}

impl From<AssetReason> for ArchiveFailure {
    fn from(reason: AssetReason) -> Self {
        match reason {
            AssetReason::SourceGone => Self::SourceGone,
            AssetReason::BadContent => Self::BadContent,
            AssetReason::Conflict => Self::Conflict,
            AssetReason::TooLarge => Self::TooLarge,
            AssetReason::StoreRefused => Self::StoreRefused,
        }
    }
}

label! {
    /// How one delivery attempt ended.
    DeliveryOutcome "outcome" {
        Delivered = "delivered",
        /// Failed; another try is planned.
        Retry = "retry",
        /// Failed for the last time.
        Dead = "dead",
    }
}

label! {
    /// A way out for events.
    Sink "sink" { Webhook = "webhook", Nats = "nats" }
}

/// A label as the one label of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Only<L>(L);

impl<L: Label> EncodeLabelSet for Only<L> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [(L::NAME, self.0.value())].encode(encoder)
    }
}

/// No label at all; a family of this is absent until it is set.
type NoLabels = [(&'static str, &'static str); 0];

/// The 2xx is due within about 5 s (Runware webhooks page); a durable answer takes around a millisecond.
const ACK_SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];

/// From a small clip on a quiet line to gigabytes at the rate floor.
const ARCHIVE_SECONDS: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0,
];

/// 0 holds what came too late; then five minutes to thirty days.
const MARGIN_SECONDS: [f64; 9] = [
    0.0,
    300.0,
    3_600.0,
    14_400.0,
    43_200.0,
    86_400.0,
    259_200.0,
    604_800.0,
    2_592_000.0,
];

/// Handles to all metrics. A clone shares the values and costs one counter.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    tasks: Family<Only<TaskStatus>, Gauge>,
    submissions: Family<Only<SubmissionOutcome>, Counter>,
    callbacks_received: Family<Only<CallbackResult>, Counter>,
    callback_ack: Histogram,
    archive_duration: Histogram,
    archive_bytes: Counter,
    archive_failures: Family<Only<ArchiveFailure>, Counter>,
    archive_deadline_margin: Histogram,
    oldest_unarchived: Family<NoLabels, Gauge>,
    recovered_by_poll: Counter,
    results_lost: Counter,
    deliveries: Family<Only<DeliveryOutcome>, Counter>,
    event_lag: Family<Only<Sink>, Gauge>,
    degraded: Family<Only<Component>, Gauge>,
    provider_cost_usd: Counter<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero. The registry adds `_total` to counters and `_info` to build information itself.
    pub fn new() -> Self {
        let mut r = Registry::with_prefix("catchment");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The running build", build);
        let families = Families {
            tasks: labelled(&mut r, "tasks", "Tasks by status"),
            submissions: labelled(&mut r, "submissions", "Submission attempts by outcome"),
            callbacks_received: labelled(
                &mut r,
                "callbacks_received",
                "Callback requests by what became of them",
            ),
            callback_ack: histogram(
                &mut r,
                "callback_ack_duration_seconds",
                "From the request to the answer, storing included",
                &ACK_SECONDS,
            ),
            archive_duration: histogram(
                &mut r,
                "archive_duration_seconds",
                "One successful copy, verification included",
                &ARCHIVE_SECONDS,
            ),
            archive_bytes: single(&mut r, "archive_bytes", "Bytes of archived results"),
            archive_failures: labelled(
                &mut r,
                "archive_failures",
                "Copies that did not become an archived object",
            ),
            archive_deadline_margin: histogram(
                &mut r,
                "archive_deadline_margin_seconds",
                "Time left until the link dies when a result was archived; 0 when it was late",
                &MARGIN_SECONDS,
            ),
            oldest_unarchived: single(
                &mut r,
                "oldest_unarchived_archive_by_timestamp_seconds",
                "When the next link dies whose result is not archived; absent when there is none",
            ),
            recovered_by_poll: single(
                &mut r,
                "recovered_by_poll",
                "Results that a query found before any callback",
            ),
            results_lost: single(&mut r, "results_lost", "Results that ended expired or failed"),
            deliveries: labelled(&mut r, "deliveries", "Delivery attempts by outcome"),
            event_lag: labelled(&mut r, "event_lag", "Events that a sink has not got yet"),
            degraded: labelled(
                &mut r,
                "degraded",
                "1 while the readiness page names the component under `degraded`",
            ),
            provider_cost_usd: single(
                &mut r,
                "provider_cost_usd",
                "What the provider reported to have charged",
            ),
            registry: r,
        };
        Self(Arc::new(families))
    }

    /// The OpenMetrics text; see [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).expect("writing to a String cannot fail");
        page.replace("{} ", " ") // a family without labels, as every other metric without labels is written
    }

    pub fn set_tasks(&self, status: TaskStatus, count: u64) {
        self.0.tasks.get_or_create(&Only(status)).set(signed(count));
    }

    pub fn submission(&self, outcome: SubmissionOutcome) {
        self.0.submissions.get_or_create(&Only(outcome)).inc();
    }

    pub fn callback_received(&self, result: CallbackResult, took: Duration) {
        self.0.callbacks_received.get_or_create(&Only(result)).inc();
        self.0.callback_ack.observe(took.as_secs_f64());
    }

    /// `margin`: from now to the asset's `archive_by`; zero when that has passed.
    pub fn archived(&self, took: Duration, size_bytes: u64, margin: Duration) {
        self.0.archive_duration.observe(took.as_secs_f64());
        self.0.archive_bytes.inc_by(size_bytes);
        self.0.archive_deadline_margin.observe(margin.as_secs_f64());
    }

    pub fn archive_failed(&self, reason: ArchiveFailure) {
        self.0.archive_failures.get_or_create(&Only(reason)).inc();
    }

    /// `archive_by` in Unix seconds; `None` when everything known is archived.
    pub fn set_oldest_unarchived(&self, archive_by: Option<i64>) {
        match archive_by {
            Some(at) => drop(self.0.oldest_unarchived.get_or_create(&[]).set(at)),
            None => self.0.oldest_unarchived.clear(),
        }
    }

    pub fn recovered_by_poll(&self) {
        self.0.recovered_by_poll.inc();
    }

    pub fn result_lost(&self) {
        self.0.results_lost.inc();
    }

    pub fn delivery(&self, outcome: DeliveryOutcome) {
        self.0.deliveries.get_or_create(&Only(outcome)).inc();
    }

    /// Several that ended alike.
    pub fn deliveries(&self, outcome: DeliveryOutcome, count: u64) {
        self.0.deliveries.get_or_create(&Only(outcome)).inc_by(count);
    }

    pub fn set_event_lag(&self, sink: Sink, events: u64) {
        self.0.event_lag.get_or_create(&Only(sink)).set(signed(events));
    }

    pub fn set_degraded(&self, component: Component, is: bool) {
        self.0.degraded.get_or_create(&Only(component)).set(i64::from(is));
    }

    /// A negative or non-finite amount is a provider's mistake and is left out: a counter only grows.
    pub fn provider_cost_usd(&self, amount: f64) {
        if amount.is_finite() && amount > 0.0 {
            self.0.provider_cost_usd.inc_by(amount);
        }
    }
}

/// A family with every value of its label at zero.
fn labelled<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<Only<L>, M>
where
    L: Label,
    M: EncodeMetric + TypedMetric + fmt::Debug + Default + Clone + Send + Sync + 'static,
{
    let family = Family::<Only<L>, M>::default();
    for label in L::ALL {
        drop(family.get_or_create(&Only(*label)));
    }
    registry.register(name, help, family.clone());
    family
}

fn single<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histogram(registry: &mut Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let histogram = Histogram::new(buckets.iter().copied());
    registry.register(name, help, histogram.clone());
    histogram
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
