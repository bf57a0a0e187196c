//! What the head of a source's answer says.

use crate::ports::source::{Resume, SourceError};
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::Response;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, RETRY_AFTER,
};
use std::time::Duration;

/// The longest `Retry-After` that is believed: links die, and a source that means more will say it again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

pub struct Head {
    pub start: u64,
    pub total: Option<u64>,
    pub etag: Option<String>,
    pub content_type: Option<String>,
}

/// Whether there is a file to be read, and from where.
pub fn read(response: &Response, resume: Option<&Resume>) -> Result<Head, SourceError> {
    let headers = response.headers();
    match response.status().as_u16() {
        200 if is_plain(headers) => Ok(Head {
            start: 0,
            total: response.content_length(),
            etag: strong_etag(headers),
            content_type: text(headers, CONTENT_TYPE),
        }),
        206 => match resume.filter(|resume| is_plain(headers) && grants(headers, resume)) {
            Some(resume) => Ok(Head {
                start: resume.from,
                total: Some(resume.total),
                etag: Some(resume.etag.clone()),
                content_type: text(headers, CONTENT_TYPE),
            }),
            None => Err(SourceError::Odd { status: 206 }),
        },
        status @ (403 | 404 | 410) => Err(SourceError::Dead { status }),
        status @ (408 | 429 | 500..=599) => Err(SourceError::Unavailable {
            code: format!("http_{status}"),
            retry_after: retry_after(headers),
        }),
        status => Err(SourceError::Odd { status }),
    }
}

/// The rest of the same entity, to its very end.
fn grants(headers: &HeaderMap, resume: &Resume) -> bool {
    let (from, total) = (resume.from, resume.total);
    let wanted = format!("bytes {from}-{}/{total}", total.saturating_sub(1));
    text(headers, CONTENT_RANGE).as_deref() == Some(&wanted)
        && strong_etag(headers).as_ref() == Some(&resume.etag)
}

/// We ask for identity; another coding would make length, digest and container those of something else.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// A weak tag (`W/"…"`) promises the same meaning, not the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, ETAG)?;
    let quoted = tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
    quoted.then_some(tag)
}

/// Seconds, or a date: that one counted from the answer's own `Date`, so that no clock of ours comes into it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let parser = DateTimeParser::new();
            let now = parser.parse_timestamp(text(headers, DATE)?).ok()?;
            let then = parser.parse_timestamp(value).ok()?;
            then.duration_since(now).try_into().unwrap_or(Duration::ZERO) // the past
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
