//! `catchment listen`: the event log, delivered to an address that the service itself could not reach.
//!
//! One event after the other, in order. A consumer that is away is waited for; one that answers and refuses is asked a
//! few times more, and then the next event has its turn.

use super::client::{Client, secret};
use super::exit::{CliError, Exit, chain};
use super::host::Host;
use super::log::{After, Filters, Follower};
use super::output::{self, Format, member, plain, tab_separated};
use super::{client, follow, runtime};
use crate::domain::delivery::Secret;
use crate::domain::signature::sign;
use crate::ports::clock::{Clock, Rng};
use reqwest::{StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;

pub const EXAMPLES: &str = "\
Examples:
  catchment listen --forward-to http://localhost:3000/hooks
  catchment listen --forward-to http://localhost:3000/hooks --after 0 --type asset.archived
  catchment listen --forward-to http://localhost:3000/hooks --ndjson

Each event is sent as an endpoint would get it: signed (Standard Webhooks), in order, until it is taken. The secret is
printed once at the start, or given. It starts with what comes next; --after sends the past again.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where each event is sent
    #[arg(long, value_name = "URL", value_parser = target)]
    forward_to: Url,

    /// Start after this sequence [default: at the end of the log]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,

    /// Secret that signs the deliveries (whsec_…) [default: one is made]
    #[arg(long, value_name = "SECRET", env = "CATCHMENT_LISTEN_SECRET", hide_env_values = true, value_parser = secret)]
    secret: Option<SecretString>,

    #[command(flatten)]
    filters: Filters,
}

/// Few, so that one delivery at a time is not held up long by what is still to be read.
const PAGE: u32 = 100;
/// For one try: room for a breakpoint or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// Refusals of one event before the next has its turn: the service itself goes on for days, a developer does not.
const MAX_REFUSALS: u32 = 5;

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    let client = Client::new(&args.filters.client)?;
    let forward = Forward::new(&args, host)?;
    if args.secret.is_none() {
        output::note(&format!("Deliveries are signed with {}", forward.secret.reveal()));
    }
    let line = line_printer(args.filters.ndjson, format);
    let after = args.after.map_or(After::Latest, After::Sequence);
    runtime::until_interrupted(async {
        let mut log = Follower::new(&client, &*host.clock, &args.filters, PAGE, after);
        loop {
            for event in log.next().await? {
                let came_of_it = forward.deliver(&event).await;
                output::print(&line(&came_of_it.told(&event)))?;
            }
        }
    })
}

fn target(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "expected an address such as http://localhost:3000/hooks")?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("expected an address that starts with http:// or https://"),
    }
}

struct Forward<'a> {
    http: reqwest::Client,
    target: Url,
    secret: Secret,
    clock: &'a dyn Clock,
    rng: &'a dyn Rng,
}

struct CameOfIt {
    status: StatusCode,
    tries: u32,
    took: Duration,
}

impl<'a> Forward<'a> {
    fn new(args: &Args, host: &'a Host) -> Result<Self, CliError> {
        let secret = match &args.secret {
            Some(given) => Secret::parse(given.expose_secret())
                .map_err(|fault| CliError::usage(format!("--secret: {fault}")))?,
            None => {
                let mut bytes = vec![0; 32];
                host.rng.fill(&mut bytes);
                Secret(bytes)
            }
        };
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("catchment-listen/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none()); // as deliveries: a redirect is a refusal
        if client::is_loopback(&args.forward_to) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|fault| {
            let message = format!("the HTTP client cannot start: {}", chain(&fault));
            CliError::new(Exit::Failure, message)
        })?;
        Ok(Self {
            http,
            target: args.forward_to.clone(),
            secret,
            clock: &*host.clock,
            rng: &*host.rng,
        })
    }

    /// Until it is taken, or was refused often enough. Nobody at the address is no refusal.
    async fn deliver(&self, event: &Value) -> CameOfIt {
        let (mut tries, mut refusals, mut away) = (0, 0, 0);
        loop {
            tries += 1;
            let began = self.clock.now();
            let answer = self.attempt(event).await;
            let took = self.clock.now().since(began);
            match answer {
                Ok(status) if status.is_success() || refusals + 1 == MAX_REFUSALS => {
                    return CameOfIt { status, tries, took };
                }
                Ok(status) => {
                    output::note(&format!(
                        "event {}: {status}, trying on",
                        member(event, "sequence")
                    ));
                    self.rest(refusals).await;
                    (refusals, away) = (refusals + 1, 0);
                }
                Err(fault) => {
                    if away == 0 {
                        let why = chain(&fault.without_url());
                        output::note(&format!("{} does not answer: {why}; trying on", self.target));
                    }
                    self.rest(away).await;
                    away = away.saturating_add(1);
                }
            }
        }
    }

    async fn attempt(&self, event: &Value) -> Result<StatusCode, reqwest::Error> {
        let body = event.to_string().into_bytes();
        let id = member(event, "id");
        let now_s = self.clock.wall().as_millis().div_euclid(1_000);
        let request = self
            .http
            .post(self.target.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now_s)
            .header("webhook-signature", sign(&self.secret, &id, now_s, &body))
            .body(body);
        Ok(request.send().await?.status())
    }

    /// A fifth more or less, so that several listeners do not come back as one.
    async fn rest(&self, failures: u32) {
        let pause = follow::pause(failures, None);
        self.clock
            .sleep(pause.mul_f64(0.8 + 0.4 * self.rng.jitter().0))
            .await;
    }
}

impl CameOfIt {
    fn told(&self, event: &Value) -> Value {
        json!({
            "sequence": event.get("sequence"), "id": event.get("id"), "type": event.get("type"),
            "taskUUID": event.pointer("/data/taskUUID"), "delivered": self.status.is_success(),
            "status": self.status.as_u16(), "tries": self.tries,
            "durationMs": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

const MEMBERS: [&str; 6] = ["sequence", "type", "taskUUID", "status", "tries", "durationMs"];

/// A stream has no end, so `--json` means a document a line here too.
fn line_printer(ndjson: bool, format: Format) -> fn(&Value) -> String {
    match format {
        _ if ndjson => |told| format!("{told}\n"),
        Format::Json => |told| format!("{told}\n"),
        Format::Quiet => |told| format!("{}\n", plain(&member(told, "id"))),
        Format::Lines => |told| tab_separated(&MEMBERS.map(|name| member(told, name))) + "\n",
        Format::Table { .. } => text_line,
    }
}

/// Columns of a fixed width: a stream cannot be measured first.
fn text_line(told: &Value) -> String {
    let [sequence, kind, task, status, tries, took] = MEMBERS.map(|name| member(told, name));
    let tries = if tries == "1" {
        String::new()
    } else {
        format!("  {tries} tries")
    };
    plain(&format!(
        "{sequence:>8}  {kind:<17}  {task:<36}  {status}  {took} ms{tries}"
    )) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Value {
        let event =
            json!({"sequence": 12, "id": "evt_1", "type": "asset.archived", "data": {"taskUUID": "t"}});
        let came = CameOfIt {
            status: StatusCode::NO_CONTENT,
            tries: 2,
            took: Duration::from_millis(7),
        };
        came.told(&event)
    }

    #[test]
    fn a_line_suits_its_reader() {
        let line = |ndjson, format| line_printer(ndjson, format)(&told());
        assert_eq!(line(false, Format::Lines), "12\tasset.archived\tt\t204\t2\t7\n");
        assert_eq!(line(false, Format::Quiet), "evt_1\n");
        for text in [line(true, Format::Lines), line(false, Format::Json)] {
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), told());
        }
        let person = line(false, Format::Table { color: false });
        assert!(person.ends_with("204  7 ms  2 tries\n"), "{person:?}");
    }

    #[test]
    fn only_an_address_is_a_target() {
        assert!(target("http://localhost:3000/hooks").is_ok());
        for no in ["localhost:3000", "ftp://localhost/", "hooks", ""] {
            assert!(target(no).is_err(), "{no}");
        }
    }
}
