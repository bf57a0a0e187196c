//! Durations and sizes, written with their units.

use std::{fmt, str::FromStr, time::Duration};

use serde_json::Value;

use super::setting::{Setting, setting_as_text, text_of};

impl Setting for Duration {
    fn allowed() -> String {
        "a duration such as 500ms, 30s, 5m, 2h or 7d; a bare number is seconds".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        parse_duration(&text).ok_or_else(|| format!("{text:?} is not a duration"))
    }

    fn shown(&self) -> Option<Value> {
        Some(format_duration(*self).into())
    }
}

/// Units from the largest: (suffix, milliseconds).
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `90`, `500ms`, `5m`, `1h30m`. `None` for anything else and for more than 2^64 ms.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    if rest.bytes().all(|b| b.is_ascii_digit()) {
        return rest
            .parse::<u64>()
            .ok()?
            .checked_mul(1_000)
            .map(Duration::from_millis);
    }
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |b| !b.is_ascii_digit());
        let (unit, next) = split_at_first(after, |b| b.is_ascii_digit());
        let unit_ms = DURATION_UNITS
            .iter()
            .find(|(suffix, _)| *suffix == unit.trim())?
            .1;
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        rest = next;
    }
    Some(Duration::from_millis(total_ms))
}

fn split_at_first(text: &str, stop: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(stop).unwrap_or(text.len()))
}

/// The shortest form in one unit, in whole milliseconds: `90s`, not `1m30s`.
pub(super) fn format_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, unit_ms): &&(&str, u64)| ms > 0 && ms.is_multiple_of(*unit_ms);
    let (suffix, unit_ms) = DURATION_UNITS.iter().find(fits).unwrap_or(&("s", 1_000));
    format!("{}{suffix}", ms / unit_ms)
}

/// A number of bytes, written with a unit: `8MiB` (powers of 1024), `16MB` (powers of 1000).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Units from the largest; `16M` is refused because it says neither MB nor MiB.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*unit);
        let (suffix, unit) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_at_first(text.trim(), |b| !b.is_ascii_digit());
        let unit = if unit.is_empty() { "B" } else { unit.trim() };
        let unit_bytes = SIZE_UNITS
            .iter()
            .find(|(suffix, _)| suffix.eq_ignore_ascii_case(unit))
            .map(|(_, bytes)| *bytes);
        let size = number
            .parse::<u64>()
            .ok()
            .zip(unit_bytes)
            .and_then(|(n, bytes)| n.checked_mul(bytes));
        size.map(Self).ok_or_else(|| "not a size".to_owned())
    }
}

setting_as_text! {
    ByteSize => "a size such as 8MiB or 16MB; a bare number is bytes";
}
