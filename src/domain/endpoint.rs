//! A subscriber: what it wants, what signs for it, and how it is doing.

use super::event::{Event, EventData, EventKind};
use super::ids::{EndpointId, Tenant};
use super::task::words;
use super::task_webhook::has_provider_shape;
use super::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub tenant: Tenant,
    pub url: String,
    /// Empty: the default types ([`EventKind::is_default`]).
    pub types: Vec<EventKind>,
    /// Only events of tasks with all of these labels. Empty: of any.
    pub labels: BTreeMap<String, String>,
    /// Only events of tasks of one of these models. Empty: of any.
    pub models: Vec<String>,
    pub format: Format,
    pub secret: Secret,
    /// The one before the last rotation, while receivers move over.
    pub old_secret: Option<OldSecret>,
    pub created_at: Timestamp,
    pub disabled: Option<Disabled>,
    pub health: Health,
    /// Every event up to this sequence has been turned into a delivery or passed over.
    pub cursor: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OldSecret {
    pub secret: Secret,
    /// It signs beside the new one until then.
    pub until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub at: Timestamp,
    pub reason: DisabledReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledReason {
    /// It answered 410.
    Gone,
    /// It took nothing for [`GIVE_UP_AFTER`].
    Failing,
    /// An operator did it.
    ByHand,
}

words!(DisabledReason { Gone = "gone", Failing = "failing", ByHand = "by_hand" });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Standard,
    CloudEvents,
    Runware,
}

words!(Format { Standard = "standard", CloudEvents = "cloudevents", Runware = "runware" });

/// The bytes a signature is keyed with. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<hidden>)")
    }
}

/// What an operator changes; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub url: Option<String>,
    pub types: Option<Vec<EventKind>>,
    pub labels: Option<BTreeMap<String, String>>,
    pub models: Option<Vec<String>>,
    pub format: Option<Format>,
    pub disabled: Option<bool>,
}

impl Endpoint {
    /// For everything of the default types, from the start of the log.
    pub fn new(id: EndpointId, tenant: Tenant, url: String, secret: Secret, created_at: Timestamp) -> Self {
        Self {
            id,
            tenant,
            url,
            types: vec![],
            labels: BTreeMap::new(),
            models: vec![],
            format: Format::Standard,
            secret,
            old_secret: None,
            created_at,
            disabled: None,
            health: Health::default(),
            cursor: 0,
        }
    }

    /// Labels and models tell tasks apart; events about our own deliveries have neither and go by their type alone.
    pub fn wants(&self, event: &Event) -> bool {
        let about_itself = event.data.endpoint.as_deref() == Some(self.id.0.as_str());
        // The provider's own shape has words for some events only.
        let told = self.format != Format::Runware || has_provider_shape(event.kind);
        event.tenant == self.tenant
            && told
            && self.wants_type(event.kind)
            && !about_itself
            && (event.kind.is_operator() || self.wants_task(&event.data))
    }

    fn wants_type(&self, kind: EventKind) -> bool {
        match self.types.is_empty() {
            true => kind.is_default(),
            false => self.types.contains(&kind),
        }
    }

    fn wants_task(&self, data: &EventData) -> bool {
        let model = data.model.as_ref();
        let labelled = |(key, value): (&String, &String)| data.labels.get(key) == Some(value);
        (self.models.is_empty() || model.is_some_and(|m| self.models.contains(m)))
            && self.labels.iter().all(labelled)
    }

    /// Answers whether what waits shall be tried at once: at a new address, or after it was enabled again.
    pub fn change(&mut self, change: Change, now: Timestamp) -> bool {
        let moved = change.url.as_ref().is_some_and(|url| *url != self.url);
        let enabled = change.disabled == Some(false) && self.disabled.is_some();
        self.url = change.url.unwrap_or_else(|| std::mem::take(&mut self.url));
        self.types = change.types.unwrap_or_else(|| std::mem::take(&mut self.types));
        self.labels = change.labels.unwrap_or_else(|| std::mem::take(&mut self.labels));
        self.models = change.models.unwrap_or_else(|| std::mem::take(&mut self.models));
        self.format = change.format.unwrap_or(self.format);
        match change.disabled {
            Some(false) => self.disabled = None,
            Some(true) if self.disabled.is_none() => {
                let reason = DisabledReason::ByHand;
                self.disabled = Some(Disabled { at: now, reason });
            }
            _ => {}
        }
        if moved || enabled {
            self.health = Health::default();
        }
        moved || enabled
    }

    /// The secret so far signs on for `overlap`. A second rotation within it forgets the first one's old secret.
    pub fn rotate(&mut self, new: Secret, overlap: Duration, now: Timestamp) {
        let secret = std::mem::replace(&mut self.secret, new);
        let until = now.plus(overlap);
        self.old_secret = (!overlap.is_zero()).then_some(OldSecret { secret, until });
    }

    /// What signs now, the newest first.
    pub fn secrets(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        let old = self.old_secret.as_ref().filter(|old| now < old.until);
        std::iter::once(&self.secret).chain(old.map(|old| &old.secret))
    }
}

mod health;

pub use health::{GIVE_UP_AFTER, Health, MAX_AT_ONCE};

#[cfg(test)]
mod tests;
