//! G4, F14: every container tells its length and size; a file that is cut at its very source is kept aside, never archived.

use crate::nginx::Nginx;
use crate::outside::{Outside, Serve, files};
use crate::stand_in::StandIn;
use crate::world::{task, uuid};
use serde_json::{Value, json};

/// File, and what `ffprobe -show_entries format=duration:stream=width,height:stream_side_data=rotation` says of it.
const CLIPS: &[(&str, &str, Option<f64>, u64, u64)] = &[
    (
        "tests/fixtures/media/index_last.mp4",
        "video/mp4",
        Some(1.0),
        96,
        64,
    ),
    (
        "tests/fixtures/media/index_first.mp4",
        "video/mp4",
        Some(1.0),
        96,
        64,
    ),
    ("tests/fixtures/media/turned.mp4", "video/mp4", Some(1.0), 64, 96),
    (
        "tests/fixtures/media/fragmented.mp4",
        "video/mp4",
        Some(1.2),
        96,
        64,
    ),
    ("tests/fixtures/media/dash.mp4", "video/mp4", Some(1.0), 96, 64),
    (
        "tests/fixtures/media/plain.mov",
        "video/quicktime",
        Some(1.0),
        96,
        64,
    ),
    (
        "tests/fixtures/media/sized.webm",
        "video/webm",
        Some(1.008),
        96,
        64,
    ),
    ("tests/fixtures/media/open.webm", "video/webm", None, 96, 64),
    (
        "tests/fixtures/media/plain.mkv",
        "video/x-matroska",
        Some(1.0),
        96,
        64,
    ),
    ("assets/videos/fragmented.mp4", "video/mp4", Some(4.167), 256, 256),
    (
        "assets/videos/portrait.mov",
        "video/quicktime",
        Some(5.0),
        216,
        384,
    ),
    (
        "assets/videos/landscape.webm",
        "video/webm",
        Some(2.008),
        384,
        216,
    ),
];

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Serves each file under its number, as the result of the task of that number.
async fn submit_all(serve: &Serve, nginx: &Nginx, provider: &StandIn, all: &[Vec<u8>]) {
    for (n, bytes) in all.iter().enumerate() {
        let name = format!("{n}.mp4");
        nginx.put(&name, bytes);
        let link = json!({ "videoUUID": uuid(100 + n), "videoURL": nginx.url("plain", &name) });
        provider.result(&uuid(n), link);
        serve.submit(&task(n, "")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_every_container_tells_its_length_and_its_size_in_pixels() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    let mut serve = Serve::start(&outside, None).await;
    let all: Vec<Vec<u8>> = CLIPS.iter().map(|(file, ..)| bytes_of(file)).collect();
    submit_all(&serve, &nginx, &provider, &all).await;
    serve.wait_settled(all.len()).await;
    let events = serve.events().await;
    for (n, (file, content_type, duration, width, height)) in CLIPS.iter().enumerate() {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(task["status"], "completed", "{file}: {task:#}");
        let is_its = |e: &&Value| e["type"] == "asset.archived" && e["data"]["taskUUID"] == uuid(n);
        let event = &events.iter().find(is_its).unwrap()["data"];
        for told in [&task["assets"][0], event] {
            assert_eq!(told["contentType"], *content_type, "{file}");
            assert_eq!(told["duration"].as_f64(), *duration, "{file}: {told:#}");
            assert_eq!(
                (told["width"].as_u64(), told["height"].as_u64()),
                (Some(*width), Some(*height)),
                "{file}"
            );
        }
    }
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_container_that_is_cut_at_its_source_is_kept_aside_as_it_came() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    let mut serve = Serve::start(&outside, None).await;
    let cut: Vec<Vec<u8>> = CLIPS
        .iter()
        .map(|(file, ..)| {
            let mut bytes = bytes_of(file);
            bytes.truncate(bytes.len() * 3 / 4 + 1);
            bytes
        })
        .collect();
    submit_all(&serve, &nginx, &provider, &cut).await;
    serve.wait_settled(cut.len()).await;
    for (n, (file, ..)) in CLIPS.iter().enumerate() {
        let task = serve.task(&uuid(n)).await;
        let asset = &task["assets"][0];
        assert_eq!(task["status"], "failed", "{file}: {task:#}");
        assert_eq!(
            (&asset["status"], &asset["reason"]),
            (&json!("failed"), &json!("bad_content")),
            "{file}"
        );
        let key = format!("{}/{}.unverified", uuid(n), uuid(100 + n));
        assert_eq!(asset["key"], key.as_str(), "{file}: told where it is");
        assert_eq!(
            std::fs::read(outside.objects().join(key)).unwrap(),
            cut[n],
            "{file}: as it came"
        );
        assert!(
            nginx.served_at(&format!("/plain/{n}.mp4")).len() >= 5,
            "{file}: not on the first look"
        );
    }
    assert_eq!(
        files(&outside.objects()).len(),
        cut.len(),
        "nothing under a final key"
    );
    serve.stop().await;
}
