//! `catchment backup`

use super::exit::{CliError, Exit};
use super::output::{self, Format};
use super::{host, runtime};
use crate::app::{self, BackedUp, BackupTo};
use crate::config::{ConfigFlags, Purpose};
use serde_json::json;
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
Examples:
  catchment backup /backups/catchment-monday.db
  catchment backup --to-bucket
  catchment backup --to-bucket --config /etc/catchment.toml --json

A consistent copy of one instant, beside a running service. To restore: stop the service, move catchment.db,
catchment.db-wal and catchment.db-shm away, put the copy in the place of catchment.db, start. Keep callback.keys (or
set callback.keys) as well: docs/recovery.md tells why.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Must not exist
    #[arg(required_unless_present = "to_bucket", conflicts_with = "to_bucket")]
    file: Option<PathBuf>,

    /// Into the bucket, as {s3.prefix}.backup/<time>.db
    #[arg(long)]
    to_bucket: bool,

    #[command(flatten)]
    settings: ConfigFlags,
}

pub fn run(args: Args, format: Format) -> Result<Exit, CliError> {
    let settings = host::settings(&args.settings, Purpose::Tool)?;
    let to = args.file.map_or(BackupTo::Bucket, BackupTo::File);
    let done = runtime::to_its_end(async { Ok(app::backup(&settings, to).await?) })?;
    output::print(&text(&done, format))?;
    Ok(Exit::Ok)
}

fn text(done: &BackedUp, format: Format) -> String {
    let sha256 = done.sha256.hex();
    match format {
        Format::Json => {
            let mut document = json!({ "size": done.size_bytes, "sha256": sha256 });
            match &done.bucket {
                Some(bucket) => {
                    document["bucket"] = json!(bucket);
                    document["key"] = json!(done.place);
                }
                None => document["file"] = json!(done.place),
            }
            output::document(&document)
        }
        Format::Quiet => format!("{}\n", done.place),
        Format::Table { .. } | Format::Lines => {
            let bucket = done.bucket.as_ref().map_or_else(String::new, |b| format!("{b}/"));
            format!(
                "{bucket}{}  {} bytes  sha256 {sha256}\n",
                done.place, done.size_bytes
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Digest;

    #[test]
    fn it_says_where_the_copy_is_and_what_it_must_equal() {
        let done = |bucket: Option<&str>| BackedUp {
            place: "a.db".to_owned(),
            bucket: bucket.map(str::to_owned),
            size_bytes: 7,
            sha256: Digest([0; 32]),
        };
        assert!(text(&done(None), Format::Lines).starts_with("a.db  7 bytes  sha256 0000"));
        assert!(text(&done(Some("b")), Format::Lines).starts_with("b/a.db  "));
        assert!(text(&done(Some("b")), Format::Json).contains("\"key\": \"a.db\""));
        assert!(text(&done(None), Format::Json).contains("\"file\": \"a.db\""));
    }
}
