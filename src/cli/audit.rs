//! `catchment audit`

use super::bar::Bar;
use super::client::{Client, ClientFlags, Parameter};
use super::exit::{CliError, Exit};
use super::follow::pause;
use super::host::Host;
use super::output::{self, Column, Format, Listing, Shape, member, note, plain};
use super::values::{self, When};
use super::{confirm, runtime};
use serde_json::{Map, Value, json};

pub const EXAMPLES: &str = "\
Examples:
  catchment audit
  catchment audit --provider --since 7d
  catchment audit --repair --yes
  catchment audit --cursor dDEwMDAw --json

Holds the database against the bucket, with --provider also against the provider, and the journal against the
database. Exit code 1 when something paid is missing and was not repaired, 75 when something could not be checked.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask the provider about each task as well
    #[arg(long)]
    provider: bool,

    /// Put what is missing to work again
    #[arg(long)]
    repair: bool,

    /// Do not ask before repairing
    #[arg(long, short, requires = "repair")]
    yes: bool,

    /// Only tasks made at or after: an instant, or how long ago
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    since: Option<When>,

    /// Only tasks made before
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    until: Option<When>,

    /// Go on where an audit was broken off
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,

    #[command(flatten)]
    client: ClientFlags,
}

/// Tasks, or entries of the journal, asked for at once: as many as the service gives.
const PAGE: u32 = 500;
/// Times a page is asked for again while the service is away.
const MAX_FAILURES: u32 = 30;
const FIGURES: [&str; 6] = ["tasks", "paid", "archived", "inProgress", "missing", "unchecked"];

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    if args.repair {
        confirm::confirm(args.yes, "Put everything that is missing to work again?")?;
    }
    let client = Client::new(&args.client)?;
    let audited = runtime::until_interrupted(walk(&client, host, &args, format))?;
    output::print(&audited.end(format))?;
    audited.verdict()
}

/// The sums so far, and what the last page said. Findings are printed as they come.
struct Audited {
    figures: [u64; FIGURES.len()],
    findings: u64,
    repaired: u64,
    /// The first thing that kept a question from being answered.
    trouble: Option<Value>,
    last: Value,
    listed: String,
}

async fn walk(client: &Client, host: &Host, args: &Args, format: Format) -> Result<Audited, CliError> {
    let bar = Bar::on_stderr(None, format == Format::Quiet);
    let mut listing = Listing::new(format, &SHAPE);
    let mut audited = Audited {
        figures: [0; FIGURES.len()],
        findings: 0,
        repaired: 0,
        trouble: None,
        last: Value::Null,
        listed: String::new(),
    };
    let mut cursor = args.cursor.clone();
    loop {
        let page = page(client, host, args, cursor.as_deref())
            .await
            .map_err(|error| {
                error.next(cursor.as_ref().map_or_else(
                    || "start again; an audit changes nothing by itself".to_owned(),
                    |cursor| format!("go on with --cursor {cursor}"),
                ))
            })?;
        output::print(&listing.page(output::items(&page)))?;
        audited.add(&page);
        bar.show(audited.figures[0], &audited.said());
        match page.get("nextCursor").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => {
                audited.last = page;
                break;
            }
        }
    }
    bar.finish();
    audited.listed = match format {
        Format::Json => {
            let summary = audited.summary();
            listing.end(Some(("summary", &summary)))
        }
        _ => listing.end(None),
    };
    Ok(audited)
}

async fn page(client: &Client, host: &Host, args: &Args, cursor: Option<&str>) -> Result<Value, CliError> {
    let now = host.clock.now();
    let mut members = Map::from_iter([("limit".to_owned(), json!(PAGE))]);
    if let Some(cursor) = cursor {
        members.insert("cursor".to_owned(), json!(cursor));
    }
    for (name, when) in [("since", args.since), ("until", args.until)] {
        if let Some(when) = when {
            members.insert(name.to_owned(), json!(when.from(now).to_string()));
        }
    }
    if args.provider {
        members.insert("provider".to_owned(), json!(true));
    }
    let mut failures = 0;
    loop {
        let answer = match args.repair {
            true => {
                let body = Value::Object(members.clone()).to_string().into_bytes();
                client.post(&["v1", "audit"], body, None).await
            }
            false => client.get(&["v1", "audit"], &query(&members), None).await,
        };
        match answer {
            Ok(answer) => return Ok(answer.body),
            Err(error) if error.is_temporary() && failures < MAX_FAILURES => {
                let wait = pause(failures, error.retry_after());
                if failures == 0 {
                    note(&format!("{}; trying on", CliError::from(error).message));
                }
                failures += 1;
                host.clock.sleep(wait).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn query(members: &Map<String, Value>) -> Vec<Parameter> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

const SHAPE: Shape = Shape {
    id: "taskUUID",
    columns: &[
        Column {
            title: "TASK",
            cell: |finding| member(finding, "taskUUID"),
        },
        Column {
            title: "RESULT",
            cell: |finding| member(finding, "resultId"),
        },
        Column {
            title: "PROBLEM",
            cell: |finding| member(finding, "problem"),
        },
        Column {
            title: "REASON",
            cell: |finding| member(finding, "reason"),
        },
        Column {
            title: "KEY",
            cell: |finding| member(finding, "key"),
        },
        Column {
            title: "REPAIRED",
            cell: |finding| member(finding, "repaired"),
        },
    ],
};

impl Audited {
    fn add(&mut self, page: &Value) {
        for (figure, name) in self.figures.iter_mut().zip(FIGURES) {
            *figure += page.get(name).and_then(Value::as_u64).unwrap_or(0);
        }
        let findings = output::items(page);
        self.findings += findings.len() as u64;
        self.repaired += findings.iter().filter(|f| f["repaired"] == true).count() as u64;
        let trouble = page.get("trouble").filter(|t| !t.is_null());
        self.trouble = self.trouble.take().or_else(|| trouble.cloned());
    }

    fn trouble_said(&self) -> Option<String> {
        let said = |t: &Value| format!("{}: {}", member(t, "component"), member(t, "code"));
        self.trouble.as_ref().map(said)
    }

    fn is_complete(&self) -> bool {
        self.trouble.is_none() && self.figure("unchecked") == 0
    }

    fn figure(&self, name: &str) -> u64 {
        let at = FIGURES.iter().position(|known| *known == name);
        at.map_or(0, |at| self.figures[at])
    }

    fn said(&self) -> String {
        let mut text = format!(
            "{} paid, {} archived, {} missing",
            self.figure("paid"),
            self.figure("archived"),
            self.figure("missing")
        );
        for (name, words) in [("inProgress", "in progress"), ("unchecked", "not checked")] {
            if self.figure(name) > 0 {
                text.push_str(&format!(", {} {words}", self.figure(name)));
            }
        }
        if self.repaired > 0 {
            text.push_str(&format!(", {} put to work again", self.repaired));
        }
        text
    }

    fn summary(&self) -> Value {
        let figures = FIGURES.iter().zip(self.figures);
        let mut summary: Map<String, Value> =
            figures.map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
        summary.insert("repaired".to_owned(), json!(self.repaired));
        summary.insert("trouble".to_owned(), self.trouble.clone().unwrap_or_default());
        summary.insert("complete".to_owned(), json!(self.is_complete()));
        for name in ["days", "providerTrouble"] {
            summary.insert(name.to_owned(), self.last.get(name).cloned().unwrap_or_default());
        }
        Value::Object(summary)
    }

    fn end(&self, format: Format) -> String {
        match format {
            Format::Json | Format::Quiet => self.listed.clone(),
            Format::Lines | Format::Table { .. } => {
                let days = self.days(format);
                let trouble = self
                    .trouble_said()
                    .map_or_else(String::new, |t| format!("not checked, {}\n", plain(&t)));
                format!("{}{days}{trouble}{}\n", self.listed, self.said())
            }
        }
    }

    /// Each day beside what the provider says of it; only people want it among the rest.
    fn days(&self, format: Format) -> String {
        let Format::Table { color } = format else {
            return String::new();
        };
        let rows: Vec<Vec<String>> = self
            .last
            .get("days")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|day| {
                let provider = &day["provider"];
                vec![
                    member(day, "day"),
                    member(day, "results"),
                    member(day, "cost"),
                    member(provider, "cost"),
                    member(provider, "requests"),
                    member(day, "difference"),
                ]
            })
            .collect();
        let titles = ["DAY", "RESULTS", "COST", "PROVIDER", "REQUESTS", "DIFFERENCE"];
        output::table(&titles, &rows, color)
    }

    fn verdict(&self) -> Result<Exit, CliError> {
        let missing = self.findings - self.repaired;
        if missing > 0 {
            return Err(
                CliError::new(Exit::Failure, format!("{missing} paid results are missing"))
                    .next("`catchment audit --repair` puts them to work again"),
            );
        }
        if !self.is_complete() {
            let what = self.trouble_said();
            let what = what.as_deref().unwrap_or("entries that cannot be read");
            return Err(CliError::new(
                Exit::Temporary,
                format!("not everything could be checked ({what})"),
            )
            .next("run it again later"));
        }
        Ok(Exit::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audited(pages: &[Value]) -> Audited {
        let mut audited = Audited {
            figures: [0; FIGURES.len()],
            findings: 0,
            repaired: 0,
            trouble: None,
            last: Value::Null,
            listed: String::new(),
        };
        pages.iter().for_each(|page| audited.add(page));
        audited
    }

    #[test]
    fn pages_add_up_to_one_sentence_and_one_exit_code() {
        let fine = json!({"data": [], "tasks": 2, "paid": 3, "archived": 3, "inProgress": 0, "missing": 0,
            "unchecked": 0, "trouble": null});
        let whole = audited(&[fine.clone(), fine.clone()]);
        assert_eq!(whole.said(), "6 paid, 6 archived, 0 missing");
        assert_eq!(whole.verdict(), Ok(Exit::Ok));
        let gone = json!({"data": [{"repaired": false}], "paid": 1, "archived": 0, "missing": 1});
        assert_eq!(
            audited(&[fine.clone(), gone]).verdict().unwrap_err().exit,
            Exit::Failure
        );
        let mended = json!({"data": [{"repaired": true}], "paid": 1, "archived": 0, "missing": 1});
        let mended = audited(&[mended]);
        assert_eq!(
            mended.said(),
            "1 paid, 0 archived, 1 missing, 1 put to work again"
        );
        assert_eq!(mended.verdict(), Ok(Exit::Ok));
        let unseen = json!({"data": [], "paid": 1, "unchecked": 1,
            "trouble": {"component": "object_store", "code": "timeout"}});
        // What an early page could not see is not forgotten by the end.
        let whole = audited(&[unseen, fine]);
        assert_eq!(whole.verdict().unwrap_err().exit, Exit::Temporary);
        assert_eq!(whole.summary()["trouble"]["code"], "timeout");
        assert_eq!(whole.summary()["complete"], false);
    }
}
