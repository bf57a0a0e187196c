//! `catchment config show`

use super::exit::{CliError, Exit};
use super::host;
use super::output::{self, Format};
use crate::config::{ConfigFlags, Purpose, Settings};

pub const EXAMPLES: &str = "\
Examples:
  catchment config show";

const SHOW_EXAMPLES: &str = "\
Examples:
  catchment config show
  catchment config show --config /etc/catchment.toml --json

Without --json it prints a settings file. Secrets are hidden.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the settings in force and where each came from
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    settings: ConfigFlags,
}

pub fn run(args: Args, format: Format) -> Result<Exit, CliError> {
    let Command::Show(show) = args.command;
    let settings = host::settings(&show.settings, Purpose::Tool)?;
    output::print(&text(&settings, format))?;
    Ok(Exit::Ok)
}

fn text(settings: &Settings, format: Format) -> String {
    match format {
        Format::Json => output::document(&settings.show_json()),
        _ => settings.show(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_both_forms() {
        let mut settings = Settings::default();
        settings.runware.api_key = Some("rw-secret".into());
        for format in [Format::Json, Format::Lines] {
            let text = text(&settings, format);
            assert!(text.contains("api_key") && !text.contains("rw-secret"), "{text}");
        }
    }
}
