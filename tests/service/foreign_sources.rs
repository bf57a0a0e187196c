//! F13, G4: sources that are not ours. nginx serves the files in every way a CDN might, and is cut off in the middle.

use crate::cutter::Cutter;
use crate::nginx::{Nginx, put};
use crate::outside::{Outside, Serve, files, until};
use crate::stand_in::StandIn;
use crate::world::{task, uuid};
use catchment::domain::container::{ContainerCheck, Expected, Finding};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const PORTRAIT: &[u8] = include_bytes!("../../assets/videos/portrait_moov_first.mp4");

/// A real clip grown to `size` by a box that players skip; `mark` makes its bytes its own.
fn grown(size: usize, mark: u8) -> Vec<u8> {
    let mut bytes = PORTRAIT.to_vec();
    let padding = size - bytes.len();
    bytes.extend((padding as u32).to_be_bytes());
    bytes.extend(b"free");
    bytes.extend((8..padding).map(|n| (n as u8).wrapping_mul(31) ^ mark ^ (n >> 8) as u8));
    bytes
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/media/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

async fn outside_of(provider: &StandIn) -> Outside {
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    outside.set("CATCHMENT_ARCHIVE__PART_SIZE", "5MiB");
    outside
}

fn assert_stored(outside: &Outside, task: &Value, bytes: &[u8], what: &str) {
    assert_eq!(task["status"], "completed", "{what}: {task:#}");
    let asset = &task["assets"][0];
    let object = std::fs::read(outside.objects().join(asset["key"].as_str().unwrap())).unwrap();
    assert!(object == bytes, "{what}: other bytes than the source's");
    assert_eq!(asset["sha256"], hex_sha256(bytes).as_str(), "{what}");
    assert_eq!(asset["size"], bytes.len(), "{what}");
    let shown = ["contentType", "duration", "width", "height"].map(|name| asset[name].clone());
    assert_eq!(
        shown,
        [json!("video/mp4"), json!(2.0), json!(216), json!(384)],
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_files_arrive_whole_however_nginx_serves_them() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let outside = outside_of(&provider).await;
    // Without a length it goes up in parts: three of them.
    let large = grown(12 << 20, 1);
    nginx.put("large.mp4", &large);
    nginx.put("small.mp4", PORTRAIT);
    let ways = [
        ("plain", true, true),
        ("one-request", true, true),
        ("no-range", true, true),
        ("no-tag", true, false),
        ("weak-tag", true, true),
        ("chunked", false, false),
        ("until-close", false, false),
    ];
    let cases: Vec<_> = ways
        .iter()
        .flat_map(|way| [(way, "large.mp4", &large[..]), (way, "small.mp4", PORTRAIT)])
        .collect();
    let mut serve = Serve::start(&outside, None).await;
    for (n, ((way, ..), name, _)) in cases.iter().enumerate() {
        let link = json!({ "videoUUID": uuid(100 + n), "videoURL": nginx.url(way, name) });
        provider.result(&uuid(n), link);
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(cases.len()).await;
    for (n, ((way, has_length, has_tag), name, bytes)) in cases.iter().enumerate() {
        assert_stored(&outside, &serve.task(&uuid(n)).await, bytes, way);
        let served = nginx.served_at(&format!("/{way}/{name}"));
        // Without a length it is asked what follows; a filter of nginx does no ranges.
        let downloads = if *has_length { 1 } else { 2 };
        assert_eq!(served.len(), downloads, "no more than it takes: {served:?}");
        // nginx did what this way is for.
        assert_eq!(served[0].content_length != "-", *has_length, "{served:?}");
        assert_eq!(
            served[0].etag != "-" && !served[0].etag.is_empty(),
            *has_tag,
            "{served:?}"
        );
        assert_eq!((served[0].status, served[0].range.as_str()), (200, "-"));
    }
    assert_eq!(
        files(&outside.objects()).len(),
        cases.len(),
        "and nothing beside them"
    );
    let reused = nginx.served().iter().filter(|served| served.nth > 1).count();
    assert!(reused > 0, "connections are kept where nginx keeps them");
    serve.stop().await;
}

/// The longest beginning that looks like a whole file.
fn looks_whole(bytes: &[u8]) -> usize {
    let mut check = ContainerCheck::new(Expected::Video);
    let mut last = 0;
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(check.clone().finish(), Finding::Complete(_)) {
            last = n;
        }
        check.push(std::slice::from_ref(byte));
    }
    last
}

/// Cut between two fragments, by a server whose answers end when it dies: nothing in what came says that it is half.
#[tokio::test(flavor = "multi_thread")]
async fn g4_f13_a_file_without_length_or_end_is_not_believed_half() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let outside = outside_of(&provider).await;
    let mut serve = Serve::start(&outside, None).await;
    let clips = ["fragmented.mp4", "dash.mp4", "open.webm"];
    let mut cutters = vec![];
    for (n, name) in clips.iter().enumerate() {
        let bytes = fixture(name);
        nginx.put(name, &bytes);
        let half = looks_whole(&bytes);
        assert!(half > 0 && half < bytes.len(), "{name}: {half}");
        let cutter = Cutter::of_bodies_before(nginx.port, 1, half).await;
        let url = format!("http://127.0.0.1:{}/until-close/{name}", cutter.port);
        provider.result(&uuid(n), json!({ "videoUUID": uuid(100 + n), "videoURL": url }));
        cutters.push(cutter);
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(clips.len()).await;
    for (n, name) in clips.iter().enumerate() {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(task["status"], "completed", "{name}: {task:#}");
        assert_eq!(
            task["assets"][0]["sha256"],
            hex_sha256(&fixture(name)).as_str(),
            "{name}"
        );
        assert!(
            nginx.served_at(&format!("/until-close/{name}")).len() >= 3,
            "{name}"
        );
    }
    serve.stop().await;
}

struct Cut {
    way: &'static str,
    /// Whether the file is another one after the cut.
    changes: bool,
    /// The status and whether a range was asked for, download by download.
    expected: &'static [(u16, bool)],
}

const CUTS: &[Cut] = &[
    // The same strong tag: the rest is asked for and given.
    Cut {
        way: "plain",
        changes: false,
        expected: &[(200, false), (206, true)],
    },
    // Another file by now: nginx sends it whole, and it is read from its beginning.
    Cut {
        way: "plain",
        changes: true,
        expected: &[(200, false), (200, true), (200, false)],
    },
    // A server that does not do ranges sends the whole; what is in the bucket's mouth cannot be taken back.
    Cut {
        way: "no-range",
        changes: false,
        expected: &[(200, false), (200, true), (200, false)],
    },
    // Nothing says that the rest would be of the same file.
    Cut {
        way: "weak-tag",
        changes: false,
        expected: &[(200, false), (200, false)],
    },
    Cut {
        way: "weak-tag",
        changes: true,
        expected: &[(200, false), (200, false)],
    },
    Cut {
        way: "no-tag",
        changes: false,
        expected: &[(200, false), (200, false)],
    },
    Cut {
        way: "no-tag",
        changes: true,
        expected: &[(200, false), (200, false)],
    },
    // Without a length there is no telling what the rest is; and at the end it is asked whether it is the end.
    Cut {
        way: "chunked",
        changes: false,
        expected: &[(200, false), (200, false), (200, true)],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn f13_a_download_cut_by_the_network_goes_on_only_where_the_tag_proves_the_same_file() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let outside = outside_of(&provider).await;
    let mut serve = Serve::start(&outside, None).await;
    let mut cutters = vec![];
    for (n, cut) in CUTS.iter().enumerate() {
        let name = format!("cut-{n}.mp4");
        nginx.put(&name, &grown(3_000_000, 2));
        let (path, changes) = (nginx.file(&name), cut.changes);
        let at_cut = move || {
            if changes {
                put(&path, &grown(3_500_000, 3));
            }
        };
        let cutter = Cutter::before(nginx.port, 1, 1_000_000, at_cut).await;
        let url = format!("http://127.0.0.1:{}/{}/{name}", cutter.port, cut.way);
        provider.result(&uuid(n), json!({ "videoUUID": uuid(100 + n), "videoURL": url }));
        cutters.push(cutter);
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(CUTS.len()).await;
    for (n, cut) in CUTS.iter().enumerate() {
        let what = format!("{} {}", cut.way, cut.changes);
        let whole = if cut.changes {
            grown(3_500_000, 3)
        } else {
            grown(3_000_000, 2)
        };
        assert_stored(&outside, &serve.task(&uuid(n)).await, &whole, &what);
        let path = format!("/{}/cut-{n}.mp4", cut.way);
        // A request is in the log when its connection has ended.
        until(&what, || nginx.served_at(&path).len() >= cut.expected.len()).await;
        let served = nginx.served_at(&path);
        let asked: Vec<_> = served.iter().map(|s| (s.status, s.range != "-")).collect();
        assert_eq!(asked, cut.expected, "{what}: {served:#?}");
        for resumed in served.iter().filter(|s| s.range != "-") {
            assert_eq!(
                resumed.if_range, served[0].etag,
                "{what}: under the tag of what was read"
            );
            let from: usize = resumed.range["bytes=".len()..]
                .trim_end_matches('-')
                .parse()
                .unwrap();
            assert!(
                (900_000..1_000_000).contains(&from) || from == whole.len(),
                "{what}: from where it broke, or from its end: {from}"
            );
        }
    }
    assert_eq!(
        files(&outside.objects()).len(),
        CUTS.len(),
        "no part of any try is visible"
    );
    serve.stop().await;
}
