//! The harsh profile can be survived: a patient client ends with every byte that was rendered, paid once.

use std::time::Duration;

use serde_json::{Value, json};

use super::downloads::sha256;
use super::harness::{Bench, avatar, uuid};
use crate::simulator::clock::real_sleep;
use crate::simulator::{Faults, GenerationResult, Options, ResultState, Simulator};

const TASKS: u8 = 12;

#[tokio::test]
async fn a_patient_client_gets_everything_out_of_the_harsh_profile() {
    let stall_for = Duration::from_millis(150);
    let faults = Faults {
        fresh_link: 1.0,
        stall_for,
        ..Faults::harsh()
    };
    let bench = Bench::with(Options {
        faults,
        seed: 3,
        render_ms: 0..=200,
        ..Options::default()
    });
    for n in 1..=TASKS {
        submit(&bench, n).await;
    }
    bench
        .until("all renders ended", |simulator| {
            states(simulator, ResultState::Rendering).is_empty()
        })
        .await;
    for result in states(&bench.simulator, ResultState::Succeeded) {
        fetch(&bench, &result).await;
    }
    let generations = bench.simulator.generations();
    assert_eq!(generations.len(), usize::from(TASKS));
    assert!(generations.iter().all(|generation| generation.accepted == 1));
    let stats = bench.simulator.stats();
    for (what, count) in [
        ("refused", stats.submissions_refused),
        ("cut", stats.submissions_cut),
        ("conflicts", stats.conflicts),
        ("failed", stats.results_failed),
        ("spoiled", stats.downloads_spoiled),
        ("dead", stats.downloads_dead),
    ] {
        assert!(count > 0, "the profile was not harsh: nothing {what}");
    }
}

async fn submit(bench: &Bench, n: u8) {
    for _ in 0..30 {
        let Ok(answer) = bench
            .try_post(json!([avatar(n, json!({"numberResults": 4}))]))
            .await
        else {
            continue;
        };
        let body: Value = answer.json().await.unwrap_or_default();
        if body.get("data").is_some() || body["errors"][0]["code"] == "conflictTaskUUID" {
            return;
        }
    }
    panic!("task {n} was never accepted");
}

/// Downloads until the bytes are the reported ones, asking for the link anew each time.
async fn fetch(bench: &Bench, result: &GenerationResult) {
    for _ in 0..200 {
        if let Some(url) = link(bench, result).await
            && let Ok(answer) = bench.http.get(url).send().await
            && let Ok(bytes) = answer.bytes().await
            && Some(sha256(&bytes)) == result.sha256
        {
            return;
        }
        real_sleep(Duration::from_millis(20)).await;
    }
    panic!("never came whole: {result:?}");
}

async fn link(bench: &Bench, result: &GenerationResult) -> Option<String> {
    let generations = bench.simulator.generations();
    let owns = |id: &Value| *id == json!(result.id);
    let n = generations
        .iter()
        .position(|task| task.results.iter().any(|other| other.id == result.id))?
        + 1;
    let query = json!([{"taskType": "getResponse", "taskUUID": uuid(n as u8)}]);
    let body: Value = bench.try_post(query).await.ok()?.json().await.ok()?;
    let item = body["data"]
        .as_array()?
        .iter()
        .find(|item| owns(&item["videoUUID"]))?;
    Some(item["videoURL"].as_str()?.to_owned())
}

fn states(simulator: &Simulator, state: ResultState) -> Vec<GenerationResult> {
    let results = simulator
        .generations()
        .into_iter()
        .flat_map(|generation| generation.results);
    results.filter(|result| result.state == state).collect()
}
