//! `catchment events`

use super::client::Client;
use super::exit::{CliError, Exit};
use super::host::Host;
use super::log::{self, After, Filters, Follower, PAGE};
use super::output::{self, Column, Format, Listing, Shape, member, plain, tab_separated};
use super::runtime;
use crate::ports::clock::Clock;
use serde_json::Value;

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
struct List {
    /// Only events after this sequence [default: from the oldest there is]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,

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

async fn list(client: &Client, args: &List, format: Format) -> Result<(), CliError> {
    let mut left = if args.all { u32::MAX } else { args.limit };
    let mut after = args.after.map_or(After::Oldest, After::Sequence);
    let mut listing = Listing::new(format, &SHAPE);
    loop {
        let page = log::page(client, &args.filters, after, left.min(PAGE), None).await?;
        let text = match args.filters.ndjson {
            true => page.events.iter().map(json_line).collect(),
            false => listing.page(&page.events),
        };
        output::print(&text)?;
        left = left.saturating_sub(u32::try_from(page.events.len()).unwrap_or(u32::MAX));
        let stuck = after == After::Sequence(page.next_after);
        after = After::Sequence(page.next_after);
        if left == 0 || page.done || stuck {
            return match args.filters.ndjson {
                true => Ok(()),
                false => output::print(&listing.end(Some(("nextAfter", &page.next_after.into())))),
            };
        }
    }
}

/// Only an error ends it: a closed pipe, or an answer that another try would not change.
async fn tail(client: &Client, clock: &dyn Clock, args: &Tail, format: Format) -> Result<(), CliError> {
    let line = line_printer(args.filters.ndjson, format);
    let after = args.after.map_or(After::Latest, After::Sequence);
    let mut log = Follower::new(client, clock, &args.filters, PAGE, after);
    loop {
        let events = log.next().await?;
        output::print(&events.iter().map(line).collect::<String>())?;
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
