//! What goes wrong with a store.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[tokio::test]
async fn the_probe_names_what_an_operator_must_look_at() {
    let store = Store::start().await;
    store.blobs.probe().await.unwrap();

    let elsewhere = Store::with(|options| options.bucket = "no-such-bucket".to_owned()).await;
    let answer = elsewhere.blobs.probe().await.unwrap_err();
    assert!(
        matches!(&answer, BlobError::Misconfigured { code } if code == "no_such_bucket"),
        "{answer:?}"
    );

    let stranger = Store::with(|options| {
        options.credentials = Access::Static {
            access_key: "dev".to_owned(),
            secret_key: "wrong-secret".into(),
        }
    });
    let stranger = stranger.await;
    let answer = stranger.blobs.probe().await.unwrap_err();
    assert!(matches!(answer, BlobError::Misconfigured { .. }), "{answer:?}");
    let answer = stranger.put("x.mp4", &film(1000)).await.unwrap_err();
    assert!(
        matches!(&answer, BlobError::Misconfigured { code } if code == "invalid_credentials"),
        "{answer:?}"
    );
    assert!(!format!("{answer:?} {answer}").contains("wrong-secret"));
}

#[tokio::test]
async fn no_store_at_all_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let blobs = S3Blobs::connect(options(format!("http://{address}").parse().unwrap())).await;
    for answer in [
        blobs.probe().await,
        blobs
            .put_stream(put("x.mp4", Some(1000)), whole(&film(1000)))
            .await,
    ] {
        let error = answer.unwrap_err();
        assert!(matches!(&error, BlobError::Unavailable { .. }), "{error:?}");
        assert_eq!(code(&error), "connect");
    }
}

/// Answers every request on every connection with the same bytes, after reading the head, or all that comes within it.
async fn canned(answer: impl Into<String>) -> (Url, JoinHandle<()>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let serve = async move {
        let mut open = Vec::new(); // closing at once could reset the connection before the answer is read
        while let Ok((mut stream, _)) = listener.accept().await {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            open.push(stream);
        }
    };
    (url, tokio::spawn(serve))
}

async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    let is_tls = |seen: &[u8]| seen.first() == Some(&0x16); // a greeting, which no blank line ends
    while !is_tls(&seen) && !seen.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await.unwrap() {
            0 => return,
            n => seen.extend_from_slice(&buffer[..n]),
        }
    }
}

fn document(status: &str, code: &str) -> String {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>"
    );
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// F8, F10, F11, over the wire, while the body is still on its way: the answer is not waited for until the body ends.
#[tokio::test]
async fn an_early_answer_ends_the_upload_at_once() {
    let cases = [
        ("412 Precondition Failed", "PreconditionFailed", "exists"),
        ("409 Conflict", "ConditionalRequestConflict", "conflict"),
        ("503 Slow Down", "SlowDown", "slow_down"),
        ("500 Internal Server Error", "InternalError", "http_500"),
        ("400 Bad Request", "ExpiredToken", "expired_token"),
        ("400 Bad Request", "BadDigest", "checksum_mismatch"),
        ("400 Bad Request", "EntityTooLarge", "entity_too_large"),
        ("404 Not Found", "NoSuchBucket", "no_such_bucket"),
        ("301 Moved Permanently", "PermanentRedirect", "wrong_region"),
        ("200 OK", "InternalError", "error_in_200"),
    ];
    for (status, word, expected) in cases {
        let (url, server) = canned(document(status, word)).await;
        let blobs = S3Blobs::connect(options(url)).await;
        let (sender, body) = mpsc::channel(4);
        sender.try_send(Ok(Bytes::from(film(1000)))).unwrap();

        let error = blobs
            .put_stream(put("x.mp4", Some(10 * MIB)), body)
            .await
            .unwrap_err();

        assert_eq!(code(&error), expected, "{status} {word}");
        sender.closed().await; // nobody listens any more, so the copier cannot complete what was given up
        server.abort();
    }
}

#[tokio::test]
async fn a_store_that_takes_nothing_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let mut blobs = S3Blobs::connect(options(url)).await;
    blobs.patience = Duration::from_millis(50);
    let (sender, body) = mpsc::channel(4);
    let feed = async { while sender.send(Ok(Bytes::from(vec![0; MIB]))).await.is_ok() {} };

    let (answer, ()) = tokio::join!(blobs.put_stream(put("x.mp4", Some(1000 * MIB)), body), feed);

    assert_eq!(code(&answer.unwrap_err()), "timeout");
}

/// The copier may take as long as it likes over the last chunk; only the store's silence counts.
#[tokio::test]
async fn a_withheld_chunk_is_not_a_stall() {
    let mut store = Store::start().await;
    store.blobs.patience = Duration::from_millis(50);
    let film = film(200_000);
    let (sender, body) = mpsc::channel(1);
    let feed = async {
        sender
            .send(Ok(Bytes::copy_from_slice(&film[..199_999])))
            .await
            .unwrap();
        let many_patiences = Duration::from_millis(400);
        let _ = tokio::time::timeout(many_patiences, std::future::pending::<()>()).await;
        sender
            .send(Ok(Bytes::copy_from_slice(&film[199_999..])))
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(store.blobs.put_stream(put("x.mp4", Some(film.len())), body), feed);
    answer.unwrap();
    assert_eq!(store.compare("x.mp4", &film).await, Compared::Same);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    let (url, _server) = canned("HTTP/1.1 200 OK\r\ncontent-le").await;
    let mut blobs = S3Blobs::connect(options(url)).await;
    blobs.patience = Duration::from_millis(200);
    let error = blobs
        .put_stream(put("x.mp4", Some(1000)), whole(&film(1000)))
        .await
        .unwrap_err();
    assert!(matches!(error, BlobError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_store_that_speaks_no_tls_is_named_so() {
    let (url, _server) = canned("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let https = url.as_str().replace("http://", "https://").parse().unwrap();
    let error = S3Blobs::connect(options(https)).await.probe().await.unwrap_err();
    assert_eq!(code(&error), "tls", "{error:?}");
}
