//! T9, T10, I15 through the whole service: links and endpoints that lead where they must not, and sources that never end.

use crate::nginx::Nginx;
use crate::outside::{Outside, Serve, files};
use crate::stand_in::StandIn;
use crate::world::{task, uuid};
use serde_json::{Value, json};
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Stands for whatever listens inside; `{port}` below. The service may connect to 127.0.0.1, not to 127.0.0.2.
fn inside() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn assert_untouched(inside: &TcpListener) {
    let touched = inside.accept().map(|(_, peer)| peer).map_err(|e| e.kind());
    assert_eq!(
        touched,
        Err(std::io::ErrorKind::WouldBlock),
        "I15: somebody connected"
    );
}

/// Links and endpoint URLs, and what each is refused for.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http://127.0.0.2:{port}/x.mp4", "forbidden_address"),
    ("http://127.2:{port}/x.mp4", "forbidden_address"),
    ("http://2130706434:{port}/x.mp4", "forbidden_address"),
    ("http://0x7f000002:{port}/x.mp4", "forbidden_address"),
    ("http://0177.0.0.2:{port}/x.mp4", "forbidden_address"),
    ("http://127。0。0。2:{port}/x.mp4", "forbidden_address"),
    ("http://[::ffff:127.0.0.2]:{port}/x.mp4", "forbidden_address"),
    ("http://[::127.0.0.2]:{port}/x.mp4", "forbidden_address"),
    ("http://[64:ff9b::7f00:2]:{port}/x.mp4", "forbidden_address"),
    ("http://[2002:7f00:2::1]:{port}/x.mp4", "forbidden_address"),
    ("https://169.254.169.254/latest/meta-data/", "forbidden_address"),
    ("http://2852039166/latest/meta-data/", "forbidden_address"),
    ("https://[fd00:ec2::254]/latest/meta-data/", "forbidden_address"),
    ("https://10.0.0.1/x.mp4", "forbidden_address"),
    ("https://100.64.0.1/x.mp4", "forbidden_address"),
    ("http://user:secret@127.0.0.1:{port}/x.mp4", "has_userinfo"),
    ("http://127.0.0.1@127.0.0.2:{port}/x.mp4", "has_userinfo"),
    ("http://127.0.0.1:{port}/x.mp4#y", "has_fragment"),
    ("ftp://127.0.0.1:{port}/x.mp4", "forbidden_scheme"),
    ("gopher://127.0.0.1:{port}/x.mp4", "forbidden_scheme"),
    ("https://8.8.8.8:{port}/x.mp4", "forbidden_port"),
    ("http://8.8.8.8/x.mp4", "forbidden_scheme"),
];

fn hosts() -> String {
    let listed = [
        "127.0.0.1",
        "127.0.0.2",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "8.8.8.8",
        "[::ffff:127.0.0.2]",
        "[::127.0.0.2]",
        "[64:ff9b::7f00:2]",
        "[2002:7f00:2::1]",
        "[fd00:ec2::254]",
    ];
    listed.join(",")
}

fn postponed_for(task: &Value, why: &str) -> bool {
    let lines = task["timeline"].as_array().unwrap().iter();
    lines
        .filter(|l| l["kind"] == "copy_postponed")
        .any(|l| l["detail"]["why"] == why)
}

#[tokio::test(flavor = "multi_thread")]
async fn t9_neither_a_link_nor_an_endpoint_leads_inside() {
    let (inside, provider) = (inside(), StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    outside.set("CATCHMENT_NET__ALLOW_PRIVATE", "127.0.0.1/32");
    // Even an operator who lists the very hosts opens no door.
    outside.set("CATCHMENT_ARCHIVE__ALLOWED_HOSTS", hosts());
    let port = inside.local_addr().unwrap().port().to_string();
    let mut serve = Serve::start(&outside, None).await;
    for (n, (url, code)) in FORBIDDEN.iter().enumerate() {
        let url = url.replace("{port}", &port);
        provider.result(&uuid(n), json!({ "videoUUID": uuid(100 + n), "videoURL": url }));
        serve.submit(&task(n, "")).await;
        let refused = serve
            .post("/v1/endpoints", &json!({ "url": url }), None)
            .await
            .unwrap();
        assert_eq!(refused.status(), 422, "{url}");
        let problem: Value = refused.json().await.unwrap();
        let told = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(told.contains(code), "{url}: {problem:#}");
    }
    // A host that is not listed is not even looked up.
    let unlisted = FORBIDDEN.len();
    let link =
        json!({ "videoUUID": uuid(100 + unlisted), "videoURL": "https://metadata.google.internal/x.mp4" });
    provider.result(&uuid(unlisted), link);
    serve.submit(&task(unlisted, "")).await;
    for n in 0..=unlisted {
        let code = FORBIDDEN.get(n).map_or("forbidden_host", |(_, code)| code);
        let refused = |t: &Value| postponed_for(t, code);
        let task = serve.wait_task(&uuid(n), code, refused).await;
        assert_ne!(task["assets"][0]["status"], "archived", "{task:#}");
    }
    assert_untouched(&inside);
    assert!(files(&outside.objects()).is_empty());
    let log = outside.log();
    assert!(
        !log.contains("meta-data") && !log.contains("secret@"),
        "G12: no link in the log"
    );
    serve.stop().await;
}

/// Sends the beginning of a movie and then bytes for as long as anyone reads.
async fn endless() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/endless.mp4", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\nconnection: close\r\n\r\n";
                let mut body = head.as_bytes().to_vec();
                body.extend(b"\0\0\0\x14ftypisom\0\0\x02\0isom\0\0\0\x01mdat\0\0\x10\0\0\0\0\0");
                while stream.write_all(&body).await.is_ok() {
                    body = vec![0x55; 64 * 1024];
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_endless_oversized_compressed_and_moved_sources_are_never_archived() {
    let (nginx, provider) = (Nginx::start().await, StandIn::start().await);
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_RUNWARE__BASE_URL", provider.url.clone());
    outside.set("CATCHMENT_ARCHIVE__PART_SIZE", "5MiB");
    outside.set("CATCHMENT_ARCHIVE__MAX_OBJECT_SIZE", "12MiB");
    let clip = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/assets/videos/portrait_moov_first.mp4"
    ))
    .unwrap();
    nginx.put("clip.mp4", &clip);
    let mut large = clip.clone();
    large.resize(13 << 20, 0);
    nginx.put("large.mp4", &large);
    let links = [
        endless().await,
        nginx.url("plain", "large.mp4"),
        nginx.url("chunked", "large.mp4"),
        nginx.url("compressed", "clip.mp4"),
        nginx.url("moved", "clip.mp4"),
    ];
    let mut serve = Serve::start(&outside, None).await;
    for (n, link) in links.iter().enumerate() {
        provider.result(&uuid(n), json!({ "videoUUID": uuid(100 + n), "videoURL": link }));
        serve.submit(&task(n, "")).await;
    }
    for (n, link) in links.iter().enumerate().take(3) {
        let task = serve.wait_status(&uuid(n), "failed").await;
        let asset = &task["assets"][0];
        assert_eq!(
            (&asset["status"], &asset["reason"]),
            (&json!("failed"), &json!("too_large")),
            "{}",
            link
        );
    }
    // Neither is a file, and either may be one later: tried again, never believed.
    for (n, why) in [(3, "source_http_200"), (4, "source_http_302")] {
        let refused = |t: &Value| postponed_for(t, why);
        let task = serve.wait_task(&uuid(n), why, refused).await;
        assert_ne!(task["assets"][0]["status"], "archived", "{task:#}");
    }
    assert!(
        nginx.served_at("/plain/clip.mp4").is_empty(),
        "a redirect is not followed"
    );
    assert!(files(&outside.objects()).is_empty());
    // An upload in parts that was given up leaves no parts behind.
    let left = std::fs::read_dir(outside.dir.path().join("s3")).unwrap();
    let left: Vec<_> = left.flatten().map(|e| e.file_name()).collect();
    let parts = left
        .iter()
        .filter(|name| name.to_string_lossy().starts_with(".upload"));
    assert_eq!(parts.count(), 0, "{left:?}");
    serve.stop().await;
}
