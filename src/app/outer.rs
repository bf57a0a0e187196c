//! The provider and the bucket, one client each, and what the journal and the audit are made of.

use super::AppError;
use super::assemble::provider;
use super::wanted::s3_options;
use crate::adapters::runware::{RunwareClient, RunwareSpend};
use crate::adapters::s3::{Access, S3Blobs, S3Journal};
use crate::adapters::sources::Patience;
use crate::adapters::sqlite::SqliteStore;
use crate::config::Settings;
use crate::http::Aside;
use crate::ports::journal::Journal;
use crate::ports::records::Records as _;
use crate::steps::audit::Audit;
use crate::steps::journal::Journalling;
use crate::worker::jobs::Shared;
use std::sync::Arc;
use tokio::runtime::Handle;
use tracing::warn;

pub struct Outer {
    pub provider: Arc<RunwareClient>,
    pub blobs: Arc<S3Blobs>,
    /// `None`: `s3.journal` is off.
    pub journalling: Option<Journalling>,
    pub aside: Aside,
    pub records: Arc<SqliteStore>,
    /// With sources; no setting says so.
    pub patience: Patience,
    /// Where copies run.
    pub copying: Handle,
}

impl Outer {
    /// Sends nothing: both may be down.
    pub async fn connect(
        settings: &Settings,
        shared: &Shared,
        records: Arc<SqliteStore>,
        s3_access: Access,
        patience: Patience,
        copying: Handle,
    ) -> Result<Self, AppError> {
        if records.keep_journal(settings.s3.journal).await? {
            warn!(
                "the database is a backup that was put back; `catchment audit --repair` takes up what was submitted since"
            );
        }
        let provider = provider(settings, shared)?;
        let blobs = Arc::new(S3Blobs::connect(s3_options(settings, s3_access)).await);
        let journal: Arc<dyn Journal> = Arc::new(S3Journal::new(blobs.clone(), &settings.s3.prefix));
        let audit = Audit {
            store: shared.store.clone(),
            records: records.clone(),
            blobs: blobs.clone(),
            journal: settings.s3.journal.then(|| journal.clone()),
            provider: provider.clone(),
            clock: shared.clock.clone(),
            wakeups: shared.wakeups.clone(),
            policy: shared.policy.clone(),
        };
        let spend = RunwareSpend {
            client: provider.clone(),
            rng: shared.rng.clone(),
        };
        let journalling = settings.s3.journal.then(|| Journalling {
            journal: journal.clone(),
            records: records.clone(),
            health: shared.health.clone(),
            clock: shared.clock.clone(),
        });
        Ok(Self {
            aside: Aside::new(Arc::new(audit), journal, Arc::new(spend)),
            provider,
            blobs,
            journalling,
            records,
            patience,
            copying,
        })
    }
}
