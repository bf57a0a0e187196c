//! What is found out about a store at start, without deleting anything (T12).

use super::outside::fault_store::{Act, Asked, FaultStore, answer, error, yes};
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
                for _ in 0..3 {
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
                let asked = fault.asked();
                let mut deletes = asked.iter().filter(|a| a.method == "DELETE");
                assert!(deletes.all(|a| a.path.contains("uploadId=")), "{what}: no object");
            }
        }
        if kind == Kind::Seaweed {
            let bucket = &subject.store.bucket;
            let request = bucket.client.list_multipart_uploads().bucket(&bucket.name);
            let left = request.send().await.unwrap();
            assert!(left.uploads().is_empty(), "what was begun is given up");
        }
    }
}

/// What is sent is what a result is sent as, down to the trailer.
#[tokio::test(flavor = "multi_thread")]
async fn t12_a_store_is_tried_with_the_requests_that_results_are_stored_with() {
    let subject = Subject::on(Kind::Seaweed).await;
    for checksum in [Checksum::Sha256, Checksum::Crc64Nvme, Checksum::None] {
        let fault = FaultStore::before(&subject.store.bucket).await;
        let mut options = options(&subject.store.bucket, &fault.url());
        options.checksum = checksum;
        let blobs = S3Blobs::connect(options).await;
        assert_eq!(blobs.examine(&format!("{checksum:?}/")).await.unwrap(), []);
        put(&blobs, &format!("{checksum:?}.mp4"), &film(1, 1000))
            .await
            .unwrap();
        let asked = fault.asked();
        let form = |key: &str| {
            let sent = asked.iter().find(|a| a.method == "PUT" && a.path.contains(key));
            let sent = sent.unwrap_or_else(|| panic!("{checksum:?}: {key}"));
            FORM.map(|name| sent.header(name).map(str::to_owned))
        };
        let result = form(".mp4");
        assert_eq!(form("/probe-"), result, "{checksum:?}");
        if checksum == Checksum::Sha256 {
            assert_eq!(form("/refused-"), result);
            assert_eq!(result[0].as_deref(), Some(UNSIGNED_TRAILER));
        }
    }
}

/// How a body is sent.
const FORM: [&str; 5] = [
    "x-amz-content-sha256",
    "content-encoding",
    "x-amz-trailer",
    "x-amz-sdk-checksum-algorithm",
    "if-none-match",
];

const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

type Stage = Box<dyn FnMut(&Asked) -> Act + Send>;

/// What each lie or lack of a store is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_does_not_do_is_found_and_named() {
    let subject = Subject::on(Kind::Seaweed).await;
    for (n, (expected, stage)) in stages().into_iter().enumerate() {
        let fault = FaultStore::before(&subject.store.bucket).await;
        fault.script(stage);
        // Told again at the next start, whatever the first look left behind.
        for round in 1..=2 {
            let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
            let found = blobs.examine(&format!("{n}/")).await.unwrap();
            let codes: Vec<_> = found.iter().filter_map(|f| f.fault()).collect();
            assert_eq!(codes, expected, "stage {n}, round {round}");
            assert!(found.iter().all(|f| f.explanation().len() > 40), "{found:?}");
        }
    }
}

fn stages() -> [(&'static [&'static str], Stage); 13] {
    let unknown = || Act::Answer(error("501 Not Implemented", "NotImplemented"));
    let taken = || Act::Answer(error("412 Precondition Failed", "PreconditionFailed"));
    let is_wrong = |a: &Asked| a.path.contains("refused-");
    let has_trailer = |a: &Asked| a.header("x-amz-content-sha256") == Some(UNSIGNED_TRAILER);
    let joins = |a: &Asked| a.method == "POST" && a.path.contains("uploadId=");
    let mut size = 0;
    let mut wrong_is_there = false;
    [
        (
            &["create_only_ignored"],
            Box::new(move |a| match a.method.as_str() {
                "PUT" if !is_wrong(a) => Act::AnswerInstead(yes()),
                _ => Act::Forward,
            }),
        ),
        (
            &["create_only_ignored_in_parts"],
            Box::new(move |a| match joins(a) {
                true => Act::Answer(joined()),
                false => Act::Forward,
            }),
        ),
        (
            &["create_only_unsupported"],
            Box::new(move |a| match a.header("if-none-match") {
                Some(_) => unknown(),
                None => Act::Forward,
            }),
        ),
        (
            &["checksum_unsupported"],
            Box::new(move |a| match a.header("x-amz-sdk-checksum-algorithm") {
                Some(_) => unknown(),
                None => Act::Forward,
            }),
        ),
        // As old Ceph says it.
        (
            &["trailer_unsupported"],
            Box::new(move |a| match has_trailer(a) {
                true => Act::Answer(error("400 Bad Request", "XAmzContentSHA256Mismatch")),
                false => Act::Forward,
            }),
        ),
        (
            &["trailer_unsupported"],
            Box::new(move |a| match has_trailer(a) {
                true => Act::Answer(error("400 Bad Request", "InvalidArgument")),
                false => Act::Forward,
            }),
        ),
        (
            &["create_only_unsupported", "trailer_unsupported"],
            Box::new(move |a| match a.header("if-none-match") {
                None if !has_trailer(a) => Act::Forward,
                _ => unknown(),
            }),
        ),
        // The chunk's length before the bytes, and the trailer behind them, are content to it.
        (
            &["content_altered"],
            Box::new(move |a| match a.method.as_str() {
                "PUT" if has_trailer(a) => Act::AfterPutting(b"4a\r\nCatchment looks\r\n0\r\n\r\n".to_vec()),
                _ => Act::Forward,
            }),
        ),
        (
            &["checksum_ignored"],
            Box::new(move |a| match is_wrong(a) {
                // It does know which key is taken.
                true if a.header("if-none-match").is_some() && wrong_is_there => taken(),
                true => {
                    wrong_is_there = true;
                    Act::Answer(yes())
                }
                false => Act::Forward,
            }),
        ),
        // Trouble in passing, and nothing there: no fault.
        (
            &[],
            Box::new(move |a| match a.method.as_str() {
                "PUT" if is_wrong(a) => Act::Answer(error("500 Internal Server Error", "InternalError")),
                _ => Act::Forward,
            }),
        ),
        (
            &["checksum_ignored"],
            Box::new(move |a| match a.method.as_str() {
                "PUT" if is_wrong(a) => Act::Answer(error("500 Internal Server Error", "InternalError")),
                "HEAD" if is_wrong(a) => Act::Answer(yes()),
                _ => Act::Forward,
            }),
        ),
        (
            &["checksum_not_kept"],
            Box::new(move |a| match a.method.as_str() {
                "HEAD" if !is_wrong(a) => Act::Answer(answer("200 OK", &"x".repeat(size))),
                _ => {
                    let sent = a.header("x-amz-decoded-content-length");
                    size = sent.map_or(size, |n| n.parse().unwrap());
                    Act::Forward
                }
            }),
        ),
        (
            &["keeps_nothing"],
            Box::new(move |a| match a.method.as_str() {
                "PUT" if is_wrong(a) => Act::Answer(error("400 Bad Request", "BadDigest")),
                "PUT" => taken(),
                _ => Act::Forward,
            }),
        ),
    ]
}

/// What a store says when it has joined the parts.
fn joined() -> String {
    answer(
        "200 OK",
        "<CompleteMultipartUploadResult><ETag>\"0-1\"</ETag></CompleteMultipartUploadResult>",
    )
}

/// Worth knowing and no fault: few sources name no length.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_uploads_in_parts_is_no_worse_for_results_of_known_length() {
    let subject = Subject::on(Kind::Seaweed).await;
    let fault = FaultStore::before(&subject.store.bucket).await;
    for (status, word) in [
        ("501 Not Implemented", "NotImplemented"),
        ("405 Method Not Allowed", "MethodNotAllowed"),
        ("403 Forbidden", "AccessDenied"),
    ] {
        fault.script(move |a| match a.method.as_str() {
            "POST" => Act::Answer(error(status, word)),
            _ => Act::Forward,
        });
        let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
        assert_eq!(
            blobs.examine("").await.unwrap(),
            [Finding::KnowsNoParts],
            "{word}"
        );
    }
    assert_eq!(Finding::KnowsNoParts.fault(), None);
}

/// Each try begins an upload and gives it up: once in a life of the process is enough, and trouble in passing says
/// nothing of the store.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_parts_are_tried_until_the_store_has_said_once_what_it_does() {
    let subject = Subject::on(Kind::Seaweed).await;
    let fault = FaultStore::before(&subject.store.bucket).await;
    let blobs = S3Blobs::connect(options(&subject.store.bucket, &fault.url())).await;
    let begun = || {
        let asked = fault.asked();
        asked
            .iter()
            .filter(|a| a.method == "POST" && a.path.contains("uploads"))
            .count()
    };
    fault.script(|a| match a.method.as_str() {
        "POST" => Act::Answer(error("503 Slow Down", "SlowDown")),
        _ => Act::Forward,
    });
    assert_eq!(blobs.examine("").await.unwrap(), []);
    assert_eq!(begun(), 1);
    fault.behave();
    for _ in 0..3 {
        assert_eq!(blobs.examine("").await.unwrap(), []);
        assert_eq!(begun(), 2, "asked again, and then no more");
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
