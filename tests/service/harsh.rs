//! F12–F17, G3–G5, G8, I3: everything at once, small. `make harsh` is the same with 200 tasks and several seeds.

use crate::outside::Outside;
use serde_json::{Value, json};

/// What the seed alone decides, through the tasks, their results and the first try of each, or what so many results and
/// queries cannot all escape (`refuse-query`, `late-file`).
const CERTAIN: [&str; 32] = [
    "refuse-submit",
    "cut-before-accept",
    "cut-after-accept",
    "slow-ack",
    "empty-ack",
    "fail-results",
    "result-index",
    "lose-callbacks",
    "double-callbacks",
    "delay-callbacks",
    "reorder-callbacks",
    "callback-before-ack",
    "cumulative-callbacks",
    "omit-status",
    "processing-callbacks",
    "forge-failure",
    "forge-success",
    "wrong-token",
    "refuse-query",
    "dead-link",
    "fresh-link",
    "late-file",
    "refuse-download",
    "cut-downloads",
    "truncate-downloads",
    "stall-downloads",
    "wrong-lengths",
    "html-downloads",
    "no-length",
    "no-range",
    "no-etag",
    "changing-etag",
];

/// What is rare, or waits for a second try or a query at the right time, so that 40 tasks may miss one or the other.
/// `every_fault_of_the_harsh_profile_strikes` in the simulator's own tests leaves none out.
const RARE: [&str; 8] = [
    "truncate-answers",
    "empty-errors",
    "cut-query",
    "nest-errors",
    "omit-link",
    "nsfw",
    "garbage-downloads",
    "wrong-range",
];

/// 40 tasks with 1 to 4 results in every container. With this seed every shape of body comes several times.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g5_i3_nothing_is_lost_bought_twice_or_told_untruly_when_everything_goes_wrong() {
    let outside = Outside::start().await;
    let mut command = outside.command();
    command.args([
        "dev", "--tasks", "40", "--faults", "harsh", "--exit", "--seed", "1",
    ]);
    command.env("TMPDIR", outside.dir.path());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    let summary: Value = serde_json::from_slice(&run.stdout).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(
        (count("tasks"), count("generations")),
        (40, 40),
        "I3: {summary:#}"
    );
    assert_eq!((count("lost"), count("untrue")), (0, 0), "{summary:#}");
    assert_eq!(count("archived"), count("results"), "{summary:#}");
    assert_eq!(count("events_delivered"), count("events_emitted"), "{summary:#}");
    assert!(count("results") >= 40 && count("bytes") > 0, "{summary:#}");
    check_harshness(&summary);
}

/// It was harsh indeed.
fn check_harshness(summary: &Value) {
    for what in ["failed", "callbacks_duplicate", "recovered_by_poll"] {
        assert!(summary[what].as_u64().unwrap() > 0, "{what}: {summary:#}");
    }
    let faults = summary["faults"].as_object().unwrap();
    for (what, times) in faults.iter().filter(|(_, times)| !times.is_object()) {
        assert!(times.as_u64().unwrap() > 0, "no {what}: {summary:#}");
    }
    let struck = |name: &str| faults["by_name"][name].as_u64().is_some_and(|times| times > 0);
    for name in CERTAIN {
        assert!(struck(name), "no {name}: {summary:#}");
    }
    let rare = RARE.into_iter().filter(|name| struck(name)).count();
    assert!(rare >= RARE.len() / 2, "{rare} of {RARE:?}: {summary:#}");
    assert_eq!(
        names(&faults["callback_bodies"]),
        ["A", "B", "C", "D", "E"],
        "{summary:#}"
    );
    assert_eq!(
        names(&summary["containers"]),
        ["fragmented", "moov-first", "moov-last", "mov", "webm"],
        "{summary:#}"
    );
    assert_eq!(
        summary["number_results"],
        json!({"1": 33, "2": 3, "3": 2, "4": 2}),
        "{summary:#}"
    );
}

fn names(counts: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = counts.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
