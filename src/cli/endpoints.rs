//! `catchment endpoints`

mod change; // change, rotate, test
mod deliveries; // deliveries, redrive

use super::client::{Client, ClientFlags, secret};
use super::exit::{CliError, Exit};
use super::host::Host;
use super::output::{self, Column, Format, Listing, Shape, member};
use super::{confirm, runtime, show, values};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

pub const EXAMPLES: &str = "\
Examples:
  catchment endpoints create https://example.com/hooks/catchment
  catchment endpoints list
  catchment endpoints deliveries ep_0123456789abcdef0123456789abcdef --status dead";

const CREATE_EXAMPLES: &str = "\
Examples:
  catchment endpoints create https://example.com/hooks/catchment
  catchment endpoints create https://example.com/hooks --type asset.archived --from 0
  catchment endpoints create https://example.com/hooks --label customer=42 --model klingai:avatar@2.0-pro

The secret that signs the deliveries is printed once. Without --type the endpoint gets each asset's and each task's end.";

const LIST_EXAMPLES: &str = "\
Examples:
  catchment endpoints list
  catchment endpoints list --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  catchment endpoints show ep_0123456789abcdef0123456789abcdef";

const DELETE_EXAMPLES: &str = "\
Examples:
  catchment endpoints delete ep_0123456789abcdef0123456789abcdef --yes";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a subscriber
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List subscribers
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Show one subscriber
    #[command(after_help = SHOW_EXAMPLES)]
    Show(One),
    /// Change where events go, which ones, in which form, or whether at all
    #[command(after_help = change::EXAMPLES)]
    Change(change::Change),
    /// Give a subscriber a new secret; the one before signs beside it for a while
    #[command(after_help = change::ROTATE_EXAMPLES)]
    Rotate(change::Rotate),
    /// Send a signed test and tell what came of it; exits 1 when it was not taken
    #[command(after_help = change::TEST_EXAMPLES)]
    Test(One),
    /// List what was sent, with what came of it
    #[command(after_help = deliveries::EXAMPLES)]
    Deliveries(deliveries::Deliveries),
    /// Send again: one delivery, the dead ones of a time, or all dead ones
    #[command(after_help = deliveries::REDRIVE_EXAMPLES)]
    Redrive(deliveries::Redrive),
    /// Remove a subscriber and what is still to be delivered to it
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Where events are sent
    #[arg(value_name = "URL")]
    target: String,

    /// Only these events; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = values::event_types())]
    types: Vec<String>,

    /// Only of tasks with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,

    /// Only of tasks of this model; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,

    /// Form of the deliveries [default: standard]
    #[arg(long, value_name = "FORMAT", value_parser = values::endpoint_formats())]
    format: Option<String>,

    /// Secret that signs the deliveries (whsec_…) [default: the service makes one]
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Option<SecretString>,

    /// Also the events from this sequence on [default: from now on]
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
struct One {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    let text = match args.command {
        Command::Create(args) => create(&args, format)?,
        Command::List(args) => list(&args, format)?,
        Command::Show(args) => show_one(&args, format)?,
        Command::Change(args) => change::change(&args, format)?,
        Command::Rotate(args) => change::rotate(&args, format)?,
        Command::Test(args) => return change::test(&args, format),
        Command::Deliveries(args) => return deliveries::list(&args, host, format),
        Command::Redrive(args) => deliveries::redrive(&args, host, format)?,
        Command::Delete(args) => delete(&args, format)?,
    };
    output::print(&text)?;
    Ok(Exit::Ok)
}

fn create(args: &Create, format: Format) -> Result<String, CliError> {
    must_show_secret(args.secret.as_ref(), format)?;
    let client = Client::new(&args.client)?;
    let body = request(args).to_string().into_bytes();
    let answer =
        runtime::until_interrupted(async { Ok(client.post(&["v1", "endpoints"], body, None).await?) })?;
    Ok(created(answer.body, args.secret.is_some(), format))
}

/// # Errors
/// `Usage` where a secret that is told once would not be seen.
fn must_show_secret(given: Option<&SecretString>, format: Format) -> Result<(), CliError> {
    match format == Format::Quiet && given.is_none() {
        true => Err(
            CliError::usage("--quiet would hide the secret, which is shown once")
                .next("give one with --secret, or leave --quiet out"),
        ),
        false => Ok(()),
    }
}

fn request(args: &Create) -> Value {
    let mut body = Map::new();
    body.insert("url".to_owned(), args.target.clone().into());
    if !args.types.is_empty() {
        body.insert("types".to_owned(), json!(args.types));
    }
    if !args.labels.is_empty() {
        body.insert("labels".to_owned(), labels(&args.labels));
    }
    if !args.models.is_empty() {
        body.insert("models".to_owned(), json!(args.models));
    }
    if let Some(format) = &args.format {
        body.insert("format".to_owned(), format.clone().into());
    }
    if let Some(secret) = &args.secret {
        body.insert("secret".to_owned(), secret.expose_secret().into());
    }
    if let Some(from) = args.from {
        body.insert("from".to_owned(), from.into());
    }
    Value::Object(body)
}

fn labels(pairs: &[(String, String)]) -> Value {
    let pairs = pairs
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()));
    Value::Object(pairs.collect())
}

/// A secret that the caller gave is not said back.
fn created(mut endpoint: Value, secret_is_known: bool, format: Format) -> String {
    if secret_is_known && let Some(members) = endpoint.as_object_mut() {
        members.remove("secret");
    }
    let pairs: Vec<(&str, String)> = ["id", "url", "secret"]
        .into_iter()
        .map(|name| (name, member(&endpoint, name)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    match format {
        Format::Json => output::document(&endpoint),
        Format::Quiet => format!("{}\n", output::plain(&member(&endpoint, "id"))),
        Format::Lines => show::lines(&pairs),
        Format::Table { .. } => show::facts(&pairs),
    }
}

const SHAPE: Shape = Shape {
    id: "id",
    columns: &[
        Column {
            title: "ID",
            cell: |endpoint| member(endpoint, "id"),
        },
        Column {
            title: "URL",
            cell: |endpoint| member(endpoint, "url"),
        },
        Column {
            title: "TYPES",
            cell: types,
        },
        Column {
            title: "STATUS",
            cell: status,
        },
        Column {
            title: "CREATED",
            cell: |endpoint| member(endpoint, "createdAt"),
        },
    ],
};

fn types(endpoint: &Value) -> String {
    match narrowed(endpoint, "types") {
        none if none.is_empty() => "default".to_owned(),
        types => types,
    }
}

fn status(endpoint: &Value) -> String {
    let is_disabled = !member(endpoint, "disabledAt").is_empty() || member(endpoint, "disabled") == "true";
    if is_disabled { "disabled" } else { "enabled" }.to_owned()
}

fn list(args: &List, format: Format) -> Result<String, CliError> {
    let client = Client::new(&args.client)?;
    let answer =
        runtime::until_interrupted(async { Ok(client.get(&["v1", "endpoints"], &[], None).await?) })?;
    let mut listing = Listing::new(format, &SHAPE);
    let body = listing.page(output::items(&answer.body));
    Ok(body + &listing.end(None))
}

fn show_one(args: &One, format: Format) -> Result<String, CliError> {
    let client = Client::new(&args.client)?;
    let path = ["v1", "endpoints", &args.id];
    let answer = runtime::until_interrupted(async { Ok(client.get(&path, &[], None).await?) })?;
    Ok(endpoint(&answer.body, format))
}

const FACTS: [&str; 9] = [
    "id",
    "url",
    "format",
    "createdAt",
    "disabledAt",
    "disabledReason",
    "failingSince",
    "oldSecretUntil",
    "secret",
];

/// One endpoint, for people or programs.
fn endpoint(endpoint: &Value, format: Format) -> String {
    let facts = FACTS.iter().map(|name| (*name, member(endpoint, name)));
    let lists = [
        ("types", types(endpoint)),
        ("labels", narrowed(endpoint, "labels")),
        ("models", narrowed(endpoint, "models")),
    ];
    let pairs = facts.chain(lists).chain([("status", status(endpoint))]);
    let pairs: Vec<(&str, String)> = pairs.filter(|(_, value)| !value.is_empty()).collect();
    match format {
        Format::Json => output::document(endpoint),
        Format::Quiet => format!("{}\n", output::plain(&member(endpoint, "id"))),
        Format::Lines => show::lines(&pairs),
        Format::Table { .. } => show::facts(&pairs),
    }
}

/// What a filter lets through, in one line; empty when it lets everything through.
fn narrowed(endpoint: &Value, name: &str) -> String {
    match endpoint.get(name) {
        Some(Value::Object(pairs)) => {
            let pairs = pairs
                .iter()
                .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
            pairs.collect::<Vec<_>>().join(", ")
        }
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        _ => String::new(),
    }
}

fn delete(args: &Delete, format: Format) -> Result<String, CliError> {
    confirm::confirm(
        args.yes,
        &format!("Delete {} and what it has not got yet?", args.id),
    )?;
    let client = Client::new(&args.client)?;
    let path = ["v1", "endpoints", &args.id];
    runtime::until_interrupted(async { Ok(client.delete(&path).await?) })?;
    Ok(match format {
        Format::Json => format!("{}\n", json!({"id": args.id, "deleted": true})),
        Format::Quiet => format!("{}\n", args.id),
        Format::Table { .. } | Format::Lines => format!("{} is deleted\n", args.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(secret: Option<&str>) -> Create {
        Create {
            target: "https://example.com/h".to_owned(),
            types: vec!["asset.archived".to_owned()],
            labels: vec![("customer".to_owned(), "42".to_owned())],
            models: vec!["m".to_owned()],
            format: Some("cloudevents".to_owned()),
            secret: secret.map(SecretString::from),
            from: Some(0),
            client: ClientFlags {
                url: "http://127.0.0.1:9".to_owned(),
                key: None,
            },
        }
    }

    #[test]
    fn the_request_holds_what_was_given_and_nothing_else() {
        assert_eq!(
            request(&args(Some("whsec_x"))),
            json!({"url": "https://example.com/h", "types": ["asset.archived"], "labels": {"customer": "42"},
                "models": ["m"], "format": "cloudevents", "secret": "whsec_x", "from": 0})
        );
        let bare = Create {
            types: vec![],
            labels: vec![],
            models: vec![],
            format: None,
            from: None,
            ..args(None)
        };
        assert_eq!(request(&bare), json!({"url": "https://example.com/h"}));
    }

    #[test]
    fn a_made_secret_is_shown_a_given_one_is_not() {
        let endpoint = json!({"id": "ep_1", "url": "u", "secret": "whsec_x"});
        for format in [Format::Json, Format::Lines, Format::Table { color: false }] {
            assert!(created(endpoint.clone(), false, format).contains("whsec_x"));
            assert!(!created(endpoint.clone(), true, format).contains("whsec_x"));
        }
        assert_eq!(create(&args(None), Format::Quiet).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn nothing_prints_a_secret_by_accident() {
        assert!(!format!("{:?}", args(Some("whsec_x"))).contains("whsec_x"));
    }
}
