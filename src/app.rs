//! Composition root: settings → adapters → steps → HTTP and workers → orderly stop.
//!
//! What the command line asks of it stands here; the parts are put together behind these functions.

use crate::config::{ConfigErrors, Settings};
use crate::domain::time::Timestamp;
use crate::ports::BoxError;
use crate::ports::clock::{Clock, Rng};
use crate::ports::store::{Store, StoreError};
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
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

/// What a run of `catchment dev` did. `catchment dev --exit` prints it as JSON.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct DevSummary {
    /// Tasks submitted.
    pub tasks: u64,
    /// Results the provider made and was paid for.
    pub results: u64,
    /// Of these, verified in the bucket.
    pub archived: u64,
    /// Their sizes together.
    pub bytes: u64,
    /// Events the sample endpoint is to get.
    pub events_emitted: u64,
    /// Of these, different ones it took.
    pub events_delivered: u64,
    pub callbacks_received: u64,
    pub callbacks_duplicate: u64,
    /// Results learned from a status query before any callback.
    pub recovered_by_poll: u64,
    /// Results whose last link died before the copy.
    pub lost: u64,
    pub stages: Stages,
}

/// The median time per task in each stage, in seconds.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Stages {
    /// From acceptance to the provider's word.
    pub submit: f64,
    /// From there to the last result known.
    pub render: f64,
    /// From there to the last result archived.
    pub archive: f64,
    /// From an event to its delivery.
    pub deliver: f64,
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
pub async fn serve(_settings: Settings) -> Result<(), AppError> {
    Err(not_assembled("serve"))
}

/// Runs the whole thing on this machine: simulator, object store, database, service, sample endpoint. Ends at SIGINT
/// or SIGTERM, or, with `options.exit`, when all tasks are settled and all events delivered.
///
/// # Errors
/// It could not start, or, with `options.exit`, did not settle within its own limit.
pub async fn dev(_options: DevOptions) -> Result<DevSummary, AppError> {
    Err(not_assembled("dev"))
}

/// Opens the database, migrated, beside a service that may be running on it: takes no lock, voids no lease.
///
/// # Errors
/// `Store`: not readable, or of a newer version. `Failed`: the directory cannot be made.
pub async fn open_store_beside(_settings: &Settings) -> Result<Arc<dyn Store>, AppError> {
    Err(not_assembled("the database"))
}

/// Brings the database to this version's schema, after a backup, alone on it.
///
/// # Errors
/// `Busy`: a running service holds the lock. `Store`: of a newer version, or not writable.
pub async fn migrate(_settings: &Settings) -> Result<Migrated, AppError> {
    Err(not_assembled("migrate"))
}

fn not_assembled(what: &str) -> AppError {
    AppError::Failed {
        what: format!("{what} is not part of this build"),
        source: None,
    }
}

/// The host's time, for commands.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(HostClock)
}

/// The host's randomness, for commands.
pub fn rng() -> Arc<dyn Rng> {
    Arc::new(HostRng)
}

struct HostClock;

#[async_trait]
impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        self.wall()
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of the commands")]
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    #[expect(clippy::disallowed_methods, reason = "the clock of the commands")]
    async fn sleep(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

struct HostRng;

impl Rng for HostRng {
    fn fill(&self, bytes: &mut [u8]) {
        use rand::TryRngCore as _;
        rand::rngs::OsRng
            .try_fill_bytes(bytes)
            .expect("the system always has randomness once it is up");
    }
}
