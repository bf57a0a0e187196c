//! One reading of everything that can go wrong between us and the store.
//!
//! Codes are stable; messages hold no key, no signature and no body: S3 quotes the access key and the signed text
//! back in some of its errors.

use crate::ports::blobs::BlobError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use std::error::Error;
use std::io;

/// What the caller is told.
pub fn classify<E>(error: &SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            read_answer(answer.raw().status().as_u16(), answer.err().code().unwrap_or(""))
        }
        SdkError::ResponseError(answer) => match answer.raw().status().as_u16() {
            200..=299 => unavailable("bad_answer"),
            status => read_answer(status, ""),
        },
        SdkError::TimeoutError(_) => unavailable("timeout"),
        SdkError::DispatchFailure(failure) => failure
            .as_connector_error()
            .map_or_else(|| unavailable("transport"), read_transport),
        // The request could not be built: a header value that is none, an address that is none.
        _ if mentions(error, "credential") => misconfigured("no_credentials"),
        _ => refused("invalid_request"),
    }
}

pub fn unavailable(code: &str) -> BlobError {
    BlobError::Unavailable {
        code: code.to_owned(),
        source: None,
    }
}

pub fn misconfigured(code: &str) -> BlobError {
    BlobError::Misconfigured {
        code: code.to_owned(),
    }
}

pub fn refused(code: &str) -> BlobError {
    BlobError::Refused {
        code: code.to_owned(),
    }
}

/// The store's answer, by its own code where it gave one. HEAD answers carry none, only a status.
/// A status of success with an error code is the error document inside a 200 that S3 documents.
fn read_answer(status: u16, code: &str) -> BlobError {
    match code {
        "PreconditionFailed" => BlobError::Exists,
        "ConditionalRequestConflict" | "OperationAborted" => unavailable("conflict"),
        "SlowDown"
        | "SlowDownWrite"
        | "SlowDownRead"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded" => unavailable("slow_down"),
        "RequestTimeout" => unavailable("timeout"),
        "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => {
            unavailable("checksum_mismatch")
        }
        "IncompleteBody" => unavailable("incomplete_body"),
        "NoSuchUpload" => unavailable("no_such_upload"),
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => misconfigured("expired_token"),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidSecurity" => {
            misconfigured("invalid_credentials")
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "NotSignedUp" => {
            misconfigured("access_denied")
        }
        "RequestTimeTooSkewed" => misconfigured("clock_skew"),
        "NoSuchBucket" => misconfigured("no_such_bucket"),
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => misconfigured("wrong_region"),
        // What the settings ask for, not what the file is: the same file will go once they are right.
        "InvalidStorageClass" | "InvalidTag" | "NotImplemented" => misconfigured(&snake(code)),
        _ if code.starts_with("KMS") => misconfigured("kms"),
        "EntityTooLarge" => refused("entity_too_large"),
        _ => read_status(status, code),
    }
}

fn read_status(status: u16, code: &str) -> BlobError {
    match status {
        200..=299 => unavailable("error_in_200"),
        301 | 302 | 307 | 308 => misconfigured("wrong_region"),
        401 => misconfigured("invalid_credentials"),
        403 => misconfigured("access_denied"),
        404 => misconfigured("no_such_bucket"), // a missing object is read where it is looked for
        408 => unavailable("timeout"),
        409 => unavailable("conflict"),
        412 => BlobError::Exists,
        413 => refused("entity_too_large"),
        429 => unavailable("slow_down"),
        501 => misconfigured("not_implemented"),
        500.. => unavailable(&format!("http_{status}")),
        // HEAD says no more than 400 about an expired token or a foreign region.
        400 if code.is_empty() => misconfigured("http_400"),
        _ if code.is_empty() => refused(&format!("http_{status}")),
        _ => refused(&snake(code)),
    }
}

/// No answer at all.
fn read_transport(error: &ConnectorError) -> BlobError {
    let code = transport_code(error);
    if code == "no_credentials" {
        return misconfigured(code);
    }
    BlobError::Unavailable {
        code: code.to_owned(),
        source: Some(chain_text(error).into()),
    }
}

fn transport_code(error: &ConnectorError) -> &'static str {
    use io::ErrorKind::*;
    if error.is_timeout() {
        return "timeout";
    }
    // Signing comes after building and before connecting, so a chain without credentials ends up here.
    if mentions(error, "credential") {
        return "no_credentials";
    }
    match chain(error)
        .find_map(|e| e.downcast_ref::<io::Error>())
        .map(io::Error::kind)
    {
        Some(ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable) => "connect",
        Some(ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof) => "reset",
        Some(TimedOut) => "timeout",
        _ if mentions(error, "dns error") => "dns",
        _ if chain(error).any(|e| e.is::<rustls::Error>()) => "tls",
        _ if mentions(error, "connect") => "connect",
        // Closed before the answer was complete.
        _ => "reset",
    }
}

fn mentions(error: &(dyn Error + 'static), word: &str) -> bool {
    chain(error).any(|e| e.to_string().contains(word))
}

/// An `io::Error` names as its source the source of what it wraps, not what it wraps.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}

/// The messages alone: the errors themselves also keep whole requests and answers for their debug form.
fn chain_text(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// `KeyTooLongError` → `key_too_long_error`. A store's own words, so they are cut to letters, digits and 64 bytes.
fn snake(code: &str) -> String {
    let mut out = String::new();
    for c in code.chars().filter(char::is_ascii_alphanumeric).take(48) {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.truncate(64);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(error: BlobError) -> String {
        match error {
            BlobError::Exists => "exists".to_owned(),
            BlobError::Abandoned => "abandoned".to_owned(),
            BlobError::Refused { code } => format!("refused {code}"),
            BlobError::Unavailable { code, .. } => format!("unavailable {code}"),
            BlobError::Misconfigured { code } => format!("misconfigured {code}"),
        }
    }

    /// F8, F10, F11: what the worker does next depends on these and nothing else.
    #[test]
    fn answers_are_read_by_code_then_by_status() {
        let cases = [
            (412, "PreconditionFailed", "exists"),
            (412, "", "exists"),
            (409, "ConditionalRequestConflict", "unavailable conflict"),
            (503, "SlowDown", "unavailable slow_down"),
            (503, "", "unavailable http_503"),
            (503, "ServiceUnavailable", "unavailable http_503"),
            (500, "InternalError", "unavailable http_500"),
            (200, "InternalError", "unavailable error_in_200"),
            (200, "SlowDown", "unavailable slow_down"),
            (400, "BadDigest", "unavailable checksum_mismatch"),
            (
                400,
                "XAmzContentChecksumMismatch",
                "unavailable checksum_mismatch",
            ),
            (400, "RequestTimeout", "unavailable timeout"),
            (400, "ExpiredToken", "misconfigured expired_token"),
            (403, "InvalidAccessKeyId", "misconfigured invalid_credentials"),
            (403, "SignatureDoesNotMatch", "misconfigured invalid_credentials"),
            (403, "AccessDenied", "misconfigured access_denied"),
            (403, "", "misconfigured access_denied"),
            (403, "RequestTimeTooSkewed", "misconfigured clock_skew"),
            (404, "NoSuchBucket", "misconfigured no_such_bucket"),
            (301, "PermanentRedirect", "misconfigured wrong_region"),
            (400, "AuthorizationHeaderMalformed", "misconfigured wrong_region"),
            (400, "KMS.DisabledException", "misconfigured kms"),
            (501, "NotImplemented", "misconfigured not_implemented"),
            (400, "EntityTooLarge", "refused entity_too_large"),
            (400, "KeyTooLongError", "refused key_too_long_error"),
            (400, "MetadataTooLarge", "refused metadata_too_large"),
        ];
        for (status, code, expected) in cases {
            assert_eq!(word(read_answer(status, code)), expected, "{status} {code}");
        }
    }

    #[test]
    fn a_stores_own_words_become_short_plain_codes() {
        assert_eq!(snake("InvalidPartOrder"), "invalid_part_order");
        assert_eq!(snake("Oh\r\nno: <AWSAccessKeyId>"), "ohno_a_w_s_access_key_id");
        assert!(snake(&"X".repeat(500)).len() <= 64);
    }
}
