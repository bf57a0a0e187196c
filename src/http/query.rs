//! Query parameters: every one is known, and all faults are told at once.

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::fault::{FaultCode, Faults};
use super::limits::Kind;
use crate::domain::time::Timestamp;
use actix_web::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// Longest long poll. A longer wait is lowered to it: proxies cut idle answers after about this time.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// Shortest time between two looks of one long poll: a busy log would otherwise have each look at every commit.
const PACE: Duration = Duration::from_millis(100);

/// The parameters not taken yet, and what was wrong with those taken.
pub struct Query {
    left: Vec<(String, String)>,
    faults: Faults,
}

impl Query {
    pub fn of(req: &HttpRequest) -> Self {
        Self::parse(req.query_string())
    }

    fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        Self {
            left: pairs.into_owned().collect(),
            faults: Faults::default(),
        }
    }

    /// Every value of a parameter, given once with commas or several times.
    pub fn list<T>(&mut self, name: &str, known: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let values = self.take(name);
        let words: Vec<&str> = values.iter().flat_map(|v| v.split(',')).collect();
        let parsed: Option<Vec<T>> = words.iter().map(|w| parse(w.trim())).collect();
        parsed.unwrap_or_else(|| {
            self.fault(name, FaultCode::NotAllowed, &format!("must be of {known}"));
            vec![]
        })
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.take(name);
        if values.len() > 1 {
            self.fault(name, FaultCode::Duplicate, "is given more than once");
        }
        values.pop()
    }

    pub fn parsed<T>(&mut self, name: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.fault(name, FaultCode::InvalidFormat, &format!("must be {what}"));
        }
        value
    }

    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        // A `+` of an offset that was not escaped arrives as a space.
        let read = |t: &str| Timestamp::from_str(&t.replace(' ', "+")).ok();
        self.parsed(name, "an RFC 3339 instant, such as 2026-01-02T03:04:05Z", read)
    }

    /// At least 1; a larger number than `most` is lowered to it.
    pub fn limit(&mut self, default: u32, most: u32) -> u32 {
        self.optional_limit().unwrap_or(default).min(most)
    }

    /// At least 1, where there need be none.
    pub fn optional_limit(&mut self) -> Option<u32> {
        let given = self.parsed("limit", "a whole number from 1", |t| {
            number(t).filter(|n| *n >= 1)
        });
        given.map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// How long to wait at most, lowered to [`MAX_WAIT`]; zero when not asked for.
    pub fn wait(&mut self) -> Duration {
        let given = self.parsed("wait", "a duration, such as 30s", duration);
        given.unwrap_or(Duration::ZERO).min(MAX_WAIT)
    }

    /// Where the page before ended.
    pub fn cursor(&mut self) -> Option<u64> {
        self.parsed("cursor", "`nextCursor` of another page", read_cursor)
    }

    /// `label.<key>=<value>`, all of which must hold.
    pub fn labels(&mut self) -> BTreeMap<String, String> {
        let is_label = |(name, _): &mut (String, String)| name.starts_with("label.");
        let labels: Vec<_> = self.left.extract_if(.., is_label).collect();
        let mut found = BTreeMap::new();
        for (name, value) in labels {
            let key = name["label.".len()..].to_owned();
            if !is_label_key(&key) {
                self.fault(
                    "label",
                    FaultCode::InvalidFormat,
                    "a label key is [a-z][a-z0-9_.-]{0,39}",
                );
            } else if found.insert(key, value).is_some() {
                self.fault("label", FaultCode::Duplicate, "a label is given more than once");
            }
        }
        found
    }

    /// # Errors
    /// `InvalidQuery` when a parameter was wrong, or one is left that nobody took.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in std::mem::take(&mut self.left) {
            let shown: String = name.chars().take(40).collect();
            self.fault(&shown, FaultCode::UnknownMember, "unknown parameter");
        }
        match self.faults.is_empty() {
            true => Ok(()),
            false => Err(ApiError::InvalidQuery(self.faults.into_vec())),
        }
    }

    pub fn fault(&mut self, name: &str, code: FaultCode, detail: &str) {
        self.faults.add(format!("?{name}"), code, detail);
    }

    fn take(&mut self, name: &str) -> Vec<String> {
        let taken = self.left.extract_if(.., |(n, _)| n == name);
        taken.map(|(_, value)| value).collect()
    }
}

/// Opaque to clients: what it holds may change.
pub fn cursor(position: u64) -> String {
    URL_SAFE_NO_PAD.encode(position.to_be_bytes())
}

pub fn read_cursor(text: &str) -> Option<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// `[a-z][a-z0-9_.-]{0,39}`
pub fn is_label_key(key: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    key.len() <= 40 && key.starts_with(|c: char| c.is_ascii_lowercase()) && key.bytes().all(rest)
}

pub fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `500ms`, `30s`, `6h`; a bare number is seconds, as in the settings.
pub fn duration(text: &str) -> Option<Duration> {
    match number(text) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => humantime::parse_duration(text).ok(),
    }
}

impl Api {
    /// Looks, and while it is not enough, looks again whenever the event log grew, until `wait` is over or the
    /// service stops. Answers what the last look found.
    pub(super) async fn long_poll<T>(
        &self,
        caller: &Caller<'_>,
        wait: Duration,
        look: impl AsyncFn() -> Result<T, ApiError>,
        is_enough: impl Fn(&T) -> bool,
    ) -> Result<T, ApiError> {
        if wait.is_zero() {
            return look().await;
        }
        let limit = self.settings.key_limits.event_streams;
        let _waiting = self.state.in_work.enter(&caller.key, Kind::Wait, limit)?;
        let mut news = self.store.last_sequence();
        let mut over = self.clock.sleep(wait);
        loop {
            // Before looking, or what is committed in between is missed.
            news.borrow_and_update();
            let found = look().await?;
            if is_enough(&found) {
                return Ok(found);
            }
            tokio::select! {
                Ok(()) = news.changed() => (),
                () = &mut over => return look().await,
                () = self.state.draining.cancelled() => return Ok(found),
            }
            tokio::select! {
                () = self.clock.sleep(PACE) => (),
                () = &mut over => return look().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(query: Query) -> Vec<(String, FaultCode)> {
        match query.finish() {
            Err(ApiError::InvalidQuery(faults)) => faults.into_iter().map(|f| (f.pointer, f.code)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_is_given_with_commas_or_several_times() {
        let mut q = Query::parse("status=a,b&status=c");
        assert_eq!(q.list("status", "x", |w| Some(w.to_owned())), ["a", "b", "c"]);
        assert!(q.finish().is_ok());
    }

    #[test]
    fn labels_are_decoded_and_checked() {
        let mut q = Query::parse("label.team=a%26b&label.x.y=");
        let labels = q.labels();
        assert_eq!((labels["team"].as_str(), labels["x.y"].as_str()), ("a&b", ""));
        assert!(q.finish().is_ok());
        let mut q = Query::parse("label.Team=a&label.x=1&label.x=2");
        q.labels();
        assert_eq!(
            faults(q),
            [
                ("?label".into(), FaultCode::InvalidFormat),
                ("?label".into(), FaultCode::Duplicate)
            ]
        );
    }

    #[test]
    fn all_faults_are_told_at_once_and_nothing_is_ignored() {
        let mut q = Query::parse("limit=0&since=yesterday&wait=soon&after=-1&after=2&colour=red");
        q.limit(50, 200);
        q.instant("since");
        q.wait();
        q.parsed("after", "a whole number", number);
        let names: Vec<String> = faults(q).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["?limit", "?since", "?wait", "?after", "?colour"]);
    }

    #[test]
    fn limits_and_waits_are_lowered_to_what_we_give() {
        let mut q = Query::parse("limit=100000000000&wait=1h");
        assert_eq!((q.limit(50, 200), q.wait()), (200, MAX_WAIT));
        let mut q = Query::parse("");
        assert_eq!((q.limit(50, 200), q.wait()), (50, Duration::ZERO));
    }

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        for position in [0, 1, u64::MAX] {
            assert_eq!(read_cursor(&cursor(position)), Some(position));
        }
        for other in ["", "1", "AAAAAAAAAAA=", "****", "AAAAAAAAAAAAAA"] {
            assert_eq!(read_cursor(other), None, "{other}");
        }
    }

    #[test]
    fn durations_read_as_in_the_settings() {
        assert_eq!(duration("30"), Some(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("6h"), Some(Duration::from_secs(6 * 3600)));
        for no in ["", "-1", "1.5", "h", "99999999999999999999"] {
            assert_eq!(duration(no), None, "{no}");
        }
    }
}
