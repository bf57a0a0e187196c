//! Logs outside that events are appended to, as the settings name them.

use super::AppError;
use crate::config::Settings;
use crate::worker::jobs::Shared;
use crate::worker::supervisor::Workers;

#[cfg(feature = "nats")]
pub async fn start(workers: &mut Workers, settings: &Settings, shared: &Shared) -> Result<(), AppError> {
    use crate::adapters::nats::{Login, NatsLog, NatsOptions};
    use crate::config::{NatsLogin, NatsUrl};
    use crate::ports::health::Component;
    use crate::telemetry::metrics::Sink;
    use crate::worker::outlet::Outlet;
    use std::sync::Arc;

    /// Under which the position is kept.
    const NATS: &str = "nats";

    let Some(NatsUrl { servers, login }) = settings.nats.url.clone() else {
        return none(shared).await;
    };
    shared.store.use_sinks(&[NATS]).await?;
    let login = login.map(|login| match login {
        NatsLogin::User { name, password } => Login::User { name, password },
        NatsLogin::Token(token) => Login::Token(token),
    });
    let log = NatsLog::new(NatsOptions {
        servers,
        login,
        stream: settings.nats.stream.clone(),
        keep: settings.events.retention,
    });
    let outlet = Outlet {
        store: shared.store.clone(),
        log: Arc::new(log),
        sink: NATS,
        component: Component::Nats,
        label: Sink::Nats,
        clock: shared.clock.clone(),
        rng: shared.rng.clone(),
        health: shared.health.clone(),
        metrics: shared.metrics.clone(),
        longest: settings.retry.max_interval,
    };
    workers.spawn(NATS, outlet.run(workers.stopping()));
    Ok(())
}

/// The check of the settings has refused a log that this build does not know.
#[cfg(not(feature = "nats"))]
pub async fn start(_: &mut Workers, _: &Settings, shared: &Shared) -> Result<(), AppError> {
    none(shared).await
}

/// One that was used before holds nothing back any more.
async fn none(shared: &Shared) -> Result<(), AppError> {
    Ok(shared.store.use_sinks(&[]).await?)
}
