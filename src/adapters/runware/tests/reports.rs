//! Bodies as literal JSON, one line per variant the provider's pages, SDKs and integrators name.

use super::{LINK, OURS, body, other, ours, told};
use crate::adapters::runware::map::{MAX_ROWS, read_callback, read_query};
use serde_json::{Value, json};

fn callback(template: &str) -> String {
    told(&read_callback(ours(), body(template).as_bytes()))
}

fn query(template: &str) -> Result<String, (String, bool)> {
    match read_query(&[ours()], body(template).as_bytes()) {
        Ok(reports) => {
            assert_eq!(reports.len(), 1);
            Ok(told(&reports[0]))
        }
        Err(e) => Err((e.code, e.parked)),
    }
}

/// Bodies that mean the same in a callback and in a query's answer.
const EITHER: &[(&str, &str)] = &[
    // A: the bare task object
    (
        r#"{"taskType":"videoInference","taskUUID":"$ours","status":"success","videoUUID":"$video","videoURL":"$link","cost":1.74,"seed":7}"#,
        "success $video 1.74$",
    ),
    // an array of them
    (
        r#"[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"},{"taskUUID":"$ours","status":"processing","progress":40}]"#,
        "success $video | running",
    ),
    // B: {data}; status may be absent; an empty `errors` beside it
    (
        r#"{"data":[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}],"errors":[]}"#,
        "success $video",
    ),
    (
        r#"{"data":{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"},"errors":null}"#,
        "success $video",
    ),
    // an array of envelopes
    (
        r#"[{"data":[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}]}]"#,
        "success $video",
    ),
    // C: {errors}, alone and beside data
    (
        r#"{"errors":[{"code":"timeoutProvider","status":"error","message":"Too slow","taskUUID":"$ours","taskType":"videoInference"}]}"#,
        "failed timeoutProvider: Too slow",
    ),
    (
        r#"{"data":[],"errors":[{"code":"timeoutProvider","message":"Too slow","taskUUID":"$ours"}]}"#,
        "failed timeoutProvider: Too slow",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","status":"success","videoUUID":"$video","videoURL":"$link"}],"errors":{"code":"inferenceError","message":"m","taskUUID":"$ours"}}"#,
        "success $video | failed inferenceError: m",
    ),
    // D: the bare error object
    (
        r#"{"taskType":"videoInference","taskUUID":"$ours","status":"error","code":"inferenceError","message":"m"}"#,
        "failed inferenceError: m",
    ),
    (
        r#"{"taskUUID":"$ours","code":"inferenceError","message":"m"}"#,
        "failed inferenceError: m",
    ),
    // E: an item with a nested error, in every form of `error`
    (
        r#"{"data":[{"taskUUID":"$ours","status":"error","error":{"code":"inferenceError","message":"m"}}]}"#,
        "failed inferenceError: m",
    ),
    (
        r#"{"error":{"code":"inferenceError","message":"m"},"taskUUID":"$ours"}"#,
        "failed inferenceError: m",
    ),
    (
        r#"{"error":{"code":"inferenceError","message":"m","taskUUID":"$ours"}}"#,
        "failed inferenceError: m",
    ),
    (
        r#"{"error":"It broke","taskUUID":"$ours"}"#,
        "failed unknownError: It broke",
    ),
    (
        r#"{"error":true,"errorMessage":"It broke","taskUUID":"$ours"}"#,
        "failed unknownError: It broke",
    ),
    (
        r#"{"data":[],"error":{"code":"inferenceError","message":"m","taskUUID":"$ours"}}"#,
        "failed inferenceError: m",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}],"error":null}"#,
        "success $video",
    ),
    // `parameter` as string and as array, extras kept out of the way
    (
        r#"{"errors":[{"code":"invalidTtl","message":"Too low","parameter":"ttl","type":"integer","min":60,"taskUUID":"$ours"}]}"#,
        "failed invalidTtl: Too low (parameter: ttl)",
    ),
    (
        r#"{"errors":[{"code":"incompatibleParameters","message":"Not both","parameter":["a","b"],"taskUUID":"$ours"}]}"#,
        "failed incompatibleParameters: Not both (parameter: a, b)",
    ),
    // safety goes by code, though it starts like another family
    (
        r#"{"errors":[{"code":"invalidProviderContent","message":"No","taskUUID":"$ours"}]}"#,
        "failed invalidProviderContent: No policy",
    ),
    // two that failed alike are two; one told in both lists is one
    (
        r#"{"errors":[{"code":"c","message":"m","taskUUID":"$ours"},{"code":"c","message":"m","taskUUID":"$ours"}]}"#,
        "failed c: m | failed c: m",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","status":"error","error":{"code":"c","message":"m"}}],"errors":[{"code":"c","message":"m","taskUUID":"$ours"}]}"#,
        "failed c: m",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","error":{"code":"c","message":"m"}},{"taskUUID":"$ours","error":{"code":"c","message":"m"}}],"errors":[{"code":"c","message":"m","taskUUID":"$ours"}]}"#,
        "failed c: m | failed c: m",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","status":"error"}],"errors":[{"code":"c","message":"m","taskUUID":"$ours"}]}"#,
        "failed c: m",
    ),
    (
        r#"{"data":[{"taskUUID":"$ours","status":"error"},{"taskUUID":"$ours","status":"error"}],"errors":[{"code":"c","message":"m","taskUUID":"$ours"}]}"#,
        "failed c: m | failed unknownError: ",
    ),
    // result ids: the four UUIDs in order, the index, the link
    (
        r#"{"taskUUID":"$ours","imageUUID":"i","audioUUID":"a","imageURL":"$link"}"#,
        "success i",
    ),
    (
        r#"{"taskUUID":"$ours","audioUUID":"A","audioURL":"$link"}"#,
        "success A",
    ),
    (
        r#"{"taskUUID":"$ours","mediaUUID":"m","mediaURL":"$link"}"#,
        "success m",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"AAAAAAAA-2222-4333-8444-555555555555","imageUUID":"i","videoURL":"$link"}"#,
        "success $video",
    ),
    (
        r#"{"taskUUID":"$ours","resultIndex":0,"videoURL":"$link"}"#,
        "success i0",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"","resultIndex":3,"videoURL":"$link"}"#,
        "success i3",
    ),
    (
        r#"{"taskUUID":"$ours","videoURL":"$link"}"#,
        "success u-e80eed7953c9198e",
    ),
    // cost: 0 is "unknown", and so is nonsense
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link","cost":0}"#,
        "success $video",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link","cost":-2}"#,
        "success $video",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link","cost":"1"}"#,
        "success $video",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link","NSFWContent":true}"#,
        "success $video nsfw=true",
    ),
    // without a link yet
    (
        r#"{"taskUUID":"$ours","status":"success","videoUUID":"$video"}"#,
        "linkless",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":null}"#,
        "linkless",
    ),
    // running: every word for it, unknown ones too, and the acknowledgement
    (
        r#"{"taskUUID":"$ours","status":"Processing","progress":40}"#,
        "running",
    ),
    (
        r#"{"taskUUID":"$ours","status":"queued","videoUUID":"$video"}"#,
        "running",
    ),
    (r#"{"taskUUID":"$ours","status":"meditating"}"#, "running"),
    (
        r#"{"data":[{"taskType":"videoInference","taskUUID":"$ours"}]}"#,
        "running",
    ),
    (
        r#"{"data":[{"taskType":"getResponse","taskUUID":"$ours","status":"processing"}]}"#,
        "running",
    ),
    // a link beside a word: believed with an unknown one, in doubt; not with one that means running
    (
        r#"{"taskUUID":"$ours","status":"finished","videoUUID":"$video","videoURL":"$link"}"#,
        "success $video | ?",
    ),
    (
        r#"{"taskUUID":"$ours","status":"processing","videoUUID":"$video","videoURL":"$link"}"#,
        "running | ?",
    ),
    // contradictions
    (
        r#"{"taskUUID":"$ours","status":"error","code":"c","message":"m","videoUUID":"$video","videoURL":"$link"}"#,
        "failed c: m | ?",
    ),
    (
        r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link","error":{"code":"c"}}"#,
        "success $video | ?",
    ),
    (
        r#"[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"},{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"}]"#,
        "success $video",
    ),
    (
        r#"[{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link"},{"taskUUID":"$ours","videoUUID":"$video","videoURL":"$link?2"}]"#,
        "success $video | ?",
    ),
    // other tasks' rows
    (
        r#"[{"taskUUID":"$other","videoUUID":"$video","videoURL":"$link"},{"taskUUID":"$ours","status":"processing"}]"#,
        "running | ?",
    ),
    (
        r#"{"taskUUID":"$other","videoUUID":"$video","videoURL":"$link"}"#,
        "?",
    ),
    (r#"{"taskUUID":7,"videoUUID":"$video","videoURL":"$link"}"#, "?"),
    (
        r#"{"taskUUID":"nonsense","videoUUID":"$video","videoURL":"$link"}"#,
        "?",
    ),
    // replies to authentication and ping concern nobody
    (
        r#"{"data":[{"taskType":"authentication","connectionSessionUUID":"$other"},{"taskType":"ping","pong":true},{"taskUUID":"$ours","status":"processing"}]}"#,
        "running",
    ),
    (r#"{"data":[]}"#, ""),
    // a refused replay, and a task the provider may not have seen yet, prove nothing
    (
        r#"{"errors":[{"code":"conflictTaskUUID","message":"m","taskUUID":"$ours"}]}"#,
        "",
    ),
    (
        r#"{"errors":[{"code":"taskFailedOrNotFound","status":"error","message":"m","taskUUID":"$ours"}]}"#,
        "",
    ),
    (
        r#"{"errors":[{"code":"resultExpired","message":"m","taskUUID":"$ours"}]}"#,
        "",
    ),
    // but an input that was not found is the work's failure
    (
        r#"{"errors":[{"code":"imageNotFound","status":"error","message":"m","taskUUID":"$ours"}]}"#,
        "failed imageNotFound: m",
    ),
];

#[test]
fn g3_every_known_shape_is_read_the_same_from_callback_and_query() {
    for (template, expected) in EITHER {
        assert_eq!(callback(template), *expected, "callback {template}");
        assert_eq!(query(template).as_deref(), Ok(*expected), "query {template}");
    }
}

#[test]
fn a_row_that_names_no_task_is_a_callbacks_own_only_if_it_is_alone() {
    let alone = r#"{"data":[{"videoUUID":"$video","videoURL":"$link"}]}"#;
    assert_eq!(callback(alone), "success $video");
    assert_eq!(query(alone).as_deref(), Ok("?"));
    let with_ping = r#"{"data":[{"taskType":"authentication"},{"videoUUID":"$video","videoURL":"$link"}]}"#;
    assert_eq!(callback(with_ping), "success $video");
    let one_of_two =
        r#"[{"videoUUID":"$video","videoURL":"$link"},{"taskUUID":"$ours","status":"processing"}]"#;
    assert_eq!(callback(one_of_two), "running | ?");
    let failed = r#"{"errors":[{"code":"timeoutProvider","message":"m"}]}"#;
    assert_eq!(callback(failed), "failed timeoutProvider: m");
    assert_eq!(query(failed), Err(("timeoutProvider".to_owned(), false)));
}

#[test]
fn unreadable_bodies_are_doubt_and_say_nothing() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in [
        "",
        "null",
        "7",
        "\"x\"",
        "{",
        "{}",
        "[1]",
        "<html>",
        r#"{"hello":1}"#,
        r#"{"data":"ok"}"#,
        &deep,
    ] {
        assert_eq!(callback(odd), "?", "{odd:.40}");
        assert_eq!(
            query(odd),
            Err(("unreadable_answer".to_owned(), false)),
            "{odd:.40}"
        );
    }
    assert_eq!(told(&read_callback(ours(), b"\xff\xfe")), "?");
}

#[test]
fn what_is_not_text_is_doubt_and_never_a_result() {
    let templates = [
        (
            r#"{"taskUUID":"$ours","videoUUID":7,"videoURL":"$link","resultIndex":1}"#,
            "success i1 | ?",
        ),
        (
            r#"{"taskUUID":"$ours","videoUUID":"$video","videoURL":["$link"]}"#,
            "linkless | ?",
        ),
        (
            r#"{"taskUUID":"$ours","videoUUID":"$video","status":7}"#,
            "linkless | ?",
        ),
    ];
    for (template, expected) in templates {
        assert_eq!(callback(template), expected);
    }
    let long = format!(
        r#"{{"taskUUID":"$ours","videoUUID":"$video","videoURL":"https://x/{}"}}"#,
        "a".repeat(5000)
    );
    assert_eq!(callback(&long), "linkless | ?");
}

#[test]
fn t8_of_too_many_rows_the_first_are_read_and_the_rest_are_doubt() {
    let row = |n: usize| json!({"taskUUID": OURS, "resultIndex": n, "videoURL": LINK});
    for shape in [
        |rows: Vec<Value>| json!(rows),
        |rows| json!({"data": rows}),
        |rows| json!({"data": rows, "errors": []}),
    ] {
        let read = |n| read_callback(ours(), shape((0..n).map(row).collect()).to_string().as_bytes());
        let (fits, exceeds) = (read(MAX_ROWS), read(MAX_ROWS + 1));
        assert_eq!((fits.items.len(), fits.doubt), (MAX_ROWS, false));
        assert_eq!((exceeds.items.len(), exceeds.doubt), (MAX_ROWS, true));
    }
}

#[test]
fn t16_messages_carry_no_links() {
    let failed = r#"{"errors":[{"code":"downloadFailed","message":"Cannot read https://bucket/face.png?X-Sig=1 now","taskUUID":"$ours"}]}"#;
    assert_eq!(
        callback(failed),
        "failed downloadFailed: Cannot read [removed] now"
    );
}

/// 401, 429 and 5xx refuse the question, not the work; so do their codes inside a 200.
#[test]
fn a_refused_query_never_fails_a_task() {
    let refused = |code: &str, named: &str| {
        query(&format!(
            r#"{{"data":[],"errors":[{{"code":"{code}","message":"m"{named}}}]}}"#
        ))
    };
    for named in ["", r#","taskUUID":"$ours""#] {
        for (code, parked) in [
            ("invalidApiKey", true),
            ("insufficientCredits", true),
            ("permissionDenied", true),
            ("rateLimitExceeded", false),
            ("internalServerError", false),
        ] {
            assert_eq!(
                refused(code, named),
                Err((code.to_owned(), parked)),
                "{code} {named}"
            );
        }
    }
    // The work itself may fail for such a reason, and then says so.
    let failed =
        r#"{"errors":[{"code":"rateLimitExceeded","status":"error","message":"m","taskUUID":"$ours"}]}"#;
    assert_eq!(query(failed).as_deref(), Ok("failed rateLimitExceeded: m"));
    // One refused row does not take the others' news with it.
    let both = r#"{"data":[{"taskUUID":"$ours","status":"processing"}],"errors":[{"code":"rateLimitExceeded","message":"m"}]}"#;
    assert_eq!(query(both).as_deref(), Ok("running | ?"));
    assert_eq!(
        query(r#"{"errors":[{"code":"taskFailedOrNotFound","message":"m"}]}"#).as_deref(),
        Ok("?")
    );
}

#[test]
fn a_query_for_several_answers_each_in_order() {
    let answer = r#"{"data":[
        {"taskUUID":"$ours","status":"processing"},
        {"taskUUID":"$other","videoUUID":"$video","videoURL":"$link"}],
      "errors":[{"code":"c","message":"m","taskUUID":"$ours"}]}"#;
    let unknown = crate::domain::ids::TaskId(uuid::Uuid::nil());
    let reports = read_query(&[other(), unknown, ours()], body(answer).as_bytes()).unwrap();
    let told: Vec<String> = reports.iter().map(told).collect();
    assert_eq!(told, ["success $video", "", "running | failed c: m"]);
    assert!(reports[1].is_empty());
}
