//! Refusals, cut connections, and the grammar that asks for them.

use clap::Parser;
use serde_json::{Value, json};

use super::harness::{Bench, avatar, read, uuid};
use crate::simulator::directive::Overlay;
use crate::simulator::setting::{Bytes, OneOf, Refusal, Shape, Span};
use crate::simulator::{Faults, SimulateArgs};

#[tokio::test]
async fn each_refusal_has_its_status_and_shape() {
    let bench = Bench::new(Faults::none());
    for (refusal, status, code) in [
        ("402", 402, json!("insufficientCredits")),
        ("429", 429, json!("rateLimitExceeded")),
        ("retry-after", 429, json!("rateLimitExceeded")),
        ("503", 503, json!("serviceUnavailable")),
        ("504", 504, json!("timeoutProvider")),
        ("html", 502, Value::Null),
    ] {
        let wish = format!("refuse-submit, refuse-submit-with={refusal}");
        let sent = bench
            .request(&json!([avatar(1, json!({}))]))
            .header("X-Simulate", wish)
            .send()
            .await
            .unwrap();
        assert_eq!(
            sent.headers().contains_key("retry-after"),
            refusal == "retry-after"
        );
        let (got, body) = read(sent).await;
        assert_eq!((got, &body["errors"][0]["code"]), (status, &code), "{refusal}");
    }
    assert_eq!(
        (
            bench.simulator.stats().accepted,
            bench.simulator.stats().submissions_refused
        ),
        (0, 6)
    );
}

#[tokio::test]
async fn refusals_stop_after_at_most() {
    let bench = Bench::new(Faults {
        refuse_submit: 1.0,
        refuse_query: 1.0,
        at_most: 2,
        ..Faults::none()
    });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(bench.post(json!([avatar(1, json!({}))])).await.0);
    }
    for _ in 0..3 {
        statuses.push(
            bench
                .post(json!([{"taskType": "getResponse", "taskUUID": uuid(1)}]))
                .await
                .0,
        );
    }
    let is_refused: Vec<bool> = statuses.iter().map(|status| *status != 200).collect();
    assert_eq!(is_refused, [true, true, false, true, true, false]);
}

#[tokio::test]
async fn a_cut_before_accepting_leaves_nothing_behind() {
    let bench = Bench::new(Faults {
        cut_before_accept: 1.0,
        ..Faults::none()
    });
    assert!(bench.try_post(json!([avatar(1, json!({}))])).await.is_err());
    assert_eq!(
        (
            bench.simulator.stats().accepted,
            bench.simulator.stats().submissions_cut
        ),
        (0, 1)
    );
    assert_eq!(bench.query(1).await, json!({"data": []}));
}

#[tokio::test]
async fn a_cut_after_accepting_leaves_one_generation() {
    let bench = Bench::new(Faults {
        cut_after_accept: 1.0,
        ..Faults::none()
    });
    assert!(bench.try_post(json!([avatar(1, json!({}))])).await.is_err());
    assert_eq!(bench.query(1).await["data"][0]["status"], "success");
    let (status, body) = bench.post(json!([avatar(1, json!({}))])).await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (400, &json!("conflictTaskUUID"))
    );
    assert_eq!(bench.simulator.generations()[0].accepted, 1);
}

#[tokio::test]
async fn an_answer_can_break_in_the_middle() {
    let bench = Bench::new(Faults {
        truncate_answers: 1.0,
        at_most: 1,
        ..Faults::none()
    });
    let answer = bench.try_post(json!([avatar(1, json!({}))])).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    assert_eq!(bench.simulator.stats().accepted, 1);
}

#[tokio::test]
async fn acks_can_be_empty_or_carry_an_empty_errors_list() {
    let bench = Bench::new(Faults {
        empty_ack: 1.0,
        empty_errors: 1.0,
        ..Faults::none()
    });
    assert_eq!(
        bench.post(json!([avatar(1, json!({}))])).await,
        (200, json!({"data": [], "errors": []}))
    );
}

#[tokio::test]
async fn a_mistake_in_a_directive_is_told() {
    let bench = Bench::new(Faults::none());
    let (status, body) = bench
        .post(json!([avatar(
            1,
            json!({"positivePrompt": "[sim: lose-calbacks]"})
        )]))
        .await;
    assert_eq!(
        (status, &body["errors"][0]["code"]),
        (400, &json!("invalidSimulateDirective"))
    );
    let sent = bench
        .request(&json!([]))
        .header("X-Simulate", "fail=many")
        .send()
        .await
        .unwrap();
    assert_eq!(read(sent).await.1["errors"][0]["code"], "invalidSimulateHeader");
}

#[test]
fn one_grammar_for_headers_prompts_flags_and_json() {
    let list = "lose-callbacks; fail=1, render=200ms; cut-download=1k; callback-shapes=A+E; length-off=-5; \
                refuse-submit=30%; refuse-submit-with=429+html; hide-queued=2m";
    let expected = Faults {
        lose_callbacks: 1.0,
        fail: 1,
        render: Some(Span(200..=200)),
        cut_download: Some(Bytes(1000)),
        callback_shapes: OneOf(vec![Shape::A, Shape::E]),
        length_off: Some(-5),
        refuse_submit: 0.3,
        refuse_submit_with: OneOf(vec![Refusal::Status(429), Refusal::Html]),
        hide_queued: Some(std::time::Duration::from_secs(120)),
        ..Faults::none()
    };
    assert_eq!(Overlay::read(list).unwrap().over(&Faults::none()), expected);
    let prompt = format!("Speak slowly. [sim:{list}] Smile.");
    assert_eq!(
        Overlay::in_prompt(&prompt).unwrap().over(&Faults::none()),
        expected
    );
    let through_json: Faults = serde_json::from_str(&serde_json::to_string(&expected).unwrap()).unwrap();
    assert_eq!(through_json, expected);
    assert_eq!(Overlay::in_prompt("Speak [loudly]").unwrap(), Overlay::default());
    for wrong in [
        "nonsense",
        "fail=x",
        "lose-callbacks=2",
        "render=3s..1s",
        "callback-shapes=F",
        "dead-status=200",
    ] {
        assert!(Overlay::read(wrong).is_err(), "{wrong}");
    }
    assert!(Overlay::in_prompt("[sim: fail").is_err());
}

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    simulate: SimulateArgs,
}

#[test]
fn flags_change_the_profile_they_are_given_with() {
    let parse =
        |flags: &[&str]| Command::try_parse_from([&["simulate"], flags].concat()).map(|it| it.simulate);
    let args = parse(&[
        "--faults",
        "mild",
        "--lose-callbacks",
        "--cut-download=1000",
        "--render",
        "1s..3s",
    ])
    .unwrap();
    let options = args.options();
    let expected = Faults {
        lose_callbacks: 1.0,
        cut_download: Some(Bytes(1000)),
        ..Faults::mild()
    };
    assert_eq!((options.faults, options.render_ms), (expected, 1000..=3000));
    assert_eq!(
        parse(&["--video-size", "10MB"]).unwrap().options().video_size,
        10_000_000
    );
    assert!(parse(&["--fail=some"]).is_err() && parse(&["--faults", "wild"]).is_err());
}

#[test]
fn profiles_can_be_written_and_read_back() {
    for name in ["none", "mild", "harsh"] {
        let profile: Faults = name.parse().unwrap();
        assert_eq!(
            serde_json::from_value::<Faults>(serde_json::to_value(&profile).unwrap()).unwrap(),
            profile
        );
    }
}
