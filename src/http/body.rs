//! Reading a body: what it may be, how large, and one deadline for the whole of it (the server's own request timeout
//! ends with the headers).

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::json;
use super::room::{FREE_BYTES, Room};
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;
use serde_json::Value;
use std::ops::Deref;
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

/// A client's body and the memory it is counted for.
pub struct Body<'a> {
    bytes: Vec<u8>,
    _room: Room<'a>,
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

const NOT_JSON: ApiError = ApiError::UnsupportedMediaType("Send JSON with `Content-Type: application/json`.");

impl Api {
    /// The body of a request that must be JSON.
    pub(super) async fn json_body(
        &self,
        caller: &Caller<'_>,
        req: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Body<'_>, ApiError> {
        if !is_json(req.content_type()) {
            return Err(NOT_JSON);
        }
        self.client_body(caller, req, payload).await
    }

    /// The same of a request that may have no body at all.
    pub(super) async fn optional_json(
        &self,
        caller: &Caller<'_>,
        req: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Option<Value>, ApiError> {
        if !req.content_type().is_empty() && !is_json(req.content_type()) {
            return Err(NOT_JSON);
        }
        let body = self.client_body(caller, req, payload).await?;
        match body.is_empty() {
            true => Ok(None),
            false if req.content_type().is_empty() => Err(NOT_JSON),
            false => json::parse(&body).map(|(_, value)| Some(value)),
        }
    }

    /// The body of a client's request, within the room there is for all of them.
    pub(super) async fn client_body(
        &self,
        caller: &Caller<'_>,
        req: &HttpRequest,
        payload: web::Payload,
    ) -> Result<Body<'_>, ApiError> {
        let allowance = Allowance {
            max_bytes: self.settings.max_body,
            within: JSON_WITHIN,
        };
        let mut room = self.state.rooms.enter(&caller.key);
        let bytes = self
            .body(req, payload, allowance, |bytes| room.grow_to(bytes))
            .await?;
        Ok(Body { bytes, _room: room })
    }

    /// The turn to read a long list of JSON.
    pub(super) async fn long_list(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.state.rooms.long_list().await
    }

    /// `grow` is asked before the body in hand grows to so many bytes.
    pub(super) async fn body(
        &self,
        req: &HttpRequest,
        payload: web::Payload,
        allowance: Allowance,
        grow: impl FnMut(usize) -> Result<(), ApiError>,
    ) -> Result<Vec<u8>, ApiError> {
        refuse_encoding(req)?;
        let declared = declared_length(req);
        if declared.is_some_and(|n| n > allowance.max_bytes as u64) {
            return Err(too_large(allowance));
        }
        tokio::select! {
            body = collect(payload, declared, allowance, grow) => body,
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
    mut grow: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Vec<u8>, ApiError> {
    // A declared length is a claim: room is made as bytes come, beyond a first modest piece.
    let declared = declared.map_or(allowance.max_bytes, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let mut body = Vec::with_capacity(declared.min(FREE_BYTES));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::BodyIncomplete)?;
        if body.len() + chunk.len() > allowance.max_bytes {
            return Err(too_large(allowance));
        }
        if body.len() + chunk.len() > body.capacity() {
            let doubled = body.capacity().saturating_mul(2);
            let next = doubled.min(declared).max(body.len() + chunk.len());
            grow(next.min(allowance.max_bytes))?;
            body.reserve_exact(next.min(allowance.max_bytes) - body.len());
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
