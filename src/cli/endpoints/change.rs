//! `catchment endpoints change`, `rotate`, `test`

use super::super::client::{Client, ClientFlags, secret};
use super::super::exit::{CliError, Exit};
use super::super::output::{self, Format, member};
use super::super::{runtime, show, values};
use super::{One, endpoint, labels, must_show_secret};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub const EXAMPLES: &str = "\
Examples:
  catchment endpoints change ep_0123456789abcdef0123456789abcdef --to https://new.example.com/hooks
  catchment endpoints change ep_0123456789abcdef0123456789abcdef --type asset.archived --any-label
  catchment endpoints change ep_0123456789abcdef0123456789abcdef --enable

What is not named stays as it is. Events of a disabled endpoint are kept and sent once it is enabled again.";

pub const ROTATE_EXAMPLES: &str = "\
Examples:
  catchment endpoints rotate ep_0123456789abcdef0123456789abcdef
  catchment endpoints rotate ep_0123456789abcdef0123456789abcdef --overlap 7d

The new secret is printed once. Until the overlap is over every delivery carries both signatures.";

pub const TEST_EXAMPLES: &str = "\
Examples:
  catchment endpoints test ep_0123456789abcdef0123456789abcdef";

#[derive(Debug, clap::Args)]
#[group(id = "changes", required = true, multiple = true)]
pub struct What {
    /// Send events here from now on
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// Only these events; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = values::event_types())]
    types: Vec<String>,

    /// The default events: each asset's and each task's end
    #[arg(long, conflicts_with = "types")]
    default_types: bool,

    /// Only of tasks with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = values::label)]
    labels: Vec<(String, String)>,

    /// Whatever the labels
    #[arg(long, conflicts_with = "labels")]
    any_label: bool,

    /// Only of tasks of this model; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,

    /// Whatever the model
    #[arg(long, conflicts_with = "models")]
    any_model: bool,

    /// Form of the deliveries
    #[arg(long, value_name = "FORMAT", value_parser = values::endpoint_formats())]
    format: Option<String>,

    /// Send nothing for now, keep everything
    #[arg(long)]
    disable: bool,

    /// Send again, also what was kept meanwhile
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
}

#[derive(Debug, clap::Args)]
pub struct Change {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    #[command(flatten)]
    what: What,

    #[command(flatten)]
    client: ClientFlags,
}

#[derive(Debug, clap::Args)]
pub struct Rotate {
    /// Endpoint id (ep_…)
    #[arg(value_parser = values::plain_id)]
    id: String,

    /// The new secret (whsec_…) [default: the service makes one]
    #[arg(long, value_name = "SECRET", value_parser = secret)]
    secret: Option<SecretString>,

    /// How long the secret before signs as well, at most 7d [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    overlap: Option<Duration>,

    #[command(flatten)]
    client: ClientFlags,
}

pub fn change(args: &Change, format: Format) -> Result<String, CliError> {
    let client = Client::new(&args.client)?;
    let body = request(&args.what).to_string().into_bytes();
    let path = ["v1", "endpoints", &args.id];
    let answer = runtime::until_interrupted(async { Ok(client.patch(&path, body).await?) })?;
    Ok(endpoint(&answer.body, format))
}

/// Null takes a filter away.
fn request(what: &What) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let filter = |given: Value, is_given: bool, is_taken_away: bool| match (is_given, is_taken_away) {
        (true, _) => Some(given),
        (false, true) => Some(Value::Null),
        (false, false) => None,
    };
    put("url", what.to.clone().map(Value::from));
    put(
        "types",
        filter(json!(what.types), !what.types.is_empty(), what.default_types),
    );
    put(
        "labels",
        filter(labels(&what.labels), !what.labels.is_empty(), what.any_label),
    );
    put(
        "models",
        filter(json!(what.models), !what.models.is_empty(), what.any_model),
    );
    put("format", what.format.clone().map(Value::from));
    put(
        "disabled",
        (what.disable || what.enable).then_some(what.disable.into()),
    );
    Value::Object(body)
}

pub fn rotate(args: &Rotate, format: Format) -> Result<String, CliError> {
    must_show_secret(args.secret.as_ref(), format)?;
    let client = Client::new(&args.client)?;
    let mut body = Map::new();
    if let Some(secret) = &args.secret {
        body.insert("secret".to_owned(), secret.expose_secret().into());
    }
    if let Some(overlap) = args.overlap {
        body.insert("overlap".to_owned(), format!("{}s", overlap.as_secs()).into());
    }
    let body = Value::Object(body).to_string().into_bytes();
    let path = ["v1", "endpoints", &args.id, "rotate"];
    let mut answer = runtime::until_interrupted(async { Ok(client.post(&path, body, None).await?) })?.body;
    if args.secret.is_some()
        && let Some(members) = answer.as_object_mut()
    {
        members.remove("secret"); // one that the caller gave is not said back
    }
    Ok(endpoint(&answer, format))
}

pub fn test(args: &One, format: Format) -> Result<Exit, CliError> {
    let client = Client::new(&args.client)?;
    let path = ["v1", "endpoints", &args.id, "test"];
    let answer = runtime::until_interrupted(async { Ok(client.post(&path, b"{}".to_vec(), None).await?) })?;
    let facts = ["delivered", "status", "code", "durationMs", "excerpt"]
        .map(|name| (name, member(&answer.body, name)));
    let pairs: Vec<(&str, String)> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    output::print(&match format {
        Format::Json => output::document(&answer.body),
        Format::Quiet => String::new(),
        Format::Lines => show::lines(&pairs),
        Format::Table { .. } => show::facts(&pairs),
    })?;
    match answer.body["delivered"] == true {
        true => Ok(Exit::Ok),
        false => Ok(Exit::Failure),
    }
}
