//! Results that are no videos: archived the same way, under their own extension, their type told by their bytes.

use crate::nginx::Nginx;
use crate::outside::{Outside, Serve, files};
use crate::stand_in::StandIn;
use crate::world::uuid;
use serde_json::{Value, json};

fn asked_for(n: usize, task_type: &str, format: Option<&str>) -> Value {
    let mut asked = json!({
        "taskType": task_type, "taskUUID": uuid(n), "model": "runware:101@1",
        "positivePrompt": "A lighthouse", "numberResults": 1 + n % 2,
    });
    if let Some(format) = format {
        asked["outputFormat"] = json!(format);
    }
    asked
}

/// As the bucket tells whoever fetches the object.
async fn type_in_bucket(outside: &Outside, key: &str) -> Option<String> {
    let bucket = &outside.s3.bucket;
    let request = bucket.client.head_object().bucket(&bucket.name).key(key);
    let found = request.send().await.unwrap();
    found.content_type().map(str::to_owned)
}

/// Task type, format, and the extension and type that come of it.
const ASKED: &[(&str, Option<&str>, &str, &str)] = &[
    ("imageInference", Some("JPG"), "jpg", "image/jpeg"),
    ("imageInference", Some("PNG"), "png", "image/png"),
    ("imageInference", Some("WEBP"), "webp", "image/webp"),
    ("imageInference", None, "jpg", "image/jpeg"),
    ("audioInference", Some("MP3"), "mp3", "audio/mpeg"),
    ("audioInference", Some("WAV"), "wav", "audio/wav"),
    ("audioInference", None, "mp3", "audio/mpeg"),
    ("upscale", Some("MP4"), "mp4", "video/mp4"),
    ("upscale", Some("WEBM"), "webm", "video/webm"),
];

#[tokio::test(flavor = "multi_thread")]
async fn g3_g4_images_sounds_and_edited_media_are_archived_like_videos() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for (n, (task_type, format, ..)) in ASKED.iter().enumerate() {
        serve.submit(&asked_for(n, task_type, *format)).await;
    }
    serve.wait_settled(ASKED.len()).await;
    let mut objects = 0;
    for (n, (task_type, format, extension, content_type)) in ASKED.iter().enumerate() {
        let what = format!("{task_type} {format:?}");
        let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
        assert_eq!(task["status"], "completed", "{what}: {task:#}");
        let assets = task["assets"].as_array().unwrap();
        assert_eq!(assets.len(), 1 + n % 2, "{what}");
        for result in &truth.results {
            let is_its = |a: &&Value| a["resultId"] == result.id.to_string();
            let asset = assets.iter().find(is_its).unwrap();
            let key = format!("{}/{}.{extension}", uuid(n), result.id);
            assert_eq!(
                (&asset["key"], &asset["contentType"]),
                (&json!(key), &json!(content_type)),
                "{what}"
            );
            assert_eq!(
                Some(asset["sha256"].as_str().unwrap()),
                result.sha256.as_deref(),
                "{what}"
            );
            assert!(outside.objects().join(&key).is_file(), "{what}");
            let served = type_in_bucket(&outside, &key).await;
            assert_eq!(served.as_deref(), Some(*content_type), "{what}: in the bucket");
            let is_video = content_type.starts_with("video/");
            for member in ["duration", "width", "height"] {
                assert_eq!(asset[member].is_number(), is_video, "{what}: {member}");
            }
            objects += 1;
        }
    }
    assert_eq!(files(&outside.objects()).len(), objects);
    let events = serve.events().await;
    let archived = events.iter().filter(|e| e["type"] == "asset.archived");
    let types = archived
        .map(|e| e["data"]["contentType"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(types.len(), objects);
    assert!(
        types.contains(&"image/webp") && types.contains(&"audio/wav"),
        "{types:?}"
    );
    serve.stop().await;
}

/// How a picture without a length is served, and the downloads it takes until its end is certain.
const WITHOUT_LENGTH: &[(&str, &str, u32)] = &[
    (
        "cut; the rest is given under its tag",
        "truncate-download=700;at-most=1",
        2,
    ),
    (
        "cut; nothing tells whose rest it is",
        "truncate-download=700;at-most=1;no-etag",
        3,
    ),
    (
        "cut; another reading shows it",
        "truncate-download=700;at-most=1;no-range",
        3,
    ),
    ("whole, and nothing follows", "no-length", 1),
    ("whole, and read twice alike", "no-length;no-range", 2),
];

/// No box and no element tells where a picture ends: its source is asked what follows.
#[tokio::test(flavor = "multi_thread")]
async fn g4_f13_a_picture_without_a_length_is_archived_whole() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for (n, (_, simulate, _)) in WITHOUT_LENGTH.iter().enumerate() {
        let mut asked = asked_for(n, "imageInference", Some("PNG"));
        asked["positivePrompt"] = json!(format!("A lighthouse [sim: {simulate}]"));
        asked["numberResults"] = json!(1);
        serve.submit(&asked).await;
    }
    serve.wait_settled(WITHOUT_LENGTH.len()).await;
    for (n, (what, _, downloads)) in WITHOUT_LENGTH.iter().enumerate() {
        let (task, truth) = (serve.task(&uuid(n)).await, outside.generation(&uuid(n)).unwrap());
        assert_eq!(task["status"], "completed", "{what}: {task:#}");
        let asset = &task["assets"][0];
        assert_eq!(
            asset["sha256"].as_str(),
            truth.results[0].sha256.as_deref(),
            "{what}"
        );
        assert_eq!(truth.results[0].downloads, *downloads, "{what}");
    }
    serve.stop().await;
}

/// What the link is called and what its server says decide nothing: the bytes do.
#[tokio::test(flavor = "multi_thread")]
async fn t10_the_type_is_told_by_the_bytes_not_by_the_name_or_the_server() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    let mut serve = Serve::start(&outside, None).await;
    let media = |name: &str| {
        std::fs::read(format!(
            "{}/tests/fixtures/media/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    };
    // File, the member its link comes in, its name at the source, type, extension of the key.
    let cases = [
        ("picture.png", "image", "no-extension", "image/png", "bin"),
        ("picture.webp", "image", "x.jpg", "image/webp", "jpg"),
        ("picture.jpg", "media", "x.PNG?sig=a.mp3", "image/jpeg", "png"),
        ("sound.m4a", "audio", "x.m4a", "audio/mp4", "m4a"),
        ("sound.wav", "audio", "x.php", "audio/wav", "bin"),
        ("plain.mkv", "media", "x.mkv", "video/x-matroska", "mkv"),
        ("plain.mov", "media", "x", "video/quicktime", "bin"),
        ("open.webm", "video", "x.webm", "video/webm", "webm"),
    ];
    for (n, (file, noun, name, ..)) in cases.iter().enumerate() {
        let path = name.split('?').next().unwrap();
        let dir = format!("{n}");
        std::fs::create_dir(nginx.file(&dir)).unwrap();
        nginx.put(&format!("{dir}/{path}"), &media(file));
        let link = nginx.url("plain", &format!("{dir}/{name}"));
        provider.result(
            &uuid(n),
            json!({ format!("{noun}UUID"): uuid(100 + n), format!("{noun}URL"): link }),
        );
        let mut asked = asked_for(n, "imageInference", None);
        asked["numberResults"] = json!(1);
        serve.submit(&asked).await;
    }
    // A page in place of a picture is nobody's picture.
    let page = cases.len();
    nginx.put("page.jpg", b"<html><body>Sorry</body></html>");
    let link = nginx.url("plain", "page.jpg");
    provider.result(
        &uuid(page),
        json!({ "imageUUID": uuid(100 + page), "imageURL": link }),
    );
    let mut asked = asked_for(page, "imageInference", Some("JPG"));
    asked["numberResults"] = json!(1);
    serve.submit(&asked).await;
    serve.wait_settled(page + 1).await;
    for (n, (file, _, _, content_type, extension)) in cases.iter().enumerate() {
        let task = serve.task(&uuid(n)).await;
        let asset = &task["assets"][0];
        let key = format!("{}/{}.{extension}", uuid(n), uuid(100 + n));
        assert_eq!(
            (&asset["key"], &asset["contentType"]),
            (&json!(key), &json!(content_type)),
            "{file}: {task:#}"
        );
        assert_eq!(
            std::fs::read(outside.objects().join(&key)).unwrap(),
            media(file),
            "{file}"
        );
        let served = type_in_bucket(&outside, &key).await;
        assert_eq!(served.as_deref(), Some(*content_type), "{file}: in the bucket");
    }
    let failed = serve.task(&uuid(page)).await;
    assert_eq!(
        (&failed["status"], &failed["assets"][0]["reason"]),
        (&json!("failed"), &json!("bad_content")),
        "{failed:#}"
    );
    assert_eq!(files(&outside.objects()).len(), cases.len());
    serve.stop().await;
}
