//! Answers of the archive (`getTaskDetails`), as literal JSON.

use super::{body, ours, told};
use crate::adapters::runware::map::read_details;
use crate::domain::report::{Report, RequestEcho};

fn details(template: &str) -> Result<Option<Report>, (String, bool)> {
    read_details(ours(), body(template).as_bytes()).map_err(|e| (e.code, e.parked))
}

#[test]
fn the_archive_tells_outcome_and_request() {
    let found = r#"{"data":[{"taskType":"getTaskDetails","taskUUID":"$ours",
        "request":[{"taskUUID":"$other","model":"no"},{"taskType":"videoInference","taskUUID":"$ours","model":"klingai:avatar@2.0-pro",
          "numberResults":2,"outputFormat":"MP4","ttl":86400,"webhookURL":"https://svc/cb/v1/SECRET"}],
        "response":{"data":[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}]}}]}"#;
    let report = details(found).unwrap().unwrap();
    assert_eq!(told(&report), "success $video");
    let echo = RequestEcho {
        model: Some("klingai:avatar@2.0-pro".to_owned()),
        number_results: Some(2),
        output_format: Some("MP4".to_owned()),
        ttl_s: Some(86400),
    };
    assert_eq!(report.request, Some(echo));
}

#[test]
fn a_refused_replay_in_the_archive_proves_nothing() {
    let entry = |response: &str| {
        let found = format!(
            r#"{{"data":[{{"taskType":"getTaskDetails","taskUUID":"$ours","response":{response}}}]}}"#
        );
        told(&details(&found).unwrap().unwrap())
    };
    assert_eq!(
        entry(r#"{"errors":[{"code":"conflictTaskUUID","message":"m","taskUUID":"$ours"}]}"#),
        ""
    );
    assert_eq!(
        entry(r#"{"errors":[{"code":"invalidApiKey","message":"m"}]}"#),
        "?"
    );
    assert_eq!(
        entry(r#"{"errors":[{"code":"timeoutProvider","message":"m","taskUUID":"$ours"}]}"#),
        "failed timeoutProvider: m"
    );
    assert_eq!(
        entry(r#"{"data":[{"taskType":"videoInference","taskUUID":"$ours"}]}"#),
        "running"
    );
    assert_eq!(entry("null"), "");
    assert_eq!(entry("7"), "?");
}

#[test]
fn a_task_the_archive_does_not_know_is_none_and_a_refusal_is_an_error() {
    assert_eq!(details(r#"{"data":[]}"#), Ok(None));
    assert_eq!(
        details(r#"{"errors":[{"code":"taskNotFound","message":"m"}]}"#),
        Ok(None)
    );
    assert_eq!(
        details(r#"{"data":[{"taskUUID":"$other","response":{}}]}"#),
        Ok(None)
    );
    assert_eq!(
        details(r#"{"errors":[{"code":"internalServerError"}]}"#),
        Err(("internalServerError".to_owned(), false))
    );
    assert_eq!(details("{}"), Err(("unreadable_answer".to_owned(), false)));
    assert_eq!(details("<html>"), Err(("unreadable_answer".to_owned(), false)));
}
