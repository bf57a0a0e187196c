//! How a command ends: its exit code, and what it says when it fails.

use crate::app::AppError;
use crate::config::ConfigErrors;
use crate::ports::store::StoreError;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// The exit code, the same for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failure = 1,
    /// The command line, or the file it names, cannot be used; nothing was done.
    Usage = 2,
    NotFound = 3,
    Auth = 4,
    Conflict = 5,
    /// `submit --wait`: a task ended, but not `completed`.
    TaskFailed = 6,
    /// `submit --wait`: a task had not ended in time.
    WaitTimedOut = 7,
    /// The same command may succeed later (EX_TEMPFAIL).
    Temporary = 75,
    /// The settings must be changed first (EX_CONFIG).
    Config = 78,
    /// Ctrl-C (128 + SIGINT).
    Interrupted = 130,
}

/// Shown under `catchment --help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0 ok · 1 failure · 2 usage · 3 not found · 4 authentication · 5 conflict
  6 a task ended, but not completed (submit --wait) · 7 wait timed out
  75 temporary, try again · 78 configuration · 130 interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, for a person: what happened and what to do about it.
#[derive(Debug, PartialEq)]
pub struct CliError {
    pub exit: Exit,
    /// Empty: nothing is said.
    pub message: String,
    pub next: Option<String>,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            next: None,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The reader of stdout has gone (`| head`): it has what it wanted.
    pub fn output_closed() -> Self {
        Self::new(Exit::Ok, "")
    }

    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.next {
            Some(next) => write!(f, "\n  next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigErrors> for CliError {
    fn from(errors: ConfigErrors) -> Self {
        let faults: Vec<String> = errors.0.iter().map(|fault| format!("\n  {fault}")).collect();
        let message = format!("the settings cannot be used:{}", faults.concat());
        Self::new(Exit::Config, message).next("correct them; deploy/catchment.toml explains every setting")
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::Overloaded | StoreError::Unavailable { .. } => Exit::Temporary,
            StoreError::Conflict { .. } => Exit::Conflict,
            StoreError::LeaseLost | StoreError::Corrupt { .. } => Exit::Failure,
        };
        Self::new(exit, chain(&error))
    }
}

impl From<AppError> for CliError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Settings(faults) => faults.into(),
            AppError::Store(error) => error.into(),
            AppError::Busy { .. } => Self::new(Exit::Temporary, chain(&error)),
            AppError::Failed { .. } => Self::new(Exit::Failure, chain(&error)),
        }
    }
}

/// An error with what caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fault, Origin};

    #[test]
    fn every_kind_of_failure_has_its_exit_code() {
        let unavailable = || StoreError::Unavailable {
            during: "commit",
            source: "disk full".into(),
        };
        let cases = [
            (CliError::from(unavailable()), Exit::Temporary),
            (AppError::Store(unavailable()).into(), Exit::Temporary),
            (StoreError::Overloaded.into(), Exit::Temporary),
            (StoreError::LeaseLost.into(), Exit::Failure),
            (
                AppError::Busy {
                    what: "locked".into(),
                }
                .into(),
                Exit::Temporary,
            ),
            (ConfigErrors(vec![]).into(), Exit::Config),
            (AppError::Settings(ConfigErrors(vec![])).into(), Exit::Config),
        ];
        for (error, exit) in cases {
            assert_eq!(error.exit, exit, "{error}");
        }
    }

    #[test]
    fn the_codes_are_the_documented_ones() {
        let codes = [
            Exit::Ok,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Auth,
            Exit::Conflict,
            Exit::TaskFailed,
            Exit::WaitTimedOut,
            Exit::Temporary,
            Exit::Config,
            Exit::Interrupted,
        ]
        .map(|exit| exit as u8);
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 75, 78, 130]);
        for code in codes {
            assert!(
                EXIT_CODES
                    .split(|c: char| !c.is_ascii_digit())
                    .any(|word| word == code.to_string()),
                "{code}"
            );
        }
    }

    #[test]
    fn all_faults_of_the_settings_are_listed() {
        let fault = |key: &str| Fault {
            origin: Origin::Flag,
            key: key.to_owned(),
            problem: "is wrong".to_owned(),
            allowed: None,
        };
        let text = CliError::from(ConfigErrors(vec![fault("a.b"), fault("c.d")])).to_string();
        assert!(
            text.contains("\n  flag a.b: is wrong\n  flag c.d: is wrong\n  next: "),
            "{text}"
        );
    }

    #[test]
    fn causes_are_said_once() {
        let error = StoreError::Unavailable {
            during: "open",
            source: "disk full".into(),
        };
        assert_eq!(chain(&error), "the database is unavailable (open): disk full");
    }
}
