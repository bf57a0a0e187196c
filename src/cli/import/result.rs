//! The result file: what became of each task of an import.

use crate::cli::exit::{CliError, Exit};
use crate::cli::output::member;
use crate::cli::progress::archived_of;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// Writes one row for each task, in the order of the list: as NDJSON when the file is named so, else as CSV.
///
/// # Errors
/// `Failure`: the file cannot be written.
pub fn write(file: &Path, ids: &[String], tasks: &HashMap<String, Value>) -> Result<(), CliError> {
    let lines = file.extension().is_some_and(|e| e == "ndjson" || e == "jsonl");
    let written = match lines {
        true => write_lines(file, ids, tasks),
        false => write_table(file, ids, tasks),
    };
    written.map_err(|fault| {
        CliError::new(
            Exit::Failure,
            format!("{} cannot be written: {fault}", file.display()),
        )
    })
}

fn write_lines(file: &Path, ids: &[String], tasks: &HashMap<String, Value>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    for id in ids {
        let task = tasks.get(id).unwrap_or(&Value::Null);
        let row = json!({
            "taskUUID": id, "status": status(task), "reason": task.get("reason"),
            "assets": assets(task).map(asset).collect::<Vec<_>>(),
        });
        writeln!(out, "{row}")?;
    }
    out.flush()
}

fn write_table(file: &Path, ids: &[String], tasks: &HashMap<String, Value>) -> io::Result<()> {
    let mut out = csv::Writer::from_path(file).map_err(io::Error::other)?;
    let titles = ["taskUUID", "status", "reason", "archived", "assets", "keys"];
    out.write_record(titles).map_err(io::Error::other)?;
    for id in ids {
        let task = tasks.get(id).unwrap_or(&Value::Null);
        let (archived, expected) = archived_of(task);
        let keys: Vec<String> = assets(task)
            .map(|asset| member(asset, "key"))
            .filter(|key| !key.is_empty())
            .collect();
        let row = [
            id.clone(),
            status(task),
            member(task, "reason"),
            archived.to_string(),
            expected.to_string(),
            keys.join(" "),
        ];
        out.write_record(row).map_err(io::Error::other)?;
    }
    out.flush()
}

/// A task that nobody shows us is somebody else's, or was removed.
fn status(task: &Value) -> String {
    match task.is_null() {
        true => "refused".to_owned(),
        false => member(task, "status"),
    }
}

fn assets(task: &Value) -> impl Iterator<Item = &Value> {
    task.get("assets").and_then(Value::as_array).into_iter().flatten()
}

fn asset(asset: &Value) -> Value {
    let of = |name: &str| asset.get(name).cloned().unwrap_or_default();
    json!({ "resultId": of("resultId"), "status": of("status"), "reason": of("reason"), "key": of("key"),
        "size": of("size"), "sha256": of("sha256") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_task_in_the_order_of_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = HashMap::from([(
            "a".to_owned(),
            json!({"status": "partial", "reason": null, "numberResults": 2, "assets": [
                {"resultId": "r", "status": "archived", "key": "a/r.mp4"}, {"status": "expired", "key": null}]}),
        )]);
        let ids = ["b".to_owned(), "a".to_owned()];
        let (table, lines) = (dir.path().join("r.csv"), dir.path().join("r.ndjson"));
        write(&table, &ids, &tasks).unwrap();
        assert_eq!(
            std::fs::read_to_string(&table).unwrap(),
            "taskUUID,status,reason,archived,assets,keys\nb,refused,,0,0,\na,partial,,1,2,a/r.mp4\n"
        );
        write(&lines, &ids, &tasks).unwrap();
        let text = std::fs::read_to_string(&lines).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["assets"][0]["key"], "a/r.mp4");
        assert!(write(&dir.path().join("no/r.csv"), &ids, &tasks).is_err());
    }
}
