//! F12–F17, G3–G5, G8, I3: everything at once, small. `make harsh` is the same with 200 tasks and several seeds.

use crate::outside::Outside;
use serde_json::Value;

/// 40 tasks with 1 to 4 results in every container.
#[tokio::test(flavor = "multi_thread")]
async fn g3_g5_i3_nothing_is_lost_bought_twice_or_told_untruly_when_everything_goes_wrong() {
    let outside = Outside::start().await;
    let mut command = outside.command();
    command.args([
        "dev", "--tasks", "40", "--faults", "harsh", "--exit", "--seed", "3",
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
    // It was harsh indeed: results failed for real, callbacks came twice, and others never.
    for what in ["failed", "callbacks_duplicate", "recovered_by_poll"] {
        assert!(count(what) > 0, "{what}: {summary:#}");
    }
    for (what, times) in summary["faults"].as_object().unwrap() {
        assert!(times.as_u64().unwrap() > 0, "no {what}: {summary:#}");
    }
    assert!(count("results") >= 40 && count("bytes") > 0, "{summary:#}");
}
