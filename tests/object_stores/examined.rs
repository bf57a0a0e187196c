//! What is found out about a store at start, without deleting anything (T12).

use super::outside::fault_store::{Act, FaultStore, answer, error, yes};
use super::outside::stores::is_own;
use super::*;
use catchment::ports::promises::{Finding, Promises as _};

#[tokio::test(flavor = "multi_thread")]
async fn t12_a_store_that_keeps_its_promises_is_found_to_and_little_is_left_there() {
    for kind in BOTH {
        let subject = Subject::on(kind).await;
        for checksum in [Checksum::Sha256, Checksum::Crc64Nvme, Checksum::None] {
            for create_only in [CreateOnly::Native, CreateOnly::Head] {
                let fault = FaultStore::before(&subject.store.bucket).await;
                let mut options = options(&subject.store.bucket, &fault.url());
                options.checksum = checksum;
                options.create_only = create_only;
                let blobs = S3Blobs::connect(options).await;
                let what = format!("{kind:?} {checksum:?} {create_only:?}");
                let prefix = format!("{checksum:?}-{create_only:?}/");
                // The embedded store keeps what it refuses; looking first, that is what is seen the second time.
                let rounds = match (kind, create_only) {
                    (Kind::Embedded, CreateOnly::Head) => 1,
                    _ => 3,
                };
                for _ in 0..rounds {
                    let found = blobs.examine(&prefix).await.unwrap();
                    let expected: &[Finding] = match create_only {
                        CreateOnly::Native => &[],
                        CreateOnly::Head => &[Finding::CouldCreateOnly],
                    };
                    assert_eq!(found, expected, "{what}");
                }
                let mut left = subject.store.bucket.keys().await;
                left.retain(|key| key.starts_with(&prefix));
                assert!(left.iter().all(|key| is_own(key)), "{what}: {left:?}");
                assert!((1..=2).contains(&left.len()), "{what}: {left:?}");
                assert!(fault.asked().iter().all(|a| a.method != "DELETE"), "{what}");
            }
        }
    }
}

/// What each lie or lack of a store is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_does_not_do_is_found_and_named() {
    let found_here = || answer("200 OK", "");
    let refused = || error("400 Bad Request", "BadDigest");
    let taken = || error("412 Precondition Failed", "PreconditionFailed");
    type Stage = Box<dyn FnMut(&outside::fault_store::Asked) -> Act + Send>;
    let is_wrong = |path: &str| path.contains("refused-");
    let stages: [(&str, Stage); 6] = [
        (
            "create_only_ignored",
            Box::new(move |a| match a.method.as_str() {
                "PUT" if !is_wrong(&a.path) => Act::AnswerInstead(yes()),
                _ => Act::Forward,
            }),
        ),
        (
            "create_only_unsupported",
            Box::new(|a| match a.header("if-none-match") {
                Some(_) => Act::Answer(error("501 Not Implemented", "NotImplemented")),
                None => Act::Forward,
            }),
        ),
        (
            "checksum_unsupported",
            Box::new(|a| match a.method.as_str() {
                "PUT" => Act::Answer(error("501 Not Implemented", "NotImplemented")),
                _ => Act::Forward,
            }),
        ),
        (
            "checksum_ignored",
            Box::new(move |a| match is_wrong(&a.path) {
                true => Act::Answer(yes()),
                false => Act::Forward,
            }),
        ),
        (
            "checksum_not_kept",
            Box::new(move |a| match a.method.as_str() {
                "HEAD" => Act::Answer(found_here()),
                _ => Act::Forward,
            }),
        ),
        (
            "keeps_nothing",
            Box::new(move |a| match a.method.as_str() {
                "PUT" if is_wrong(&a.path) => Act::Answer(refused()),
                "PUT" => Act::Answer(taken()),
                _ => Act::Forward,
            }),
        ),
    ];
    let subject = Subject::on(Kind::Seaweed).await;
    for (n, (expected, stage)) in stages.into_iter().enumerate() {
        let fault = FaultStore::before(&subject.store.bucket).await;
        let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
        fault.script(stage);
        let found = blobs.examine(&format!("{n}/")).await.unwrap();
        let codes: Vec<_> = found.iter().filter_map(|f| f.fault()).collect();
        assert_eq!(codes, [expected]);
        assert!(found.iter().all(|f| f.explanation().len() > 40), "{found:?}");
    }
}

/// Whatever `degraded` can say of a store has a line with its next step.
#[test]
fn g9_every_code_of_a_store_is_documented() {
    let page = include_str!("../../docs/object-stores.md");
    let source = include_str!("../../src/adapters/s3/errors.rs");
    let source = source.split("#[cfg(test)]").next().unwrap();
    let mut codes: Vec<&str> = Finding::ALL.iter().filter_map(|f| f.fault()).collect();
    for maker in ["unavailable(\"", "misconfigured(\"", "=> \"", "return \""] {
        let found = source.split(maker).skip(1);
        codes.extend(found.map(|rest| rest.split('"').next().unwrap()));
    }
    assert!(codes.len() > 25, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("`{code}`")), "{code} is not documented");
    }
}

/// F11: what an operator must look at has one name, whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn f11_a_store_that_cannot_be_asked_is_named_by_its_own_word() {
    let cases = [
        ("400 Bad Request", "ExpiredToken", "expired_token"),
        ("404 Not Found", "NoSuchBucket", "no_such_bucket"),
        ("301 Moved Permanently", "PermanentRedirect", "wrong_region"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "wrong_region"),
        ("403 Forbidden", "InvalidAccessKeyId", "invalid_credentials"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock_skew"),
        ("503 Slow Down", "SlowDown", "slow_down"),
    ];
    let subject = Subject::on(Kind::Embedded).await;
    let fault = FaultStore::before(&subject.store.bucket).await;
    let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
    for (status, word, expected) in cases {
        fault.script(move |_| Act::Answer(error(status, word)));
        let examined = blobs.examine("").await.unwrap_err();
        assert_eq!(code(&examined), expected, "{word}: {examined:?}");
        let probed = blobs.probe().await.unwrap_err();
        // Of a slow store HEAD tells the status, and that is enough.
        let probed_as = if word == "SlowDown" { "http_503" } else { expected };
        assert_eq!(code(&probed), probed_as, "{word}: {probed:?}");
    }
    fault.behave();
    assert_eq!(blobs.examine("").await.unwrap(), []);
    blobs.probe().await.unwrap();
}
