//! F17, G3: callbacks are a fast path and nothing more. The same run ends in the same state when all of them are lost,
//! and when each comes several times, out of order and before the submission is answered.

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use catchment::simulator::{Faults, Generation, Options, ResultState, Stats};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

const TASKS: usize = 12;

/// What must be the same however the callbacks came.
#[derive(Debug, PartialEq)]
struct EndState {
    tasks: BTreeMap<String, TaskEnd>,
    /// Event type → how many.
    events: BTreeMap<String, usize>,
}

#[derive(Debug, PartialEq)]
struct TaskEnd {
    status: String,
    failures: Value,
    cost: Value,
    /// By the result's index: status, size, SHA-256, key.
    results: BTreeMap<usize, (String, u64, String, String)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_g3_callbacks_lost_or_doubled_end_in_the_same_state() {
    let (ideal, stats) = run(Faults::none()).await;
    assert_eq!((stats.callbacks_lost, stats.callbacks_doubled), (0, 0));
    assert!(stats.callbacks_answered > 0);

    let lost = Faults {
        lose_callbacks: 1.0,
        ..Faults::none()
    };
    let (without, stats) = run(lost).await;
    assert_eq!(stats.callbacks_sent, 0, "none was sent");
    assert_eq!(without, ideal, "all callbacks lost");

    let doubled = Faults {
        double_callbacks: 1.0,
        callback_copies: 3,
        reorder_callbacks: 1.0,
        callback_before_ack: 0.5,
        ..Faults::none()
    };
    let (repeated, stats) = run(doubled).await;
    let happened = [
        stats.callbacks_doubled,
        stats.callbacks_reordered,
        stats.callbacks_before_ack,
    ];
    assert!(happened.iter().all(|n| *n > 0), "{stats:?}");
    assert_eq!(repeated, ideal, "every callback doubled and reordered");
}

async fn run(faults: Faults) -> (EndState, Stats) {
    let outside = Outside::with(Options {
        faults,
        ..Options::default()
    })
    .await;
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    for n in 0..TASKS {
        serve.submit(&sample(n)).await;
    }
    serve.wait_settled(TASKS).await;
    let generations = outside.simulator.generations();
    assert_eq!(generations.len(), TASKS);
    assert!(
        generations.iter().all(|g| g.accepted == 1),
        "I3: each bought once"
    );
    let mut tasks = BTreeMap::new();
    for generation in &generations {
        let id = generation.task_uuid.to_string();
        tasks.insert(id.clone(), end_of(&outside, generation, &serve.task(&id).await));
    }
    let events = serve.events().await;
    outside.wait_for_deliveries(&events, "the run").await;
    serve.stop().await;
    let mut counts = BTreeMap::new();
    for event in &events {
        *counts
            .entry(event["type"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    let state = EndState {
        tasks,
        events: counts,
    };
    check_shape(&state);
    (state, outside.simulator.stats())
}

/// 1 to 4 results, three formats; one result of one task fails.
fn sample(n: usize) -> Value {
    let mut sample = task(n, if n == 7 { "fail=1" } else { "" });
    sample["numberResults"] = json!(1 + n % 4);
    sample["outputFormat"] = json!(["MP4", "MOV", "WEBM"][n % 3]);
    sample
}

fn end_of(outside: &Outside, generation: &Generation, task: &Value) -> TaskEnd {
    let assets = task["assets"].as_array().unwrap();
    let mut results = BTreeMap::new();
    for result in generation
        .results
        .iter()
        .filter(|r| r.state == ResultState::Succeeded)
    {
        let asset = assets.iter().find(|a| a["resultId"] == result.id.to_string());
        let asset = asset.unwrap_or_else(|| panic!("a paid result is unknown: {task:#}"));
        let key = asset["key"]
            .as_str()
            .unwrap_or_else(|| panic!("a paid result is not archived: {task:#}"));
        let bytes = std::fs::read(outside.objects().join(key)).unwrap();
        let sha256: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(Some(&sha256), result.sha256.as_ref(), "I5: the source's bytes");
        assert_eq!(asset["sha256"], sha256.as_str(), "I5: as recorded");
        assert_eq!(asset["size"], bytes.len());
        let status = asset["status"].as_str().unwrap().to_owned();
        results.insert(result.index, (status, bytes.len() as u64, sha256, key.to_owned()));
    }
    assert_eq!(
        assets.len(),
        results.len(),
        "I4: nothing beside the results: {task:#}"
    );
    TaskEnd {
        status: task["status"].as_str().unwrap().to_owned(),
        failures: task["failures"].clone(),
        cost: task["cost"].clone(),
        results,
    }
}

/// Equal ends could be equally wrong.
fn check_shape(state: &EndState) {
    let count = |status: &str| state.tasks.values().filter(|t| t.status == status).count();
    assert_eq!(
        (count("completed"), count("partial")),
        (TASKS - 1, 1),
        "{state:#?}"
    );
    assert_eq!(state.tasks[&uuid(7)].failures[0]["code"], "timeoutProvider");
    let results: usize = state.tasks.values().map(|t| t.results.len()).sum();
    assert_eq!(results, 12 / 4 * (1 + 2 + 3 + 4) - 1);
    let told = |kind: &str| state.events.get(kind).copied().unwrap_or_default();
    assert_eq!(
        (told("asset.discovered"), told("asset.archived")),
        (results, results)
    );
    assert_eq!((told("task.accepted"), told("task.submitted")), (TASKS, TASKS));
    assert_eq!((told("task.completed"), told("task.partial")), (TASKS - 1, 1));
    assert_eq!(state.events.len(), 6, "and nothing else: {:?}", state.events);
}
