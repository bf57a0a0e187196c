//! `catchment simulate`

use super::exit::{CliError, Exit};
use crate::simulator;

pub const EXAMPLES: &str = "\
Examples:
  catchment simulate
  catchment simulate --listen 127.0.0.1:0 --faults harsh --seed 7

The first line on stdout says where it listens, as JSON.";

pub type Args = simulator::SimulateArgs;

pub fn run(args: &Args) -> Result<Exit, CliError> {
    simulator::run(args)
        .map(|()| Exit::Ok)
        .map_err(|fault| CliError::new(Exit::Failure, format!("the simulator cannot run: {fault}")))
}
