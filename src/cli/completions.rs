//! `catchment completions`

use super::Cli;
use super::exit::{CliError, Exit};
use super::output;
use clap::CommandFactory as _;
use clap_complete::Shell;

pub const EXAMPLES: &str = "\
Examples:
  catchment completions bash > ~/.local/share/bash-completion/completions/catchment
  catchment completions zsh > ~/.zfunc/_catchment";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell that will read the script
    shell: Shell,
}

pub fn run(args: Args) -> Result<Exit, CliError> {
    output::print(&script(args.shell))?;
    Ok(Exit::Ok)
}

fn script(shell: Shell) -> String {
    // Into memory first: clap panics when a pipe closes under it.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "catchment", &mut script);
    String::from_utf8(script).expect("every text of the command line is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            assert!(
                script.contains("endpoints") && script.contains("task.completed"),
                "{shell}"
            );
        }
    }
}
