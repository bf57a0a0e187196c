//! `catchment events`

use super::client::{Client, ClientError, ClientFlags, LONG_POLL, Parameter};
use super::exit::{CliError, Exit};
use super::host::Host;
use super::output::{self, Column, Format, Listing, Shape, member, plain, tab_separated};
use super::{follow, runtime, values};
use crate::ports::clock::Clock;
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

pub const EXAMPLES: &str = "\
Examples:
  catchment events list --type asset.archived
  catchment events tail";

const LIST_EXAMPLES: &str = "\
Examples:
  catchment events list --after 1200 --limit 50
  catchment events list --type asset.archived,asset.expired --all --ndjson";

const TAIL_EXAMPLES: &str = "\
Examples:
  catchment events tail
  catchment events tail --after 0 --type asset.archived --ndjson | jq .data.key

It starts with what comes next; --after reads on from a sequence. It tries on while the service is away.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a part of the event log, oldest first
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Print events as they happen, until Ctrl-C
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
}

#[derive(Debug, clap::Args)]
struct Filters {
    /// Only these, comma-separated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = values::event_types())]
    types: Vec<String>,

    /// Only of tasks with this label; all of several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,

    /// Only of this task
    #[arg(long, value_name = "ID", value_parser = values::task_id)]
    task: Option<String>,

    /// One JSON object a line
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    ndjson: bool,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only events after this sequence
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    #[command(flatten)]
    filters: Filters,
}

#[derive(Debug, clap::Args)]
struct Tail {
    /// Start after this sequence [default: at the end of the log]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,

    #[command(flatten)]
    filters: Filters,
}

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    match args.command {
        Command::List(args) => {
            let client = Client::new(&args.filters.client)?;
            runtime::until_interrupted(list(&client, &args, format))?;
        }
        Command::Tail(args) => {
            let client = Client::new(&args.filters.client)?;
            runtime::until_interrupted(tail(&client, &*host.clock, &args, format))?;
        }
    }
    Ok(Exit::Ok)
}

/// Events per request; the most the service gives.
const PAGE: u32 = 1_000;

/// A part of the log.
struct Page {
    events: Vec<Value>,
    /// Where to read on: filters may have passed events over.
    next_after: u64,
    done: bool,
}

async fn page(
    client: &Client,
    filters: &Filters,
    after: u64,
    limit: u32,
    hold: Option<Duration>,
) -> Result<Page, ClientError> {
    let mut query = values::label_filters(&filters.labels);
    if !filters.types.is_empty() {
        query.push(("type".to_owned(), filters.types.join(",")));
    }
    query.extend(filters.task.iter().map(|task| ("task".to_owned(), task.clone())));
    fetch(client, query, after, limit, hold).await
}

async fn fetch(
    client: &Client,
    mut query: Vec<Parameter>,
    after: u64,
    limit: u32,
    hold: Option<Duration>,
) -> Result<Page, ClientError> {
    query.push(("after".to_owned(), after.to_string()));
    query.push(("limit".to_owned(), limit.to_string()));
    let body = client.get(&["v1", "events"], &query, hold).await?.body;
    let next_after = body.get("nextAfter").and_then(Value::as_u64);
    let Some(next_after) = next_after.filter(|next| *next >= after) else {
        let why = "the answer does not say where to read on".to_owned();
        return Err(ClientError::Foreign { why });
    };
    Ok(Page {
        events: output::items(&body).to_vec(),
        next_after,
        done: body.get("done").and_then(Value::as_bool).unwrap_or(false),
    })
}

async fn list(client: &Client, args: &List, format: Format) -> Result<(), CliError> {
    let mut left = if args.all { u32::MAX } else { args.limit };
    let mut after = args.after;
    let mut listing = Listing::new(format, &SHAPE);
    loop {
        let page = page(client, &args.filters, after, left.min(PAGE), None).await?;
        let text = match args.filters.ndjson {
            true => page.events.iter().map(json_line).collect(),
            false => listing.page(&page.events),
        };
        output::print(&text)?;
        left = left.saturating_sub(u32::try_from(page.events.len()).unwrap_or(u32::MAX));
        let stuck = page.next_after == after;
        after = page.next_after;
        if left == 0 || page.done || stuck {
            break;
        }
    }
    if args.filters.ndjson {
        return Ok(());
    }
    output::print(&listing.end(Some(("nextAfter", &after.into()))))
}

/// Only an error ends it: a closed pipe, or an answer that another try would not change.
async fn tail(client: &Client, clock: &dyn Clock, args: &Tail, format: Format) -> Result<(), CliError> {
    let line = line_printer(args.filters.ndjson, format);
    let mut after = match args.after {
        Some(after) => after,
        None => end_of_log(client).await?,
    };
    let mut failures = 0;
    loop {
        match page(client, &args.filters, after, PAGE, Some(LONG_POLL)).await {
            Ok(page) => {
                failures = 0;
                after = page.next_after;
                output::print(&page.events.iter().map(line).collect::<String>())?;
            }
            Err(error) if error.is_temporary() => {
                let pause = follow::pause(failures, error.retry_after());
                if failures == 0 {
                    output::note(&format!("{}; trying on", CliError::from(error).message));
                }
                failures += 1;
                clock.sleep(pause).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The sequence that the log ends with. No event is about the nil task, so pages come back empty, but say how far
/// they looked.
async fn end_of_log(client: &Client) -> Result<u64, ClientError> {
    let nobody = vec![("task".to_owned(), Uuid::nil().to_string())];
    let mut after = 0;
    loop {
        let page = fetch(client, nobody.clone(), after, PAGE, None).await?;
        let stuck = page.next_after == after;
        after = page.next_after;
        if page.done || stuck {
            return Ok(after);
        }
    }
}

/// A stream has no end, so `--json` means a document a line here too.
fn line_printer(ndjson: bool, format: Format) -> fn(&Value) -> String {
    match format {
        _ if ndjson => json_line,
        Format::Json => json_line,
        Format::Quiet => |event| format!("{}\n", plain(&member(event, "id"))),
        Format::Lines => |event| {
            tab_separated(
                &SHAPE
                    .columns
                    .iter()
                    .map(|column| (column.cell)(event))
                    .collect::<Vec<_>>(),
            ) + "\n"
        },
        Format::Table { .. } => text_line,
    }
}

fn json_line(event: &Value) -> String {
    format!("{event}\n")
}

/// Columns of a fixed width: a stream cannot be measured first.
fn text_line(event: &Value) -> String {
    let [sequence, at, kind, task, what] = SHAPE.columns else {
        unreachable!("SHAPE has five columns")
    };
    let line = format!(
        "{:>8}  {}  {:<17}  {:<36}  {}",
        (sequence.cell)(event),
        (at.cell)(event),
        (kind.cell)(event),
        (task.cell)(event),
        (what.cell)(event)
    );
    format!("{}\n", plain(line.trim_end()).replace('\n', "\u{fffd}"))
}

const SHAPE: Shape = Shape {
    id: "id",
    columns: &[
        Column {
            title: "SEQUENCE",
            cell: |event| member(event, "sequence"),
        },
        Column {
            title: "AT",
            cell: |event| member(event, "timestamp"),
        },
        Column {
            title: "TYPE",
            cell: |event| member(event, "type"),
        },
        Column {
            title: "TASK",
            cell: |event| of_data(event, "taskUUID"),
        },
        Column {
            title: "WHAT",
            cell: what,
        },
    ],
};

fn of_data(event: &Value, name: &str) -> String {
    event
        .get("data")
        .map_or_else(String::new, |data| member(data, name))
}

/// The most telling of what it carries: the file, else why, else which endpoint or result.
fn what(event: &Value) -> String {
    ["key", "reason", "endpoint", "resultId"]
        .into_iter()
        .map(|name| of_data(event, name))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
