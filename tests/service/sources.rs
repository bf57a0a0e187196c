//! F12–F14, T10: files that are cut, short, late, gone, or no video at all.

use crate::outside::{Outside, Serve, files};
use crate::world::{task, uuid};
use catchment::simulator::{Faults, Options};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Each ends with the source's bytes under the final key.
const MENDED: &[(&str, &str)] = &[
    ("truncated once, no length told", "truncate-downloads=1;at-most=1"),
    ("truncated early, twice", "truncate-download=1000;at-most=2"),
    (
        "cut, then resumed",
        "cut-download=100000;at-most=2;video-size=400000",
    ),
    (
        "cut without an ETag, begun again",
        "cut-download=100000;at-most=1;video-size=400000;no-etag",
    ),
    (
        "cut, ranges ignored",
        "cut-download=100000;at-most=1;video-size=400000;no-range",
    ),
    (
        "cut, another entity each time",
        "cut-download=100000;at-most=1;video-size=400000;changing-etag",
    ),
    (
        "the wrong range",
        "cut-download=100000;wrong-range;at-most=2;video-size=400000",
    ),
    ("a length that is too large", "length-off=500;at-most=1"),
    ("a length that is too small", "length-off=-500;at-most=1"),
    ("HTML with 200, once", "html-downloads=1;at-most=1"),
    ("garbage once", "garbage-downloads=1;at-most=1"),
    (
        "refused for a while",
        "refuse-download=1;refuse-download-with=503;at-most=2",
    ),
    ("404 shortly after completion", "late-file=1;late-file-by=300ms"),
    ("no length at all", "no-length"),
];

#[tokio::test(flavor = "multi_thread")]
async fn f12_f13_what_a_source_gets_wrong_for_a_while_is_mended() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for (n, (_, simulate)) in MENDED.iter().enumerate() {
        serve.submit(&task(n, simulate)).await;
    }
    serve.wait_settled(MENDED.len()).await;
    for (n, (what, _)) in MENDED.iter().enumerate() {
        let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
        assert_eq!(task["status"], "completed", "{what}: {task:#}");
        let asset = &task["assets"][0];
        let bytes = std::fs::read(outside.objects().join(asset["key"].as_str().unwrap())).unwrap();
        let sha256: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(Some(&sha256), truth.results[0].sha256.as_ref(), "{what}: G4");
        assert_eq!(asset["sha256"], sha256.as_str(), "{what}");
    }
    assert_eq!(
        files(&outside.objects()).len(),
        MENDED.len(),
        "no part of any try is visible"
    );
    let stats = outside.simulator.stats();
    assert!(
        stats.downloads_spoiled >= 12 && stats.downloads_dead >= 1,
        "{stats:?}"
    );
    serve.stop().await;
}

/// G6: the link lives for its `ttl` and dies before the copy is made; the provider makes a fresh one when asked.
#[tokio::test(flavor = "multi_thread")]
async fn f12_a_link_that_died_is_asked_for_anew() {
    let week = Duration::from_secs(7 * 24 * 3600);
    let refusing = Faults {
        refuse_download: 1.0,
        ..Faults::none()
    };
    let outside = Outside::with(Options {
        faults: refusing,
        retention: 10 * week,
        ..Options::default()
    })
    .await;
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    let has = |t: &Value, kind: &str| {
        let lines = t["timeline"].as_array().unwrap();
        lines.iter().any(|l| l["kind"] == kind)
    };
    serve
        .wait_task(&uuid(0), "a try", |t| has(t, "copy_postponed"))
        .await;
    let old = outside.generation(&uuid(0)).unwrap().results[0].url.clone();
    outside.simulator.set_faults(Faults {
        fresh_link: 1.0,
        ..Faults::none()
    });
    outside.simulator.advance(week + week / 7);
    let task = serve.wait_status(&uuid(0), "completed").await;
    assert!(has(&task, "fresh_link"), "{task:#}");
    let truth = outside.generation(&uuid(0)).unwrap();
    assert_ne!(truth.results[0].url, old);
    outside.assert_archived_once(&task, &truth, "a fresh link").await;
    serve.stop().await;
}

fn kinds(events: &[Value], id: &str) -> Vec<String> {
    let about = events.iter().filter(|e| e["data"]["taskUUID"] == id);
    about.map(|e| e["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_what_is_no_video_for_good_is_never_archived() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    // HTML is nobody's video; garbage of the right size may be one that we do not understand.
    serve.submit(&task(0, "html-downloads=1")).await;
    serve
        .submit(&task(1, "garbage-downloads=1;video-size=200000"))
        .await;
    let mut several = task(2, "garbage-downloads=1");
    several["numberResults"] = json!(2);
    serve.submit(&several).await;
    serve.wait_settled(3).await;
    let events = serve.events().await;

    let page = serve.task(&uuid(0)).await;
    assert_eq!(
        (&page["status"], &page["reason"]),
        (&json!("failed"), &json!("no_asset_archived")),
        "{page:#}"
    );
    let asset = &page["assets"][0];
    assert_eq!(
        (&asset["status"], &asset["reason"]),
        (&json!("failed"), &json!("bad_content"))
    );
    assert_eq!(asset["key"], Value::Null, "HTML is never stored");

    let mut kept = 0;
    for n in [1, 2] {
        let garbage = serve.task(&uuid(n)).await;
        assert_eq!(garbage["status"], "failed", "{garbage:#}");
        for asset in garbage["assets"].as_array().unwrap() {
            assert_eq!(
                (&asset["status"], &asset["reason"]),
                (&json!("failed"), &json!("bad_content"))
            );
            let key = asset["key"].as_str().unwrap();
            assert!(key.ends_with(".unverified"), "{key}");
            let bytes = std::fs::read(outside.objects().join(key)).unwrap();
            let sha256: String = Sha256::digest(&bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(
                asset["sha256"],
                sha256.as_str(),
                "what was paid for is kept as it came"
            );
            kept += 1;
        }
    }
    assert_eq!(files(&outside.objects()).len(), kept);
    for n in 0..3 {
        let told = kinds(&events, &uuid(n));
        assert!(
            told.contains(&"asset.failed".to_owned()) && told.contains(&"task.failed".to_owned()),
            "{told:?}"
        );
        assert!(!told.contains(&"asset.archived".to_owned()));
    }
    serve.stop().await;
}
