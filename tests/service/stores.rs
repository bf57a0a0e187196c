//! F8–F11, I5, I6, T12: what an object store gets wrong, and that nothing becomes `archived` by it.

use crate::outside::fault_store::{Act, Asked, FaultStore, answer, error, yes};
use crate::outside::seaweed::Seaweed;
use crate::outside::stores::{Kind, is_own};
use crate::outside::{Outside, Serve, pause, sha256_hex, until};
use crate::world::{task, uuid};
use catchment::simulator::Options;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

async fn world(kind: Kind) -> (Outside, FaultStore) {
    let mut outside = Outside::on(kind, Options::default()).await;
    let fault = FaultStore::before(&outside.s3.bucket).await;
    outside.set("CATCHMENT_S3__ENDPOINT", fault.url());
    outside.set("CATCHMENT_ARCHIVE__PART_SIZE", "5MiB");
    (outside, fault)
}

/// The request that makes the object: the only one, or the last of its parts.
fn creates(asked: &Asked) -> bool {
    let parts = asked.path.contains("uploadId") || asked.path.contains("uploads");
    match asked.method.as_str() {
        "PUT" => !parts && !asked.is_own(),
        "POST" => asked.path.contains("uploadId"),
        _ => false,
    }
}

struct Wrong {
    what: &'static str,
    simulate: &'static str,
    times: usize,
    act: fn() -> Act,
}

const fn wrong(what: &'static str, simulate: &'static str, times: usize, act: fn() -> Act) -> Wrong {
    Wrong {
        what,
        simulate,
        times,
        act,
    }
}

const LARGE: &str = "video-size=3000000";
const PARTS: &str = "no-length;video-size=6000000";

/// Each ends as archived, once, with the source's bytes.
const MENDED: &[Wrong] = &[
    wrong("SlowDown for a while", "", 5, || {
        Act::Answer(error("503 Slow Down", "SlowDown"))
    }),
    wrong("an early SlowDown while we send", LARGE, 2, || {
        Act::AnswerEarly(error("503 Slow Down", "SlowDown"))
    }),
    wrong("an error inside a 200", "", 2, || {
        Act::Answer(error("200 OK", "InternalError"))
    }),
    wrong("a conflict with another writer", "", 2, || {
        Act::Answer(error("409 Conflict", "ConditionalRequestConflict"))
    }),
    wrong("stored, and the answer lost", "", 1, || Act::LoseAnswer),
    wrong("stored, and a failure told", "", 1, || {
        Act::AnswerInstead(error("500 Internal Server Error", "InternalError"))
    }),
    wrong("stored, and a taken key told: the same bytes", "", 1, || {
        Act::AnswerInstead(error("412 Precondition Failed", "PreconditionFailed"))
    }),
    wrong("a yes that kept nothing", "", 3, || Act::Answer(yes())),
    wrong("a yes before it had the bytes", LARGE, 2, || {
        Act::AnswerEarly(yes())
    }),
    wrong("cut in the middle", LARGE, 2, || Act::Cut(1_000_000)),
    wrong("a page of HTML", "", 1, || {
        Act::Answer(answer("502 Bad Gateway", "<html>no</html>"))
    }),
    wrong("parts: an error inside the last 200", PARTS, 1, || {
        Act::Answer(error("200 OK", "InternalError"))
    }),
    wrong("parts: joined, and the answer lost", PARTS, 1, || Act::LoseAnswer),
];

/// F10, where the store checks: on the embedded one the spoiled bytes would stay under the key.
const SPOILED: &[Wrong] = &[
    wrong("spoiled on the way", "", 2, || Act::Tamper),
    wrong("spoiled on the way, large", LARGE, 1, || Act::Tamper),
];

fn stage(cases: &[&'static Wrong]) -> impl FnMut(&Asked) -> Act + Send + use<> {
    let mut left = BTreeMap::new();
    for (n, wrong) in cases.iter().enumerate() {
        left.insert(uuid(n), (wrong.times, wrong.act));
    }
    move |asked| {
        let case = left
            .iter_mut()
            .find(|(task, _)| asked.path.contains(task.as_str()));
        match case {
            Some((_, (times, act))) if *times > 0 && creates(asked) => {
                *times -= 1;
                act()
            }
            _ => Act::Forward,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_f9_what_a_store_gets_wrong_for_a_while_ends_archived_once() {
    mended(Kind::Embedded, MENDED.iter().collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_f9_f10_what_seaweedfs_gets_wrong_for_a_while_ends_archived_once() {
    mended(Kind::Seaweed, MENDED.iter().chain(SPOILED).collect()).await;
}

async fn mended(kind: Kind, cases: Vec<&'static Wrong>) {
    let (outside, fault) = world(kind).await;
    fault.script(stage(&cases));
    let mut serve = Serve::start(&outside, None).await;
    serve.subscribe(&outside.endpoint).await;
    for (n, wrong) in cases.iter().enumerate() {
        serve.submit(&task(n, wrong.simulate)).await;
    }
    serve.wait_settled(cases.len()).await;
    let events = serve.events().await;
    for (n, wrong) in cases.iter().enumerate() {
        assert_archived(&outside, &serve, &events, n, wrong.what).await;
        let tries = fault.asked();
        let tries = tries
            .iter()
            .filter(|a| creates(a) && a.path.contains(&uuid(n)))
            .count();
        assert!(tries >= wrong.times, "{}: the fault was met: {tries}", wrong.what);
        assert!(
            tries <= wrong.times + 2,
            "{}: and no storm made of it: {tries}",
            wrong.what
        );
    }
    assert_eq!(outside.s3.count().await, cases.len(), "I6: nothing beside them");
    let deletes = fault.asked();
    let deletes = deletes
        .iter()
        .filter(|a| a.method == "DELETE" && !a.path.contains("uploadId"));
    assert_eq!(deletes.count(), 0, "T12: no object is ever deleted");
    serve.wait_fine("object_store").await;
    outside.wait_for_deliveries(&events, "after the faults").await;
    serve.stop().await;
}

/// I3, I5: the source's bytes lie under the key, were told once with their digest, and were bought once.
async fn assert_archived(outside: &Outside, serve: &Serve, events: &[Value], n: usize, what: &str) {
    let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
    assert_eq!(task["status"], "completed", "{what}: {task:#}");
    let asset = &task["assets"][0];
    let bytes = outside.s3.get(asset["key"].as_str().unwrap()).await;
    let sha256 = sha256_hex(&bytes.expect("what is archived is there"));
    assert_eq!(Some(&sha256), truth.results[0].sha256.as_ref(), "{what}: I5");
    assert_eq!(asset["sha256"], sha256.as_str(), "{what}: I5");
    let its = |e: &&Value| e["type"] == "asset.archived" && e["data"]["taskUUID"] == uuid(n);
    let digests = events.iter().filter(its).map(|e| &e["data"]["sha256"]);
    assert_eq!(digests.collect::<Vec<_>>(), [&json!(sha256)], "{what}: once");
    assert_eq!(truth.accepted, 1, "{what}: I3");
}

fn told(events: &[Value], kind: &str, task: &str) -> usize {
    let about = |e: &&Value| e["type"] == kind && e["data"]["taskUUID"] == task;
    events.iter().filter(about).count()
}

/// How long the store asks for patience, by its own clock.
const BAD_MINUTES: Duration = Duration::from_secs(125);

/// F8: a store that asks for patience gets it: told, nothing lost, and no more asked of it than a try now and then.
#[tokio::test(flavor = "multi_thread")]
async fn f8_while_a_store_says_slow_down_for_minutes_results_wait_and_no_storm_is_made() {
    const BEFORE: usize = 6;
    let (mut outside, fault) = world(Kind::Seaweed).await;
    outside.set("CATCHMENT_RETRY__MAX_INTERVAL", "10s");
    fault.spoil_uploads_for(BAD_MINUTES, || Act::Answer(error("503 Slow Down", "SlowDown")));
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..BEFORE {
        serve.submit(&task(n, "")).await;
    }
    assert_eq!(serve.wait_degraded("object_store").await, "slow_down");
    let tasks = submit_while_it_lasts(&outside, &serve, BEFORE).await;
    assert!(serve.age() > BAD_MINUTES, "it was that long: {:?}", serve.age());
    serve.wait_settled(tasks).await;
    let events = serve.events().await;
    for n in 0..tasks {
        assert_archived(&outside, &serve, &events, n, "after bad minutes").await;
    }
    // One in each longest pause at least; without growing pauses there would be one a second or more.
    let refused = fault.uploads() - tasks;
    assert!((12..80).contains(&refused), "{refused} were refused");
    assert_eq!(outside.s3.count().await, tasks, "I6");
    serve.wait_fine("object_store").await;
    serve.stop().await;
}

/// One task more every few seconds until the first result is archived: it is taken, its callback is, and the trouble
/// is told all the while. Answers how many tasks there are then.
async fn submit_while_it_lasts(outside: &Outside, serve: &Serve, before: usize) -> usize {
    let mut n = before;
    loop {
        // In this order: an archived result is an event first and ends the trouble after that.
        let degraded = serve.degraded("object_store").await;
        let events = serve.events().await;
        if events.iter().any(|e| e["type"] == "asset.archived") {
            return n;
        }
        assert_eq!(degraded.as_deref(), Some("slow_down"), "after {:?}", serve.age());
        assert!(serve.age() < 2 * BAD_MINUTES, "archived once it is over");
        serve.submit(&task(n, "")).await;
        until("its callback is taken", || {
            let results = outside.generation(&uuid(n)).map(|g| g.results);
            results.is_some_and(|r| r.first().is_some_and(|r| r.callbacks_answered > 0))
        })
        .await;
        n += 1;
        for _ in 0..250 {
            pause().await; // some twenty looks in all: the service has little else to do
        }
    }
}

/// F9, I6: somebody else's object stays as it is, and ours is told as failed.
#[tokio::test(flavor = "multi_thread")]
async fn i6_other_bytes_under_the_key_are_a_conflict_and_stay() {
    for kind in [Kind::Embedded, Kind::Seaweed] {
        let (outside, fault) = world(kind).await;
        let theirs = b"somebody else was here first".to_vec();
        let put = theirs.clone();
        fault.spoil_uploads(1, move || Act::AfterPutting(put.clone()));
        let mut serve = Serve::start(&outside, None).await;
        serve.submit(&task(0, "")).await;
        let ended = serve.wait_status(&uuid(0), "failed").await;
        assert_eq!(ended["reason"], "no_asset_archived", "{ended:#}");
        assert_eq!(ended["assets"][0]["reason"], "conflict", "{ended:#}");
        let key = fault
            .asked()
            .into_iter()
            .find(Asked::uploads_result)
            .unwrap()
            .path;
        let key = key
            .split('?')
            .next()
            .unwrap()
            .splitn(3, '/')
            .nth(2)
            .unwrap()
            .to_owned();
        assert_eq!(outside.s3.get(&key).await, Some(theirs), "{kind:?}");
        let events = serve.events().await;
        assert_eq!(told(&events, "asset.archived", &uuid(0)), 0);
        assert_eq!(told(&events, "asset.failed", &uuid(0)), 1);
        serve.stop().await;
    }
}

/// F9, I6: told while we still send that the key is taken, before anything is known of the whole: the rest of the source
/// is read for its digest, and the object compared with that.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_key_told_as_taken_while_we_send_is_compared_with_the_whole_source() {
    let (outside, fault) = world(Kind::Seaweed).await;
    let is_taken = Arc::new(AtomicBool::new(false));
    let taken = is_taken.clone();
    fault.script(
        move |asked| match (creates(asked), taken.load(Ordering::SeqCst)) {
            (false, _) => Act::Forward,
            (true, false) => Act::AnswerEarly(error("503 Slow Down", "SlowDown")),
            (true, true) => Act::AnswerEarly(error("412 Precondition Failed", "PreconditionFailed")),
        },
    );
    let mut serve = Serve::start(&outside, None).await;
    let uploads = |n: usize| {
        let asked = fault.asked();
        let its = |a: &&Asked| creates(a) && a.path.contains(&uuid(n));
        asked.iter().filter(its).count()
    };
    let mut keys = vec![];
    for n in [0, 1] {
        serve.submit(&task(n, LARGE)).await;
        until("a first try", || uploads(n) > 0).await;
        let result = outside.generation(&uuid(n)).unwrap().results[0].clone();
        let source = reqwest::get(result.url.as_deref().unwrap())
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let mut bytes = source.to_vec();
        bytes[2_900_000] ^= n as u8; // the second is another file of the same length
        let key = format!("{}/{}.mp4", uuid(n), result.id);
        outside.s3.bucket.put_with_sha256(&key, &bytes).await;
        keys.push((key, bytes));
    }
    let before = [uploads(0), uploads(1)];
    is_taken.store(true, Ordering::SeqCst);
    serve.wait_settled(2).await;
    let events = serve.events().await;
    assert_archived(&outside, &serve, &events, 0, "the same bytes").await;
    assert_eq!(
        serve.task(&uuid(0)).await["assets"][0]["contentType"],
        "video/mp4"
    );
    let ended = serve.task(&uuid(1)).await;
    assert_eq!(ended["assets"][0]["reason"], "conflict", "{ended:#}");
    for (n, (key, bytes)) in keys.into_iter().enumerate() {
        assert!(uploads(n) > before[n], "it was told while sending");
        assert_eq!(outside.s3.get(&key).await, Some(bytes), "and it stays");
    }
    serve.stop().await;
}

/// I5: a store whose yes means nothing is never believed, however often it says it.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_store_that_says_yes_and_keeps_nothing_archives_nothing() {
    let (outside, fault) = world(Kind::Embedded).await;
    fault.script(|asked| match asked.method.as_str() {
        "PUT" => Act::Answer(yes()),
        _ => Act::Forward,
    });
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(
        serve.wait_degraded("object_store").await,
        "keeps_nothing",
        "seen before any result"
    );
    assert!(
        outside.log().contains("says yes and keeps nothing"),
        "and explained"
    );
    serve.submit(&task(0, "")).await;
    let tried = |t: &Value| {
        let lines = t["timeline"].as_array().unwrap();
        lines.iter().filter(|l| l["kind"] == "copy_postponed").count() >= 3
    };
    let waiting = serve.wait_task(&uuid(0), "three tries", tried).await;
    assert!(["pending", "archiving"].contains(&waiting["assets"][0]["status"].as_str().unwrap()));
    assert_eq!(told(&serve.events().await, "asset.archived", &uuid(0)), 0);
    fault.behave();
    serve.wait_status(&uuid(0), "completed").await;
    serve.wait_fine("object_store").await;
    assert_eq!(outside.s3.count().await, 1);
    serve.stop().await;
}

/// F11: what only an operator can mend has a name, turns nobody away, and ends by itself once it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_store_that_refuses_us_is_named_and_waited_for() {
    let cases = [
        ("400 Bad Request", "ExpiredToken", "expired_token"),
        ("404 Not Found", "NoSuchBucket", "no_such_bucket"),
        ("301 Moved Permanently", "PermanentRedirect", "wrong_region"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "wrong_region"),
        ("403 Forbidden", "AccessDenied", "access_denied"),
    ];
    let (outside, fault) = world(Kind::Embedded).await;
    let mut serve = Serve::start(&outside, None).await;
    for (n, (status, word, expected)) in cases.into_iter().enumerate() {
        fault.script(move |_| Act::Answer(error(status, word)));
        serve.submit(&task(n, "")).await;
        let tried = |t: &Value| {
            let lines = t["timeline"].as_array().unwrap();
            lines.iter().filter(|l| l["kind"] == "copy_postponed").count() >= 2
        };
        let waiting = serve.wait_task(&uuid(n), "two tries", tried).await;
        assert_eq!(waiting["status"], "archiving", "{word}: {waiting:#}");
        assert_eq!(
            serve.degraded("object_store").await.as_deref(),
            Some(expected),
            "{word}"
        );
        fault.behave();
        serve.wait_status(&uuid(n), "completed").await;
        serve.wait_fine("object_store").await;
    }
    assert_eq!(outside.s3.count().await, cases.len());
    serve.stop().await;
}

/// A store without `If-None-Match` is found out at start, and the setting that helps is named; with it, all is well.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lacks_what_the_settings_ask_for_is_told_with_the_remedy() {
    let (mut outside, fault) = world(Kind::Seaweed).await;
    let without = |asked: &Asked| match asked.header("if-none-match") {
        Some(_) => Act::Answer(error("501 Not Implemented", "NotImplemented")),
        None => Act::Forward,
    };
    fault.script(without);
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(
        serve.wait_degraded("object_store").await,
        "create_only_unsupported"
    );
    assert_eq!(
        explained(&outside, "create_only_unsupported").await,
        "the store refuses If-None-Match, so nothing can be stored: set s3.create_only = \"head\", which looks first"
    );
    serve.submit(&task(0, "")).await;
    let known = |t: &Value| t["assets"].as_array().is_some_and(|a| a.len() == 1);
    serve.wait_task(&uuid(0), "a result that waits", known).await;
    serve.stop().await;

    outside.set("CATCHMENT_S3__CREATE_ONLY", "head");
    let mut serve = Serve::start(&outside, None).await;
    serve.wait_status(&uuid(0), "completed").await;
    until_logged(&outside, ALL_KEPT).await;
    serve.wait_fine("object_store").await;
    serve.stop().await;
}

/// F10: a store that takes bytes whatever their checksum says is found out at start, before any of them is spoiled.
#[tokio::test(flavor = "multi_thread")]
async fn f10_a_store_that_ignores_checksums_is_told_with_the_remedy() {
    let (mut outside, fault) = world(Kind::Seaweed).await;
    // The object that is sent with a wrong checksum on purpose.
    fault.script(|asked| match asked.path.contains("/refused-") {
        true => Act::Answer(yes()),
        false => Act::Forward,
    });
    let mut serve = Serve::start(&outside, None).await;
    assert_eq!(serve.wait_degraded("object_store").await, "checksum_ignored");
    assert_eq!(
        explained(&outside, "checksum_ignored").await,
        "the store does not check what it receives: set s3.checksum = \"none\", and each object is read back once"
    );
    serve.submit(&task(0, "")).await;
    serve.wait_status(&uuid(0), "completed").await;
    assert_eq!(
        serve.degraded("object_store").await.as_deref(),
        Some("checksum_ignored"),
        "one result that went well does not mend it"
    );
    assert!(!is_logged(&outside, ALL_KEPT));
    serve.stop().await;

    outside.set("CATCHMENT_S3__CHECKSUM", "none");
    let mut serve = Serve::start(&outside, None).await;
    until_logged(&outside, ALL_KEPT).await;
    assert_eq!(serve.degraded("object_store").await, None);
    serve.stop().await;
}

/// What a start logs of a store that lacks nothing.
const ALL_KEPT: &str = "the object store does what s3.checksum and s3.create_only count on";

fn log_lines(outside: &Outside) -> Vec<Value> {
    let log = outside.log();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn is_logged(outside: &Outside, message: &str) -> bool {
    log_lines(outside).iter().any(|line| line["message"] == message)
}

async fn until_logged(outside: &Outside, message: &str) {
    until(message, || is_logged(outside, message)).await;
}

/// What the log says of a finding at start.
async fn explained(outside: &Outside, code: &str) -> String {
    let line = || {
        let mut lines = log_lines(outside).into_iter();
        lines.find(|line| line["code"] == code && line["folder"] == ".catchment/")
    };
    until("it is explained", || line().is_some()).await;
    line().unwrap()["message"].as_str().unwrap().to_owned()
}

/// I5, T12: with every checksum the settings know, SeaweedFS is found to do what is counted on, and what is archived
/// has the source's digest: told by the store, or by reading each object back once.
#[tokio::test(flavor = "multi_thread")]
async fn i5_t12_with_any_checksum_seaweedfs_is_fine_and_what_it_cannot_tell_is_read_back_once() {
    // Setting, the algorithm each upload names, and how often an object in one piece is read back.
    let settings = [
        ("sha256", Some("SHA256"), 0),
        ("crc64nvme", Some("CRC64NVME"), 1),
        ("none", None, 1),
    ];
    for (checksum, algorithm, reads) in settings {
        let (mut outside, fault) = world(Kind::Seaweed).await;
        outside.set("CATCHMENT_S3__CHECKSUM", checksum);
        let mut serve = Serve::start(&outside, None).await;
        until_logged(&outside, ALL_KEPT).await;
        assert_eq!(serve.degraded("object_store").await, None, "{checksum}");
        serve.submit(&task(0, "")).await;
        serve.submit(&task(1, PARTS)).await;
        serve.wait_settled(2).await;
        let events = serve.events().await;
        for n in 0..2 {
            assert_archived(&outside, &serve, &events, n, checksum).await;
        }
        assert_eq!(read_back(&fault, 0), reads, "{checksum}: in one piece");
        assert_eq!(read_back(&fault, 1), 1, "{checksum}: in parts");
        for upload in fault.asked().iter().filter(|a| a.uploads_result()) {
            let named = upload.header("x-amz-sdk-checksum-algorithm");
            assert_eq!(named, algorithm, "{checksum}: {upload:?}");
        }
        assert_eq!(outside.s3.count().await, 2, "{checksum}: I6");
        serve.stop().await;
    }
}

/// How often the bytes of this task's object were fetched through the store.
fn read_back(fault: &FaultStore, n: usize) -> usize {
    let asked = fault.asked();
    let gets = asked.iter().filter(|a| a.method == "GET" && !a.is_own());
    gets.filter(|a| a.path.contains(&uuid(n)) && !a.path.contains("uploads"))
        .count()
}

/// F10, I5: a store that is asked to check nothing keeps what changed on the way. It is seen when it is read back, never
/// told as archived, and stays until an operator removes it.
#[tokio::test(flavor = "multi_thread")]
async fn f10_i5_without_checksums_spoiled_bytes_end_as_a_conflict_and_never_as_archived() {
    let (mut outside, fault) = world(Kind::Seaweed).await;
    outside.set("CATCHMENT_S3__CHECKSUM", "none");
    fault.script(|asked| match asked.uploads_result() {
        true => Act::Tamper,
        false => Act::Forward,
    });
    let mut serve = Serve::start(&outside, None).await;
    for (n, simulate) in ["", LARGE].into_iter().enumerate() {
        serve.submit(&task(n, simulate)).await;
    }
    serve.wait_settled(2).await;
    let events = serve.events().await;
    for n in 0..2 {
        let ended = serve.task(&uuid(n)).await;
        let verdict = (&ended["status"], &ended["assets"][0]["reason"]);
        assert_eq!(verdict, (&json!("failed"), &json!("conflict")), "{ended:#}");
        assert_eq!(told(&events, "asset.archived", &uuid(n)), 0, "I5");
        assert_eq!(told(&events, "asset.failed", &uuid(n)), 1);
        assert_eq!(read_back(&fault, n), 1, "seen when it was read back");
    }
    let asked = fault.asked();
    let mut deletes = asked.iter().filter(|a| a.method == "DELETE");
    assert!(deletes.all(|a| a.path.contains("uploadId=")), "T12: no object");

    fault.behave();
    let bucket = &outside.s3.bucket;
    let mut spoiled = bucket.keys().await;
    spoiled.retain(|key| !is_own(key));
    assert_eq!(spoiled.len(), 2, "{spoiled:?}");
    for key in spoiled {
        let request = bucket.client.delete_object().bucket(&bucket.name).key(key);
        request.send().await.unwrap();
    }
    for n in 0..2 {
        let path = format!("/v1/tasks/{}/retry", uuid(n));
        let retried = serve.post(&path, &json!({}), None).await.unwrap();
        assert_eq!(retried.status(), 202);
        serve.wait_status(&uuid(n), "completed").await;
    }
    let events = serve.events().await;
    for n in 0..2 {
        assert_archived(&outside, &serve, &events, n, "removed and retried").await;
    }
    serve.stop().await;
}

/// F9, I17: killed between two parts; the next process takes the same result up, and clears away what was begun.
#[tokio::test(flavor = "multi_thread")]
async fn f9_i17_parts_of_a_killed_process_are_aborted_by_the_next() {
    let (outside, fault) = world(Kind::Seaweed).await;
    let second_part = |asked: &Asked| asked.path.contains("partNumber=2");
    fault.script(move |asked| match second_part(asked) {
        true => Act::Hang,
        false => Act::Forward,
    });
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, PARTS)).await;
    until("the second part is on its way", || {
        fault.asked().iter().any(second_part)
    })
    .await;
    serve.signal("KILL");
    until_gone(&mut serve).await;
    assert_eq!(outside.s3.bucket.uploads().await, 1, "left behind");

    fault.behave();
    let mut serve = Serve::start(&outside, None).await;
    let ended = serve.wait_status(&uuid(0), "completed").await;
    let truth = outside.generation(&uuid(0)).unwrap();
    outside
        .assert_archived_once(&ended, &truth, "in parts, after a kill")
        .await;
    assert_eq!(outside.s3.bucket.uploads().await, 0, "and cleared away");
    serve.stop().await;
}

async fn until_gone(serve: &mut Serve) {
    while !serve.has_died() {
        pause().await;
    }
}

/// As AWS answers to a key that may put and get objects and nothing else: it may not list the bucket, so what is
/// absent is forbidden, too.
#[tokio::test(flavor = "multi_thread")]
async fn t12_a_key_that_may_put_and_get_and_nothing_else_is_enough() {
    let (outside, fault) = world(Kind::Seaweed).await;
    let mut there = BTreeSet::new();
    let mut lost = 0;
    fault.script(move |asked| {
        let denied = || Act::Answer(error("403 Forbidden", "AccessDenied"));
        let path = asked.path.split('?').next().unwrap();
        match asked.method.as_str() {
            "PUT" if path.contains("refused-") => Act::Forward,
            "PUT" => {
                there.insert(path.to_owned());
                lost += usize::from(asked.uploads_result());
                match asked.uploads_result() && lost == 1 {
                    true => Act::LoseAnswer,
                    false => Act::Forward,
                }
            }
            "GET" | "HEAD" if there.contains(path) => Act::Forward,
            _ => denied(),
        }
    });
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..3 {
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(3).await;
    let tasks = serve.tasks().await;
    assert!(tasks.iter().all(|t| t["status"] == "completed"), "{tasks:#?}");
    serve.wait_fine("object_store").await;
    assert_eq!(outside.s3.count().await, 3);
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i5_odd_prefixes_and_labels_arrive_as_they_are() {
    let mut outside = Outside::on(Kind::Seaweed, Options::default()).await;
    outside.set("CATCHMENT_S3__PREFIX", "films=2026/a.b-c_d/");
    let mut serve = Serve::start(&outside, None).await;
    let labels = json!({
        "who.is_it-1": "Zoë \"100 %\" + 日本 / ~ ü",
        "plain": "x",
        "edges": " spaces around ",
    });
    let mut sample = task(0, "");
    sample["catchment"] = json!({ "labels": labels, "keyPrefix": "Show_1/ep-2/v1.0/" });
    serve.submit(&sample).await;
    let ended = serve.wait_status(&uuid(0), "completed").await;
    let key = ended["assets"][0]["key"].as_str().unwrap();
    assert!(key.starts_with("films=2026/a.b-c_d/Show_1/ep-2/v1.0/"), "{key}");
    outside
        .assert_archived_once(&ended, &outside.generation(&uuid(0)).unwrap(), "odd names")
        .await;
    let bucket = &outside.s3.bucket;
    let request = bucket.client.head_object().bucket(&bucket.name).key(key);
    let found = request.send().await.unwrap();
    let metadata = found.metadata().unwrap();
    for (name, value) in labels.as_object().unwrap() {
        let kept = metadata[&format!("label-{name}")].as_str();
        let kept = percent_encoding::percent_decode_str(kept).decode_utf8().unwrap();
        assert_eq!(kept, value.as_str().unwrap(), "{name}");
    }
    assert_eq!(metadata["task-uuid"], uuid(0));
    serve.stop().await;
}

/// F8, F9: the store itself is killed in the middle of it all.
#[tokio::test(flavor = "multi_thread")]
async fn f8_f9_seaweedfs_killed_and_started_again_loses_and_doubles_nothing() {
    const TASKS: usize = 6;
    let store = Arc::new(Seaweed::start().await);
    let outside = Outside::of(store.clone()).await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..TASKS {
        // Some are on their way when it dies.
        let simulate = if n % 2 == 0 {
            "video-size=2000000;download-rate=1000000"
        } else {
            ""
        };
        serve.submit(&task(n, simulate)).await;
    }
    serve.wait_status(&uuid(1), "completed").await;
    store.kill();
    serve.wait_degraded("object_store").await;
    store.start_again().await;
    serve.wait_settled(TASKS).await;
    let tasks = serve.tasks().await;
    assert!(tasks.iter().all(|t| t["status"] == "completed"), "{tasks:#?}");
    for n in 0..TASKS {
        let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
        let bytes = outside
            .s3
            .get(task["assets"][0]["key"].as_str().unwrap())
            .await
            .unwrap();
        assert_eq!(Some(sha256_hex(&bytes)), truth.results[0].sha256, "I5");
    }
    assert_eq!(outside.s3.count().await, TASKS, "I6");
    serve.wait_fine("object_store").await;
    serve.stop().await;
}
