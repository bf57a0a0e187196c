//! `catchment submit`

use super::client::{Answer, Client, ClientError, ClientFlags};
use super::exit::{CliError, Exit};
use super::follow::{self, Followed};
use super::host::Host;
use super::output::{self, Column, Format, Listing, Shape, member, note};
use super::progress::Progress;
use super::{runtime, tasks, values};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const EXAMPLES: &str = "\
Examples:
  catchment submit task.json
  catchment submit tasks.json --wait --timeout 20m
  jq . task.json | catchment submit - --idempotency-key order-42

FILE holds one Runware task object, or an array of up to 100: all are accepted or none.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// JSON file; - reads stdin
    file: PathBuf,

    /// Wait until every task has ended; 6: one did not complete, 7: not in time
    #[arg(long)]
    wait: bool,

    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", requires = "wait", value_parser = values::duration)]
    timeout: Duration,

    /// Repeating a command with the same key starts nothing twice [default: a random one]
    #[arg(long, value_name = "KEY", value_parser = values::idempotency_key)]
    idempotency_key: Option<String>,

    #[command(flatten)]
    client: ClientFlags,
}

/// Largest file read, in bytes; the service's own limit (`server.max_body`) is usually far lower.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    // Before Ctrl-C is caught: reading stdin may take for ever, and cannot be dropped.
    let body = read(&args.file)?;
    let client = Client::new(&args.client)?;
    runtime::until_interrupted(async {
        let answer = post(&client, host, &args, body).await?;
        if args.wait {
            wait(&client, host, &answer.body, args.timeout, format).await
        } else {
            output::print(&accepted(&answer.body, format))?;
            Ok(Exit::Ok)
        }
    })
}

fn read(file: &Path) -> Result<Vec<u8>, CliError> {
    let body = read_bytes(file)?;
    check(&body).map_err(|why| CliError::usage(format!("{} {why}", file.display())))?;
    Ok(body)
}

/// A file, or stdin for `-`.
pub fn read_bytes(file: &Path) -> Result<Vec<u8>, CliError> {
    let body = if file == Path::new("-") {
        read_bounded(io::stdin().lock())
    } else {
        File::open(file).and_then(read_bounded)
    };
    body.map_err(|fault| CliError::usage(format!("{} cannot be read: {fault}", file.display())))
}

fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut body)?;
    if body.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    Ok(body)
}

/// Whether it looks like tasks at all. The bytes are sent as they are: the service checks them, and a number that
/// we read and wrote again might be another one.
fn check(body: &[u8]) -> Result<(), String> {
    let text: &RawValue = serde_json::from_slice(body).map_err(|fault| format!("is not JSON: {fault}"))?;
    match text.get().as_bytes().first() {
        Some(b'{' | b'[') => Ok(()),
        _ => Err("must hold a task object or an array of them".to_owned()),
    }
}

async fn post(client: &Client, host: &Host, args: &Args, body: Vec<u8>) -> Result<Answer, CliError> {
    let key = match &args.idempotency_key {
        Some(key) => key.clone(),
        None => format!("cli-{}", host.random_name()),
    };
    let answer = client.post(&["v1", "tasks"], body, Some(&key)).await;
    let answer = answer.map_err(|error| unsure(error, &key))?;
    if answer.replayed {
        note("known already: nothing was submitted again");
    }
    for line in adjustments(&answer.body) {
        note(&line);
    }
    Ok(answer)
}

/// After a broken answer nobody knows whether the tasks were taken; the key makes finding out harmless.
fn unsure(error: ClientError, key: &str) -> CliError {
    let is_unclear = matches!(error, ClientError::Broken { .. });
    let error = CliError::from(error);
    if is_unclear {
        return error.next(format!(
            "the tasks may have been accepted; repeat with --idempotency-key {key}"
        ));
    }
    error
}

/// What the service changed of what the file said; what it merely added goes without saying.
fn adjustments(answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in output::items(answer) {
        let changes = entry
            .get("adjusted")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for change in changes.filter(|change| !member(change, "from").is_empty()) {
            lines.push(format!(
                "{}: {} was changed from {} to {}",
                member(entry, "taskUUID"),
                member(change, "pointer"),
                member(change, "from"),
                member(change, "to")
            ));
        }
    }
    lines
}

const ACCEPTED: Shape = Shape {
    id: "taskUUID",
    columns: &[
        Column {
            title: "TASK",
            cell: |entry| member(entry, "taskUUID"),
        },
        Column {
            title: "STATUS",
            cell: |entry| member(entry, "status"),
        },
        Column {
            title: "CREATED",
            cell: |entry| member(entry, "createdAt"),
        },
    ],
};

fn accepted(answer: &Value, format: Format) -> String {
    if format == Format::Json {
        return output::document(answer);
    }
    let mut listing = Listing::new(format, &ACCEPTED);
    let body = listing.page(output::items(answer));
    body + &listing.end(None)
}

async fn wait(
    client: &Client,
    host: &Host,
    answer: &Value,
    limit: Duration,
    format: Format,
) -> Result<Exit, CliError> {
    let entries = output::items(answer);
    let ids: Vec<String> = entries.iter().map(|entry| member(entry, "taskUUID")).collect();
    let progress = Progress::on_stderr(&ids, format == Format::Quiet);
    let followed = follow::follow(client, &*host.clock, &progress, &ids, limit).await;
    progress.finish();
    let followed = followed?;
    output::print(&ended(&followed, entries, format))?;
    verdict(&followed)
}

/// The tasks as last seen; one never seen is shown as it was accepted.
fn ended(followed: &Followed, entries: &[Value], format: Format) -> String {
    let seen = followed.tasks.iter().zip(entries);
    let tasks: Vec<Value> = seen
        .map(|(task, entry)| task.as_ref().unwrap_or(entry).clone())
        .collect();
    let mut listing = Listing::new(format, &tasks::SHAPE);
    let body = listing.page(&tasks);
    body + &listing.end(None)
}

fn verdict(followed: &Followed) -> Result<Exit, CliError> {
    let all = followed.tasks.len();
    let running = followed.count(|task| !follow::is_terminal(task));
    if running > 0 {
        let message = format!("{running} of {all} tasks had not ended in time");
        return Err(CliError::new(Exit::WaitTimedOut, message)
            .next("they go on; `catchment tasks show ID` tells where each stands"));
    }
    let failed = followed.count(|task| member(task, "status") != "completed");
    if failed > 0 {
        let message = format!("{failed} of {all} tasks did not complete");
        return Err(CliError::new(Exit::TaskFailed, message).next("`catchment tasks show ID` tells why"));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn followed(statuses: &[Option<&str>]) -> Followed {
        let task = |status: &Option<&str>| status.map(|status| json!({"taskUUID": "t", "status": status}));
        Followed {
            tasks: statuses.iter().map(task).collect(),
        }
    }

    #[test]
    fn the_verdict_is_the_worst_of_the_tasks() {
        let exit = |statuses: &[Option<&str>]| match verdict(&followed(statuses)) {
            Ok(exit) => exit,
            Err(error) => error.exit,
        };
        assert_eq!(exit(&[Some("completed"), Some("completed")]), Exit::Ok);
        for bad in ["failed", "partial", "timed_out", "rejected"] {
            assert_eq!(exit(&[Some("completed"), Some(bad)]), Exit::TaskFailed, "{bad}");
        }
        assert_eq!(exit(&[Some("failed"), Some("archiving")]), Exit::WaitTimedOut);
        assert_eq!(exit(&[None]), Exit::WaitTimedOut);
    }

    #[test]
    fn a_file_that_cannot_hold_tasks_is_refused_before_anything_is_sent() {
        for body in ["", "{", "7", "\"{}\"", "{} {}"] {
            assert!(check(body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(check(b" {\"a\": 1}"), Ok(()));
        assert_eq!(check(b"\n[]"), Ok(()));
        let error = read(Path::new("/nonexistent/task.json")).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(read_bounded(io::repeat(b' ').take(MAX_FILE_BYTES + 5)).is_err());
    }

    #[test]
    fn a_changed_value_is_told_an_added_one_is_not() {
        let answer = json!({"data": [{"taskUUID": "t", "adjusted": [
            {"pointer": "/ttl", "from": 60, "to": 3600},
            {"pointer": "/includeCost", "from": null, "to": true},
        ]}]});
        assert_eq!(adjustments(&answer), ["t: /ttl was changed from 60 to 3600"]);
    }

    #[test]
    fn an_unclear_answer_names_the_key_to_repeat_with() {
        let broken = ClientError::Broken { why: "reset".into() };
        let error = unsure(broken, "cli-1");
        assert_eq!(error.exit, Exit::Temporary);
        assert!(error.next.unwrap().ends_with("--idempotency-key cli-1"));
    }
}
