//! Who asks. Every handler under `/v1` begins with [`Api::caller`], and every call to the store names its tenant.

use super::Api;
use super::error::ApiError;
use super::limits::{Kind, Slot};
use crate::domain::ids::{Digest, Tenant};
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpMessage as _, HttpRequest};

/// The holder of a live API key, counted as one request in work until dropped.
pub struct Caller<'a> {
    pub tenant: Tenant,
    /// The key's id, which is no secret.
    pub key: String,
    _in_work: Slot<'a>,
}

const KEY_PREFIX: &str = "ck_";

/// Longer than any key we make, in bytes.
const MAX_KEY_BYTES: usize = 200;

impl Api {
    /// What the key of a request is known by.
    pub(super) fn key_digest(req: &HttpRequest) -> Option<Digest> {
        bearer(req).map(|key| Digest::of(key.as_bytes()))
    }

    /// # Errors
    /// `Unauthorized` without a live key, whatever is wrong with it; `RateLimited` when the key has too much in
    /// work; `TooFast` when it asks more often than it may.
    pub(super) async fn caller(&self, req: &HttpRequest) -> Result<Caller<'_>, ApiError> {
        let key = Self::key_digest(req).ok_or(ApiError::Unauthorized)?;
        let found = self.store.key_by_hash(&key).await?;
        let key = found.ok_or(ApiError::Unauthorized)?;
        let (standing, allowed) = self.state.rates.count(&key.id);
        req.extensions_mut().insert(standing); // told with the answer, whatever it is
        allowed?;
        let limit = self.settings.key_limits.concurrent_requests;
        Ok(Caller {
            _in_work: self.state.in_work.enter(&key.id, Kind::Request, limit)?,
            tenant: key.tenant,
            key: key.id,
        })
    }
}

fn bearer(req: &HttpRequest) -> Option<&str> {
    let (scheme, key) = req.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim_start_matches(' ');
    let fits = scheme.eq_ignore_ascii_case("bearer") && key.starts_with(KEY_PREFIX);
    (fits && key.len() <= MAX_KEY_BYTES).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_a_bearer_of_our_own_making_is_looked_up() {
        let key = |value: &str| {
            let req = TestRequest::default()
                .insert_header((AUTHORIZATION, value))
                .to_http_request();
            bearer(&req).map(str::to_owned)
        };
        assert_eq!(key("Bearer ck_abc").as_deref(), Some("ck_abc"));
        assert_eq!(key("bearer  ck_abc").as_deref(), Some("ck_abc"));
        for other in ["ck_abc", "Basic ck_abc", "Bearer abc", "Bearer", ""] {
            assert_eq!(key(other), None, "{other}");
        }
        assert_eq!(key(&format!("Bearer ck_{}", "a".repeat(300))), None);
    }
}
