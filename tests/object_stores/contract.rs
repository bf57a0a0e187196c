//! I5, I6, I17, F9, F10, F22: what the copier counts on.

use super::outside::fault_store::{Act, Asked, FaultStore, error};
use super::*;
use catchment::ports::blobs::BodyAbandoned;
use catchment::ports::holdings::Holdings as _;
use tokio::sync::{Barrier, Notify};

#[tokio::test(flavor = "multi_thread")]
async fn i5_keys_and_metadata_are_kept_as_they_are() {
    // None with `..`: no setting and no submission lets one through, and HTTP libraries may tidy such a path up.
    let keys = [
        "plain.mp4",
        "a b/ü+ü.mp4",
        "100%/x=1&y=2.mp4",
        "q?r#s.mp4",
        "%41.mp4",
        "plus+plus/日本語.mp4",
        "~(it's)*!@$,;:.mp4",
    ];
    // Beyond one part: there each request names the key anew.
    let in_parts = ["parts/a b+ü%41.mp4", "parts/=&#?日本語.mp4"];
    for kind in BOTH {
        let subject = Subject::on(kind).await;
        for (n, key) in keys.into_iter().enumerate() {
            let film = film(n as u32, 100_000);
            subject
                .put(key, &film)
                .await
                .unwrap_or_else(|e| panic!("{kind:?} {key}: {e:?}"));
            assert_kept(&subject, kind, key, &film).await;
        }
        for (n, key) in in_parts.into_iter().enumerate() {
            let film = film(100 + n as u32, 6 * MIB);
            if kind == Kind::Seaweed {
                begin_upload(&subject.store.bucket, key).await;
            }
            let put = described(key, None);
            subject.blobs.put_stream(put, whole(&film)).await.unwrap();
            let found = subject.blobs.find(&ObjectKey(key.to_owned())).await.unwrap();
            let size = found.map(|f| f.size_bytes);
            assert_eq!(size, Some(6 * MIB as u64), "{kind:?} {key}");
            assert_kept(&subject, kind, key, &film).await;
        }
        assert_eq!(
            subject.store.count().await,
            keys.len() + in_parts.len(),
            "{kind:?}: no two fell together"
        );
        if kind == Kind::Seaweed {
            let left = subject.store.bucket.uploads().await;
            assert_eq!(left, 0, "I17: what was begun is found by its key and given up");
        }

        let mut put = described("labelled.mp4", Some(1000));
        let odd = "100%25%20%22sure%22%20%C3%BC%E6%97%A5";
        put.metadata = vec![
            ("model".to_owned(), "klingai:avatar@2.0-pro".to_owned()),
            ("label-who.is_it-1".to_owned(), odd.to_owned()),
        ];
        subject
            .blobs
            .put_stream(put, whole(&film(1, 1000)))
            .await
            .unwrap();
        let bucket = &subject.store.bucket;
        let request = bucket
            .client
            .head_object()
            .bucket(&bucket.name)
            .key("labelled.mp4");
        let found = request.send().await.unwrap();
        let metadata = found.metadata().unwrap();
        assert_eq!(metadata["label-who.is_it-1"], odd, "{kind:?}");
        assert_eq!(metadata["model"], "klingai:avatar@2.0-pro", "{kind:?}");
        assert_eq!(found.content_type(), Some("video/mp4"), "{kind:?}");
    }
}

/// By our own look, and as somebody else reads it.
async fn assert_kept(subject: &Subject, kind: Kind, key: &str, film: &[u8]) {
    assert_eq!(subject.compare(key, film).await, Compared::Same, "{kind:?} {key}");
    let seen = subject.store.get(key).await;
    assert!(
        seen.as_deref() == Some(film),
        "{kind:?} {key}: read by somebody else"
    );
}

/// As a killed process leaves it.
async fn begin_upload(bucket: &Bucket, key: &str) {
    let request = bucket
        .client
        .create_multipart_upload()
        .bucket(&bucket.name)
        .key(key);
    request.send().await.unwrap();
}

/// Whatever the store keeps of a checksum, a look tells the same from any other.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_stored_file_compares_as_the_same_and_any_other_as_other() {
    for kind in BOTH {
        for checksum in [Checksum::Sha256, Checksum::Crc64Nvme, Checksum::None] {
            let subject = Subject::with(kind, |options| options.checksum = checksum).await;
            let film = film(1, 300_000);
            assert_eq!(
                subject.compare("a/b.mp4", &film).await,
                Compared::Absent,
                "{kind:?} {checksum:?}"
            );
            subject.put("a/b.mp4", &film).await.unwrap();
            assert_eq!(
                subject.compare("a/b.mp4", &film).await,
                Compared::Same,
                "{kind:?} {checksum:?}"
            );
            let mut other = film.clone();
            other[200_000] ^= 1;
            assert_eq!(
                subject.compare("a/b.mp4", &other).await,
                Compared::Other,
                "{kind:?} {checksum:?}"
            );
            assert_eq!(
                subject.compare("a/b.mp4", &film[1..]).await,
                Compared::Other,
                "{kind:?} {checksum:?}"
            );
        }
    }
}

/// Two copiers with other bytes, both one byte before their end; then both go.
#[tokio::test(flavor = "multi_thread")]
async fn i6_f22_of_two_racing_uploads_one_wins_and_its_bytes_stay() {
    let subject = Subject::on(Kind::Seaweed).await;
    for round in 0..6 {
        let key = format!("race-{round}.mp4");
        let films = [film(2 * round, 3 * MIB), film(2 * round + 1, 3 * MIB)];
        // Half of the rounds without a length: what fits into one part goes up as one request, too.
        let size = (round % 2 == 0).then_some(3 * MIB);
        let start = &Barrier::new(2);
        let upload = |n: usize| {
            let go = async move {
                start.wait().await;
            };
            hesitant(&subject.blobs, described(&key, size), &films[n], go)
        };
        let (a, b) = tokio::join!(upload(0), upload(1));
        assert_one_won(&subject, &key, &films, [a, b]).await;
    }
}

/// The same beyond one part, where the request that joins the parts creates: both have all parts but their last in the
/// store when the first joins its own. SeaweedFS looks at that request's condition before it writes, so of two in the
/// same instant both may win there: they come one right after the other.
#[tokio::test(flavor = "multi_thread")]
async fn i6_f22_of_two_uploads_in_parts_the_first_that_is_joined_wins_and_its_bytes_stay() {
    let subject = Subject::on(Kind::Seaweed).await;
    let fault = FaultStore::before(&subject.store.bucket).await;
    fault.script(hides_uploads);
    let blobs = &S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
    for round in 0..4 {
        let key = format!("joined-{round}.mp4");
        let films = [film(2 * round, 11 * MIB), film(2 * round + 1, 11 * MIB)];
        let first = round as usize % 2;
        let (both, joined) = (&Barrier::new(2), &Notify::new());
        let upload = |n: usize| {
            let (put, film) = (described(&key, None), &films[n]);
            async move {
                let go = async {
                    both.wait().await;
                    if n != first {
                        joined.notified().await;
                    }
                };
                let ended = hesitant(blobs, put, film, go).await;
                if n == first {
                    joined.notify_one();
                }
                ended
            }
        };
        let (a, b) = tokio::join!(upload(0), upload(1));
        let winner = assert_one_won(&subject, &key, &films, [a, b]).await;
        assert_eq!(winner, first, "{key}");
        let asked = fault.asked();
        let of_this = |method: &str, what: &str| {
            let its = asked.iter().filter(|a| a.path.contains(&key));
            its.filter(|a| a.method == method && a.path.contains(what))
                .count()
        };
        assert_eq!(of_this("PUT", "partNumber=3"), 2, "{key}: three parts each");
        assert_eq!(of_this("POST", "uploadId="), 2, "{key}: both were to be joined");
    }
    assert_eq!(
        subject.store.bucket.uploads().await,
        0,
        "the loser gives its parts up"
    );
}

/// A copier that sees another's upload under its key clears it away; from one that may not list them it is hidden.
fn hides_uploads(asked: &Asked) -> Act {
    match asked.method == "GET" && asked.path.contains("uploads") {
        true => Act::Answer(error("403 Forbidden", "AccessDenied")),
        false => Act::Forward,
    }
}

/// Uploads a film, and its last byte only when it may go.
async fn hesitant(
    blobs: &S3Blobs,
    put: Put,
    film: &[u8],
    go: impl Future<Output = ()>,
) -> Result<(), BlobError> {
    let (sender, body) = mpsc::channel(1);
    let feed = async {
        let (last, most) = film.split_last().unwrap();
        for chunk in most.chunks(256 * 1024) {
            let _ = sender.send(Ok(Bytes::copy_from_slice(chunk))).await;
        }
        go.await;
        let _ = sender.send(Ok(Bytes::copy_from_slice(&[*last]))).await;
        drop(sender);
    };
    tokio::join!(blobs.put_stream(put, body), feed).0
}

/// One of the two is stored and stays, the other was told. Answers which.
async fn assert_one_won(
    subject: &Subject,
    key: &str,
    films: &[Vec<u8>; 2],
    ended: [Result<(), BlobError>; 2],
) -> usize {
    let winner = match &ended {
        [Ok(()), Err(lost)] | [Err(lost), Ok(())] => {
            assert!(["exists", "conflict"].contains(&code(lost)), "{key}: {lost:?}");
            usize::from(ended[0].is_err())
        }
        _ => panic!("{key}: {ended:?}"),
    };
    let loser = 1 - winner;
    assert_eq!(
        subject.compare(key, &films[winner]).await,
        Compared::Same,
        "{key}"
    );
    assert_eq!(
        subject.compare(key, &films[loser]).await,
        Compared::Other,
        "{key}"
    );
    let late = subject.put(key, &films[loser]).await.unwrap_err();
    assert_eq!(code(&late), "exists", "{key}");
    let kept = subject.store.get(key).await;
    assert!(kept.as_ref() == Some(&films[winner]), "{key}: as won");
    winner
}

/// In parts, beyond one part: completing is what creates.
#[tokio::test(flavor = "multi_thread")]
async fn i6_i17_parts_never_replace_and_an_abandoned_upload_leaves_nothing() {
    for kind in BOTH {
        let subject = Subject::on(kind).await;
        let long = film(1, 12 * MIB + 7);
        let unsized_put = |key: &str| described(key, None);
        subject
            .blobs
            .put_stream(unsized_put("long.mp4"), whole(&long))
            .await
            .unwrap();
        assert_eq!(
            subject.compare("long.mp4", &long).await,
            Compared::Same,
            "{kind:?}"
        );

        let other = film(2, 11 * MIB);
        let taken = subject
            .blobs
            .put_stream(unsized_put("long.mp4"), whole(&other))
            .await;
        assert_eq!(code(&taken.unwrap_err()), "exists", "{kind:?}");
        assert_eq!(
            subject.compare("long.mp4", &long).await,
            Compared::Same,
            "{kind:?}"
        );

        let (sender, body) = mpsc::channel(1);
        let feed = async {
            for _ in 0..7 {
                sender.send(Ok(Bytes::from(film(3, MIB)))).await.unwrap();
            }
            sender.send(Err(BodyAbandoned)).await.unwrap();
        };
        let (ended, ()) = tokio::join!(subject.blobs.put_stream(unsized_put("half.mp4"), body), feed);
        assert_eq!(code(&ended.unwrap_err()), "abandoned", "{kind:?}");
        assert_eq!(subject.store.get("half.mp4").await, None, "{kind:?}");
        if kind == Kind::Seaweed {
            assert_eq!(
                subject.store.bucket.uploads().await,
                0,
                "parts are given up with their upload"
            );
        }
    }
}

/// F10: bytes that changed on the way are refused by the store itself, whole and in parts.
#[tokio::test(flavor = "multi_thread")]
async fn f10_an_upload_spoiled_on_the_way_is_refused_and_leaves_nothing() {
    for checksum in [Checksum::Sha256, Checksum::Crc64Nvme] {
        for (what, size, len) in [
            ("whole", true, 300_000),
            ("small", false, 300_000),
            ("parts", false, 11 * MIB),
        ] {
            let kind = Kind::Seaweed;
            let subject = Subject::on(kind).await;
            let fault = FaultStore::before(&subject.store.bucket).await;
            let mut options = options(&subject.store.bucket, &fault.url());
            options.checksum = checksum;
            let blobs = S3Blobs::connect(options).await;
            let film = film(1, len);
            fault.spoil_uploads(1, || Act::Tamper);

            let put = || described("film.mp4", size.then_some(len));
            let refused = blobs.put_stream(put(), whole(&film)).await.unwrap_err();

            // SeaweedFS says 500 of a checksum that follows the body; either way it is sent again.
            let said = ["checksum_mismatch", "http_500"].contains(&code(&refused));
            assert!(said, "{checksum:?} {what}: {refused:?}");
            assert!(matches!(refused, BlobError::Unavailable { .. }), "sent again");
            assert_eq!(
                compare(&blobs, "film.mp4", &film).await,
                Compared::Absent,
                "{checksum:?} {what}"
            );
            blobs.put_stream(put(), whole(&film)).await.unwrap();
            assert_eq!(
                compare(&blobs, "film.mp4", &film).await,
                Compared::Same,
                "{checksum:?} {what}"
            );
        }
    }
}

/// The digest goes along in the trailer and the store holds the bytes against it: around the ends of the wire's own
/// chunks, and when it is not theirs.
#[tokio::test(flavor = "multi_thread")]
async fn f10_i5_a_told_digest_is_what_the_store_checks_and_keeps() {
    for kind in BOTH {
        let subject = Subject::on(kind).await;
        for size in [1, 65_535, 65_536, 65_537, 200_000] {
            let (key, bytes) = (format!("{size}.mp4"), film(1, size));
            subject.put(&key, &bytes).await.unwrap();
            assert_eq!(
                subject.compare(&key, &bytes).await,
                Compared::Same,
                "{kind:?} {size}"
            );
            let kept = subject.store.get(&key).await.unwrap();
            assert!(kept == bytes, "{kind:?}: {size} bytes came as {}", kept.len());
        }
        let spoiled = film(2, 200_000);
        let refused = put_as(&subject.blobs, "x.mp4", &spoiled, Digest::of(&film(3, 200_000))).await;
        assert_eq!(code(&refused.unwrap_err()), "checksum_mismatch", "{kind:?}");
    }
}

/// A store that checks nothing is read back, and the difference seen.
#[tokio::test(flavor = "multi_thread")]
async fn f10_without_checksums_a_spoiled_upload_is_seen_when_it_is_read_back() {
    for kind in BOTH {
        let subject = Subject::on(kind).await;
        let fault = FaultStore::before(&subject.store.bucket).await;
        let mut options = options(&subject.store.bucket, &fault.url());
        options.checksum = Checksum::None;
        let blobs = S3Blobs::connect(options).await;
        fault.spoil_uploads(1, || Act::Tamper);
        let film = film(1, 300_000);
        put(&blobs, "film.mp4", &film).await.unwrap();
        assert_eq!(
            compare(&blobs, "film.mp4", &film).await,
            Compared::Other,
            "{kind:?}"
        );
    }
}

/// F9: the store did it and we did not hear; and the store did not, though it was nearly through.
#[tokio::test(flavor = "multi_thread")]
async fn f9_after_a_lost_answer_a_look_tells() {
    for kind in BOTH {
        for (size, len) in [(true, 300_000), (false, 300_000), (false, 6 * MIB)] {
            let subject = Subject::on(kind).await;
            let fault = FaultStore::before(&subject.store.bucket).await;
            let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
            let film = film(1, len);
            let put = || described("film.mp4", size.then_some(len));
            let (method, what) = match len > 5 * MIB {
                true => ("POST", "uploadId"),
                false => ("PUT", "film.mp4"),
            };
            let mut lost = 0;
            fault.script(move |asked| {
                let decides = asked.method == method && asked.path.contains(what);
                lost += usize::from(decides);
                match decides && lost == 1 {
                    true => Act::LoseAnswer,
                    false => Act::Forward,
                }
            });
            let unheard = blobs.put_stream(put(), whole(&film)).await.unwrap_err();
            assert!(
                matches!(unheard, BlobError::Unavailable { .. }),
                "{kind:?} {len}: {unheard:?}"
            );
            assert_eq!(
                compare(&blobs, "film.mp4", &film).await,
                Compared::Same,
                "{kind:?} {len}"
            );
            let again = blobs.put_stream(put(), whole(&film)).await.unwrap_err();
            assert_eq!(code(&again), "exists", "{kind:?} {len}");

            fault.spoil_uploads(1, || Act::Cut(200_000));
            let cut = described("cut.mp4", Some(len));
            let broken = blobs.put_stream(cut, whole(&film)).await.unwrap_err();
            assert!(
                matches!(broken, BlobError::Unavailable { .. }),
                "{kind:?} {len}: {broken:?}"
            );
            assert_eq!(
                compare(&blobs, "cut.mp4", &film).await,
                Compared::Absent,
                "{kind:?} {len}"
            );
        }
    }
}
