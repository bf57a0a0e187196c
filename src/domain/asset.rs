//! An asset: a result's bytes, ours once archived.

use super::ids::{AssetId, Digest};
use super::task::{Task, words};
use super::time::Timestamp;
use std::fmt;

#[derive(Clone, Debug, PartialEq)]
pub struct Asset {
    pub id: AssetId,
    /// 1, and one more with each retry an operator asks for.
    pub round: u32,
    pub state: AssetState,
    pub source: SourceUrl,
    /// `submitted_at + ttl`: orders the work, never a verdict; only the source's answers expire an asset.
    pub archive_by: Timestamp,
    /// A status query has shown it, not only a callback.
    pub confirmed: bool,
    pub nsfw: Option<bool>,
    /// USD for this result, as reported.
    pub cost: Option<f64>,
    pub discovered_at: Timestamp,
    /// When `asset.at_risk` is to be told; `None` once it was, in this round, or when nothing waits any more.
    pub at_risk_at: Option<Timestamp>,
    /// `None` in the first round, and once an object of this round is in the bucket.
    pub left: Option<Left>,
    /// What the next upload must equal if it was cut off: committed before the last byte is released.
    pub intent: Option<Intent>,
    pub trouble: Trouble,
    /// When a worker should next look; `None` only for a terminal asset.
    pub due_at: Option<Timestamp>,
    /// Claims so far in this round.
    pub attempts: u32,
}

/// Where an asset stands.
#[derive(Clone, Debug, PartialEq)]
pub enum AssetState {
    /// To be copied. Left by the archiver.
    Pending,
    /// A worker holds the lease. Left when it settles or its lease lapses.
    Archiving,
    /// The bytes are ours and verified. Terminal.
    Archived(Stored),
    /// The link died and no fresh one came. Terminal until an operator retries.
    Expired(AssetReason),
    /// Not a video, a conflict under the key, or refused. Terminal until an operator retries.
    /// `kept` names the object when the bytes were stored unverified.
    Failed {
        reason: AssetReason,
        kept: Option<Stored>,
    },
}

/// An object in the bucket, verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub bucket: String,
    pub key: ObjectKey,
    pub size_bytes: u64,
    pub sha256: Digest,
    pub content_type: String,
    pub duration_ms: Option<u64>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub archived_at: Timestamp,
}

/// What an earlier round left in the bucket, while this one has nothing there yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Left {
    /// Under its `.unverified` key, and still there: should this round come to nothing, it is all there is.
    Kept(Stored),
    /// Archived, and not there any more: what comes in its place is compared with it.
    Gone(Stored),
}

impl Left {
    pub fn stored(&self) -> &Stored {
        match self {
            Self::Kept(stored) | Self::Gone(stored) => stored,
        }
    }
}

/// What an upload was about to create.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    pub key: ObjectKey,
    pub size_bytes: u64,
    pub sha256: Digest,
    pub content_type: String,
    pub duration_ms: Option<u64>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// The container was not understood: the object ends as `failed(bad_content)`, kept.
    pub unverified: bool,
}

impl Intent {
    pub fn stored(self, bucket: &str, archived_at: Timestamp) -> Stored {
        Stored {
            bucket: bucket.to_owned(),
            key: self.key,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            content_type: self.content_type,
            duration_ms: self.duration_ms,
            width: self.width,
            height: self.height,
            archived_at,
        }
    }
}

/// What went wrong so far, so that the next wait and the verdict do not depend on which worker asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    /// 403, 404 or 410 in a row, and when they began.
    pub dead_tries: u32,
    pub dead_since: Option<Timestamp>,
    /// Bodies that were whole but no media, or never what they declared.
    pub bad_tries: u32,
    pub bad_since: Option<Timestamp>,
    /// Failed tries of any other kind: drives the back-off.
    pub failed_tries: u32,
    /// Of these, how many in a row were the source's, or the store's refusal, up to now.
    pub source_tries: u32,
    pub refused_tries: u32,
    /// A fresh link is wanted from the provider before the next try.
    pub wants_fresh: bool,
    /// A query asked for a fresh link was answered, with or without one, since the trouble began.
    pub refreshed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssetReason {
    SourceGone,
    BadContent,
    Conflict,
    TooLarge,
    StoreRefused,
}

/// The word a user sees for an [`AssetState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AssetStatus {
    Pending,
    Archiving,
    Archived,
    Expired,
    Failed,
}

words!(AssetReason {
    SourceGone = "source_gone",
    BadContent = "bad_content",
    Conflict = "conflict",
    TooLarge = "too_large",
    StoreRefused = "store_refused",
});
words!(AssetStatus {
    Pending = "pending",
    Archiving = "archiving",
    Archived = "archived",
    Expired = "expired",
    Failed = "failed",
});

impl AssetState {
    pub fn status(&self) -> AssetStatus {
        match self {
            Self::Pending => AssetStatus::Pending,
            Self::Archiving => AssetStatus::Archiving,
            Self::Archived(_) => AssetStatus::Archived,
            Self::Expired(_) => AssetStatus::Expired,
            Self::Failed { .. } => AssetStatus::Failed,
        }
    }

    pub fn is_terminal(&self) -> bool {
        !matches!(self, Self::Pending | Self::Archiving)
    }

    pub fn reason(&self) -> Option<AssetReason> {
        match self {
            Self::Expired(reason) | Self::Failed { reason, .. } => Some(*reason),
            _ => None,
        }
    }

    /// The object in the bucket, if there is one.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Archived(stored) => Some(stored),
            Self::Failed { kept, .. } => kept.as_ref(),
            _ => None,
        }
    }
}

/// A link to media at the provider. Anyone who holds it can read the file, so it never reaches a log or an event.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(pub String);

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceUrl(<hidden>)")
    }
}

/// An object's full key in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey(pub String);

impl ObjectKey {
    /// Where a file goes whose container nobody understood.
    pub fn unverified(&self) -> Self {
        let stem = match self.0.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/{}", name.rsplit_once('.').map_or(name, |(stem, _)| stem)),
            None => self
                .0
                .rsplit_once('.')
                .map_or(self.0.clone(), |(stem, _)| stem.to_owned()),
        };
        Self(format!("{stem}.unverified"))
    }
}

/// A file name's extension, lower case, `[a-z0-9]{1,8}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectExt(String);

impl ObjectExt {
    pub fn new(ext: &str) -> Option<Self> {
        let ext = ext.to_ascii_lowercase();
        let fits = (1..=8).contains(&ext.len()) && ext.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then_some(Self(ext))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Extensions taken over from a provider's path; anything else there is not a file type we can name.
const KNOWN_EXTENSIONS: [&str; 16] = [
    "mp4", "webm", "mov", "m4v", "mkv", "gif", "png", "jpg", "jpeg", "webp", "avif", "svg", "mp3", "wav",
    "m4a", "flac",
];

/// How keys are made: `archive.key_template` with `s3.prefix`.
#[derive(Clone, Debug)]
pub struct KeyRule {
    pub template: String,
    pub prefix: String,
}

impl KeyRule {
    /// The final key of an asset: a pure function of the task and the result, so a restore finds it again
    /// (unless the template has date placeholders, which are taken from the task's creation).
    pub fn key(&self, task: &Task, asset: &Asset) -> ObjectKey {
        let prefix = format!("{}{}", self.prefix, task.key_prefix.as_deref().unwrap_or(""));
        let day = task.created_at.to_string();
        let ext = extension(task, &asset.source);
        let key = self
            .template
            .replace("{taskUUID}", &task.id.to_string())
            .replace("{resultId}", &asset.id.result.key_part())
            .replace("{ext}", &ext)
            .replace("{yyyy}", day.get(0..4).unwrap_or("0000"))
            .replace("{mm}", day.get(5..7).unwrap_or("00"))
            .replace("{dd}", day.get(8..10).unwrap_or("00"))
            .replace("{prefix}", &prefix); // last: a prefix may hold anything
        ObjectKey(key)
    }
}

/// The requested `outputFormat`, else the extension in the provider's path if known, else `bin`.
fn extension(task: &Task, source: &SourceUrl) -> String {
    if let Some(ext) = &task.ext {
        return ext.as_str().to_owned();
    }
    let path = source.0.split(['?', '#']).next().unwrap_or("");
    let name = path.rsplit('/').next().unwrap_or("");
    let ext = name.rsplit_once('.').map(|(_, ext)| ext.to_ascii_lowercase());
    ext.filter(|e| KNOWN_EXTENSIONS.contains(&e.as_str()))
        .unwrap_or_else(|| "bin".to_owned())
}
