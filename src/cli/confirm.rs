//! Asking before something is destroyed.

use super::exit::{CliError, Exit};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// # Errors
/// `Usage` off a terminal without `--yes`; `Interrupted` when the answer is no.
pub fn confirm(yes: bool, question: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::usage("this needs --yes, since nobody is here to ask"));
    }
    let _ = write!(io::stderr(), "{} [y/N] ", super::output::plain(question));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read.map(|_| answer.trim().to_ascii_lowercase()).as_deref() {
        Ok("y" | "yes") => Ok(()),
        _ => Err(CliError::new(Exit::Interrupted, "nothing was done")),
    }
}
