//! What commands take from the machine they run on, and the settings of those that work on its files.

use super::exit::{CliError, Exit};
use crate::app;
use crate::config::{ConfigFlags, Log, Purpose, Settings, Sources};
use crate::domain::ids::hex;
use crate::ports::clock::{Clock, Rng};
use crate::telemetry::{Terminal, init_logs};
use std::sync::Arc;

pub struct Host {
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

impl Host {
    pub fn real() -> Self {
        Self {
            clock: app::clock(),
            rng: app::rng(),
        }
    }

    /// 32 hex digits.
    pub fn random_name(&self) -> String {
        hex(&self.rng.bytes16())
    }
}

/// The log of a process that serves, on stderr.
///
/// # Errors
/// `Failure`: the level cannot be read.
pub fn start_log(log: &Log) -> Result<(), CliError> {
    let terminal = Terminal::of_stderr(std::env::var("NO_COLOR").ok().as_deref());
    init_logs(log, terminal).map_err(|fault| CliError::new(Exit::Failure, fault.to_string()))
}

/// Flags, then environment, then file, then defaults.
///
/// # Errors
/// `Config`, with every fault.
pub fn settings(flags: &ConfigFlags, purpose: Purpose) -> Result<Settings, CliError> {
    let cwd = std::env::current_dir()
        .map_err(|fault| CliError::new(Exit::Failure, format!("there is no working directory: {fault}")))?;
    // Variables that are not text cannot be settings.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = Settings::load(Sources {
        config_file: flags.config.clone(),
        env,
        flags: flags.flags(),
        cwd,
    })?;
    settings.check(purpose)?;
    Ok(settings)
}
