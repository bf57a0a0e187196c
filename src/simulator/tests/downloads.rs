//! The CDN: files, ranges, lifetimes, and bytes that do not arrive as promised.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::harness::{Bench, avatar};
use crate::simulator::clock::real_sleep;
use crate::simulator::media::{CLIPS, Media};
use crate::simulator::setting::{Bytes, OneOf, Refusal};
use crate::simulator::{Faults, Options};

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn whole(media: &Media) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < media.size as usize {
        // An odd length, so that no chunk ends where a block of padding does.
        bytes.extend_from_slice(&media.read(bytes.len() as u64, 4093));
    }
    bytes
}

/// Kind and size of each top-level box; panics unless they fill the file exactly.
fn boxes(bytes: &[u8]) -> Vec<(String, u64)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let kind = String::from_utf8(bytes[at + 4..at + 8].to_vec()).unwrap();
        let size = match u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) {
            1 => u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap()),
            size => u64::from(size),
        };
        found.push((kind, size));
        at += size as usize;
    }
    assert_eq!(at, bytes.len());
    found
}

#[test]
fn grown_files_have_the_size_and_stay_whole_containers() {
    let id = super::harness::uuid(1);
    for clip in CLIPS
        .iter()
        .filter(|clip| matches!(clip.extension, "mp4" | "mov"))
    {
        let grown = Media::new(clip, id, 1_000_003);
        let bytes = whole(&grown);
        assert_eq!(bytes.len(), 1_000_003, "{}", clip.name);
        let kinds: Vec<String> = boxes(&bytes).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds[0], "ftyp");
        assert!(kinds.iter().any(|kind| kind == "free"));
        let last = kinds.last().unwrap();
        let expected = [
            ("moov-first", "free"),
            ("moov-last", "moov"),
            ("fragmented", "mfra"),
            ("mov", "moov"),
        ];
        assert!(
            expected.contains(&(clip.name, last.as_str())),
            "{} ends in {last}",
            clip.name
        );
    }
}

#[test]
fn past_four_gib_the_box_has_a_long_size() {
    let media = Media::new(&CLIPS[0], super::harness::uuid(1), 5 << 30);
    assert_eq!(media.size, 5 << 30);
    let at = media.size - (1 << 32);
    let small = Media::new(&CLIPS[0], super::harness::uuid(1), 0);
    let free_at = small.size - 24;
    let head = media.read(free_at, 16);
    assert_eq!(&head[..8], b"\0\0\0\x01free");
    assert_eq!(
        u64::from_be_bytes(head[8..16].try_into().unwrap()),
        media.size - free_at
    );
    assert!(!media.read(at, 100).is_empty() && media.read(media.size, 100).is_empty());
}

#[test]
fn a_grown_webm_keeps_its_segment_size_true() {
    let bytes = whole(&Media::new(&CLIPS[4], super::harness::uuid(1), 500_000));
    assert_eq!(bytes.len(), 500_000);
    let segment = bytes
        .windows(4)
        .position(|window| window == [0x18, 0x53, 0x80, 0x67])
        .unwrap();
    let size = u64::from_be_bytes(bytes[segment + 4..segment + 12].try_into().unwrap()) & !(0xFF << 56);
    assert_eq!(segment as u64 + 12 + size, 500_000);
}

#[test]
fn no_two_blocks_of_padding_are_alike() {
    let bytes = whole(&Media::new(&CLIPS[0], super::harness::uuid(1), 2_000_000));
    // 4096 is the unit a client would swap or repeat by mistake; so is any multiple of it.
    let blocks: std::collections::HashSet<&[u8]> = bytes.chunks(4096).collect();
    assert_eq!(blocks.len(), bytes.len().div_ceil(4096));
}

#[test]
fn any_two_results_differ_and_reads_do_not_depend_on_their_cut() {
    for clip in &CLIPS {
        let [one, two] = [1, 2].map(|n| Media::new(clip, super::harness::uuid(n), 200_000));
        assert_ne!(one.sha256(), two.sha256(), "{}", clip.name);
        assert_eq!(one.sha256(), sha256(&whole(&one)), "{}", clip.name);
    }
}

#[tokio::test]
async fn the_bytes_served_are_the_bytes_reported() {
    let bench = Bench::with(Options {
        video_size: 300_000,
        render_ms: 0..=0,
        ..Options::default()
    });
    for (n, format, kind) in [
        (1, "MP4", "video/mp4"),
        (2, "WEBM", "video/webm"),
        (3, "MOV", "video/quicktime"),
    ] {
        let url = bench.link(avatar(n, json!({"outputFormat": format}))).await;
        assert!(
            url.ends_with(&format!(".{}", format.to_lowercase())) && url.contains("/video/os/"),
            "{url}"
        );
        let answer = bench.get(&url).await;
        let headers = answer.headers().clone();
        assert_eq!(
            (&headers["content-type"], &headers["content-length"]),
            (&kind.parse().unwrap(), &"300000".parse().unwrap())
        );
        assert!(headers.contains_key("etag") && headers["accept-ranges"] == "bytes");
        let bytes = answer.bytes().await.unwrap();
        let reported = bench
            .simulator
            .generations()
            .remove(n as usize - 1)
            .results
            .remove(0);
        assert_eq!(Some(sha256(&bytes)), reported.sha256);
        assert_eq!((reported.size, reported.url), (Some(300_000), Some(url)));
    }
}

#[tokio::test]
async fn ranges_are_served_while_the_entity_is_the_same() {
    let bench = Bench::new(Faults::none());
    let url = bench.link(avatar(1, json!({}))).await;
    let full = bench.get(&url).await;
    let etag = full.headers()["etag"].to_str().unwrap().to_owned();
    let full = full.bytes().await.unwrap();
    let ranged = async |range: &str, validator: &str| {
        let request = bench
            .http
            .get(&url)
            .header("range", range)
            .header("if-range", validator);
        request.send().await.unwrap()
    };
    for (range, part) in [
        ("bytes=100-199", &full[100..200]),
        ("bytes=1000-", &full[1000..]),
        ("bytes=-50", &full[full.len() - 50..]),
        ("bytes=9-999999999", &full[9..]),
    ] {
        let answer = ranged(range, &etag).await;
        assert_eq!(answer.status(), 206, "{range}");
        let first = part.as_ptr() as usize - full.as_ptr() as usize;
        let expected = format!("bytes {first}-{}/{}", first + part.len() - 1, full.len());
        assert_eq!(answer.headers()["content-range"], expected.as_str());
        assert_eq!(answer.bytes().await.unwrap(), part);
    }
    assert_eq!(ranged("bytes=5-", "\"other\"").await.status(), 200);
    assert_eq!(ranged("bytes=99999999-", &etag).await.status(), 416);
    let head = bench.http.head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], full.len().to_string().as_str());
}

#[tokio::test]
async fn a_link_dies_at_its_ttl() {
    let bench = Bench::new(Faults::none());
    let url = bench.link(avatar(1, json!({"ttl": 60}))).await;
    bench.simulator.advance(Duration::from_secs(58));
    assert_eq!(bench.get(&url).await.status(), 200);
    bench.simulator.advance(Duration::from_secs(2));
    assert_eq!(bench.get(&url).await.status(), 404);
    assert_eq!(
        bench.query(1).await["data"][0]["videoURL"],
        json!(url),
        "the same dead link as before"
    );
    assert_eq!(bench.simulator.stats().downloads_dead, 1);
}

#[tokio::test]
async fn a_link_that_died_early_can_be_replaced() {
    let statuses = OneOf(vec![Refusal::Status(410)]);
    let bench = Bench::new(Faults {
        dead_link: 1.0,
        fresh_link: 1.0,
        dead_status: statuses,
        ..Faults::none()
    });
    let received = super::harness::Receiver::start(&[]).await;
    bench
        .post(json!([avatar(1, json!({"webhookURL": received.url}))]))
        .await;
    let first = received.wait_for(1).await[0].json()["data"][0]["videoURL"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        bench.query(1).await["data"][0]["videoURL"],
        json!(first),
        "nobody knows yet that it died"
    );
    assert_eq!(bench.get(&first).await.status(), 410);
    let second = bench.query(1).await["data"][0]["videoURL"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
    assert_eq!(bench.get(&second).await.status(), 200);
    assert_eq!(bench.get(&first).await.status(), 410, "the old one stays dead");
    assert_eq!(
        bench.query(1).await["data"][0]["videoURL"],
        json!(second),
        "a living link is not replaced"
    );
}

#[tokio::test]
async fn a_file_can_be_late() {
    let bench = Bench::new(Faults {
        late_file: 1.0,
        late_file_by: Duration::from_secs(60),
        ..Faults::none()
    });
    let url = bench.link(avatar(1, json!({}))).await;
    assert_eq!(bench.get(&url).await.status(), 404);
    bench.simulator.advance(Duration::from_secs(60));
    assert_eq!(bench.get(&url).await.status(), 200);
}

/// Status, declared length, and the bytes that came or how many came before the connection broke.
async fn outcome(bench: &Bench, url: &str) -> (u16, Option<u64>, Result<Vec<u8>, usize>) {
    let mut answer = bench.get(url).await;
    let (status, declared) = (answer.status().as_u16(), answer.content_length());
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (status, declared, Ok(bytes)),
            Err(_) => return (status, declared, Err(bytes.len())),
        }
    }
}

async fn spoiled(directive: &str) -> (u64, (u16, Option<u64>, Result<Vec<u8>, usize>)) {
    let bench = Bench::new(Faults::none());
    let url = bench
        .link(avatar(
            1,
            json!({"positivePrompt": format!("Hello [sim: {directive}]")}),
        ))
        .await;
    let size = bench.simulator.generations()[0].results[0].size.unwrap();
    (size, outcome(&bench, &url).await)
}

#[tokio::test]
async fn a_download_can_break_after_so_many_bytes() {
    let (size, came) = spoiled("cut-download=1000").await;
    assert_eq!(came, (200, Some(size), Err(1000)));
}

#[tokio::test]
async fn a_download_can_end_too_soon_and_look_complete() {
    let (_, (status, declared, body)) = spoiled("truncate-download=1000").await;
    assert_eq!(
        (status, declared, body.map(|bytes| bytes.len())),
        (200, None, Ok(1000))
    );
}

#[tokio::test]
async fn a_length_can_be_wrong_both_ways() {
    let (size, came) = spoiled("length-off=7").await;
    assert_eq!(came, (200, Some(size + 7), Err(size as usize)));
    let (size, (_, declared, body)) = spoiled("length-off=-7").await;
    assert_eq!((declared, body.unwrap().len() as u64), (Some(size - 7), size - 7));
}

#[tokio::test]
async fn a_body_can_be_a_page_or_noise() {
    let (_, (status, _, page)) = spoiled("html-downloads").await;
    assert!(status == 200 && page.unwrap().starts_with(b"<html>"));
    let (size, (status, declared, noise)) = spoiled("garbage-downloads").await;
    assert_eq!((status, declared), (200, Some(size)));
    assert_ne!(&noise.unwrap()[4..8], b"ftyp");
}

#[tokio::test]
async fn a_server_can_be_without_length_range_or_etag() {
    let bench = Bench::new(Faults {
        no_length: 1.0,
        no_range: 1.0,
        no_etag: 1.0,
        ..Faults::none()
    });
    let url = bench.link(avatar(1, json!({}))).await;
    let answer = bench
        .http
        .get(&url)
        .header("range", "bytes=5-")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    for header in ["content-length", "etag", "accept-ranges", "content-range"] {
        assert!(!answer.headers().contains_key(header), "{header}");
    }
    let size = bench.simulator.generations()[0].results[0].size.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len() as u64, size);
}

#[tokio::test]
async fn a_range_can_be_answered_with_another() {
    let bench = Bench::new(Faults {
        wrong_range: 1.0,
        ..Faults::none()
    });
    let url = bench.link(avatar(1, json!({}))).await;
    let answer = bench
        .http
        .get(&url)
        .header("range", "bytes=1000-")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 206);
    assert!(
        answer.headers()["content-range"]
            .to_str()
            .unwrap()
            .starts_with("bytes 500-")
    );
}

#[tokio::test]
async fn a_stalled_download_goes_on_when_its_time_has_come() {
    let faults = Faults {
        stall_download: Some(Bytes(1000)),
        stall_for: Duration::from_secs(3600),
        ..Faults::none()
    };
    let bench = Bench::new(faults);
    let url = bench.link(avatar(1, json!({}))).await;
    let mut answer = bench.get(&url).await;
    assert_eq!(answer.chunk().await.unwrap().unwrap().len(), 1000);
    let waited = tokio::time::timeout(Duration::from_millis(100), answer.chunk()).await;
    assert!(waited.is_err(), "nothing comes");
    bench.simulator.advance(Duration::from_secs(3600));
    real_sleep(Duration::from_millis(10)).await;
    assert!(answer.chunk().await.unwrap().is_some());
}

#[tokio::test]
async fn spoiled_downloads_stop_after_at_most() {
    let bench = Bench::new(Faults {
        refuse_download: 1.0,
        at_most: 2,
        ..Faults::none()
    });
    let url = bench.link(avatar(1, json!({}))).await;
    let mut statuses: Vec<u16> = Vec::new();
    for _ in 0..3 {
        statuses.push(bench.get(&url).await.status().as_u16());
    }
    assert_eq!(statuses, [503, 503, 200]);
    assert_eq!(bench.simulator.stats().downloads_spoiled, 2);
}

#[tokio::test]
async fn failed_and_unfinished_results_have_no_file() {
    let bench = Bench::new(Faults {
        fail: 1,
        ..Faults::none()
    });
    let answer: Value = bench.finished(avatar(1, json!({}))).await;
    assert_eq!(answer.get("data"), None);
    let id = bench.simulator.generations()[0].results[0].id;
    let guessed = format!("{}/video/os/aaaaaa/ws/5/vi/{id}.mp4", bench.simulator.cdn_url());
    assert_eq!(bench.get(&guessed).await.status(), 404);
}
