//! `catchment tasks retry`

use super::client::{Client, ClientError, ClientFlags};
use super::confirm::confirm;
use super::exit::{CliError, Exit};
use super::host::Host;
use super::output::{self, Format, Listing};
use super::values::{self, When};
use super::{runtime, tasks};
use crate::domain::time::Timestamp;
use serde_json::{Map, Value, json};

pub const EXAMPLES: &str = "\
Examples:
  catchment tasks retry 01234567-89ab-4cde-8f01-23456789abcd
  catchment tasks retry --status failed --since 24h
  catchment tasks retry --reason source_gone --label customer=42 --yes";

#[derive(Debug, clap::Args)]
#[group(id = "which", required = true, multiple = true)]
pub struct Args {
    /// taskUUIDs
    #[arg(value_name = "ID", value_parser = values::task_id, group = "which",
        conflicts_with_all = ["status", "reason", "model", "labels", "since", "until"])]
    ids: Vec<String>,

    /// All in these states, comma-separated; failed, partial and timed_out when another filter is given
    #[arg(long, value_delimiter = ',', value_parser = values::statuses(), group = "which")]
    status: Vec<String>,

    /// All with this reason, their own or a result's
    #[arg(long, group = "which")]
    reason: Option<String>,

    /// All of this model
    #[arg(long, group = "which")]
    model: Option<String>,

    /// All with this label; all of several
    #[arg(long = "label", id = "labels", value_name = "KEY=VALUE", value_parser = values::label, group = "which")]
    labels: Vec<(String, String)>,

    /// All created at or after: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::when, group = "which")]
    since: Option<When>,

    /// All created before
    #[arg(long, value_name = "WHEN", value_parser = values::when, group = "which")]
    until: Option<When>,

    /// Do not ask before many are retried
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(args: &Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    let client = Client::new(&args.client)?;
    if !args.ids.is_empty() {
        return runtime::until_interrupted(each(&client, &args.ids, format));
    }
    let filter = filter(args, host.clock.now());
    confirm(args.yes, "Retry every task that fits?")?;
    let count = runtime::until_interrupted(many(&client, filter))?;
    output::print(&told(count, format))?;
    Ok(Exit::Ok)
}

/// One after the other; the first refusal decides the exit code, and the rest are retried all the same.
async fn each(client: &Client, ids: &[String], format: Format) -> Result<Exit, CliError> {
    let mut listing = Listing::new(format, &tasks::SHAPE);
    let mut first_refusal = None;
    for id in ids {
        match client.post(&["v1", "tasks", id, "retry"], vec![], None).await {
            Ok(answer) => output::print(&listing.page(std::slice::from_ref(&answer.body)))?,
            Err(ClientError::Refused(problem)) => {
                let refusal = CliError::from(ClientError::Refused(problem));
                output::note(&format!("{id}: {refusal}"));
                first_refusal.get_or_insert(refusal.exit);
            }
            Err(other) => return Err(other.into()),
        }
    }
    output::print(&listing.end(None))?;
    Ok(first_refusal.unwrap_or(Exit::Ok))
}

async fn many(client: &Client, mut filter: Map<String, Value>) -> Result<u64, CliError> {
    let mut count = 0;
    loop {
        let body = serde_json::to_vec(&filter).expect("strings and arrays serialize");
        let answer = client.post(&["v1", "tasks", "retry"], body, None).await?.body;
        count += answer.get("count").and_then(Value::as_u64).unwrap_or(0);
        match answer.get("nextCursor").filter(|next| next.is_string()) {
            Some(next) => drop(filter.insert("cursor".to_owned(), next.clone())),
            None => return Ok(count),
        }
    }
}

fn filter(args: &Args, now: Timestamp) -> Map<String, Value> {
    let mut filter = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            filter.insert(name.to_owned(), value);
        }
    };
    add("status", (!args.status.is_empty()).then(|| json!(args.status)));
    add("reason", args.reason.as_ref().map(|reason| json!(reason)));
    add("model", args.model.as_ref().map(|model| json!(model)));
    let labels: Map<String, Value> = args.labels.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    add("labels", (!labels.is_empty()).then_some(Value::Object(labels)));
    add("since", args.since.map(|since| json!(since.from(now))));
    add("until", args.until.map(|until| json!(until.from(now))));
    filter
}

fn told(count: u64, format: Format) -> String {
    match format {
        Format::Json => output::document(&json!({ "count": count })),
        Format::Quiet => format!("{count}\n"),
        Format::Table { .. } | Format::Lines => format!("{count} retried\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &[&str]) -> Args {
        Line::try_parse_from(["retry"].iter().chain(line)).unwrap().args
    }

    #[test]
    fn a_filter_becomes_the_body_of_the_api() {
        let args = parsed(&[
            "--status",
            "failed,partial",
            "--reason",
            "source_gone",
            "--label",
            "a=b",
            "--since",
            "10s",
        ]);
        let filter = filter(&args, Timestamp::from_millis(20_000));
        assert_eq!(
            Value::Object(filter),
            json!({"status": ["failed", "partial"], "reason": "source_gone", "labels": {"a": "b"},
                "since": "1970-01-01T00:00:10.000Z"})
        );
    }

    #[test]
    fn all_tasks_are_never_meant_by_saying_nothing() {
        for line in [
            &["catchment", "tasks", "retry"][..],
            &["catchment", "tasks", "retry", "--yes"],
            &[
                "catchment",
                "tasks",
                "retry",
                "01234567-89ab-4cde-8f01-23456789abcd",
                "--status",
                "failed",
            ],
            &["catchment", "tasks", "retry", "not-a-uuid"],
        ] {
            assert!(Cli::try_parse_from(line).is_err(), "{line:?}");
        }
        let id = "01234567-89ab-4cde-8f01-23456789abcd";
        assert_eq!(parsed(&[id, id]).ids.len(), 2);
    }
}
