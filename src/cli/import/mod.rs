//! `catchment tasks import`

mod batches;
mod result;

use super::bar::Bar;
use super::client::{Answer, Client, ClientError, ClientFlags, Parameter};
use super::exit::{CliError, Exit};
use super::follow::{is_terminal, pause};
use super::host::Host;
use super::output::{self, Format, member, note};
use super::{runtime, submit, values};
use crate::ports::clock::Clock;
use batches::{Batch, ListFormat};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

pub const EXAMPLES: &str = "\
Examples:
  catchment tasks import ids.csv
  catchment tasks import tasks.ndjson --wait --result outcome.csv
  cut -d, -f2 report.csv | catchment tasks import - --format csv
  catchment tasks import --from-bucket

FILE lists taskUUIDs as JSON, CSV (a taskUUID column, or one column) or NDJSON. Nothing is submitted and nothing is
bought: the provider is asked about each task, and its results are archived. A list can be imported again.
--from-bucket re-learns every task from the journal in the bucket, after the disk was lost.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// List of taskUUIDs; - reads stdin
    #[arg(required_unless_present = "from_bucket", conflicts_with = "from_bucket")]
    file: Option<PathBuf>,

    /// Form of the list [default: by the file's name, else by its first character]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<ListFormat>,

    /// Re-learn every task from the journal in the bucket
    #[arg(long)]
    from_bucket: bool,

    /// Wait until every imported task has ended; 6: one did not complete, 7: not in time
    #[arg(long)]
    wait: bool,

    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "24h", requires = "wait", value_parser = values::duration)]
    timeout: Duration,

    /// Write what became of each task: CSV, or NDJSON by its name
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,

    #[command(flatten)]
    client: ClientFlags,
}

/// Times a request is repeated while the service is away; the pauses between grow to ten seconds.
const MAX_FAILURES: u32 = 30;

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    // Before Ctrl-C is caught: reading stdin may take for ever, and cannot be dropped.
    let batches = match &args.file {
        Some(file) => Some(read(file, args.format)?),
        None => None,
    };
    let client = Client::new(&args.client)?;
    runtime::until_interrupted(async {
        let ctx = Ctx {
            client: &client,
            clock: &*host.clock,
            quiet: format == Format::Quiet,
        };
        let mut imported = Imported::default();
        let done = match &batches {
            Some((kind, batches)) => ctx.import(*kind, batches, &mut imported).await,
            None => ctx.import_journal(&mut imported).await,
        };
        match done {
            Ok(()) => ctx.conclude(&args, imported, format).await,
            Err(error) => {
                // Of those that were imported before it; a service that is away was waited for long enough.
                let written = match (&args.result, error.exit) {
                    (Some(file), Exit::Temporary) => result::write(file, &imported.ids, &HashMap::new()),
                    _ => ctx.write_result(&args, &imported.ids).await.map(drop),
                };
                written.unwrap_or_else(|fault| note(&fault.message));
                Err(error)
            }
        }
    })
}

fn read(file: &std::path::Path, format: Option<ListFormat>) -> Result<(ListFormat, Vec<Batch>), CliError> {
    let bytes = submit::read_bytes(file)?;
    let text = String::from_utf8(bytes).map_err(|_| CliError::usage("the list is not UTF-8"))?;
    let format = format.unwrap_or_else(|| ListFormat::of(file, &text));
    Ok((format, batches::cut(&text, format)?))
}

struct Ctx<'a> {
    client: &'a Client,
    clock: &'a dyn Clock,
    quiet: bool,
}

/// What the service said, over all requests.
#[derive(Default)]
struct Imported {
    ids: Vec<String>,
    counts: [u64; COUNTS.len()],
}

const COUNTS: [&str; 5] = ["imported", "known", "refused", "otherTenants", "unreadable"];

impl Imported {
    fn add(&mut self, answer: &Value) {
        let entries = output::items(answer);
        self.ids
            .extend(entries.iter().map(|entry| member(entry, "taskUUID")));
        for (count, name) in self.counts.iter_mut().zip(COUNTS) {
            *count += answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        }
    }

    fn count(&self, name: &str) -> u64 {
        let at = COUNTS.iter().position(|known| *known == name);
        at.map_or(0, |at| self.counts[at])
    }

    fn said(&self) -> String {
        let said = COUNTS.iter().zip(self.counts).take(3);
        let said: Vec<String> = said.map(|(name, n)| format!("{n} {name}")).collect();
        said.join(", ")
    }
}

impl Ctx<'_> {
    async fn import(
        &self,
        kind: ListFormat,
        batches: &[Batch],
        imported: &mut Imported,
    ) -> Result<(), CliError> {
        let all: usize = batches.iter().map(|batch| batch.tasks).sum();
        let bar = Bar::on_stderr(Some(all as u64), self.quiet);
        for batch in batches {
            let answer = self
                .again(async || {
                    let path = ["v1", "tasks", "import"];
                    self.client
                        .post_as(&path, batch.body.clone(), kind.content_type())
                        .await
                })
                .await
                .map_err(|error| error.next(whereabouts(kind, batch, imported)))?;
            imported.add(&answer.body);
            bar.show(
                imported.ids.len() as u64,
                &format!("{} of {all}: {}", imported.ids.len(), imported.said()),
            );
        }
        bar.finish();
        Ok(())
    }

    async fn import_journal(&self, imported: &mut Imported) -> Result<(), CliError> {
        let bar = Bar::on_stderr(None, self.quiet);
        let mut cursor = Value::Null;
        loop {
            let page = json!({ "source": "bucket", "cursor": cursor }).to_string();
            let answer = self
                .again(async || {
                    let path = ["v1", "tasks", "import"];
                    self.client.post(&path, page.clone().into_bytes(), None).await
                })
                .await?;
            imported.add(&answer.body);
            bar.show(
                imported.ids.len() as u64,
                &format!("journal: {}", imported.said()),
            );
            let next = answer.body.get("nextCursor").cloned().unwrap_or_default();
            if next.is_null() || next == cursor {
                bar.finish();
                return Ok(());
            }
            cursor = next;
        }
    }

    /// A service that is away for a while is waited for: a repeat changes nothing.
    async fn again(&self, ask: impl AsyncFn() -> Result<Answer, ClientError>) -> Result<Answer, CliError> {
        let mut failures = 0;
        loop {
            match ask().await {
                Err(error) if error.is_temporary() && failures < MAX_FAILURES => {
                    let wait = pause(failures, error.retry_after());
                    if failures == 0 && !self.quiet {
                        note(&format!("{}; trying on", CliError::from(error).message));
                    }
                    failures += 1;
                    self.clock.sleep(wait).await;
                }
                other => return other.map_err(CliError::from),
            }
        }
    }

    async fn conclude(&self, args: &Args, imported: Imported, format: Format) -> Result<Exit, CliError> {
        let in_time = match args.wait {
            true => tokio::time::timeout(args.timeout, self.wait(&imported.ids))
                .await
                .is_ok_and(|ended| ended.map_err(|error| note(&error.to_string())).is_ok()),
            false => true,
        };
        let tasks = self.write_result(args, &imported.ids).await?;
        let completed = tasks
            .values()
            .filter(|t| member(t, "status") == "completed")
            .count();
        output::print(&said(&imported, args.wait.then_some(completed), format))?;
        verdict(&imported, args.wait, in_time, &tasks)
    }

    /// What became of each, which the result file tells if there is to be one.
    async fn write_result(&self, args: &Args, ids: &[String]) -> Result<HashMap<String, Value>, CliError> {
        let tasks = match args.wait || args.result.is_some() {
            true => self.tasks(ids, &[]).await?,
            false => HashMap::new(),
        };
        if let Some(file) = &args.result {
            result::write(file, ids, &tasks)?;
        }
        Ok(tasks)
    }

    /// Until none of them is open. Only open tasks are listed, so a round costs less the further it is.
    async fn wait(&self, ids: &[String]) -> Result<(), CliError> {
        let bar = Bar::on_stderr(Some(ids.len() as u64), self.quiet);
        let mut last = usize::MAX;
        loop {
            let open = self.tasks(ids, &OPEN).await?.len();
            if open != last {
                let done = ids.len().saturating_sub(open);
                bar.show(done as u64, &format!("{done} of {} ended", ids.len()));
                last = open;
            }
            if open == 0 {
                bar.finish();
                return Ok(());
            }
            self.clock.sleep(ROUND).await;
        }
    }

    /// Those of these that are in one of these states (any, if none is named), as the service shows them.
    async fn tasks(&self, ids: &[String], statuses: &[&str]) -> Result<HashMap<String, Value>, CliError> {
        let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut found = HashMap::new();
        let mut cursor = String::new();
        loop {
            let mut query: Vec<Parameter> = vec![("limit".to_owned(), "200".to_owned())];
            if !statuses.is_empty() {
                query.push(("status".to_owned(), statuses.join(",")));
            }
            if !cursor.is_empty() {
                query.push(("cursor".to_owned(), cursor.clone()));
            }
            let page = self
                .again(async || self.client.get(&["v1", "tasks"], &query, None).await)
                .await?
                .body;
            for task in output::items(&page) {
                let id = member(task, "taskUUID");
                if wanted.contains(id.as_str()) {
                    found.insert(id, task.clone());
                }
            }
            cursor = member(&page, "nextCursor");
            if cursor.is_empty() || found.len() == wanted.len() {
                return Ok(found);
            }
        }
    }
}

const OPEN: [&str; 4] = ["accepted", "submitting", "submitted", "archiving"];
/// Between two looks at what is open.
const ROUND: Duration = Duration::from_secs(2);

fn whereabouts(kind: ListFormat, batch: &Batch, before: &Imported) -> String {
    let unit = match kind {
        ListFormat::Json => "item",
        ListFormat::Csv | ListFormat::Ndjson => "line",
    };
    format!(
        "that was in the part of the list that begins at {unit} {}; {} tasks before it are imported, and \
         importing the whole list again is harmless",
        batch.begins,
        before.ids.len()
    )
}

fn said(imported: &Imported, completed: Option<usize>, format: Format) -> String {
    match format {
        Format::Json => {
            let counts = COUNTS.iter().zip(imported.counts);
            let mut document: serde_json::Map<String, Value> =
                counts.map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
            if let Some(completed) = completed {
                document.insert("completed".to_owned(), json!(completed));
            }
            output::document(&Value::Object(document))
        }
        Format::Quiet => imported.ids.iter().map(|id| format!("{id}\n")).collect(),
        Format::Table { .. } | Format::Lines => {
            let mut text = imported.said();
            for name in ["otherTenants", "unreadable"] {
                if imported.count(name) > 0 {
                    text.push_str(&format!(", {} {name}", imported.count(name)));
                }
            }
            if let Some(completed) = completed {
                text.push_str(&format!(", {completed} completed"));
            }
            text + "\n"
        }
    }
}

fn verdict(
    imported: &Imported,
    waited: bool,
    in_time: bool,
    tasks: &HashMap<String, Value>,
) -> Result<Exit, CliError> {
    if waited && !in_time {
        let open = tasks.values().filter(|task| !is_terminal(task)).count();
        return Err(
            CliError::new(Exit::WaitTimedOut, format!("{open} tasks had not ended in time"))
                .next("they go on; the same command waits for them again"),
        );
    }
    let failed = tasks
        .values()
        .filter(|t| member(t, "status") != "completed")
        .count();
    if waited && failed > 0 {
        return Err(
            CliError::new(Exit::TaskFailed, format!("{failed} tasks did not complete"))
                .next("`catchment tasks show ID` tells why"),
        );
    }
    match imported.count("refused") {
        0 => Ok(Exit::Ok),
        n => Err(
            CliError::new(Exit::Conflict, format!("{n} tasks are not yours to import"))
                .next("they belong to another tenant, or were removed by retention"),
        ),
    }
}
