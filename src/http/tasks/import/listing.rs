//! A list of tasks to adopt: JSON, CSV or NDJSON. All faults are told at once; with one, nothing is adopted.

use super::super::reserved;
use crate::domain::asset::ObjectExt;
use crate::domain::identity::Identity;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::fault::{FaultCode, Faults, member, unknown_member};
use csv::{ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value, json};

/// Most tasks of one request: memory for them is some 300 bytes each.
const MAX_TASKS: usize = 100_000;
/// As the journal pages.
const MAX_LIMIT: u64 = 1000;
const MAX_MODEL_CHARS: usize = 200;
/// More than any model makes at once.
const MAX_RESULTS: u64 = 20;

#[derive(Debug, PartialEq)]
pub enum Listing {
    Tasks(Vec<Item>),
    Bucket(FromBucket),
}

/// A task to adopt; whose it is, the caller's key tells.
#[derive(Debug, PartialEq)]
pub struct Item {
    pub identity: Identity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromBucket {
    pub after: Option<TaskId>,
    pub limit: u32,
}

pub fn json(body: &Value, now: Timestamp) -> Result<Listing, ApiError> {
    let mut faults = Faults::default();
    let listing = match body {
        Value::Array(items) => Listing::Tasks(items_of(items, "", now, &mut faults)),
        Value::Object(members) if members.contains_key("source") => bucket(members, &mut faults),
        Value::Object(members) if members.contains_key("taskUUIDs") => {
            for name in members.keys().filter(|name| *name != "taskUUIDs") {
                unknown_member(&mut faults, "", name, ["taskUUIDs"].into_iter());
            }
            match &members["taskUUIDs"] {
                Value::Array(items) => Listing::Tasks(items_of(items, "/taskUUIDs", now, &mut faults)),
                _ => wrong(&mut faults, "/taskUUIDs", "must be an array"),
            }
        }
        Value::Object(_) => Listing::Tasks(items_of(std::slice::from_ref(body), "", now, &mut faults)),
        _ => wrong(
            &mut faults,
            "",
            "must be an array of UUIDs or of objects with `taskUUID`",
        ),
    };
    finish(listing, faults)
}

pub fn ndjson(bytes: &[u8], now: Timestamp) -> Result<Listing, ApiError> {
    let (text, mut faults) = (utf8(bytes)?, Faults::default());
    let mut items = vec![];
    for (n, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if faults.is_full() || !room(&items, &mut faults) {
            break;
        }
        let at = line_at(n + 1);
        match crate::http::json::parse(line.as_bytes()) {
            Ok((_, value)) => items.extend(item(&value, &at, now, &mut faults)),
            Err(_) => faults.add(at, FaultCode::InvalidFormat, "is not JSON"),
        }
    }
    finish(Listing::Tasks(items), faults)
}

pub fn csv(bytes: &[u8], now: Timestamp) -> Result<Listing, ApiError> {
    let (text, mut faults) = (utf8(bytes)?, Faults::default());
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .from_reader(text.as_bytes());
    let mut header: Option<StringRecord> = None;
    let mut items = vec![];
    for (n, record) in reader.records().enumerate() {
        if faults.is_full() || !room(&items, &mut faults) {
            break;
        }
        let Ok(record) = record else {
            faults.add(line_at(n + 1), FaultCode::InvalidFormat, "is not CSV");
            break; // what follows a broken quote is anybody's guess
        };
        let at = line_at(record.position().map_or(n + 1, |p| p.line() as usize));
        if n == 0 && record.iter().any(is_uuid_column) {
            header = Some(record);
            continue;
        }
        match &header {
            Some(header) => items.extend(row(header, &record, &at, now, &mut faults)),
            None if record.len() == 1 => {
                let value = Value::String(record[0].to_owned());
                items.extend(item(&value, &at, now, &mut faults));
            }
            None => faults.add(
                at,
                FaultCode::InvalidFormat,
                "has several columns, and no header names one of them `taskUUID`",
            ),
        }
    }
    finish(Listing::Tasks(items), faults)
}

fn is_uuid_column(name: &str) -> bool {
    name.eq_ignore_ascii_case("taskUUID")
}

/// The cells by their columns' names; empty ones are absent, other columns are passed over.
fn row(
    header: &StringRecord,
    record: &StringRecord,
    at: &str,
    now: Timestamp,
    faults: &mut Faults,
) -> Option<Item> {
    let mut members = Map::new();
    let mut labels = Map::new();
    for (name, cell) in header.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        if is_uuid_column(name) {
            members.insert("taskUUID".to_owned(), cell.into());
        } else if let Some(label) = name.strip_prefix("label.") {
            labels.insert(label.to_owned(), cell.into());
        } else if name == "numberResults" {
            let number = cell.parse::<u64>().map_or_else(|_| cell.into(), |n| json!(n));
            members.insert(name.to_owned(), number);
        } else if ["model", "keyPrefix", "outputFormat"].contains(&name) {
            members.insert(name.to_owned(), cell.into());
        }
    }
    if !labels.is_empty() {
        members.insert("labels".to_owned(), labels.into());
    }
    item(&Value::Object(members), at, now, faults)
}

fn items_of(values: &[Value], at: &str, now: Timestamp, faults: &mut Faults) -> Vec<Item> {
    let mut items = vec![];
    for (n, value) in values.iter().enumerate() {
        if faults.is_full() || !room(&items, faults) {
            break;
        }
        items.extend(item(value, &member(at, &n.to_string()), now, faults));
    }
    items
}

const MEMBERS: [&str; 6] = [
    "taskUUID",
    "model",
    "numberResults",
    "labels",
    "keyPrefix",
    "outputFormat",
];

/// A UUID, or an object that says more.
fn item(value: &Value, at: &str, now: Timestamp, faults: &mut Faults) -> Option<Item> {
    let members = match value {
        Value::Object(members) => members,
        Value::String(_) => return task_id(value, at, faults).map(|id| bare(id, now)),
        _ => {
            faults.add(
                at,
                FaultCode::WrongType,
                "must be a UUID or an object with `taskUUID`",
            );
            return None;
        }
    };
    let Some(id) = members.get("taskUUID") else {
        faults.add(member(at, "taskUUID"), FaultCode::Required, "is missing");
        return None;
    };
    for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        unknown_member(faults, at, name, MEMBERS.into_iter());
    }
    let mut item = bare(task_id(id, &member(at, "taskUUID"), faults)?, now);
    describe(&mut item.identity, members, at, now, faults);
    Some(item)
}

fn describe(
    identity: &mut Identity,
    members: &Map<String, Value>,
    at: &str,
    now: Timestamp,
    faults: &mut Faults,
) {
    let ours = members
        .iter()
        .filter(|(name, _)| ["labels", "keyPrefix"].contains(&name.as_str()));
    let ours = Value::Object(ours.map(|(name, value)| (name.clone(), value.clone())).collect());
    reserved::check(&ours, at, now, faults);
    if faults.is_empty() {
        let read = reserved::read(&Map::from_iter([("catchment".to_owned(), ours)]), now);
        (identity.labels, identity.key_prefix) = (read.labels, read.key_prefix);
    }
    if let Some(model) = members.get("model") {
        match model.as_str() {
            Some(text) if (1..=MAX_MODEL_CHARS).contains(&text.chars().count()) => {
                text.clone_into(&mut identity.model);
            }
            _ => faults.add(
                member(at, "model"),
                FaultCode::InvalidFormat,
                "must be a text of 1 to 200 characters",
            ),
        }
    }
    if let Some(number) = members.get("numberResults") {
        match number.as_u64().filter(|n| (1..=MAX_RESULTS).contains(n)) {
            Some(n) => identity.number_results = u32::try_from(n).unwrap_or(1),
            None => faults.add(
                member(at, "numberResults"),
                FaultCode::OutOfRange,
                "must be an integer from 1 to 20",
            ),
        }
    }
    if let Some(format) = members.get("outputFormat") {
        identity.ext = format.as_str().and_then(ObjectExt::new);
        if identity.ext.is_none() {
            let detail = "must be a format such as MP4";
            faults.add(member(at, "outputFormat"), FaultCode::InvalidFormat, detail);
        }
    }
}

fn task_id(value: &Value, at: &str, faults: &mut Faults) -> Option<TaskId> {
    let id = value.as_str().and_then(TaskId::parse);
    if id.is_none() {
        faults.add(at, FaultCode::InvalidFormat, "must be a UUID with its hyphens");
    }
    id
}

fn bare(id: TaskId, now: Timestamp) -> Item {
    Item {
        identity: Identity::bare(id, Tenant::default_tenant(), now),
    }
}

fn bucket(members: &Map<String, Value>, faults: &mut Faults) -> Listing {
    const MEMBERS: [&str; 3] = ["source", "cursor", "limit"];
    let mut page = FromBucket {
        after: None,
        limit: MAX_LIMIT as u32,
    };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "source" if value == "bucket" => {}
            "source" => faults.add("/source", FaultCode::NotAllowed, "must be `bucket`"),
            "cursor" => match value.as_str().and_then(TaskId::parse) {
                Some(id) => page.after = Some(id),
                None => faults.add(
                    "/cursor",
                    FaultCode::InvalidFormat,
                    "must be `nextCursor` of another page",
                ),
            },
            "limit" => match value.as_u64().filter(|n| *n >= 1) {
                Some(n) => page.limit = n.min(MAX_LIMIT) as u32,
                None => faults.add("/limit", FaultCode::OutOfRange, "must be a whole number from 1"),
            },
            _ => unknown_member(faults, "", name, MEMBERS.into_iter()),
        }
    }
    Listing::Bucket(page)
}

fn wrong(faults: &mut Faults, at: &str, detail: &str) -> Listing {
    faults.add(at, FaultCode::WrongType, detail);
    Listing::Tasks(vec![])
}

fn room(items: &[Item], faults: &mut Faults) -> bool {
    let room = items.len() < MAX_TASKS;
    if !room {
        faults.add("", FaultCode::TooLong, "must hold at most 100000 tasks");
    }
    room
}

fn finish(listing: Listing, mut faults: Faults) -> Result<Listing, ApiError> {
    if faults.is_empty() && listing == Listing::Tasks(vec![]) {
        faults.add("", FaultCode::TooShort, "holds no task");
    }
    match faults.is_empty() {
        true => Ok(listing),
        false => Err(ApiError::InvalidImport(faults.into_vec())),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let mut faults = Faults::default();
        faults.add("", FaultCode::InvalidFormat, "is not UTF-8");
        ApiError::InvalidImport(faults.into_vec())
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text)) // spreadsheets put a mark in front
}

fn line_at(n: usize) -> String {
    format!("line {n}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0c0ffee0-0000-4000-8000-00000000000a";
    const B: &str = "0c0ffee0-0000-4000-8000-00000000000b";
    const NOW: Timestamp = Timestamp::from_millis(0);

    fn tasks(listing: Result<Listing, ApiError>) -> Vec<Identity> {
        match listing {
            Ok(Listing::Tasks(items)) => items.into_iter().map(|item| item.identity).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn faults(listing: Result<Listing, ApiError>) -> Vec<(String, FaultCode)> {
        match listing {
            Err(ApiError::InvalidImport(faults)) => faults.into_iter().map(|f| (f.pointer, f.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn ids(listing: Result<Listing, ApiError>) -> Vec<String> {
        tasks(listing).iter().map(|i| i.id.to_string()).collect()
    }

    #[test]
    fn the_same_list_is_read_in_every_form() {
        let both = vec![A.to_owned(), B.to_owned()];
        assert_eq!(ids(json(&json!([A, B.to_uppercase()]), NOW)), both);
        assert_eq!(ids(json(&json!({"taskUUIDs": [A, {"taskUUID": B}]}), NOW)), both);
        assert_eq!(
            ids(ndjson(
                format!("\"{A}\"\n\n{{\"taskUUID\":\"{B}\"}}\n").as_bytes(),
                NOW
            )),
            both
        );
        assert_eq!(ids(csv(format!("{A}\n{B}\n").as_bytes(), NOW)), both);
        assert_eq!(
            ids(csv(
                format!("\u{feff}note,TaskUUID\r\nx,{A}\r\n\"y, z\",{B}").as_bytes(),
                NOW
            )),
            both
        );
    }

    #[test]
    fn what_is_known_of_a_task_is_taken_over() {
        let object = json!([{"taskUUID": A, "model": "m", "numberResults": 2, "labels": {"shot": "7"},
            "keyPrefix": "p/", "outputFormat": "WEBM"}]);
        let table =
            format!("taskUUID,model,numberResults,label.shot,keyPrefix,outputFormat\n{A},m,2,7,p/,WEBM\n");
        let (one, other) = (tasks(json(&object, NOW)), tasks(csv(table.as_bytes(), NOW)));
        assert_eq!(one, other);
        assert_eq!((one[0].model.as_str(), one[0].number_results), ("m", 2));
        assert_eq!(one[0].labels["shot"], "7");
        assert_eq!(one[0].key_prefix.as_deref(), Some("p/"));
        assert_eq!(one[0].ext, ObjectExt::new("webm"));
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        use FaultCode::*;
        let body = json!(["x", {"taskUUID": A, "labels": {"Shot": "7"}, "modle": "m"}, {}, 7]);
        assert_eq!(
            faults(json(&body, NOW)),
            [
                ("/0".to_owned(), InvalidFormat),
                ("/1/modle".to_owned(), UnknownMember),
                ("/1/labels/Shot".to_owned(), InvalidFormat),
                ("/2/taskUUID".to_owned(), Required),
                ("/3".to_owned(), WrongType),
            ]
        );
        let lines = format!("taskUUID\n{A}\nno\n\n{B}\n\"\"\n");
        let told = faults(csv(lines.as_bytes(), NOW));
        assert_eq!(told[0], ("line 3/taskUUID".to_owned(), InvalidFormat));
        assert_eq!(told[1].0, "line 6/taskUUID");
        assert_eq!(
            faults(ndjson(b"\n{\n7", NOW)),
            [
                ("line 2".to_owned(), InvalidFormat),
                ("line 3".to_owned(), WrongType)
            ]
        );
        for empty in [
            json(&json!([]), NOW),
            csv(b"", NOW),
            csv(b"taskUUID\n", NOW),
            ndjson(b"\n", NOW),
        ] {
            assert_eq!(faults(empty), [(String::new(), TooShort)]);
        }
        assert_eq!(faults(json(&json!({"source": "disk"}), NOW))[0].0, "/source");
    }

    proptest! {
        #[test]
        fn t2_any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = csv(&bytes, NOW);
            let _ = ndjson(&bytes, NOW);
        }
    }
}
