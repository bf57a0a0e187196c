//! Reading a body: what it may be, how large, and one deadline for the whole of it (the server's own request timeout
//! ends with the headers).

use super::Api;
use super::error::ApiError;
use super::json;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;
use serde_json::Value;
use std::time::Duration;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub max_bytes: usize,
    /// From the first look to the last byte.
    pub within: Duration,
}

/// Slow lines send 16 MiB in this time at 4.5 Mbit/s; slower than that is a hoarder (T3).
pub const JSON_WITHIN: Duration = Duration::from_secs(30);

const NOT_JSON: ApiError = ApiError::UnsupportedMediaType("Send JSON with `Content-Type: application/json`.");

impl Api {
    /// The body of a request that must be JSON.
    pub(super) async fn json_body(
        &self,
        req: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Vec<u8>, ApiError> {
        if !is_json(req.content_type()) {
            return Err(NOT_JSON);
        }
        self.body(req, payload, self.allowance()).await
    }

    /// The same of a request that may have no body at all.
    pub(super) async fn optional_json(
        &self,
        req: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Option<Value>, ApiError> {
        if !req.content_type().is_empty() && !is_json(req.content_type()) {
            return Err(NOT_JSON);
        }
        let body = self.body(req, payload, self.allowance()).await?;
        match body.is_empty() {
            true => Ok(None),
            false if req.content_type().is_empty() => Err(NOT_JSON),
            false => json::parse(&body).map(|(_, value)| Some(value)),
        }
    }

    fn allowance(&self) -> Allowance {
        Allowance {
            max_bytes: self.settings.max_body,
            within: JSON_WITHIN,
        }
    }

    pub(super) async fn body(
        &self,
        req: &HttpRequest,
        payload: web::Payload,
        allowance: Allowance,
    ) -> Result<Vec<u8>, ApiError> {
        refuse_encoding(req)?;
        let declared = declared_length(req);
        if declared.is_some_and(|n| n > allowance.max_bytes as u64) {
            return Err(too_large(allowance));
        }
        tokio::select! {
            body = collect(payload, declared, allowance) => body,
            () = self.clock.sleep(allowance.within) => Err(ApiError::BodyTimeout),
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// T5: nothing is ever inflated.
fn refuse_encoding(req: &HttpRequest) -> Result<(), ApiError> {
    let plain = |v: &str| v.trim().eq_ignore_ascii_case("identity");
    let mut encodings = req.headers().get_all(CONTENT_ENCODING);
    match encodings.all(|v| v.to_str().is_ok_and(plain)) {
        true => Ok(()),
        false => Err(ApiError::UnsupportedMediaType(
            "Send the body without Content-Encoding.",
        )),
    }
}

fn declared_length(req: &HttpRequest) -> Option<u64> {
    req.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(allowance: Allowance) -> ApiError {
    ApiError::BodyTooLarge {
        max_bytes: allowance.max_bytes,
    }
}

async fn collect(
    mut payload: web::Payload,
    declared: Option<u64>,
    allowance: Allowance,
) -> Result<Vec<u8>, ApiError> {
    // A declared length is a claim: room is made as bytes come, beyond a first modest piece.
    let first_piece = declared.unwrap_or(0).min(64 * 1024);
    let mut body = Vec::with_capacity(usize::try_from(first_piece).unwrap_or(0));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::BodyIncomplete)?;
        if body.len() + chunk.len() > allowance.max_bytes {
            return Err(too_large(allowance));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn json_is_told_by_its_type() {
        for yes in ["application/json", "Application/JSON", "application/vnd.api+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "",
            "text/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn t5_a_compressed_body_is_refused() {
        let encoded = |value: &str| {
            let req = TestRequest::default()
                .insert_header((CONTENT_ENCODING, value))
                .to_http_request();
            refuse_encoding(&req).is_err()
        };
        assert!(encoded("gzip") && encoded("identity, gzip") && encoded(""));
        assert!(!encoded("identity"));
        assert!(refuse_encoding(&TestRequest::default().to_http_request()).is_ok());
    }
}
