//! `catchment serve`

use super::exit::{CliError, Exit};
use super::{host, runtime};
use crate::app;
use crate::config::{ConfigFlags, Purpose};

pub const EXAMPLES: &str = "\
Examples:
  catchment serve
  catchment serve --config /etc/catchment.toml --log-level info,catchment=debug

Settings: flags, then environment (CATCHMENT_<SECTION>__<KEY>), then the file, then defaults.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: ConfigFlags,
}

pub fn run(args: Args) -> Result<Exit, CliError> {
    let settings = host::settings(&args.settings, Purpose::Serve)?;
    host::start_log(&settings.log)?;
    runtime::to_its_end(async { Ok(app::serve(settings).await?) })?;
    Ok(Exit::Ok)
}
