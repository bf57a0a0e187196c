//! A list of tasks, cut into requests: each is all or nothing, and none is large.

use crate::cli::exit::CliError;
use serde_json::Value;
use std::path::Path;

/// Tasks a request. The service takes far more; smaller ones show progress.
pub const BATCH: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    Json,
    Csv,
    Ndjson,
}

impl ListFormat {
    /// By the file's name, else by its first character.
    pub fn of(file: &Path, text: &str) -> Self {
        let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "csv" => Self::Csv,
            "ndjson" | "jsonl" => Self::Ndjson,
            _ => match text.trim_start().chars().next() {
                Some('[') => Self::Json,
                Some('{') if text.trim().lines().count() == 1 && text.contains("\"taskUUIDs\"") => Self::Json,
                Some('{' | '"') => Self::Ndjson,
                _ => Self::Csv,
            },
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
        }
    }
}

/// One request.
#[derive(Debug, PartialEq)]
pub struct Batch {
    pub body: Vec<u8>,
    pub tasks: usize,
    /// Where it begins in the file: an item from 0, or a line from 1.
    pub begins: usize,
}

/// # Errors
/// `Usage`: the file is not of its format.
pub fn cut(text: &str, format: ListFormat) -> Result<Vec<Batch>, CliError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let batches = match format {
        ListFormat::Json => cut_json(text),
        ListFormat::Csv => cut_csv(text),
        ListFormat::Ndjson => Ok(cut_lines(text)),
    }?;
    match batches.is_empty() {
        true => Err(CliError::usage("the list holds no task")),
        false => Ok(batches),
    }
}

fn cut_json(text: &str) -> Result<Vec<Batch>, CliError> {
    let document: Value = serde_json::from_str(text)
        .map_err(|fault| CliError::usage(format!("the list is not JSON: {fault}")))?;
    let items = match document {
        Value::Array(items) => items,
        Value::Object(mut members) => match members.remove("taskUUIDs") {
            Some(Value::Array(items)) => items,
            _ => vec![Value::Object(members)],
        },
        _ => return Err(CliError::usage("the list must be a JSON array")),
    };
    let chunks = items.chunks(BATCH).enumerate();
    let batch = |(n, chunk): (usize, &[Value])| Batch {
        body: serde_json::to_vec(chunk).expect("JSON values serialize"),
        tasks: chunk.len(),
        begins: n * BATCH,
    };
    Ok(chunks.map(batch).collect())
}

/// The header, if there is one, goes with every batch. A cell with a line break would be cut in two, and is refused by
/// the service; no such list holds any.
fn cut_csv(text: &str) -> Result<Vec<Batch>, CliError> {
    let first = text.lines().next().unwrap_or_default();
    let names = first.split(',').map(|name| name.trim().trim_matches('"'));
    let has_header = names.clone().any(|name| name.eq_ignore_ascii_case("taskUUID"));
    if !has_header && names.count() > 1 {
        return Err(CliError::usage("no column of the list is named taskUUID")
            .next("name it in the first line, or leave only the column of UUIDs"));
    }
    match has_header {
        true => {
            let rest = text.get(first.len()..).unwrap_or_default();
            let mut batches = cut_lines(rest);
            for batch in &mut batches {
                batch.body = [first.as_bytes(), b"\n", &batch.body].concat();
            }
            Ok(batches)
        }
        false => Ok(cut_lines(text)),
    }
}

fn cut_lines(text: &str) -> Vec<Batch> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let batch = |chunk: &[(usize, &str)]| Batch {
        body: chunk
            .iter()
            .flat_map(|(_, line)| [line.as_bytes(), b"\n"].concat())
            .collect(),
        tasks: chunk.len(),
        begins: chunk.first().map_or(1, |(n, _)| n + 1),
    };
    lines.chunks(BATCH).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_told_by_name_or_by_sight() {
        let of = |name: &str, text: &str| ListFormat::of(Path::new(name), text);
        assert_eq!(of("a.CSV", "["), ListFormat::Csv);
        assert_eq!(of("a.jsonl", ""), ListFormat::Ndjson);
        assert_eq!(of("-", " [1]"), ListFormat::Json);
        assert_eq!(of("-", "{\"taskUUIDs\":[]}"), ListFormat::Json);
        assert_eq!(of("-", "{\"taskUUID\":1}\n{}"), ListFormat::Ndjson);
        assert_eq!(of("-", "taskUUID\n"), ListFormat::Csv);
        assert_eq!(of("list.txt", "0c0f"), ListFormat::Csv);
    }

    #[test]
    fn every_batch_of_a_table_has_its_header() {
        let rows: String = (0..BATCH + 1).map(|n| format!("{n}\n")).collect();
        let batches = cut(&format!("taskUUID\r\n{rows}"), ListFormat::Csv).unwrap();
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[1].tasks, 1);
        assert_eq!(
            String::from_utf8(batches[1].body.clone()).unwrap(),
            format!("taskUUID\n{BATCH}\n")
        );
        assert!(cut("a,b\n1,2\n", ListFormat::Csv).is_err());
        assert!(cut("\n", ListFormat::Ndjson).is_err());
    }

    #[test]
    fn json_lists_are_cut_where_an_item_ends() {
        let items: Vec<usize> = (0..2 * BATCH + 5).collect();
        let text = serde_json::to_string(&items).unwrap();
        let batches = cut(&text, ListFormat::Json).unwrap();
        let sizes: Vec<_> = batches.iter().map(|b| (b.tasks, b.begins)).collect();
        assert_eq!(sizes, [(BATCH, 0), (BATCH, BATCH), (5, 2 * BATCH)]);
        assert!(cut("7", ListFormat::Json).is_err());
    }
}
