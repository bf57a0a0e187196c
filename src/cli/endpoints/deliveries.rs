//! `catchment endpoints deliveries`, `redrive`

use super::super::client::{Client, ClientFlags, Parameter};
use super::super::exit::{CliError, Exit};
use super::super::host::Host;
use super::super::output::{self, Column, Format, Listing, Shape, member};
use super::super::values::{self, When};
use super::super::{confirm, runtime};
use crate::domain::time::Timestamp;
use serde_json::{Map, Value, json};

pub const EXAMPLES: &str = "\
Examples:
  catchment endpoints deliveries ep_0123456789abcdef0123456789abcdef
  catchment endpoints deliveries ep_0123456789abcdef0123456789abcdef --status dead --since 24h --attempts
  catchment endpoints deliveries ep_0123456789abcdef0123456789abcdef --all --json";

pub const REDRIVE_EXAMPLES: &str = "\
Examples:
  catchment endpoints redrive ep_0123456789abcdef0123456789abcdef --event evt_0123456789abcdef0123456789abcdef
  catchment endpoints redrive ep_0123456789abcdef0123456789abcdef --since 24h --yes
  catchment endpoints redrive ep_0123456789abcdef0123456789abcdef --all --yes

They are sent at once, under the same ids: a consumer that got one before knows it again.";

#[derive(Debug, clap::Args)]
pub struct Deliveries {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    /// Only these, comma-separated
    #[arg(long, value_delimiter = ',', value_parser = values::delivery_statuses())]
    status: Vec<String>,

    /// Only of this event
    #[arg(long, value_name = "ID", value_parser = values::plain_id)]
    event: Option<String>,

    /// Of events at or after: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    since: Option<When>,

    /// Of events before
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    until: Option<When>,

    /// One line a try rather than one a delivery
    #[arg(long)]
    attempts: bool,

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
#[group(id = "chosen", required = true, multiple = true)]
struct Which {
    /// This one, whatever came of it (dlv_…)
    #[arg(long, value_name = "ID", value_parser = values::plain_id, conflicts_with_all = ["event", "since", "until", "all"])]
    delivery: Option<String>,

    /// The one of this event (evt_…)
    #[arg(long, value_name = "ID", value_parser = values::plain_id, conflicts_with_all = ["since", "until", "all"])]
    event: Option<String>,

    /// The dead ones of events at or after: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::when, conflicts_with = "all")]
    since: Option<When>,

    /// The dead ones of events before
    #[arg(long, value_name = "WHEN", value_parser = values::when, conflicts_with = "all")]
    until: Option<When>,

    /// All dead ones
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub struct Redrive {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    #[command(flatten)]
    which: Which,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    client: ClientFlags,
}

/// Deliveries per request; the most the service gives.
const PAGE: u32 = 200;

pub fn list(args: &Deliveries, host: &Host, format: Format) -> Result<Exit, CliError> {
    let client = Client::new(&args.client)?;
    runtime::until_interrupted(pages(&client, args, host.clock.now(), format))?;
    Ok(Exit::Ok)
}

async fn pages(client: &Client, args: &Deliveries, now: Timestamp, format: Format) -> Result<(), CliError> {
    let mut left = if args.all { u32::MAX } else { args.limit };
    let mut cursor = Value::Null;
    // A document holds both; lines are of one or the other.
    let by_attempt = args.attempts && format != Format::Json;
    let mut listing = Listing::new(format, if by_attempt { &ATTEMPTS } else { &DELIVERIES });
    let path = ["v1", "endpoints", &args.id, "deliveries"];
    loop {
        let query = query(args, now, left.min(PAGE), &cursor);
        let page = client.get(&path, &query, None).await?.body;
        let items = output::items(&page);
        output::print(&match by_attempt {
            true => listing.page(&tries(items)),
            false => listing.page(items),
        })?;
        cursor = page.get("nextCursor").cloned().unwrap_or(Value::Null);
        left = left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        if left == 0 || cursor.is_null() {
            break;
        }
    }
    output::print(&listing.end(Some(("nextCursor", &cursor))))
}

fn query(args: &Deliveries, now: Timestamp, limit: u32, cursor: &Value) -> Vec<Parameter> {
    let instant = |when: Option<When>| when.map(|when| when.from(now).to_string());
    let status = (!args.status.is_empty()).then(|| args.status.join(","));
    let parameters = [
        ("status", status),
        ("event", args.event.clone()),
        ("since", instant(args.since)),
        ("until", instant(args.until)),
        ("cursor", cursor.as_str().map(str::to_owned)),
        ("limit", Some(limit.to_string())),
    ];
    let given = parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

/// Every try as an item of its own, with what it was a try of.
fn tries(deliveries: &[Value]) -> Vec<Value> {
    let of = |delivery: &Value| {
        let attempts = delivery
            .get("attempts")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let delivery = delivery.clone();
        attempts.into_iter().map(move |attempt| {
            json!({ "id": delivery["id"], "event": delivery["event"], "type": delivery["type"], "attempt": attempt })
        })
    };
    deliveries.iter().flat_map(of).collect()
}

const DELIVERIES: Shape = Shape {
    id: "id",
    columns: &[
        Column {
            title: "DELIVERY",
            cell: |d| member(d, "id"),
        },
        Column {
            title: "EVENT",
            cell: |d| member(d, "event"),
        },
        Column {
            title: "TYPE",
            cell: |d| member(d, "type"),
        },
        Column {
            title: "STATUS",
            cell: |d| member(d, "status"),
        },
        Column {
            title: "REASON",
            cell: |d| member(d, "reason"),
        },
        Column {
            title: "TRIES",
            cell: |d| member(d, "attemptCount"),
        },
        Column {
            title: "LAST",
            cell: |d| {
                d["attempts"]
                    .as_array()
                    .and_then(|a| a.last())
                    .map(answer)
                    .unwrap_or_default()
            },
        },
        Column {
            title: "NEXT",
            cell: |d| member(d, "nextAttemptAt"),
        },
    ],
};

const ATTEMPTS: Shape = Shape {
    id: "id",
    columns: &[
        Column {
            title: "DELIVERY",
            cell: |t| member(t, "id"),
        },
        Column {
            title: "TYPE",
            cell: |t| member(t, "type"),
        },
        Column {
            title: "TRY",
            cell: |t| member(&t["attempt"], "number"),
        },
        Column {
            title: "AT",
            cell: |t| member(&t["attempt"], "at"),
        },
        Column {
            title: "MS",
            cell: |t| member(&t["attempt"], "durationMs"),
        },
        Column {
            title: "ANSWER",
            cell: |t| answer(&t["attempt"]),
        },
        Column {
            title: "EXCERPT",
            cell: |t| member(&t["attempt"], "excerpt"),
        },
    ],
};

/// The status, or why there was none.
fn answer(attempt: &Value) -> String {
    match member(attempt, "status") {
        none if none.is_empty() => member(attempt, "code"),
        status => status,
    }
}

pub fn redrive(args: &Redrive, host: &Host, format: Format) -> Result<String, CliError> {
    let which = &args.which;
    if which.delivery.is_none() && which.event.is_none() {
        confirm::confirm(args.yes, &format!("Send many deliveries of {} again?", args.id))?;
    }
    let client = Client::new(&args.client)?;
    let body = request(which, host.clock.now()).to_string().into_bytes();
    let path = ["v1", "endpoints", &args.id, "redrive"];
    let answer = runtime::until_interrupted(async { Ok(client.post(&path, body, None).await?) })?;
    let count = member(&answer.body, "redriven");
    Ok(match format {
        Format::Json => output::document(&answer.body),
        Format::Quiet => String::new(),
        Format::Table { .. } | Format::Lines => format!("{count} sent again\n"),
    })
}

fn request(which: &Which, now: Timestamp) -> Value {
    let instant = |when: Option<When>| when.map(|when| when.from(now).to_string());
    let members = [
        ("delivery", which.delivery.clone()),
        ("event", which.event.clone()),
        ("since", instant(which.since)),
        ("until", instant(which.until)),
    ];
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let mut body: Map<String, Value> = given.collect();
    if which.all {
        body.insert("all".to_owned(), true.into());
    }
    Value::Object(body)
}
