//! `catchment keys`: API keys, straight in the database, before the first start and beside a running service.

use super::exit::{CliError, Exit};
use super::host::{self, Host};
use super::output::{self, Column, Format, Listing, Shape, member};
use super::{confirm, runtime, values};
use crate::app;
use crate::config::{ConfigFlags, Purpose};
use crate::domain::ids::{Digest, Tenant};
use crate::ports::store::{Accounts, ApiKey, NewApiKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const EXAMPLES: &str = "\
Examples:
  catchment keys create laptop
  catchment keys list";

const CREATE_EXAMPLES: &str = "\
Examples:
  catchment keys create laptop
  catchment keys create publisher --tenant media --json

The key is printed once, alone on stdout; only its hash is kept.";

const LIST_EXAMPLES: &str = "\
Examples:
  catchment keys list
  catchment keys list --json";

const REVOKE_EXAMPLES: &str = "\
Examples:
  catchment keys revoke laptop
  catchment keys revoke key_0123456789abcdef0123456789abcdef --yes";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key and print it, once
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List all keys, the revoked ones too
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Make a key useless, at once and for ever
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What the key is for, to tell it from others
    #[arg(value_parser = key_name)]
    name: String,

    /// Whose tasks it sees and makes
    #[arg(long, value_name = "TENANT", default_value = "default", value_parser = values::plain_id)]
    tenant: String,

    #[command(flatten)]
    settings: ConfigFlags,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    settings: ConfigFlags,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// Its name or id
    #[arg(value_name = "NAME|ID")]
    name_or_id: String,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    settings: ConfigFlags,
}

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    let flags = match &args.command {
        Command::Create(create) => &create.settings,
        Command::List(list) => &list.settings,
        Command::Revoke(revoke) => &revoke.settings,
    };
    let settings = host::settings(flags, Purpose::Tool)?;
    if let Command::Revoke(revoke) = &args.command {
        confirm::confirm(revoke.yes, &format!("Revoke the key {}?", revoke.name_or_id))?;
    }
    let text = runtime::to_its_end(async {
        let store = app::open_store_beside(&settings).await?;
        match &args.command {
            Command::Create(args) => create(&*store, host, args, format).await,
            Command::List(_) => list(&*store, format).await,
            Command::Revoke(args) => revoke(&*store, host, &args.name_or_id, format).await,
        }
    })?;
    output::print(&text)?;
    Ok(Exit::Ok)
}

async fn create(
    accounts: &(impl Accounts + ?Sized),
    host: &Host,
    args: &Create,
    format: Format,
) -> Result<String, CliError> {
    let key = new_key(host);
    let id = format!("key_{}", host.random_name());
    let stored = NewApiKey {
        id: id.clone(),
        tenant: Tenant(args.tenant.clone()),
        name: args.name.clone(),
        sha256: Digest::of(key.as_bytes()),
        created_at: host.clock.now(),
    };
    accounts.create_key(stored).await?;
    Ok(match format {
        Format::Json => format!("{}\n", json!({"id": id, "name": args.name, "key": key})),
        Format::Quiet => format!("{key}\n"),
        Format::Table { .. } | Format::Lines => {
            output::note(&format!(
                "{id} ({}) for tenant {}; the key is shown this once:",
                args.name, args.tenant
            ));
            format!("{key}\n")
        }
    })
}

/// `ck_` and 32 random bytes in base64url; what is stored is the SHA-256 of this whole text.
fn new_key(host: &Host) -> String {
    let mut bytes = [0; 32];
    host.rng.fill(&mut bytes);
    format!("ck_{}", URL_SAFE_NO_PAD.encode(bytes))
}

const SHAPE: Shape = Shape {
    id: "id",
    columns: &[
        Column {
            title: "ID",
            cell: |key| member(key, "id"),
        },
        Column {
            title: "NAME",
            cell: |key| member(key, "name"),
        },
        Column {
            title: "TENANT",
            cell: |key| member(key, "tenant"),
        },
        Column {
            title: "CREATED",
            cell: |key| member(key, "createdAt"),
        },
        Column {
            title: "REVOKED",
            cell: |key| member(key, "revokedAt"),
        },
    ],
};

async fn list(accounts: &(impl Accounts + ?Sized), format: Format) -> Result<String, CliError> {
    let keys = accounts.keys().await?;
    let mut listing = Listing::new(format, &SHAPE);
    let body = listing.page(&keys.iter().map(view).collect::<Vec<_>>());
    Ok(body + &listing.end(None))
}

fn view(key: &ApiKey) -> Value {
    json!({
        "id": key.id, "name": key.name, "tenant": key.tenant.0,
        "createdAt": key.created_at, "revokedAt": key.revoked_at,
    })
}

async fn revoke(
    accounts: &(impl Accounts + ?Sized),
    host: &Host,
    name_or_id: &str,
    format: Format,
) -> Result<String, CliError> {
    let id = the_one_key(accounts.keys().await?, name_or_id)?;
    if !accounts.revoke_key(&id, host.clock.now()).await? {
        // Another `revoke` was faster.
        return Err(no_such_key(name_or_id));
    }
    Ok(match format {
        Format::Json => format!("{}\n", json!({"id": id, "revoked": true})),
        Format::Quiet => format!("{id}\n"),
        Format::Table { .. } | Format::Lines => format!("{id} is revoked\n"),
    })
}

/// Names need not be unique; a name that several live keys share must not revoke the wrong one.
fn the_one_key(keys: Vec<ApiKey>, name_or_id: &str) -> Result<String, CliError> {
    let live = keys.into_iter().filter(|key| key.revoked_at.is_none());
    let mut meant: Vec<ApiKey> = live
        .filter(|key| key.id == name_or_id || key.name == name_or_id)
        .collect();
    match meant.len() {
        0 => Err(no_such_key(name_or_id)),
        1 => Ok(meant.remove(0).id),
        several => {
            let ids: Vec<String> = meant.into_iter().map(|key| key.id).collect();
            let message = format!("{several} keys are called {name_or_id}: {}", ids.join(", "));
            Err(CliError::new(Exit::Conflict, message).next("revoke by id"))
        }
    }
}

fn no_such_key(name_or_id: &str) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no live key {name_or_id}"))
        .next("`catchment keys list` shows them")
}

fn key_name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or_else(|| "expected 1 to 64 characters".to_owned())
}

#[cfg(test)]
mod tests;
