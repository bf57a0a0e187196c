use super::*;
use serde_json::json;

fn archived() -> Value {
    json!({"id": "evt_1", "sequence": 12, "type": "asset.archived", "timestamp": "2026-01-01T00:00:00.000Z",
        "data": {"taskUUID": "t", "resultId": "r", "key": "t/r.mp4"}})
}

#[test]
fn a_line_of_the_stream_suits_its_reader() {
    let line = |ndjson, format| line_printer(ndjson, format)(&archived());
    assert_eq!(
        line(false, Format::Lines),
        "12\t2026-01-01T00:00:00.000Z\tasset.archived\tt\tt/r.mp4\n"
    );
    assert_eq!(line(false, Format::Quiet), "evt_1\n");
    for text in [line(true, Format::Lines), line(false, Format::Json)] {
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), archived());
    }
    let person = line(false, Format::Table { color: false });
    assert!(
        person.starts_with("      12  2026-") && person.ends_with("t/r.mp4\n"),
        "{person:?}"
    );
}

#[test]
fn the_most_telling_member_is_shown() {
    let mut event = archived();
    event["data"] = json!({"taskUUID": "t", "reason": "source_gone", "resultId": "r"});
    assert_eq!(what(&event), "source_gone");
    event["data"] = json!({});
    assert_eq!(what(&event), "");
}
