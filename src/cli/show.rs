//! One task, for people: its facts, its assets, its failures, its timeline.

use super::output::{self, Format, member, plain, tab_separated, table};
use serde_json::Value;

pub fn task(task: &Value, format: Format) -> String {
    match format {
        Format::Json => output::document(task),
        Format::Quiet => format!("{}\n", plain(&member(task, "taskUUID"))),
        Format::Table { color } => {
            let sections = [assets(task, color), failures(task), timeline(task)];
            let sections = sections.iter().filter(|section| !section.is_empty());
            let sections: Vec<String> = sections.map(|section| format!("\n{section}")).collect();
            facts(&pairs(task)) + &sections.concat()
        }
        Format::Lines => lines(&pairs(task)),
    }
}

/// Names and values, aligned.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", plain(value)))
        .collect()
}

/// The same for a pipe.
pub fn lines(pairs: &[(&str, String)]) -> String {
    pairs
        .iter()
        .map(|(name, value)| tab_separated(&[(*name).to_owned(), value.clone()]) + "\n")
        .collect()
}

const FACTS: [&str; 12] = [
    "taskUUID",
    "status",
    "reason",
    "providerCode",
    "origin",
    "submission",
    "model",
    "cost",
    "createdAt",
    "submittedAt",
    "deadline",
    "settledAt",
];

fn pairs(task: &Value) -> Vec<(&'static str, String)> {
    let facts = FACTS.iter().map(|name| (*name, member(task, name)));
    let mut pairs: Vec<_> = facts.filter(|(_, value)| !value.is_empty()).collect();
    let labels = labels(task);
    if !labels.is_empty() {
        pairs.push(("labels", labels));
    }
    pairs
}

fn labels(task: &Value) -> String {
    let labels = task
        .get("labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let pairs: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.join(", ")
}

fn assets(task: &Value, color: bool) -> String {
    let row = |asset: &Value| {
        ["resultId", "status", "reason", "size", "key"]
            .map(|name| member(asset, name))
            .to_vec()
    };
    let rows: Vec<_> = rows(task, "assets").iter().map(row).collect();
    table(&["RESULT", "STATUS", "REASON", "BYTES", "KEY"], &rows, color)
}

fn failures(task: &Value) -> String {
    let row = |failure: &Value| ["code", "message"].map(|name| member(failure, name)).to_vec();
    let rows: Vec<_> = rows(task, "failures").iter().map(row).collect();
    table(&["FAILURE", "MESSAGE"], &rows, false)
}

fn timeline(task: &Value) -> String {
    let row = |line: &Value| vec![member(line, "at"), member(line, "kind"), detail(line)];
    let rows: Vec<_> = rows(task, "timeline").iter().map(row).collect();
    table(&["AT", "WHAT", "DETAIL"], &rows, false)
}

/// `name: value` pairs rather than JSON: a timeline is read, not parsed.
fn detail(line: &Value) -> String {
    let Some(Value::Object(members)) = line.get("detail") else {
        return member(line, "detail");
    };
    let pairs: Vec<String> = members
        .keys()
        .map(|name| format!("{name}: {}", member(&line["detail"], name)))
        .collect();
    pairs.join(", ")
}

fn rows<'a>(task: &'a Value, name: &str) -> &'a [Value] {
    task.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sample() -> Value {
        json!({"taskUUID": "t1", "status": "partial", "reason": null, "labels": {"customer": "42"},
            "assets": [{"resultId": "r1", "status": "archived", "size": 7, "key": "t1/r1.mp4"}],
            "failures": [{"code": "timeout", "message": "too slow"}],
            "timeline": [{"at": "2026-01-01T00:00:00.000Z", "kind": "submitted", "detail": {"attempt": 1}}]})
    }

    #[test]
    fn a_person_sees_facts_assets_failures_and_timeline() {
        let text = task(&sample(), Format::Table { color: false });
        for part in [
            "taskUUID  t1",
            "customer=42",
            "t1/r1.mp4",
            "too slow",
            "submitted",
            "attempt: 1",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("reason"), "{text}");
    }

    #[test]
    fn a_pipe_sees_facts_json_sees_all() {
        assert!(task(&sample(), Format::Lines).starts_with("taskUUID\tt1\nstatus\tpartial\n"));
        let json: Value = serde_json::from_str(&task(&sample(), Format::Json)).unwrap();
        assert_eq!(json, sample());
        assert_eq!(task(&sample(), Format::Quiet), "t1\n");
    }
}
