//! Appends events to a log outside as they are committed, for as long as it takes: while that log cannot be reached
//! they wait in ours.

use crate::domain::backoff;
use crate::ports::clock::{Clock, Rng};
use crate::ports::event_log::{EventLog, Trouble};
use crate::ports::health::{Component, Health};
use crate::ports::store::Store;
use crate::steps::append::{Append, AppendError, append, resume};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{DeliveryOutcome, Sink};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A look without a new event: a net under lost wake-ups, and a moment to notice that the log is gone.
const IDLE: Duration = Duration::from_secs(10);
/// Of an orderly stop, for saying goodbye.
const CLOSE: Duration = Duration::from_secs(2);

pub struct Outlet {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn EventLog>,
    /// Under which its position is kept.
    pub sink: &'static str,
    pub component: Component,
    pub label: Sink,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub health: Health,
    pub metrics: Metrics,
    /// `retry.max_interval`.
    pub longest: Duration,
}

impl Outlet {
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.store.last_sequence();
        let mut position = None;
        let mut reached = self.store.sink_position(self.sink).await.ok(); // for the lag, while nobody answers
        let mut failures = 0;
        while !stop.is_cancelled() {
            news.borrow_and_update(); // before the look: an event committed during it is seen by the next
            let round = self.round(&mut position).await;
            reached = position.or(reached);
            self.measure(reached);
            let pause = match round {
                Ok(false) => {
                    failures = 0;
                    self.fine();
                    continue;
                }
                Ok(true) => {
                    failures = 0;
                    self.fine();
                    IDLE
                }
                Err(e) => {
                    position = None;
                    failures += 1;
                    if self.told(&e, failures) {
                        continue;
                    }
                    backoff::delay(failures, self.longest, None, self.rng.jitter())
                }
            };
            self.wait(pause, failures > 0, &mut news, reached, &stop).await;
        }
        let closed = tokio::time::timeout(CLOSE, self.log.close()).await;
        if closed.is_err() {
            warn!(sink = self.sink, "the connection was not closed in order");
        }
    }

    /// Appends once; answers whether nothing further is there.
    async fn round(&self, position: &mut Option<u64>) -> Result<bool, AppendError> {
        let ctx = Append {
            store: &*self.store,
            log: &*self.log,
            sink: self.sink,
        };
        let from = match *position {
            Some(at) => at,
            None => resume(&ctx).await?,
        };
        let done = append(&ctx, from).await?;
        *position = Some(done.to);
        self.metrics.deliveries(DeliveryOutcome::Delivered, done.events);
        match done.trouble {
            Some(trouble) => Err(AppendError::Log(trouble)),
            None => Ok(done.done),
        }
    }

    /// Answers whether to look again at once.
    fn told(&self, error: &AppendError, failures: u32) -> bool {
        match error {
            // The first time it is only our idea of the log's end that was wrong.
            AppendError::Log(Trouble { stale: true, .. }) if failures == 1 => true,
            AppendError::Log(Trouble { code, .. }) => {
                self.metrics.delivery(DeliveryOutcome::Retry);
                if self.health.degrade(self.component, code, self.clock.now()) {
                    warn!(sink = self.sink, code, "events wait for the log outside");
                }
                false
            }
            AppendError::Store(e) => {
                warn!(sink = self.sink, error = %e, "events wait: our own log could not be read");
                false
            }
        }
    }

    fn fine(&self) {
        if self.health.recover(self.component) {
            info!(sink = self.sink, "the log outside takes events again");
        }
    }

    /// Until an event comes or the time is over; in trouble the time alone counts, and the lag is told meanwhile.
    async fn wait(
        &self,
        pause: Duration,
        in_trouble: bool,
        news: &mut watch::Receiver<u64>,
        position: Option<u64>,
        stop: &CancellationToken,
    ) {
        let mut over = self.clock.sleep(pause);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut over => return,
                Ok(()) = news.changed() => {
                    if !in_trouble {
                        return;
                    }
                    self.measure(position);
                }
            }
        }
    }

    fn measure(&self, position: Option<u64>) {
        let last = *self.store.last_sequence().borrow();
        if let Some(at) = position {
            self.metrics.set_event_lag(self.label, last.saturating_sub(at));
        }
    }
}
