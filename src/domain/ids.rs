//! Names of things. UUIDs compare without case and are kept, sent and put into keys in lower case.

use sha2::{Digest as _, Sha256};
use std::fmt;
use uuid::Uuid;

/// A unit of provider work; its UUID is ours or the client's and travels on every message about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub Uuid);

impl TaskId {
    /// A fresh id: UUID v4 in form, since the provider asks for v4, with 48 bits of time in front, since our index
    /// wants order. `now_ms` is Unix milliseconds; `random` fills the rest.
    pub fn ordered(now_ms: i64, random: [u8; 16]) -> Self {
        let mut bytes = random;
        let time = u64::try_from(now_ms).unwrap_or(0).to_be_bytes();
        bytes[..6].copy_from_slice(&time[2..]);
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub fn parse(s: &str) -> Option<Self> {
        // Only the hyphenated form: braces and URNs would be other spellings of one id.
        (s.len() == 36)
            .then(|| Uuid::try_parse(s).ok())
            .flatten()
            .map(Self)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// What tells one result of a task from its siblings: the provider's id for it, or what stands in for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId(String);

/// Longest id kept as the provider sent it, in bytes; a longer one is kept as its hash (nothing real comes near).
const MAX_RESULT_ID_BYTES: usize = 200;

impl ResultId {
    /// An id the provider gave: `videoUUID`, `imageUUID`, `audioUUID` or `mediaUUID`. UUIDs go to lower case.
    pub fn given(id: &str) -> Option<Self> {
        match id {
            "" => None,
            _ if Uuid::try_parse(id).is_ok() => Some(Self(id.to_ascii_lowercase())),
            _ if id.len() > MAX_RESULT_ID_BYTES => Some(Self(format!("h-{}", short_hash(id.as_bytes())))),
            _ => Some(Self(id.to_owned())),
        }
    }

    /// `resultIndex` n as `i<n>`.
    pub fn indexed(index: u64) -> Self {
        Self(format!("i{index}"))
    }

    /// `u-` and 16 hex digits of SHA-256 of the URL without its query: the last resort.
    pub fn from_url(url: &str) -> Self {
        let bare = url.split(['?', '#']).next().unwrap_or(url);
        Self(format!("u-{}", short_hash(bare.as_bytes())))
    }

    /// As read back from our own store.
    pub fn stored(id: String) -> Self {
        Self(id)
    }

    /// Whether only the URL named it: such a result needs a status query before it is believed.
    pub fn is_from_url(&self) -> bool {
        self.0.starts_with("u-")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form used in object keys: itself if `[A-Za-z0-9._-]{1,64}` and not a dot path, else `h-` + 16 hex digits.
    pub fn key_part(&self) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let fits = (1..=64).contains(&self.0.len()) && self.0.bytes().all(plain);
        if fits && self.0 != "." && self.0 != ".." {
            self.0.clone()
        } else {
            format!("h-{}", short_hash(self.0.as_bytes()))
        }
    }
}

impl fmt::Display for ResultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A result's bytes, ours once archived: (task, result).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId {
    pub task: TaskId,
    pub result: ResultId,
}

/// Stable for ever: a pure function of what the event is about, so a retry or a restart cannot mint another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);

impl EventId {
    /// `subject` is the parts that make the event unique, in order (task, result, type, round).
    pub fn derive(subject: &[&str]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"evt.v1");
        for part in subject {
            hash.update([0]);
            hash.update(part.as_bytes());
        }
        Self(format!("evt_{}", hex(&hash.finalize()[..16])))
    }

    pub fn stored(id: String) -> Self {
        Self(id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A webhook subscriber: `ep_` and 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub String);

impl EndpointId {
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("ep_{}", hex(&random)))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose tasks these are. Every read and write on behalf of a caller names one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(pub String);

impl Tenant {
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
            use fmt::Write as _;
            let _ = write!(s, "{b:02x}"); // writing to a String cannot fail
            s
        })
}

fn short_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn task_ids_are_v4_in_form_and_ordered_by_time() {
        let (a, b) = (
            TaskId::ordered(1_000, [0xff; 16]),
            TaskId::ordered(1_001, [0; 16]),
        );
        assert!(a < b);
        assert_eq!(
            (a.0.get_version_num(), a.0.get_variant()),
            (4, uuid::Variant::RFC4122)
        );
        assert_eq!(TaskId::parse(&a.to_string().to_uppercase()), Some(a));
        assert_eq!(TaskId::parse("{00000000-0000-4000-8000-000000000000}"), None);
    }

    #[test]
    fn the_query_of_a_link_does_not_change_its_result_id() {
        assert_eq!(
            ResultId::from_url("https://a/b.mp4?x=1"),
            ResultId::from_url("https://a/b.mp4?x=2")
        );
        assert_ne!(
            ResultId::from_url("https://a/b.mp4"),
            ResultId::from_url("https://a/c.mp4")
        );
    }

    #[test]
    fn event_ids_separate_their_parts() {
        assert_ne!(EventId::derive(&["ab", "c"]), EventId::derive(&["a", "bc"]));
        assert_eq!(EventId::derive(&["a"]).as_str().len(), 4 + 32);
    }

    proptest! {
        /// T8: whatever the provider calls a result, its key part is one plain path segment.
        #[test]
        fn t8_a_result_id_never_becomes_a_path(id in ".{1,300}") {
            let part = ResultId::given(&id).unwrap().key_part();
            prop_assert!(part.len() <= 64 && !part.is_empty());
            prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            prop_assert!(part != "." && part != "..");
        }
    }
}
