//! The whole service with the settings of its environment, but for one thing: a callback is answered without having
//! been stored. What the database costs is the difference.

use crate::{Outcome, block_on, told_to_stop};
use async_trait::async_trait;
use catchment::app::assemble::{Assembly, Service};
use catchment::config::{Settings, Sources};
use catchment::ports::store::{Inbox, NewReceipt, Recorded, StoreError};
use std::sync::Arc;

struct Forgetful;

#[async_trait]
impl Inbox for Forgetful {
    /// "Known already" wakes no worker: nothing was stored to be looked at.
    async fn record(&self, receipt: NewReceipt) -> Result<Recorded, StoreError> {
        drop(receipt);
        Ok(Recorded::Duplicate)
    }
}

pub fn run() -> Outcome {
    let settings = Settings::load(Sources {
        config_file: None,
        env: std::env::vars(),
        flags: vec![],
        cwd: std::env::current_dir()?,
    })?;
    block_on(async {
        let assembly = Assembly {
            inbox: Some(Arc::new(Forgetful)),
            ..Assembly::of(settings)
        };
        let service = Service::start(assembly).await?;
        told_to_stop().await?;
        service.stop().await;
        Ok(())
    })
}
