//! A delivery: one event to one endpoint, tried until it is taken or the schedule is out.

use super::backoff::{self, Jitter};
use super::event::{Event, EventKind};
use super::ids::{EndpointId, EventId};
use super::task::words;
use super::time::Timestamp;
use std::time::Duration;

pub use super::endpoint::{Endpoint, Format, Secret};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Not tried yet.
    Pending,
    /// A worker holds the lease.
    Sending,
    /// Tried, to be tried again.
    Waiting,
    Delivered,
    /// For a [`DeadReason`]: an operator may redrive it.
    Dead,
}

impl DeliveryStatus {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Sending,
        Self::Waiting,
        Self::Delivered,
        Self::Dead,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// The schedule is out.
    OutOfTries,
    /// The endpoint answered 410.
    Gone,
}

words!(DeadReason { OutOfTries = "out_of_tries", Gone = "gone" });

words!(DeliveryStatus {
    Pending = "pending",
    Sending = "sending",
    Waiting = "waiting",
    Delivered = "delivered",
    Dead = "dead",
});

/// A claimed delivery with all that is needed to send it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: i64,
    pub endpoint: Endpoint,
    pub event: Event,
    /// Counted from 1: the try that is about to be made.
    pub attempt: u32,
    /// The same, counted from the last redrive: where it stands in the schedule.
    pub step: u32,
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// 2xx.
    Delivered { status: u16 },
    /// Anything else that answered; a redirect is not followed and counts here.
    Refused {
        status: u16,
        retry_after: Option<Duration>,
        excerpt: String,
    },
    /// Nothing answered: a stable code (`timeout`, `connect`, `dns`, `tls`, `forbidden_address` …).
    Unreached { code: &'static str },
}

impl Outcome {
    /// What the endpoint asked us to wait for, within bounds.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Refused {
                retry_after: Some(wait),
                ..
            } => Some(now.plus((*wait).min(MAX_RETRY_AFTER))),
            _ => None,
        }
    }

    /// Nothing was sent, by our own fault: it says nothing of the endpoint.
    pub fn is_our_fault(&self) -> bool {
        matches!(self, Self::Unreached { code } if OUR_FAULTS.contains(code))
    }

    /// Whether it may be this one event that was not taken, and no other. Whoever is away, or asks to be asked later, says
    /// nothing of what it was to be told.
    pub fn blames_event(&self) -> bool {
        match self {
            Self::Delivered { .. } => false,
            Self::Refused { status, .. } => !matches!(status, 429 | 502..=504),
            Self::Unreached { code } => *code == UNSENDABLE,
        }
    }
}

/// An event without a form that can be sent: never by its own fault, so it is a stable code like any other trouble.
pub const UNSENDABLE: &str = "unsendable_event";
/// No link into the object store could be signed.
pub const NO_CREDENTIALS: &str = "no_credentials";
/// Our own database could not be asked.
pub const STORAGE_UNAVAILABLE: &str = "storage_unavailable";
const OUR_FAULTS: [&str; 3] = [UNSENDABLE, NO_CREDENTIALS, STORAGE_UNAVAILABLE];

/// One try, as it is kept for people to read.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub number: u32,
    pub at: Timestamp,
    pub duration: Duration,
    pub outcome: Outcome,
}

/// What follows a try.
#[derive(Clone, Debug, PartialEq)]
pub enum After {
    Delivered,
    RetryAt(Timestamp),
    /// No attempts left.
    Dead,
    /// The endpoint said 410: it is disabled, and this delivery is dead.
    Gone,
}

impl After {
    pub fn dead_reason(&self) -> Option<DeadReason> {
        match self {
            Self::Dead => Some(DeadReason::OutOfTries),
            Self::Gone => Some(DeadReason::Gone),
            Self::Delivered | Self::RetryAt(_) => None,
        }
    }
}

/// The wait before each try (`events.schedule`); dead after the last.
#[derive(Clone, Debug)]
pub struct Schedule(pub Vec<Duration>);

impl Schedule {
    /// What follows try number `step`: each wait ±20 %, never earlier than the endpoint's `Retry-After`.
    pub fn after(&self, step: u32, outcome: &Outcome, now: Timestamp, jitter: Jitter) -> After {
        match outcome {
            Outcome::Delivered { .. } => return After::Delivered,
            Outcome::Refused { status: 410, .. } => return After::Gone,
            Outcome::Refused { .. } | Outcome::Unreached { .. } => {}
        }
        match self.0.get(step as usize) {
            None => After::Dead,
            Some(wait) => {
                let planned = now.plus(backoff::around(*wait, 0.2, jitter));
                After::RetryAt(outcome.not_before(now).map_or(planned, |at| at.max(planned)))
            }
        }
    }
}

/// Longest `Retry-After` an endpoint can ask for: a day, well inside the schedule.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// The id of an operator event about this endpoint and the event that failed there. What the same delivery comes to after
/// a redrive is a fact of its own: tries are counted on, so the last one's number tells the two apart.
pub fn operator_event_id(kind: EventKind, endpoint: &EndpointId, event: &EventId, attempt: u32) -> EventId {
    EventId::derive(&[kind.as_str(), &endpoint.0, event.as_str(), &attempt.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(status: u16) -> Outcome {
        Outcome::Refused {
            status,
            retry_after: None,
            excerpt: String::new(),
        }
    }

    proptest! {
        #[test]
        fn i12_every_delivery_ends(n in 1usize..13, j in 0.0f64..1.0, attempt in 1u32..40) {
            let schedule = Schedule(vec![Duration::from_secs(10); n]);
            let now = Timestamp::from_millis(0);
            match schedule.after(attempt, &refused(500), now, Jitter(j)) {
                After::Dead => prop_assert!(attempt as usize >= n),
                After::RetryAt(at) => {
                    prop_assert!((attempt as usize) < n);
                    prop_assert!((8_000..=12_000).contains(&at.as_millis()));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn a_redirect_is_a_failure_410_ends_and_retry_after_is_obeyed() {
        let schedule = Schedule(vec![Duration::ZERO, Duration::from_secs(5)]);
        let now = Timestamp::from_millis(0);
        let after = |o: &Outcome| schedule.after(1, o, now, Jitter(0.5));
        assert_eq!(
            after(&refused(302)),
            After::RetryAt(Timestamp::from_millis(5_000))
        );
        assert_eq!(after(&refused(410)), After::Gone);
        let busy = Outcome::Refused {
            status: 503,
            retry_after: Some(Duration::from_secs(90)),
            excerpt: String::new(),
        };
        assert_eq!(after(&busy), After::RetryAt(Timestamp::from_millis(90_000)));
    }

    #[test]
    fn i8_a_second_death_after_a_redrive_is_a_fact_of_its_own() {
        let (endpoint, event) = (EndpointId::new([1; 16]), EventId::stored("evt_1".to_owned()));
        let id = |attempt| operator_event_id(EventKind::DeliveryDead, &endpoint, &event, attempt);
        assert_eq!(id(12), id(12), "the same try, told again after a crash");
        assert_ne!(id(12), id(24));
    }
}
