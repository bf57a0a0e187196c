//! Bodies whose digest their sender tells.

use super::*;

/// I5: around the ends of the wire's own chunks, too.
#[tokio::test]
async fn a_told_digest_becomes_the_objects_checksum_whatever_the_length() {
    let store = Store::start().await;
    for size in [1, 65_535, 65_536, 65_537, 131_072, 300_001] {
        let (key, film) = (format!("{size}.mp4"), film(size));
        store.put(&key, &film).await.unwrap();
        let kept = std::fs::read(store.dir.path().join(BUCKET).join(&key)).unwrap();
        assert!(kept == film, "{size} bytes came as {}", kept.len());
        assert_eq!(store.compare(&key, &film).await, Compared::Same);
    }
}

/// F10: the store holds the bytes against the digest, not against themselves.
#[tokio::test]
async fn f10_bytes_that_are_not_those_of_the_told_digest_are_refused() {
    let store = Store::start().await;
    let film = film(200_000);
    let mut damaged = film.clone();
    damaged[100_000] ^= 1;

    let refused = store.put_told("x.mp4", &damaged, Some(Digest::of(&film))).await;

    let Err(BlobError::Unavailable { code, .. }) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(code, "checksum_mismatch");
}

#[tokio::test]
async fn a_body_whose_digest_is_never_told_is_abandoned() {
    let store = Store::start().await;
    let refused = store.put_told("x.mp4", &film(200_000), None).await;
    assert!(matches!(refused, Err(BlobError::Abandoned)), "{refused:?}");
    assert!(!store.holds("x.mp4"));
}
