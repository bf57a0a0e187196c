//! `catchment tasks`

use super::client::{Client, ClientFlags, Parameter};
use super::exit::{CliError, Exit};
use super::host::Host;
use super::output::{self, Column, Format, Listing, Shape, member};
use super::progress::archived_of;
use super::values::{self, When};
use super::{import, retry, runtime, show};
use crate::domain::time::Timestamp;
use serde_json::Value;

pub const EXAMPLES: &str = "\
Examples:
  catchment tasks list --status failed
  catchment tasks show 01234567-89ab-4cde-8f01-23456789abcd
  catchment tasks import ids.csv
  catchment tasks retry --status failed --since 24h";

const LIST_EXAMPLES: &str = "\
Examples:
  catchment tasks list
  catchment tasks list --status failed,partial --since 24h
  catchment tasks list --label customer=42 --all --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  catchment tasks show 01234567-89ab-4cde-8f01-23456789abcd
  catchment tasks show 01234567-89ab-4cde-8f01-23456789abcd --json | jq .assets";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List tasks, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Show one task with its whole timeline
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Show),
    /// A new round for what is expired or failed; nothing is bought again
    #[command(after_help = retry::EXAMPLES)]
    Retry(Box<retry::Args>),
    /// Adopt tasks submitted elsewhere, or before a disk was lost
    #[command(after_help = import::EXAMPLES)]
    Import(import::Args),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only these, comma-separated
    #[arg(long, value_delimiter = ',', value_parser = values::statuses())]
    status: Vec<String>,

    /// Only this model
    #[arg(long)]
    model: Option<String>,

    /// Only with this label; all of several
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,

    /// Created at or after: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    since: Option<When>,

    /// Created before
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    until: Option<When>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    all: bool,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// taskUUID
    #[arg(value_name = "ID", value_parser = values::task_id)]
    id: String,

    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    match args.command {
        Command::List(args) => {
            let client = Client::new(&args.client)?;
            let now = host.clock.now();
            runtime::until_interrupted(list(&client, &args, now, format))?;
        }
        Command::Retry(args) => return retry::run(&args, host, format),
        Command::Import(args) => return import::run(args, host, format),
        Command::Show(args) => {
            let client = Client::new(&args.client)?;
            let path = ["v1", "tasks", &args.id];
            let answer = runtime::until_interrupted(async { Ok(client.get(&path, &[], None).await?) })?;
            output::print(&show::task(&answer.body, format))?;
        }
    }
    Ok(Exit::Ok)
}

/// Tasks per request; the most the service gives.
const PAGE: u32 = 200;

async fn list(client: &Client, args: &List, now: Timestamp, format: Format) -> Result<(), CliError> {
    let mut left = if args.all { u32::MAX } else { args.limit };
    let mut cursor = Value::Null;
    let mut listing = Listing::new(format, &SHAPE);
    loop {
        let page = client
            .get(&["v1", "tasks"], &query(args, now, left.min(PAGE), &cursor), None)
            .await?
            .body;
        let items = output::items(&page);
        output::print(&listing.page(items))?;
        cursor = page.get("nextCursor").cloned().unwrap_or(Value::Null);
        left = left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        // An empty page that names another one would keep us here for ever.
        if left == 0 || cursor.is_null() || items.is_empty() {
            break;
        }
    }
    if listing.count() == 0 && matches!(format, Format::Table { .. }) {
        output::note("no tasks; `catchment submit FILE` makes some");
    }
    output::print(&listing.end(Some(("nextCursor", &cursor))))
}

fn query(args: &List, now: Timestamp, limit: u32, cursor: &Value) -> Vec<Parameter> {
    let mut query = values::label_filters(&args.labels);
    let mut add = |name: &str, value: String| query.push((name.to_owned(), value));
    if !args.status.is_empty() {
        add("status", args.status.join(","));
    }
    if let Some(model) = &args.model {
        add("model", model.clone());
    }
    if let Some(since) = args.since {
        add("since", since.from(now).to_string());
    }
    if let Some(until) = args.until {
        add("until", until.from(now).to_string());
    }
    if let Some(cursor) = cursor.as_str() {
        add("cursor", cursor.to_owned());
    }
    add("limit", limit.to_string());
    query
}

pub const SHAPE: Shape = Shape {
    id: "taskUUID",
    columns: &[
        Column {
            title: "TASK",
            cell: |task| member(task, "taskUUID"),
        },
        Column {
            title: "STATUS",
            cell: |task| member(task, "status"),
        },
        Column {
            title: "ARCHIVED",
            cell: archived,
        },
        Column {
            title: "REASON",
            cell: |task| member(task, "reason"),
        },
        Column {
            title: "MODEL",
            cell: |task| member(task, "model"),
        },
        Column {
            title: "COST",
            cell: |task| member(task, "cost"),
        },
        Column {
            title: "CREATED",
            cell: |task| member(task, "createdAt"),
        },
    ],
};

fn archived(task: &Value) -> String {
    let (archived, expected) = archived_of(task);
    format!("{archived}/{expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command as Top};
    use clap::Parser as _;
    use serde_json::json;

    fn parsed(line: &[&str]) -> List {
        let all = ["catchment", "tasks", "list"].iter().chain(line);
        let Ok(Cli {
            command: Top::Tasks(Args {
                command: Command::List(list),
            }),
            ..
        }) = Cli::try_parse_from(all)
        else {
            panic!("not parsed: {line:?}")
        };
        list
    }

    #[test]
    fn filters_become_the_query_of_the_api() {
        let list = parsed(&[
            "--status",
            "failed,partial",
            "--label",
            "customer=4 2",
            "--since",
            "10s",
            "--until",
            "1970-01-01T00:00:30Z",
            "--model",
            "m",
        ]);
        let query = query(&list, Timestamp::from_millis(20_000), 7, &json!("c1"));
        let text: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            text,
            [
                "label.customer=4 2",
                "status=failed,partial",
                "model=m",
                "since=1970-01-01T00:00:10.000Z",
                "until=1970-01-01T00:00:30.000Z",
                "cursor=c1",
                "limit=7"
            ]
        );
    }

    #[test]
    fn the_columns_show_what_is_archived() {
        let task = json!({"taskUUID": "t", "status": "partial", "numberResults": 2, "cost": 4.35,
            "assets": [{"status": "archived"}, {"status": "expired"}]});
        let cells: Vec<String> = SHAPE.columns.iter().map(|column| (column.cell)(&task)).collect();
        assert_eq!(cells, ["t", "partial", "1/2", "", "", "4.35", ""]);
    }
}
