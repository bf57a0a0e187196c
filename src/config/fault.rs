//! What is wrong with the settings, said so that the line to change is found at once.

use std::{fmt, path::Path};

use super::Origin;

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub origin: Origin,
    /// `section.key`; empty when a file as a whole is meant.
    pub key: String,
    pub problem: String,
    /// What would be right, as far as it can be said.
    pub allowed: Option<String>,
}

impl Fault {
    pub(super) fn of_file(path: &Path, problem: String) -> Self {
        Self {
            origin: Origin::File(path.to_owned()),
            key: String::new(),
            problem,
            allowed: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default | Origin::Code => write!(f, "{}", self.key)?,
            Origin::Flag => write!(f, "flag {}", self.key)?,
            Origin::File(path) if self.key.is_empty() => write!(f, "{}", path.display())?,
            Origin::File(path) => write!(f, "{}: {}", path.display(), self.key)?,
            Origin::Env(name) => write!(f, "{name} ({})", self.key)?,
        }
        write!(f, ": {}", self.problem)?;
        self.allowed
            .as_ref()
            .map_or(Ok(()), |allowed| write!(f, " ({allowed})"))
    }
}

/// Every fault found, one a line; the command line answers it with exit code 78.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<Fault>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
