//! `catchment dev`

use super::exit::{CliError, Exit};
use super::host::{Host, start_log};
use super::output::{document, note, print};
use super::runtime;
use crate::app::{self, DevOptions, DevSummary, FaultLevel};
use crate::config::Log;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

pub const EXAMPLES: &str = "\
Examples:
  catchment dev
  catchment dev --tasks 50 --faults harsh --exit

With --exit it prints a JSON summary on stdout and fails when anything is missing.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sample tasks to submit
    #[arg(long, value_name = "N", default_value_t = 3)]
    tasks: u32,

    /// How much the simulated provider misbehaves; at every level a dead link is replaced when asked for, each failure is
    /// told for itself, and a download stalls for at most 8 s, so that every result can be archived within the run
    #[arg(long, value_name = "LEVEL", default_value = "none", value_parser = fault_level())]
    faults: FaultLevel,

    /// End when every task is settled and every event delivered
    #[arg(long)]
    exit: bool,

    /// Where chance starts
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Directory of database and objects [default: data/dev; with --exit a fresh one, removed after success]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address of the API [default: 127.0.0.1:8080; with --exit a free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

const FAULT_LEVELS: [FaultLevel; 3] = [FaultLevel::None, FaultLevel::Mild, FaultLevel::Harsh];

/// The names are the simulator's; clap offers them in help and completions.
fn fault_level() -> impl TypedValueParser<Value = FaultLevel> {
    PossibleValuesParser::new(FAULT_LEVELS.map(FaultLevel::as_str)).map(|name| {
        let named = FAULT_LEVELS.into_iter().find(|level| level.as_str() == name);
        named.expect("clap lets no other name pass")
    })
}

pub fn run(args: Args, host: &Host) -> Result<Exit, CliError> {
    start_log(&log(&args))?;
    let fresh = (args.exit && args.data_dir.is_none())
        .then(|| fresh_dir(&std::env::temp_dir(), host))
        .transpose()?;
    let options = options(&args, fresh.as_deref());
    let outcome = runtime::to_its_end(async { Ok(app::dev(options).await?) });
    let Some(dir) = fresh else {
        return conclude(&outcome?, args.exit);
    };
    let outcome = outcome.and_then(|summary| conclude(&summary, args.exit));
    match &outcome {
        Ok(Exit::Ok) => remove(&dir),
        // What went wrong is in there.
        _ => note(&format!("data is kept in {}", dir.display())),
    }
    outcome
}

/// Told on the way: everything while somebody watches, trouble only before a summary. `RUST_LOG` says otherwise.
fn log(args: &Args) -> Log {
    let usual = if args.exit {
        "catchment=error"
    } else {
        "catchment=info"
    };
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| usual.to_owned());
    Log {
        level,
        ..Log::default()
    }
}

fn options(args: &Args, fresh: Option<&Path>) -> DevOptions {
    let data_dir = args
        .data_dir
        .as_deref()
        .or(fresh)
        .unwrap_or(Path::new("data/dev"));
    let port = if args.exit { 0 } else { 8080 };
    DevOptions {
        tasks: args.tasks,
        faults: args.faults,
        exit: args.exit,
        seed: args.seed,
        data_dir: data_dir.to_owned(),
        listen: args.listen.unwrap_or_else(|| ([127, 0, 0, 1], port).into()),
    }
}

/// A directory that nobody else knows: the temporary directory is everyone's.
fn fresh_dir(parent: &Path, host: &Host) -> Result<PathBuf, CliError> {
    let dir = parent.join(format!("catchment-dev-{}", host.random_name()));
    DirBuilder::new().mode(0o700).create(&dir).map_err(|fault| {
        CliError::new(
            Exit::Failure,
            format!("{} cannot be made: {fault}", dir.display()),
        )
        .next("name a directory with --data-dir")
    })?;
    Ok(dir)
}

fn remove(dir: &Path) {
    if let Err(fault) = std::fs::remove_dir_all(dir) {
        note(&format!("{} cannot be removed: {fault}", dir.display()));
    }
}

fn conclude(summary: &DevSummary, exit: bool) -> Result<Exit, CliError> {
    if !exit {
        return Ok(Exit::Ok); // ended by a signal: nothing was promised
    }
    let json = serde_json::to_value(summary).expect("a summary is numbers and names");
    print(&document(&json))?;
    let missing = missing(summary);
    if missing.is_empty() {
        Ok(Exit::Ok)
    } else {
        Err(CliError::new(Exit::Failure, missing.join("; ")))
    }
}

/// What the run owes.
fn missing(summary: &DevSummary) -> Vec<String> {
    let not_archived = summary.results.saturating_sub(summary.archived);
    let not_bought_once = summary.tasks.abs_diff(summary.generations);
    let not_delivered = summary.events_emitted.saturating_sub(summary.events_delivered);
    [
        (summary.lost, "results were lost"),
        (not_archived, "results are not in the bucket"),
        (not_bought_once, "generations too many or too few"),
        (
            summary.untrue,
            "tasks ended otherwise than the provider's book says",
        ),
        (not_delivered, "events were not delivered"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Stages;

    fn args(exit: bool) -> Args {
        Args {
            tasks: 5,
            faults: FaultLevel::Mild,
            exit,
            seed: 7,
            data_dir: None,
            listen: None,
        }
    }

    #[test]
    fn a_run_that_exits_disturbs_nothing_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::real();
        let fresh = fresh_dir(dir.path(), &host).unwrap();
        assert!(fresh.is_dir() && fresh_dir(dir.path(), &host).unwrap() != fresh);
        let exiting = options(&args(true), Some(&fresh));
        assert_eq!((exiting.data_dir, exiting.listen.port()), (fresh, 0));
        let staying = options(&args(false), None);
        assert_eq!(
            (staying.data_dir, staying.listen.port()),
            (PathBuf::from("data/dev"), 8080)
        );
    }

    #[test]
    fn every_level_of_faults_has_its_name() {
        let named = |name: &str| {
            let command = clap::Command::new("dev").arg(clap::Arg::new("faults").value_parser(fault_level()));
            let read = command.try_get_matches_from(["dev", name]);
            read.ok()?.get_one::<FaultLevel>("faults").copied()
        };
        assert_eq!(named("none"), Some(FaultLevel::None));
        assert_eq!(named("mild"), Some(FaultLevel::Mild));
        assert_eq!(named("harsh"), Some(FaultLevel::Harsh));
        assert_eq!(named("rough"), None);
    }

    #[test]
    fn anything_missing_fails_the_run() {
        let whole = DevSummary {
            tasks: 5,
            generations: 5,
            results: 7,
            archived: 7,
            events_emitted: 20,
            events_delivered: 20,
            ..DevSummary::default()
        };
        assert_eq!(missing(&whole), Vec::<String>::new());
        let broken = DevSummary {
            archived: 6,
            generations: 6,
            untrue: 3,
            events_delivered: 18,
            lost: 1,
            ..whole
        };
        assert_eq!(
            missing(&broken),
            [
                "1 results were lost",
                "1 results are not in the bucket",
                "1 generations too many or too few",
                "3 tasks ended otherwise than the provider's book says",
                "2 events were not delivered"
            ]
        );
    }

    #[test]
    fn the_summary_has_its_documented_members() {
        let summary = DevSummary {
            stages: Stages::default(),
            ..DevSummary::default()
        };
        let json = serde_json::to_value(&summary).unwrap();
        let mut members: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members,
            [
                "archived",
                "bytes",
                "callbacks_duplicate",
                "callbacks_received",
                "containers",
                "events_delivered",
                "events_emitted",
                "failed",
                "faults",
                "generations",
                "lost",
                "number_results",
                "recovered_by_poll",
                "results",
                "stages",
                "tasks",
                "untrue"
            ]
        );
        let stages = json["stages"].as_object().unwrap();
        for stage in ["submit", "render", "archive", "deliver"] {
            assert!(stages[stage].is_number(), "{stage}");
        }
    }
}
