//! What the head of a source's answer says.

use crate::adapters::guard::Answer;
use crate::adapters::retry_after::retry_after;
use crate::domain::time::Timestamp;
use crate::ports::source::{Resume, SourceError};
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName};
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
pub fn read(answer: &Answer, resume: Option<&Resume>) -> Result<Head, SourceError> {
    let headers = &answer.headers;
    match answer.status.as_u16() {
        200 if is_plain(headers) => Ok(Head {
            start: 0,
            total: answer.body.length(),
            etag: strong_etag(headers),
            content_type: text(headers, CONTENT_TYPE),
        }),
        206 => match resume.and_then(|resume| granted(headers, resume)) {
            Some((resume, total)) => Ok(Head {
                start: resume.from,
                total: Some(total),
                etag: resume.etag.clone(),
                content_type: text(headers, CONTENT_TYPE),
            }),
            None => Err(SourceError::Odd { status: 206 }),
        },
        status @ (403 | 404 | 410) => Err(SourceError::Dead { status }),
        status @ (408 | 429 | 500..=599) => Err(SourceError::Unavailable {
            code: format!("http_{status}"),
            retry_after: wait_asked_for(headers),
        }),
        status => Err(SourceError::Odd { status }),
    }
}

/// The rest to its very end, of the same entity if there is a tag to tell it by; and the length of the whole.
fn granted<'a>(headers: &HeaderMap, resume: &'a Resume) -> Option<(&'a Resume, u64)> {
    let range = text(headers, CONTENT_RANGE)?;
    let total: u64 = range.rsplit_once('/')?.1.parse().ok()?;
    let wanted = format!("bytes {}-{}/{total}", resume.from, total.saturating_sub(1));
    let same_length = resume.total.is_none_or(|known| known == total);
    let same_tag = resume.etag.is_none() || strong_etag(headers) == resume.etag;
    (is_plain(headers) && range == wanted && same_length && same_tag).then_some((resume, total))
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

/// A date is counted from the answer's own `Date`, so that no clock of ours comes into it; without one, it asks for
/// no wait.
fn wait_asked_for(headers: &HeaderMap) -> Option<Duration> {
    let date = text(headers, DATE).and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let wall = Timestamp::from_millis(date.map_or(i64::MAX, |date| date.as_millisecond()));
    Some(retry_after(headers, wall)?.min(MAX_RETRY_AFTER))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
