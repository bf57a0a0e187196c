//! Values on the command line, parsed before anything is done.

use super::client::Parameter;
use crate::domain::delivery::{DeliveryStatus, Format};
use crate::domain::event::EventKind;
use crate::domain::ids::TaskId;
use crate::domain::task::TaskStatus;
use crate::domain::time::Timestamp;
use clap::builder::PossibleValuesParser;
use jiff::{Span, SpanRelativeTo};
use std::time::Duration;

/// `500ms`, `30s`, `1h30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span = text.parse::<Span>().ok();
    // A day of daylight saving time is a day too.
    let length = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let length = length.and_then(|length| Duration::try_from(length).ok());
    length.ok_or_else(|| "expected a duration such as 90s, 30m or 7d".to_owned())
}

/// An instant, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    At(Timestamp),
    Ago(Duration),
}

impl When {
    pub fn from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(instant) => instant,
            Self::Ago(by) => now.minus(by),
        }
    }
}

pub fn when(text: &str) -> Result<When, String> {
    if let Ok(instant) = text.parse() {
        return Ok(When::At(instant));
    }
    duration(text).map(When::Ago).map_err(|_| {
        "expected an instant such as 2026-01-31T12:00:00Z, or how long ago, such as 2h".to_owned()
    })
}

/// `key=value`; the value may be empty.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A taskUUID, in lower case.
pub fn task_id(text: &str) -> Result<String, String> {
    TaskId::parse(text)
        .map(|id| id.to_string())
        .ok_or_else(|| "expected a UUID such as 01234567-89ab-4cde-8f01-23456789abcd".to_owned())
}

/// An id that may stand in a path as it is.
pub fn plain_id(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    fits.then(|| text.to_owned())
        .ok_or_else(|| "expected letters, digits, _ and -".to_owned())
}

/// A key that needs no escaping in its header.
pub fn idempotency_key(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    fits.then(|| text.to_owned())
        .ok_or_else(|| "expected 1 to 255 printable ASCII characters without spaces, \" and \\".to_owned())
}

pub fn statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(TaskStatus::ALL.map(|status| status.as_str()))
}

pub fn event_types() -> PossibleValuesParser {
    PossibleValuesParser::new(EventKind::ALL.map(|kind| kind.as_str()))
}

pub fn delivery_statuses() -> PossibleValuesParser {
    PossibleValuesParser::new(DeliveryStatus::ALL.map(|status| status.as_str()))
}

pub fn endpoint_formats() -> PossibleValuesParser {
    PossibleValuesParser::new([Format::Standard, Format::CloudEvents, Format::Runware].map(|f| f.as_str()))
}

/// Labels as the API's filters.
pub fn label_filters(labels: &[(String, String)]) -> Vec<Parameter> {
    labels
        .iter()
        .map(|(key, value)| (format!("label.{key}"), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_instants() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err() && duration("-1s").is_err());
        let now = Timestamp::from_millis(10_000);
        assert_eq!(when("4s").unwrap().from(now), Timestamp::from_millis(6_000));
        assert_eq!(
            when("1970-01-01T00:00:01Z").unwrap().from(now),
            Timestamp::from_millis(1_000)
        );
        assert!(when("yesterday").is_err());
    }

    #[test]
    fn ids_cannot_become_other_paths() {
        for id in ["", "..", "a/b", "a?b", "é"] {
            assert!(plain_id(id).is_err() && task_id(id).is_err(), "{id}");
        }
        assert_eq!(
            task_id("0123456A-89AB-4CDE-8F01-23456789ABCD").unwrap(),
            "0123456a-89ab-4cde-8f01-23456789abcd"
        );
    }

    #[test]
    fn an_idempotency_key_cannot_leave_its_quotes() {
        for key in ["", "a\"b", "a\\b", "a b", "a\r\nX-Evil: 1"] {
            assert!(idempotency_key(key).is_err(), "{key}");
        }
        assert!(idempotency_key("order-42:1").is_ok());
    }

    #[test]
    fn a_label_value_may_hold_an_equals_sign() {
        assert_eq!(label("k=a=b"), Ok(("k".to_owned(), "a=b".to_owned())));
        assert!(label("k").is_err() && label("=v").is_err());
    }
}
