//! Composition root: settings → adapters → steps → HTTP and workers → orderly stop. The only place that names an
//! adapter.

pub mod assemble; // the parts put together: Service
mod backup; // a copy of the database, while all goes on
mod copying; // threads for copies, at a lower priority
#[cfg(feature = "dev")]
mod dev; // everything on one machine
mod keyfile; // callback keys under `data.dir`
mod outer; // provider and bucket, and what asks them
mod outlets; // logs outside
mod probe; // is the bucket there?
mod wanted; // settings in the words of the parts

#[cfg(feature = "dev")]
pub use dev::{DevOptions, DevSummary, FaultLevel, Stages, dev};

pub use backup::{BackedUp, BackupTo, backup};

use crate::adapters::sqlite;
use crate::adapters::system::{SystemClock, SystemRng};
use crate::config::{ConfigErrors, Settings};
use crate::ports::BoxError;
use crate::ports::clock::{Clock, Rng};
use crate::ports::store::{Store, StoreError};
use assemble::{Assembly, Service};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// Named for what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The settings do not allow it: change them.
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
    /// The database said no; [`StoreError`] tells whether to try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something else holds what this process needs (the address, the database's lock): try again later.
    #[error("{what}")]
    Busy { what: String },
    /// Nothing that a repeat would mend.
    #[error("{what}")]
    Failed {
        what: String,
        #[source]
        source: Option<BoxError>,
    },
}

impl AppError {
    fn failed(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Failed {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}

/// What `migrate` did.
#[derive(Clone, Debug, PartialEq)]
pub struct Migrated {
    pub database: PathBuf,
    /// Schema version found; `None`: there was no database.
    pub from: Option<u32>,
    pub to: u32,
    /// The copy made first; `None`: nothing was to be changed.
    pub backup: Option<PathBuf>,
}

/// Runs the service until SIGINT or SIGTERM and stops it in order.
///
/// # Errors
/// It could not start, or had to stop (a failed fsync).
pub async fn serve(settings: Settings) -> Result<(), AppError> {
    let mut stop = StopSignal::listen()?;
    let service = Service::start(Assembly::of(settings)).await?;
    service.greet().await;
    let fatal = tokio::select! {
        name = stop.received() => { info!(signal = name, "stopping"); None }
        why = service.fatal() => Some(why),
    };
    service.stop().await;
    match fatal {
        None => Ok(()),
        Some(what) => Err(AppError::Failed { what, source: None }),
    }
}

/// SIGINT and SIGTERM, listened for before anything is started.
pub(crate) struct StopSignal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignal {
    pub(crate) fn listen() -> Result<Self, AppError> {
        let on = |kind| signal(kind).map_err(|e| AppError::failed("signals cannot be listened for", e));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Opens the database, migrated, beside a service that may be running on it: takes no lock, voids no lease.
///
/// # Errors
/// `Store`: not readable, or of a newer version. `Failed`: the directory cannot be made.
pub async fn open_store_beside(settings: &Settings) -> Result<Arc<dyn Store>, AppError> {
    let store = assemble::open_store(settings, sqlite::Role::Beside, &*clock())?;
    Ok(store)
}

/// Brings the database to this version's schema, after a backup, alone on it.
///
/// # Errors
/// `Busy`: a running service holds the lock. `Failed`: of a newer version, or not writable.
pub async fn migrate(settings: &Settings) -> Result<Migrated, AppError> {
    let database = settings.database_path();
    let done = sqlite::migrate(&database).map_err(assemble::open_error)?;
    Ok(match done {
        Some(upgrade) => Migrated {
            database,
            from: (upgrade.from > 0).then_some(upgrade.from.unsigned_abs()),
            to: upgrade.to.unsigned_abs(),
            backup: upgrade.backup,
        },
        None => Migrated {
            database,
            from: Some(sqlite::SCHEMA),
            to: sqlite::SCHEMA,
            backup: None,
        },
    })
}

/// The host's time, for commands.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

/// The host's randomness, for commands.
pub fn rng() -> Arc<dyn Rng> {
    Arc::new(SystemRng)
}
