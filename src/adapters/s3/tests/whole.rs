//! Bodies whose length is known.

use super::*;
use crate::domain::ids::Digest;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_stored_file_compares_as_the_same_and_any_other_as_other() {
    for checksum in [Checksum::Sha256, Checksum::Crc64Nvme, Checksum::None] {
        let store = Store::with(|options| options.checksum = checksum).await;
        let film = film(300_000);
        assert_eq!(store.compare("a/b.mp4", &film).await, Compared::Absent);

        store.put("a/b.mp4", &film).await.unwrap();

        assert_eq!(
            store.compare("a/b.mp4", &film).await,
            Compared::Same,
            "{checksum:?}"
        );
        let mut same_length = film.clone();
        same_length[200_000] ^= 1;
        assert_eq!(
            store.compare("a/b.mp4", &same_length).await,
            Compared::Other,
            "{checksum:?}"
        );
        assert_eq!(
            store.compare("a/b.mp4", &film[1..]).await,
            Compared::Other,
            "{checksum:?}"
        );
    }
}

/// I5: where the store keeps a SHA-256 it is the one of our bytes, so HEAD alone verifies.
#[tokio::test]
async fn the_store_keeps_the_checksum_type_and_metadata_and_no_transfer_encoding() {
    let store = Store::start().await;
    let film = film(200_000);
    store.put("x.mp4", &film).await.unwrap();

    let found = store
        .blobs
        .head(&ObjectKey("x.mp4".to_owned()))
        .await
        .unwrap()
        .unwrap();

    let sum = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, Digest::of(&film).0);
    assert_eq!(found.checksum_sha256(), Some(sum.as_str()));
    assert_eq!(found.content_type(), Some("video/mp4"));
    assert_eq!(found.metadata().unwrap()["task-uuid"], "t-1");
    let encoding = found.content_encoding().unwrap_or("");
    assert!(!encoding.contains("aws-chunked"), "stored as {encoding}");
}

/// A record of the checksum can be missing (a crash of the server, another tool): the object is read.
#[tokio::test]
async fn an_object_without_a_stored_checksum_is_read_back() {
    let store = Store::start().await;
    let film = film(100_000);
    std::fs::write(store.dir.path().join(BUCKET).join("bare.mp4"), &film).unwrap();
    assert_eq!(store.compare("bare.mp4", &film).await, Compared::Same);
    let other: Vec<u8> = film.iter().rev().copied().collect();
    assert_eq!(store.compare("bare.mp4", &other).await, Compared::Other);
}

/// I6.
#[tokio::test]
async fn a_key_is_written_once() {
    for create_only in [CreateOnly::Native, CreateOnly::Head] {
        let store = Store::with(|options| options.create_only = create_only).await;
        let first = film(100_000);
        store.put("once.mp4", &first).await.unwrap();

        let again = store.put("once.mp4", &film(90_000)).await;

        assert!(
            matches!(again, Err(BlobError::Exists)),
            "{create_only:?}: {again:?}"
        );
        assert_eq!(store.compare("once.mp4", &first).await, Compared::Same);
    }
}

/// G4: whatever way a body ends before its length, nothing is visible.
#[tokio::test]
async fn an_abandoned_body_leaves_no_object() {
    let store = Store::start().await;
    let some = || Ok(Bytes::from(film(100_000)));
    let endings = [
        ("an error", chunks(vec![some(), Err(BodyAbandoned)])),
        ("an early end", chunks(vec![some()])),
        ("no byte at all", chunks(vec![])),
        (
            "an error in place of the last chunk",
            chunks(vec![some(), some(), Err(BodyAbandoned)]),
        ),
        (
            "more than was named",
            chunks(vec![some(), some(), Ok(Bytes::from(film(100_001)))]),
        ),
    ];
    for (ending, body) in endings {
        let answer = store.blobs.put_stream(put("no.mp4", Some(300_000)), body).await;
        assert!(
            matches!(answer, Err(BlobError::Abandoned)),
            "{ending}: {answer:?}"
        );
        assert!(!store.holds("no.mp4"), "{ending}");
    }
    store.put("no.mp4", &film(300_000)).await.unwrap();
}

/// The digest is committed between the last byte but some and the last: until then there must be no object.
#[tokio::test]
async fn the_object_appears_only_with_the_last_chunk() {
    let store = Store::start().await;
    let film = film(3 * MIB);
    let (sender, body) = mpsc::channel(1);
    let (start, last) = film.split_at(film.len() - 1);
    let feed = async {
        for chunk in start.chunks(64 * 1024) {
            sender.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
        }
        // The channel has room again: all but one chunk was taken. What follows gives the server time to err.
        drop(sender.reserve().await.unwrap());
        for _ in 0..20 {
            assert_eq!(store.compare("late.mp4", &film).await, Compared::Absent);
        }
        sender.send(Ok(Bytes::copy_from_slice(last))).await.unwrap();
    };
    let (answer, ()) = tokio::join!(
        store.blobs.put_stream(put("late.mp4", Some(film.len())), body),
        feed
    );
    answer.unwrap();
    assert_eq!(store.compare("late.mp4", &film).await, Compared::Same);
}

/// Counts itself while anyone holds it.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_large_body_is_never_held_whole() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 1024;
    let store = Store::start().await;
    let (sender, body) = mpsc::channel(4);
    let (alive, mut most) = (Arc::new(AtomicUsize::new(0)), 0);
    let feed = async {
        for n in 0..CHUNKS {
            most = most.max(alive.fetch_add(1, Ordering::SeqCst) + 1);
            let chunk = Counted(vec![n as u8; CHUNK], alive.clone());
            sender.send(Ok(Bytes::from_owner(chunk))).await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(
        store.blobs.put_stream(put("big.mp4", Some(CHUNK * CHUNKS)), body),
        feed
    );
    answer.unwrap();
    assert!(most <= 16, "{most} of {CHUNKS} chunks were held at once");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn keys_are_taken_as_they_are() {
    let store = Store::start().await;
    for key in [
        "a b/ü+ü.mp4",
        "100%/x=1&y=2.mp4",
        "q?r#s.mp4",
        "%41.mp4",
        "plus+plus.mp4",
        "~(it's)*.mp4",
    ] {
        let film = film(1000 + key.len());
        store
            .put(key, &film)
            .await
            .unwrap_or_else(|error| panic!("{key}: {error:?}"));
        assert_eq!(store.compare(key, &film).await, Compared::Same, "{key}");
        assert_eq!(read(&store.dir.path().join(BUCKET).join(key)), film, "{key}");
    }
}

#[tokio::test]
async fn requests_under_way_are_finished_when_the_store_stops() {
    let Store { server, blobs, dir } = Store::start().await;
    let film = film(200_000);
    let (sender, body) = mpsc::channel(1);
    let feed = async {
        sender
            .send(Ok(Bytes::copy_from_slice(&film[..100_000])))
            .await
            .unwrap();
        while leftovers(dir.path()).is_empty() {
            tokio::task::yield_now().await; // until the request has become a file
        }
        let rest = async {
            sender
                .send(Ok(Bytes::copy_from_slice(&film[100_000..])))
                .await
                .unwrap()
        };
        tokio::join!(server.stop(), rest);
    };
    let (answer, ()) = tokio::join!(blobs.put_stream(put("kept.mp4", Some(film.len())), body), feed);
    answer.unwrap();
    assert_eq!(read(&dir.path().join(BUCKET).join("kept.mp4")), film);
}

/// F26: a connection lives on the threads that opened it, and copies run on threads that give way to all others.
#[tokio::test]
async fn f26_what_is_apart_sends_over_connections_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let blobs = S3Blobs::connect(options(url.parse().unwrap())).await;
    let copies = blobs.apart();
    let ask = async {
        for asks in [&blobs, &blobs, &copies, &copies] {
            asks.probe().await.unwrap();
        }
    };
    let mut connections = 0;
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections += 1;
            tokio::spawn(says_yes(stream));
        }
    };
    tokio::select! {
        () = ask => {}
        () = serve => {}
    }
    assert_eq!(connections, 2, "one for each, used twice");
}

/// 200 to every request of a connection.
async fn says_yes(mut stream: TcpStream) {
    let mut asked = vec![];
    while let Ok(byte) = stream.read_u8().await {
        asked.push(byte);
        if asked.ends_with(b"\r\n\r\n") {
            asked.clear();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    }
}
