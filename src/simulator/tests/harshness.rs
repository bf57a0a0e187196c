//! What the profile `harsh` promises: its shares of callbacks lost and doubled, and that no fault in it stays away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::test::TestRequest;
use actix_web::web::{Bytes, Data};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::harness::avatar;
use crate::simulator::clock::real_sleep;
use crate::simulator::dice::Dice;
use crate::simulator::life::{Fate, fate};
use crate::simulator::setting::{OneOf, Refusal, Shape};
use crate::simulator::task::Task;
use crate::simulator::world::World;
use crate::simulator::{Faults, Options, Tally, api, cdn};

const CALLBACKS: u64 = 10_000;
const TASKS: u64 = 200;

/// The profile's chances above 0, by the name of their switch.
fn chances() -> BTreeMap<&'static str, f64> {
    let is_chance = |value: &Value| value.is_f64() && value.as_f64() > Some(0.0);
    let values = Faults::harsh().values().into_iter();
    values
        .filter(|(_, value)| is_chance(value))
        .filter_map(|(switch, value)| Some((switch, value.as_f64()?)))
        .collect()
}

#[test]
fn the_harsh_profile_has_every_fault_it_is_known_for() {
    let chances = chances();
    assert_eq!(
        (chances["lose-callbacks"], chances["double-callbacks"]),
        (0.3, 0.3)
    );
    for switch in [
        "reorder-callbacks",
        "callback-before-ack",
        "fail-results",
        "forge-failure",
        "forge-success",
        "refuse-submit",
        "refuse-query",
        "refuse-download",
        "cut-before-accept",
        "cut-after-accept",
        "cut-query",
        "cut-downloads",
        "truncate-downloads",
        "stall-downloads",
        "wrong-lengths",
        "dead-link",
    ] {
        assert!(chances.contains_key(switch), "no {switch} in {chances:?}");
    }
    let harsh = Faults::harsh();
    let every_shape = vec![Shape::A, Shape::B, Shape::C, Shape::D, Shape::E];
    assert_eq!(harsh.callback_shapes, OneOf(every_shape));
    for OneOf(refusals) in [&harsh.refuse_submit_with, &harsh.refuse_query_with] {
        for status in [429, 500, 503] {
            assert!(refusals.contains(&Refusal::Status(status)), "{refusals:?}");
        }
    }
}

fn fates(faults: &Faults) -> Vec<Fate> {
    let dice = Dice::new(1);
    let result = |n| dice.uuid("result-id", Uuid::nil(), n);
    (0..CALLBACKS).map(|n| fate(dice, faults, result(n))).collect()
}

fn percent(fates: &[Fate], wanted: Fate) -> f64 {
    let count = fates.iter().filter(|fate| **fate == wanted).count();
    100.0 * count as f64 / fates.len() as f64
}

#[test]
fn of_all_callbacks_30_percent_are_lost_and_30_percent_are_doubled() {
    let fates = fates(&Faults::harsh());
    for wanted in [Fate::Lost, Fate::Doubled] {
        let share = percent(&fates, wanted);
        assert!((27.0..=33.0).contains(&share), "{wanted:?}: {share} %");
    }
}

#[test]
fn losses_are_served_first_where_both_chances_are_more_than_all() {
    let fates = fates(&Faults {
        lose_callbacks: 0.3,
        double_callbacks: 1.0,
        ..Faults::none()
    });
    let lost = percent(&fates, Fate::Lost);
    assert!((27.0..=33.0).contains(&lost), "{lost} %");
    assert!(!fates.contains(&Fate::SentOnce));
}

/// The handlers themselves, without a server; what is sent to `webhookURL` is refused at the door.
#[tokio::test]
async fn every_fault_of_the_harsh_profile_strikes() {
    let world = harsh_world();
    for n in 0..TASKS {
        submit(&world, n).await;
    }
    // Tasks are hidden from queries for half a second.
    world.clock.advance(Duration::from_secs(1));
    for task in world.tasks() {
        use_up(&world, &task).await;
    }
    for _ in 0..1000 {
        if missing(&world).is_empty() {
            break;
        }
        real_sleep(Duration::from_millis(10)).await; // callbacks are under way
    }
    assert_eq!(missing(&world), Vec::<&str>::new());
    let tally = world.tally();
    let clips: Vec<&str> = tally.clips.into_keys().collect();
    assert_eq!(clips, ["fragmented", "moov-first", "moov-last", "mov", "webm"]);
    let numbers: Vec<(usize, u64)> = tally.number_results.into_iter().collect();
    assert_eq!(
        numbers,
        [1, 2, 3, 4].map(|number| (number, TASKS / 4)),
        "each task once"
    );
}

/// Chances that never came true, and shapes that no body had.
fn missing(world: &World) -> Vec<&'static str> {
    let tally = world.tally();
    let faults = chances().into_keys();
    let shapes = ["A", "B", "C", "D", "E"].into_iter();
    faults
        .filter(|switch| !tally.faults.contains_key(switch))
        .chain(shapes.filter(|shape| !tally.bodies.contains_key(shape)))
        .collect()
}

fn harsh_world() -> Arc<World> {
    let moment = Duration::from_millis(1);
    let faults = Faults {
        slow_ack_by: moment,
        delay_callbacks_by: moment,
        callback_attempts: 1,
        late_file_by: Duration::from_secs(3600),
        ..Faults::harsh()
    };
    let options = Options {
        faults,
        seed: 3,
        render_ms: 0..=0,
        ..Options::default()
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let origin = "http://cdn.example".to_owned();
    Arc::new(World::new(origin, options, http, Handle::current()))
}

/// Until it is accepted, which `at_most` limits.
async fn submit(world: &Arc<World>, n: u64) {
    let uuid = world.dice.uuid("task", Uuid::nil(), n);
    // Chance alone hardly ever lets all results of a task fail.
    let prompt = if n % 8 == 1 {
        "[sim: fail=2]"
    } else {
        "A calm presenter"
    };
    let format = ["MP4", "MOV", "WEBM"][n as usize % 3];
    let task = avatar(
        1,
        json!({
            "taskUUID": uuid, "positivePrompt": prompt, "webhookURL": "http://127.0.0.1:1/hook?token=secret",
            "numberResults": 1 + n % 4, "outputFormat": format,
        }),
    );
    for _ in 0..10 {
        post(world, &json!([task])).await;
        if world.task(uuid).is_some() {
            return;
        }
    }
    panic!("never accepted: {task}");
}

/// Downloads and queries in turn, as a client does that is never content.
async fn use_up(world: &Arc<World>, task: &Task) {
    for _ in 0..4 {
        for outcome in &task.results {
            let url = outcome.url(world, task.kind, outcome.link());
            let request =
                TestRequest::with_uri(&url[world.origin.len()..]).insert_header(("range", "bytes=1-"));
            cdn::get(request.to_http_request(), Data::from(world.clone())).await;
        }
        post(
            world,
            &json!([{"taskType": "getResponse", "taskUUID": task.uuid}]),
        )
        .await;
    }
}

async fn post(world: &Arc<World>, body: &Value) {
    let request = TestRequest::post().uri("/v1");
    let request = request.insert_header(("authorization", "Bearer any"));
    let body = Bytes::from(body.to_string());
    api::post(request.to_http_request(), body, Data::from(world.clone())).await;
}

#[test]
fn a_body_counts_as_the_shape_it_has() {
    for (shape, body) in [
        ("A", json!({"taskUUID": "t", "status": "success"})),
        ("A", json!({"taskUUID": "t"})),
        ("B", json!({"data": [{"taskUUID": "t"}]})),
        ("C", json!({"errors": [{"code": "c"}]})),
        ("C", json!({"data": [], "errors": [{"code": "c"}]})),
        ("D", json!({"code": "c", "status": "error"})),
        (
            "E",
            json!({"data": [{"status": "error", "error": {"code": "c"}}]}),
        ),
    ] {
        let mut tally = Tally::default();
        tally.body(&body);
        assert_eq!(tally.bodies, BTreeMap::from([(shape, 1)]), "{body}");
    }
}
