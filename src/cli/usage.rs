//! `catchment usage`

use super::client::{Client, ClientFlags, Parameter};
use super::exit::{CliError, Exit};
use super::host::Host;
use super::output::{self, Format, member, tab_separated, table};
use super::runtime;
use super::values::{self, When};
use serde_json::Value;

pub const EXAMPLES: &str = "\
Examples:
  catchment usage
  catchment usage --since 7d --by model
  catchment usage --since 2026-01-01T00:00:00Z --until 2026-02-01T00:00:00Z --by day,label.customer --json";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tasks made at or after: an instant, or how long ago [default: 30d]
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    since: Option<When>,

    /// Tasks made before
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    until: Option<When>,

    /// Group by day, model, label.KEY; several with commas
    #[arg(
        long = "by",
        value_name = "GROUPS",
        value_delimiter = ',',
        default_value = "day"
    )]
    by: Vec<String>,

    #[command(flatten)]
    client: ClientFlags,
}

pub fn run(args: Args, host: &Host, format: Format) -> Result<Exit, CliError> {
    let client = Client::new(&args.client)?;
    let now = host.clock.now();
    let mut query: Vec<Parameter> = vec![("groupBy".to_owned(), args.by.join(","))];
    for (name, when) in [("since", args.since), ("until", args.until)] {
        query.extend(when.map(|when| (name.to_owned(), when.from(now).to_string())));
    }
    let answer = runtime::until_interrupted(async { Ok(client.get(&["v1", "usage"], &query, None).await?) })?;
    output::print(&text(&answer.body, &args.by, format))?;
    Ok(Exit::Ok)
}

const FIGURES: [&str; 6] = ["tasks", "results", "archived", "bytes", "cost", "unpriced"];

fn text(answer: &Value, by: &[String], format: Format) -> String {
    let figures = |row: &Value| FIGURES.map(|name| member(row, name)).to_vec();
    let groups = |row: &Value| by.iter().map(|name| group(row, name)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = output::items(answer)
        .iter()
        .map(|row| [groups(row), figures(row)].concat())
        .collect();
    match format {
        Format::Json => output::document(answer),
        Format::Quiet => format!("{}\n", member(&answer["total"], "cost")),
        Format::Lines => rows.iter().map(|row| tab_separated(row) + "\n").collect(),
        Format::Table { color } => {
            let titles: Vec<String> = by
                .iter()
                .map(String::as_str)
                .chain(FIGURES)
                .map(str::to_uppercase)
                .collect();
            let mut total = vec![String::new(); by.len().saturating_sub(1)];
            total.insert(0, "TOTAL".to_owned());
            let all = [rows, vec![[total, figures(&answer["total"])].concat()]].concat();
            let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
            table(&titles, &all, color)
        }
    }
}

fn group(row: &Value, name: &str) -> String {
    match name.strip_prefix("label.") {
        Some(label) => member(&row["labels"], label),
        None => member(row, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_and_figures_are_columns_and_the_sum_is_last() {
        let sums = json!({"tasks": 1, "results": 2, "archived": 2, "bytes": 9, "cost": 4.35, "unpriced": 0});
        let mut row = sums.clone();
        row["day"] = json!("2026-01-31");
        row["labels"] = json!({"customer": "c"});
        let answer = json!({"data": [row], "total": sums});
        let by = ["day".to_owned(), "label.customer".to_owned()];
        assert_eq!(
            text(&answer, &by, Format::Lines),
            "2026-01-31\tc\t1\t2\t2\t9\t4.35\t0\n"
        );
        let shown = text(&answer, &by, Format::Table { color: false });
        assert!(
            shown.contains("LABEL.CUSTOMER") && shown.contains("TOTAL"),
            "{shown}"
        );
        assert_eq!(text(&answer, &by, Format::Quiet), "4.35\n");
    }
}
