//! What a copy came to. Bytes are ours only when verified; a dead link is given every chance before it is `expired`;
//! a paid file is never thrown away on our parser's word.

use super::{Draft, Policy, TaskFile};
use crate::domain::asset::{Asset, AssetReason, AssetState, Intent, Left, Stored, Trouble};
use crate::domain::backoff::{self, Jitter};
use crate::domain::event::EventKind;
use crate::domain::ids::ResultId;
use crate::domain::task::Outcome;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use serde_json::json;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub enum CopyOutcome {
    /// Verified in the bucket.
    Archived(Stored),
    /// Verified in the bucket under its `.unverified` key: right-sized, but no container we understand.
    KeptUnverified(Stored),
    NotStored(NotStored),
}

/// Why nothing was stored this time.
#[derive(Clone, Debug, PartialEq)]
pub enum NotStored {
    /// 403, 404, 410.
    SourceDead {
        status: u16,
    },
    /// 5xx, no connection, broken off, or an answer that is no file.
    SourceUnavailable {
        code: String,
        retry_after: Option<Duration>,
    },
    /// The network guard refuses the link.
    SourceForbidden {
        code: &'static str,
    },
    /// Empty, HTML, XML, JSON, or not the length it declared: never stored.
    NotAFile {
        what: &'static str,
    },
    /// Right-sized, but the container is unknown or incomplete.
    NotUnderstood {
        what: &'static str,
    },
    /// Understood after all, while it was being kept as unverified: copy it again to its own key.
    UnderstoodAfterAll,
    TooLarge {
        size_bytes: u64,
    },
    /// Another object lies under the key. Never overwritten.
    Conflict,
    /// The store refuses for good.
    StoreRefused {
        code: String,
    },
    /// The store cannot take it now: waits as long as it takes, the link keeps its own clock.
    StoreUnavailable {
        code: String,
    },
}

/// The waits between tries of a dead link; the last repeats.
const DEAD_WAITS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3600),
];
/// A dead link is `expired` only this long after `archive_by` …
const DEAD_GRACE: Duration = Duration::from_secs(3600);
/// … and after this many tries over at least this long, so that a clock that jumped expires nothing (I18).
const DEAD_TRIES: u32 = 5;
const DEAD_OVER: Duration = Duration::from_secs(20 * 60);
/// Dead tries before that of a claim which the provider's whole answer contradicts: a new link may be slow to appear.
const DISPROVED_AFTER_TRIES: u32 = 2;
/// A source that never dies nor delivers ends this long after `archive_by`.
const UNAVAILABLE_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Tries, a fresh link among them, before content that is no file is believed to be all there is: a CDN that is being
/// mended answers with pages, too, and the usual back-off gives it some minutes. Without an answer to the wish for a
/// fresh link, twice as many.
const BAD_TRIES: u32 = 8;
/// Tries before a container we cannot read is kept as it is, one refresh among them: a cache that serves half a file
/// for some seconds must not become the verdict on a paid one.
const KEEP_TRIES: u32 = 4;
/// Without an answer to the refresh, this many tries stand in for it.
const KEEP_TRIES_UNREFRESHED: u32 = 8;
/// Tries before the store's refusal is believed.
const REFUSED_TRIES: u32 = 5;

impl TaskFile {
    /// Committed before the last byte of an upload is released: what the object must equal if we are cut off now.
    pub fn intends(self, result: &ResultId, intent: Intent, now: Timestamp) -> Transition {
        let mut draft = Draft::of(self, now);
        if let Some(asset) = draft.change(result) {
            asset.intent = Some(intent);
        }
        draft.finish()
    }

    /// Settles one claim of an asset.
    pub fn copied(
        self,
        result: &ResultId,
        outcome: CopyOutcome,
        policy: &Policy,
        now: Timestamp,
        jitter: Jitter,
    ) -> Transition {
        let mut draft = Draft::of(self, now);
        match outcome {
            CopyOutcome::Archived(stored) => draft.archived(result, stored),
            CopyOutcome::KeptUnverified(stored) => draft.fail(result, AssetReason::BadContent, Some(stored)),
            CopyOutcome::NotStored(why) => draft.not_stored(result, &why, policy, jitter),
        }
        draft.conclude();
        draft.finish()
    }
}

impl Draft {
    fn archived(&mut self, result: &ResultId, stored: Stored) {
        self.note(
            "archived",
            json!({ "result": result.as_str(), "size": stored.size_bytes }),
        );
        self.compare_with_earlier(result, &stored);
        self.settle(result, AssetState::Archived(stored));
        self.tell_asset(EventKind::AssetArchived, result);
    }

    /// The provider may serve other bytes than an earlier round had: nobody shall have to find out by chance.
    fn compare_with_earlier(&mut self, result: &ResultId, stored: &Stored) {
        let Some(left) = self.file.asset(result).and_then(|a| a.left.as_ref()) else {
            return;
        };
        let before = left.stored();
        if before.sha256 != stored.sha256 {
            let detail = json!({
                "result": result.as_str(),
                "keyBefore": before.key.0, "sha256Before": before.sha256.hex(), "sha256": stored.sha256.hex(),
            });
            self.note("differs", detail);
        }
    }

    /// What an earlier round kept aside stays named, however this one failed.
    fn fail(&mut self, result: &ResultId, reason: AssetReason, kept: Option<Stored>) {
        if let Some(kept) = &kept {
            self.compare_with_earlier(result, kept);
        }
        let kept = kept.or_else(|| self.kept_before(result));
        self.note(
            "copy_failed",
            json!({ "result": result.as_str(), "reason": reason.as_str() }),
        );
        self.settle(result, AssetState::Failed { reason, kept });
        self.tell_asset(EventKind::AssetFailed, result);
    }

    fn kept_before(&self, result: &ResultId) -> Option<Stored> {
        match &self.file.asset(result)?.left {
            Some(Left::Kept(kept)) => Some(kept.clone()),
            Some(Left::Gone(_)) | None => None,
        }
    }

    /// Nothing more will come, unless an earlier round kept the file: then its verdict stands, which names the object.
    fn expire(&mut self, result: &ResultId) {
        if self.kept_before(result).is_some() {
            return self.fail(result, AssetReason::BadContent, None);
        }
        self.note("expired", json!({ "result": result.as_str() }));
        self.settle(result, AssetState::Expired(AssetReason::SourceGone));
        self.tell_asset(EventKind::AssetExpired, result);
    }

    fn settle(&mut self, result: &ResultId, state: AssetState) {
        if let Some(asset) = self.change(result) {
            if state.stored().is_some() {
                asset.left = None;
            }
            asset.state = state;
            asset.intent = None;
            asset.trouble = Trouble::default();
            asset.due_at = None;
            asset.at_risk_at = None;
        }
    }

    fn not_stored(&mut self, result: &ResultId, why: &NotStored, policy: &Policy, jitter: Jitter) {
        let now = self.now;
        let all_known = self.file.task.outcome == Outcome::Known;
        let Some(asset) = self.change(result) else { return };
        asset.state = AssetState::Pending;
        let disproved = all_known && asset.is_disproved_by_all_the_others(why);
        let next = asset.next_try(why, policy, now, jitter);
        match if disproved { Next::Expire } else { next } {
            Next::Again(wait) => {
                asset.due_at = Some(now.plus(wait));
                let wants_fresh = asset.trouble.wants_fresh;
                self.note(
                    "copy_postponed",
                    json!({ "result": result.as_str(), "why": why.code() }),
                );
                if wants_fresh {
                    self.file.task.due_at = Some(now); // a fresh link is a status query away
                }
            }
            Next::Expire => self.expire(result),
            Next::Fail(reason) => self.fail(result, reason, None),
        }
    }
}

enum Next {
    Again(Duration),
    Expire,
    Fail(AssetReason),
}

impl Asset {
    /// Whether the next copy goes to the `.unverified` key if the container is still not understood.
    pub fn keeps_unverified(&self) -> bool {
        let tries = self.trouble.bad_tries;
        (self.trouble.refreshed && tries >= KEEP_TRIES) || tries >= KEEP_TRIES_UNREFRESHED
    }

    /// G8: only a callback ever named it, every result of the task is accounted for without it, and its link is dead:
    /// it never was, and must not keep the task open for as long as a paid result is waited for.
    fn is_disproved_by_all_the_others(&self, why: &NotStored) -> bool {
        let dead = matches!(why, NotStored::SourceDead { .. });
        dead && !self.confirmed && self.trouble.dead_tries >= DISPROVED_AFTER_TRIES
    }

    fn next_try(&mut self, why: &NotStored, policy: &Policy, now: Timestamp, jitter: Jitter) -> Next {
        self.count(why);
        match why {
            NotStored::SourceDead { .. } => self.after_dead_link(now, jitter),
            NotStored::SourceUnavailable { retry_after, .. } => {
                self.after_trouble(*retry_after, policy, now, jitter)
            }
            NotStored::SourceForbidden { .. } => {
                self.trouble.wants_fresh = true;
                self.after_trouble(Some(policy.retry_max_interval), policy, now, jitter)
            }
            NotStored::NotAFile { .. } => self.after_no_file(policy, now, jitter),
            NotStored::NotUnderstood { .. } => {
                self.after_bad_content(now);
                Next::Again(backoff::delay(
                    self.trouble.bad_tries,
                    policy.retry_max_interval,
                    None,
                    jitter,
                ))
            }
            NotStored::UnderstoodAfterAll => {
                self.trouble = Trouble::default();
                Next::Again(Duration::ZERO)
            }
            NotStored::TooLarge { .. } => Next::Fail(AssetReason::TooLarge),
            NotStored::Conflict => Next::Fail(AssetReason::Conflict),
            NotStored::StoreRefused { .. } if self.trouble.refused_tries >= REFUSED_TRIES => {
                Next::Fail(AssetReason::StoreRefused)
            }
            NotStored::StoreRefused { .. } | NotStored::StoreUnavailable { .. } => Next::Again(
                backoff::delay(self.trouble.failed_tries, policy.retry_max_interval, None, jitter),
            ),
        }
    }

    /// What ends an asset is counted apart from what only drives the back-off: after a long outage of the store, one
    /// refusal or one hiccup of the source is not the last word.
    fn count(&mut self, why: &NotStored) {
        let (of_source, refused) = match why {
            NotStored::SourceUnavailable { .. } | NotStored::SourceForbidden { .. } => (true, false),
            NotStored::StoreRefused { .. } => (false, true),
            NotStored::StoreUnavailable { .. } => (false, false),
            _ => return,
        };
        let trouble = &mut self.trouble;
        trouble.failed_tries += 1;
        trouble.source_tries = if of_source { trouble.source_tries + 1 } else { 0 };
        trouble.refused_tries = if refused { trouble.refused_tries + 1 } else { 0 };
    }

    fn after_dead_link(&mut self, now: Timestamp, jitter: Jitter) -> Next {
        let since = *self.trouble.dead_since.get_or_insert(now);
        self.trouble.dead_tries += 1;
        let tries = self.trouble.dead_tries;
        let patience_ends = self.archive_by.plus(DEAD_GRACE);
        let tried = tries >= DEAD_TRIES && now.since(since) >= DEAD_OVER;
        // Not before the question for a fresh link was answered, though the provider be away for hours (G6).
        let asked = self.trouble.refreshed && !self.trouble.wants_fresh;
        if now >= patience_ends && tried && (asked || now.since(since) >= UNAVAILABLE_GRACE) {
            return Next::Expire;
        }
        let step = (tries as usize - 1).min(DEAD_WAITS.len() - 1);
        // Before each further try: an early answer may still show the dead link, or none.
        self.trouble.wants_fresh = true;
        Next::Again(backoff::around(DEAD_WAITS[step], 0.1, jitter))
    }

    fn after_trouble(
        &mut self,
        at_least: Option<Duration>,
        policy: &Policy,
        now: Timestamp,
        jitter: Jitter,
    ) -> Next {
        if now >= self.archive_by.plus(UNAVAILABLE_GRACE) && self.trouble.source_tries >= DEAD_TRIES {
            return Next::Expire;
        }
        Next::Again(backoff::delay(
            self.trouble.failed_tries,
            policy.retry_max_interval,
            at_least,
            jitter,
        ))
    }

    fn after_no_file(&mut self, policy: &Policy, now: Timestamp, jitter: Jitter) -> Next {
        self.after_bad_content(now);
        let tries = self.trouble.bad_tries;
        if tries >= BAD_TRIES && (self.trouble.refreshed || tries >= 2 * BAD_TRIES) {
            return Next::Fail(AssetReason::BadContent);
        }
        Next::Again(backoff::delay(tries, policy.retry_max_interval, None, jitter))
    }

    /// Counts the try and asks for a fresh link once.
    fn after_bad_content(&mut self, now: Timestamp) {
        self.trouble.bad_tries += 1;
        self.trouble.wants_fresh |= !self.trouble.refreshed;
        self.trouble.bad_since.get_or_insert(now);
    }
}

impl NotStored {
    /// Stable, for logs, metrics and the timeline.
    pub fn code(&self) -> String {
        match self {
            Self::SourceDead { status } => format!("source_http_{status}"),
            Self::SourceUnavailable { code, .. } => format!("source_{code}"),
            Self::SourceForbidden { code } => (*code).to_owned(),
            Self::NotAFile { what } | Self::NotUnderstood { what } => format!("content_{what}"),
            Self::UnderstoodAfterAll => "understood_after_all".to_owned(),
            Self::TooLarge { .. } => "too_large".to_owned(),
            Self::Conflict => "conflict".to_owned(),
            Self::StoreRefused { code } | Self::StoreUnavailable { code } => format!("store_{code}"),
        }
    }
}
