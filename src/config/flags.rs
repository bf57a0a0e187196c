//! The flags that every command with settings takes.

use std::{fmt, path::PathBuf};

/// Flatten into a command; the environment is deliberately not clap's: `Settings::load` reads it.
#[derive(Clone, Default, clap::Args)]
pub struct ConfigFlags {
    /// Settings file [default: ./catchment.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Any setting, such as --set poll.deadline=12h; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,

    /// Address of the API, short for --set server.listen=…
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Directory of database and secrets, short for --set data.dir=…
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,

    /// Base of the callback URL, short for --set server.public_url=…
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Log filter such as info or debug, short for --set log.level=…
    #[arg(long, value_name = "FILTER")]
    pub log_level: Option<String>,

    /// text or json, short for --set log.format=…
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Names only: a value may be a secret.
impl fmt::Debug for ConfigFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.flags().iter().map(|(key, _)| key))
            .finish()
    }
}

impl ConfigFlags {
    /// For `Sources::flags`. A flag of its own name is the more specific one and stands over `--set`.
    pub fn flags(&self) -> Vec<(String, String)> {
        let named = [
            ("server.listen", &self.listen),
            ("data.dir", &self.data_dir),
            ("server.public_url", &self.public_url),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ];
        let given = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        self.set.iter().cloned().chain(given).collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains('.') => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected SECTION.KEY=VALUE".to_owned()),
    }
}
