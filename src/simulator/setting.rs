//! What a fault switch can hold, and the one way to read it, whether it came from a flag, a header, a prompt or JSON.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use humantime_serde::re::humantime;

/// A value of a switch. Every kind reads from text, so all sources share one grammar.
pub trait Setting: Sized + Clone + Send + Sync + 'static {
    /// What the bare name, without `=value`, means.
    const BARE: &'static str;
    /// What the value is called in `--help`.
    const HINT: &'static str;

    /// # Errors
    /// One sentence saying what was expected.
    fn read(text: &str) -> Result<Self, String>;

    fn to_json(&self) -> Value;
}

/// A chance, 0 to 1, or a percentage (`30%`).
impl Setting for f64 {
    const BARE: &'static str = "1";
    const HINT: &'static str = "CHANCE";

    fn read(text: &str) -> Result<Self, String> {
        let (digits, scale) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let chance = digits.trim().parse::<f64>().map(|number| number / scale);
        chance
            .ok()
            .filter(|chance| (0.0..=1.0).contains(chance))
            .ok_or_else(|| format!("{text:?} is not a chance between 0 and 1"))
    }

    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for u32 {
    const BARE: &'static str = "1";
    const HINT: &'static str = "COUNT";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not a count"))
    }

    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for bool {
    const BARE: &'static str = "true";
    const HINT: &'static str = "BOOL";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }

    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for String {
    const BARE: &'static str = "";
    const HINT: &'static str = "TEXT";

    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_json(&self) -> Value {
        Value::from(self.as_str())
    }
}

/// `200ms`, `1s`, `2h 5m`; a bare number is milliseconds.
impl Setting for Duration {
    const BARE: &'static str = "1s";
    const HINT: &'static str = "DURATION";

    fn read(text: &str) -> Result<Self, String> {
        if let Ok(millis) = text.parse() {
            return Ok(Duration::from_millis(millis));
        }
        humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 200ms or 2s"))
    }

    fn to_json(&self) -> Value {
        Value::from(humantime::format_duration(*self).to_string())
    }
}

/// A number of bytes: `1000`, `64k`, `10MB` (powers of ten) or `8MiB` (powers of two).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Setting for Bytes {
    const BARE: &'static str = "1000";
    const HINT: &'static str = "BYTES";

    fn read(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(format!("{text:?} is not a size such as 1000, 10MB or 8MiB")),
        };
        let number = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor));
        number
            .map(Bytes)
            .ok_or_else(|| format!("{text:?} is not a size such as 1000, 10MB or 8MiB"))
    }

    fn to_json(&self) -> Value {
        Value::from(self.0)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text)
    }
}

/// Signed bytes, for a Content-Length that is off by so many.
impl Setting for i64 {
    const BARE: &'static str = "1000";
    const HINT: &'static str = "BYTES";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not a signed number of bytes"))
    }

    fn to_json(&self) -> Value {
        Value::from(*self)
    }
}

/// How long something takes: `200ms`, or drawn from `1s..3s`, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span(pub RangeInclusive<u64>);

impl Setting for Span {
    const BARE: &'static str = "0";
    const HINT: &'static str = "DURATION[..DURATION]";

    fn read(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let millis = |text: &str| Duration::read(text.trim()).map(|length| length.as_millis() as u64);
        let span = millis(least)?..=millis(most)?;
        if span.is_empty() {
            return Err(format!("{text:?} ends before it starts"));
        }
        Ok(Span(span))
    }

    fn to_json(&self) -> Value {
        let shown = |millis: &u64| humantime::format_duration(Duration::from_millis(*millis)).to_string();
        Value::from(format!("{}..{}", shown(self.0.start()), shown(self.0.end())))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text)
    }
}

/// An optional setting: unset, it leaves the decision to the chances or to the simulator's own options.
impl<T: Setting> Setting for Option<T> {
    const BARE: &'static str = T::BARE;
    const HINT: &'static str = T::HINT;

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(None);
        }
        T::read(text).map(Some)
    }

    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Setting::to_json)
    }
}

/// Alternatives of which one is drawn each time, written `A+B+C`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf<T>(pub Vec<T>);

impl<T> Setting for OneOf<T>
where
    T: FromStr<Err: fmt::Display> + fmt::Display + Clone + Send + Sync + 'static,
{
    const BARE: &'static str = "";
    const HINT: &'static str = "A+B+…";

    fn read(text: &str) -> Result<Self, String> {
        let parts = text
            .split('+')
            .map(|part| part.trim().parse::<T>().map_err(|fault| fault.to_string()));
        parts.collect::<Result<Vec<T>, String>>().map(OneOf)
    }

    fn to_json(&self) -> Value {
        let shown: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        Value::from(shown.join("+"))
    }
}

/// The shape of a callback body; letters as in the table of body variants that Runware's users report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The bare task object. A failure is then a bare error object too.
    A,
    /// `{"data":[item]}`. A failure falls back to C.
    B,
    /// `{"errors":[entry]}`, or beside an empty `data`. A success falls back to B.
    C,
    /// The bare error object. A success is then the bare task object.
    D,
    /// `{"data":[item]}` with `"status":"error"` and a nested `error`. A success falls back to B.
    E,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "A" | "a" => Ok(Self::A),
            "B" | "b" => Ok(Self::B),
            "C" | "c" => Ok(Self::C),
            "D" | "d" => Ok(Self::D),
            "E" | "e" => Ok(Self::E),
            _ => Err(format!(
                "{text:?} is not a body shape; there are A, B, C, D and E"
            )),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A way to turn a request down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An error answer in Runware's shape with this status.
    Status(u16),
    /// 429 with `Retry-After: 1`.
    RetryAfter,
    /// 502 with a proxy's HTML page.
    Html,
}

impl FromStr for Refusal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "retry-after" => Ok(Self::RetryAfter),
            "html" => Ok(Self::Html),
            _ => match text.parse() {
                Ok(status @ 400..=599) => Ok(Self::Status(status)),
                _ => Err(format!(
                    "{text:?} is not a refusal: 400 to 599, retry-after or html"
                )),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::RetryAfter => f.write_str("retry-after"),
            Self::Html => f.write_str("html"),
        }
    }
}
