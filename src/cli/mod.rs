//! The command line. Commands of the host (`serve`, `keys`, …) work on its files; the others are HTTP clients of a
//! running service.
//!
//! stdout is data, stderr everything else; the exit codes are in [`exit`].

mod audit;
mod backup;
mod bar;
mod client;
mod completions;
mod config;
mod confirm;
#[cfg(feature = "dev")]
mod dev;
mod endpoints;
mod events;
pub mod exit;
mod follow;
mod host;
mod import;
mod keys;
mod listen;
mod log;
mod migrate;
mod output;
mod problem;
mod progress;
mod retry;
mod runtime;
mod serve;
mod show;
mod simulate;
mod submit;
mod tasks;
mod usage;
mod values;

#[cfg(test)]
mod tests;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};
use exit::{CliError, EXIT_CODES, Exit};
use host::Host;
use output::{Format, OutputFlags};
use std::ffi::OsString;

#[derive(Debug, clap::Parser)]
#[command(
    name = "catchment",
    version,
    about = "Takes generation tasks, archives every result before its link dies, and tells your systems",
    after_help = EXIT_CODES,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    output: OutputFlags,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the service
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Args),
    #[cfg(feature = "dev")]
    /// Run everything on this machine: no account, no key, no network
    #[command(after_help = dev::EXAMPLES)]
    Dev(dev::Args),
    /// Run the simulated provider alone
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(Box<simulate::Args>),
    /// Make, list and revoke API keys, on the host
    #[command(after_help = keys::EXAMPLES)]
    Keys(keys::Args),
    /// Bring the database to this version's schema
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(migrate::Args),
    /// Copy the database while all goes on, to a file or to the bucket
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Args),
    /// Look at the settings
    #[command(after_help = config::EXAMPLES)]
    Config(config::Args),
    /// Print a completion script for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Args),
    /// Submit tasks from a file
    #[command(after_help = submit::EXAMPLES)]
    Submit(submit::Args),
    /// List, show and retry tasks
    #[command(after_help = tasks::EXAMPLES)]
    Tasks(tasks::Args),
    /// Read and follow the event log
    #[command(after_help = events::EXAMPLES)]
    Events(events::Args),
    /// Deliver events to an address on this machine, signed
    #[command(after_help = listen::EXAMPLES)]
    Listen(listen::Args),
    /// Say who is told about events, and see what came of it
    #[command(after_help = endpoints::EXAMPLES)]
    Endpoints(endpoints::Args),
    /// Show what was spent, by day, model and label
    #[command(after_help = usage::EXAMPLES)]
    Usage(usage::Args),
    /// Prove that everything paid for is in the bucket
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::Args),
}

/// Runs one command line, program name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(said) => return say_usage(&without_secrets(said)),
    };
    let host = Host::real();
    let format = output::stdout_format(cli.output);
    match cli.command.run(&host, format) {
        Ok(exit) => exit,
        Err(error) => say_error(&error),
    }
}

impl Command {
    fn run(self, host: &Host, format: Format) -> Result<Exit, CliError> {
        match self {
            Self::Serve(args) => serve::run(args),
            #[cfg(feature = "dev")]
            Self::Dev(args) => dev::run(args, host),
            Self::Simulate(args) => simulate::run(&args),
            Self::Keys(args) => keys::run(args, host, format),
            Self::Migrate(args) => migrate::run(args, format),
            Self::Backup(args) => backup::run(args, format),
            Self::Config(args) => config::run(args, format),
            Self::Completions(args) => completions::run(args),
            Self::Submit(args) => submit::run(args, host, format),
            Self::Tasks(args) => tasks::run(args, host, format),
            Self::Events(args) => events::run(args, host, format),
            Self::Listen(args) => listen::run(args, host, format),
            Self::Endpoints(args) => endpoints::run(args, host, format),
            Self::Usage(args) => usage::run(args, host, format),
            Self::Audit(args) => audit::run(args, host, format),
        }
    }
}

/// clap quotes a value that it refuses, and one of `--set` may hold a secret.
fn without_secrets(mut said: clap::Error) -> clap::Error {
    let argument = said.get(ContextKind::InvalidArg).map(ToString::to_string);
    if argument.is_some_and(|name| name.starts_with("--set")) {
        let hidden = ContextValue::String("<hidden>".to_owned());
        said.insert(ContextKind::InvalidValue, hidden);
    }
    said
}

/// Help and version go to stdout and are no failure; the rest goes to stderr.
fn say_usage(said: &clap::Error) -> Exit {
    let printed = said.print();
    match said.use_stderr() {
        true => Exit::Usage,
        false if printed.is_err() => CliError::output_closed().exit,
        false => Exit::Ok,
    }
}

fn say_error(error: &CliError) -> Exit {
    if !error.message.is_empty() {
        output::note(&error.to_string());
    }
    error.exit
}
