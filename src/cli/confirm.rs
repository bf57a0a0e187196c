//! Asking before something is destroyed.

use super::exit::{CliError, Exit};
use std::io::{self, BufRead, IsTerminal as _, Write as _};

/// # Errors
/// `Usage` off a terminal without `--yes`; `Interrupted` when the answer is no.
pub fn confirm(yes: bool, question: &str) -> Result<(), CliError> {
    let somebody_is_here = io::stdin().is_terminal() && io::stderr().is_terminal();
    decide(yes, question, somebody_is_here.then(|| io::stdin().lock()))
}

fn decide(yes: bool, question: &str, person: Option<impl BufRead>) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let Some(mut person) = person else {
        return Err(CliError::usage("this needs --yes, since nobody is here to ask"));
    };
    let _ = write!(io::stderr(), "{} [y/N] ", super::output::plain(question));
    let mut answer = String::new();
    let read = person.read_line(&mut answer);
    match read.map(|_| answer.trim().to_ascii_lowercase()).as_deref() {
        Ok("y" | "yes") => Ok(()),
        _ => Err(CliError::new(Exit::Interrupted, "nothing was done")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_destroys() {
        let exit = |yes, person: Option<&[u8]>| decide(yes, "Sure?", person).map_err(|error| error.exit);
        assert_eq!(exit(true, None), Ok(()));
        assert_eq!(exit(false, None), Err(Exit::Usage));
        assert_eq!(exit(false, Some(b"y\n")), Ok(()));
        for no in ["\n", "", "n\n", "yess\n"] {
            assert_eq!(exit(false, Some(no.as_bytes())), Err(Exit::Interrupted), "{no:?}");
        }
    }
}
