//! Bodies whose length nobody named.

use super::*;

#[tokio::test]
async fn a_body_without_length_goes_up_in_parts_and_is_verified_by_reading() {
    for checksum in [Checksum::Sha256, Checksum::Crc64Nvme, Checksum::None] {
        let store = Store::with(|options| options.checksum = checksum).await;
        // Over two parts and a bit; exactly two parts; exactly one; less than one.
        for (name, len) in [("12", 12 * MIB), ("10", 10 * MIB), ("5", 5 * MIB), ("1", MIB)] {
            let film = film(len);
            let answer = store.blobs.put_stream(put(name, None), whole(&film)).await;
            answer.unwrap_or_else(|error| panic!("{checksum:?}, {name} MiB: {error:?}"));
            assert_eq!(
                store.compare(name, &film).await,
                Compared::Same,
                "{checksum:?}, {name} MiB"
            );
        }
        assert_eq!(leftovers(store.dir.path()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn metadata_and_type_survive_the_joining_of_parts() {
    let store = Store::start().await;
    store
        .blobs
        .put_stream(put("m.mp4", None), whole(&film(6 * MIB)))
        .await
        .unwrap();
    let found = store
        .blobs
        .head(&ObjectKey("m.mp4".to_owned()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.content_type(), Some("video/mp4"));
    assert_eq!(found.metadata().unwrap()["task-uuid"], "t-1");
}

/// I17: an upload that fails takes its parts with it.
#[tokio::test]
async fn an_abandoned_body_without_length_leaves_neither_object_nor_parts() {
    let store = Store::start().await;
    let some = || Ok(Bytes::from(film(4 * MIB)));
    let endings = [
        (
            "in the third part",
            chunks(vec![some(), some(), some(), Err(BodyAbandoned)]),
        ),
        ("in the first part", chunks(vec![some(), Err(BodyAbandoned)])),
        ("before the first byte", chunks(vec![Err(BodyAbandoned)])),
        ("nothing was sent", chunks(vec![])),
    ];
    for (ending, body) in endings {
        let answer = store.blobs.put_stream(put("no.mp4", None), body).await;
        assert!(
            matches!(answer, Err(BlobError::Abandoned)),
            "{ending}: {answer:?}"
        );
        assert!(!store.holds("no.mp4"), "{ending}");
        // The record of the object's type outlives an abort in this server; parts and uploads do not.
        let parts: Vec<String> = leftovers(store.dir.path());
        assert!(
            parts.iter().all(|name| name.ends_with(".metadata.json")),
            "{ending}: {parts:?}"
        );
    }
}

/// I6.
#[tokio::test]
async fn parts_never_replace_an_object() {
    for create_only in [CreateOnly::Native, CreateOnly::Head] {
        let store = Store::with(|options| options.create_only = create_only).await;
        let first = film(100_000);
        store.put("once.mp4", &first).await.unwrap();
        for len in [MIB, 6 * MIB] {
            let again = store
                .blobs
                .put_stream(put("once.mp4", None), whole(&film(len)))
                .await;
            assert!(
                matches!(again, Err(BlobError::Exists)),
                "{create_only:?}: {again:?}"
            );
            assert_eq!(store.compare("once.mp4", &first).await, Compared::Same);
        }
    }
}

/// Each such copy holds a part in memory, so only so many are begun.
#[tokio::test]
async fn no_more_parts_are_held_than_allowed() {
    let store = Store::with(|options| options.unsized_concurrency = 1).await;
    let (first_sender, first) = mpsc::channel(1);
    let (second_sender, second) = mpsc::channel(1);
    let feed = async {
        first_sender.send(Ok(Bytes::from(film(MIB)))).await.unwrap();
        drop(first_sender.reserve().await.unwrap()); // the first is begun
        second_sender.try_send(Ok(Bytes::from(film(MIB)))).unwrap();
        assert_eq!(store.compare("1.mp4", &film(MIB)).await, Compared::Absent);
        assert!(second_sender.try_reserve().is_err(), "the second waits");
        drop((first_sender, second_sender));
    };
    let (a, b, ()) = tokio::join!(
        store.blobs.put_stream(put("1.mp4", None), first),
        store.blobs.put_stream(put("2.mp4", None), second),
        feed
    );
    a.unwrap();
    b.unwrap();
    assert_eq!(store.compare("2.mp4", &film(MIB)).await, Compared::Same);
}
