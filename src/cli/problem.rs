//! The service's errors (RFC 9457), as a person reads them: what happened, what to do, which exit code.

use super::exit::{CliError, Exit};
use super::output::plain;
use serde::Deserialize;
use std::fmt::Write as _;
use std::time::Duration;

/// An answer other than 2xx.
#[derive(Debug, Default, PartialEq)]
pub struct Problem {
    pub status: u16,
    pub document: Document,
    pub retry_after: Option<Duration>,
}

/// `application/problem+json`; every member may be missing, since a proxy may have answered.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    pub title: Option<String>,
    pub detail: Option<String>,
    pub code: Option<String>,
    pub errors: Vec<FieldError>,
    pub retryable: bool,
    pub request_id: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FieldError {
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

/// Most field errors printed; the rest are counted.
const MAX_FIELD_ERRORS: usize = 50;

impl Problem {
    pub fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        // Not ours (a proxy's page): the status alone has to do.
        let document = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            document,
            retry_after,
        }
    }

    /// The same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504) || self.document.retryable
    }

    fn code(&self) -> &str {
        self.document.code.as_deref().unwrap_or_default()
    }

    pub fn exit(&self) -> Exit {
        match self.status {
            401 | 403 => Exit::Auth,
            404 | 410 => Exit::NotFound,
            409 => Exit::Conflict,
            _ if self.code() == "idempotency_key_reused" => Exit::Conflict,
            _ if self.is_temporary() => Exit::Temporary,
            _ => Exit::Failure,
        }
    }

    fn message(&self) -> String {
        let document = &self.document;
        let said = document.detail.as_ref().or(document.title.as_ref());
        let mut text = match said {
            Some(said) => said.clone(),
            None => format!("the service answered {}", self.status),
        };
        if let Some(code) = &document.code {
            let _ = write!(text, " ({code})"); // writing to a String cannot fail
        }
        for error in document.errors.iter().take(MAX_FIELD_ERRORS) {
            let _ = write!(text, "\n  {}: {} ({})", error.pointer, error.detail, error.code);
        }
        if let Some(hidden @ 1..) = document.errors.len().checked_sub(MAX_FIELD_ERRORS) {
            let _ = write!(text, "\n  and {hidden} more");
        }
        if let Some(id) = &document.request_id {
            let _ = write!(text, "\n  request: {id}");
        }
        plain(&text)
    }

    fn next(&self) -> Option<String> {
        let step = match (self.status, self.code()) {
            (401, _) => "set CATCHMENT_KEY; `catchment keys create NAME` on the host makes a key",
            (403, _) => "use a key that may do this",
            (_, "cursor_too_old") => "give the oldest position as --after; events before it are gone",
            (404 | 410, "") => "check --url: does Catchment answer there?",
            (404 | 410, _) => "check the id; a key sees its own tenant's things only",
            (_, "task_uuid_conflict") => "use a new taskUUID, or send the same body again",
            (_, "idempotency_key_reused") => "use a new --idempotency-key, or send the same body again",
            (413, _) => "send fewer tasks at once, or raise server.max_body",
            (300..=399, _) => "give the address it redirects to as --url",
            _ if self.is_temporary() => return Some(self.try_again()),
            _ => return None,
        };
        Some(step.to_owned())
    }

    fn try_again(&self) -> String {
        match self.retry_after {
            Some(wait) => format!("try again in {} s", wait.as_secs()),
            None => "try again".to_owned(),
        }
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        Self {
            exit: problem.exit(),
            message: problem.message(),
            next: problem.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, code: &str) -> Problem {
        let body = format!(r#"{{"title":"T","detail":"D.","code":"{code}","requestId":"r1"}}"#);
        Problem::read(status, body.as_bytes(), None)
    }

    #[test]
    fn statuses_and_codes_have_their_exit_codes() {
        let cases = [
            (400, "malformed_json", Exit::Failure),
            (401, "unauthorized", Exit::Auth),
            (403, "forbidden", Exit::Auth),
            (404, "not_found", Exit::NotFound),
            (410, "cursor_too_old", Exit::NotFound),
            (409, "task_uuid_conflict", Exit::Conflict),
            (422, "idempotency_key_reused", Exit::Conflict),
            (422, "invalid_task", Exit::Failure),
            (429, "rate_limited", Exit::Temporary),
            (500, "internal", Exit::Failure),
            (502, "", Exit::Temporary),
            (503, "storage_unavailable", Exit::Temporary),
        ];
        for (status, code, exit) in cases {
            assert_eq!(problem(status, code).exit(), exit, "{status} {code}");
        }
    }

    #[test]
    fn a_problem_says_what_where_and_what_next() {
        let body = br#"{"detail":"One field is wrong.","code":"invalid_task","requestId":"r1",
            "errors":[{"pointer":"/0/ttl","code":"out_of_range","detail":"at least 60"}]}"#;
        let error = CliError::from(Problem::read(422, body, None)).to_string();
        assert_eq!(
            error,
            "error: One field is wrong. (invalid_task)\n  /0/ttl: at least 60 (out_of_range)\n  request: r1"
        );
        let busy = Problem {
            retry_after: Some(Duration::from_secs(7)),
            ..problem(503, "overloaded")
        };
        assert_eq!(CliError::from(busy).next.as_deref(), Some("try again in 7 s"));
    }

    #[test]
    fn a_page_of_a_proxy_is_an_answer_too() {
        let error = CliError::from(Problem::read(502, b"<html>", None));
        assert_eq!(
            (error.exit, error.message.as_str()),
            (Exit::Temporary, "the service answered 502")
        );
    }
}
