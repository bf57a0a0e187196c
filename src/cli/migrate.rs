//! `catchment migrate`

use super::exit::{CliError, Exit};
use super::output::{self, Format};
use super::{host, runtime};
use crate::app::{self, Migrated};
use crate::config::{ConfigFlags, Purpose};
use serde_json::json;

pub const EXAMPLES: &str = "\
Examples:
  catchment migrate
  catchment migrate --config /etc/catchment.toml --json

`serve` does the same when it starts. The database is copied first.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: ConfigFlags,
}

pub fn run(args: Args, format: Format) -> Result<Exit, CliError> {
    let settings = host::settings(&args.settings, Purpose::Tool)?;
    let done = runtime::to_its_end(async { Ok(app::migrate(&settings).await?) })?;
    output::print(&text(&done, format))?;
    Ok(Exit::Ok)
}

fn text(done: &Migrated, format: Format) -> String {
    let Migrated {
        database,
        from,
        to,
        backup,
    } = done;
    match format {
        Format::Json => output::document(&json!({
            "database": database, "from": from, "to": to, "backup": backup,
        })),
        Format::Quiet => format!("{to}\n"),
        Format::Table { .. } | Format::Lines => {
            let what = match from {
                None => format!("made with schema version {to}"),
                Some(from) if from == to => format!("is at schema version {to} already"),
                Some(from) => format!("went from schema version {from} to {to}"),
            };
            let copy = backup.as_ref().map_or_else(String::new, |path| {
                format!("; the copy from before is {}", path.display())
            });
            format!("{} {what}{copy}\n", database.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_changed_and_where_the_copy_is() {
        let done = |from, backup: Option<&str>| Migrated {
            database: "data/catchment.db".into(),
            from,
            to: 3,
            backup: backup.map(Into::into),
        };
        assert_eq!(
            text(&done(Some(2), Some("b.db")), Format::Lines),
            "data/catchment.db went from schema version 2 to 3; the copy from before is b.db\n"
        );
        assert!(text(&done(Some(3), None), Format::Lines).contains("already"));
        assert!(text(&done(None, None), Format::Lines).contains("made"));
        assert!(text(&done(None, None), Format::Json).contains("\"from\": null"));
    }
}
