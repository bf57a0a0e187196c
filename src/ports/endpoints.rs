//! What an operator does with a subscriber: change it, rotate its secret, look at its deliveries, send them again.
//!
//! Every call names the tenant; another tenant's endpoint is not there.

use super::store::StoreError;
use crate::domain::delivery::{DeadReason, DeliveryStatus, Endpoint, Secret};
use crate::domain::endpoint::Change;
use crate::domain::event::EventKind;
use crate::domain::ids::{EndpointId, EventId, TaskId, Tenant};
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
pub trait Endpoints: Send + Sync {
    async fn endpoint(&self, tenant: &Tenant, id: &EndpointId) -> Result<Option<Endpoint>, StoreError>;

    /// Changes what the change names, in one commit. Deliveries made before keep their events; where the endpoint was
    /// enabled or moved, those that wait are due at once.
    async fn change_endpoint(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError>;

    /// Puts `new` in the place of the secret, which signs on beside it for `overlap`.
    async fn rotate_secret(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        new: Secret,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError>;

    /// Newest first, each with its latest tries; at most `limit` (1–200).
    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Option<DeliveryPage>, StoreError>;

    /// Revives at most [`REDRIVE_BATCH`] deliveries, due at once and with a whole schedule before them, and notes who
    /// asked in the operator log; call again with [`Redriven::next`] until that is `None`. `None`: the endpoint, or the
    /// one delivery named, is not there.
    async fn redrive(&self, redrive: &Redrive) -> Result<Option<Redriven>, StoreError>;
}

/// Deliveries revived in one commit: enough to be quick, few enough to hold up nobody.
pub const REDRIVE_BATCH: u32 = 500;

/// Latest tries shown of one delivery: several whole schedules.
pub const MAX_TRIES_SHOWN: u32 = 50;

#[derive(Clone, Debug)]
pub struct DeliveryQuery {
    pub tenant: Tenant,
    pub endpoint: EndpointId,
    /// Empty: any.
    pub statuses: Vec<DeliveryStatus>,
    /// Of events at or after, before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub event: Option<EventId>,
    pub limit: u32,
    /// From [`DeliveryPage::next`].
    pub cursor: Option<u64>,
}

#[derive(Debug, PartialEq)]
pub struct DeliveryPage {
    pub deliveries: Vec<PastDelivery>,
    /// `None`: the end. A page may be short, even empty, and yet not the last.
    pub next: Option<u64>,
}

/// A delivery as people look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct PastDelivery {
    pub id: i64,
    pub event: EventId,
    pub kind: EventKind,
    pub sequence: u64,
    pub task: Option<TaskId>,
    /// Of the event.
    pub at: Timestamp,
    pub status: DeliveryStatus,
    pub reason: Option<DeadReason>,
    pub tries: u32,
    /// `None`: delivered, dead, or behind an earlier event of its task.
    pub due_at: Option<Timestamp>,
    /// The latest [`MAX_TRIES_SHOWN`], oldest first.
    pub attempts: Vec<PastAttempt>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PastAttempt {
    pub number: u32,
    pub at: Timestamp,
    pub duration: Duration,
    /// `None`: nothing answered, for the reason in `code`.
    pub status: Option<u16>,
    pub code: Option<String>,
    pub retry_after: Option<Duration>,
    pub excerpt: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Redrive {
    pub tenant: Tenant,
    pub endpoint: EndpointId,
    pub which: Which,
    pub now: Timestamp,
    /// The API key's id, for the operator log.
    pub actor: String,
    /// From [`Redriven::next`].
    pub after: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// This one, whatever came of it so far; one that is on its way already is left to it.
    Delivery(i64),
    Event(EventId),
    /// The dead ones of events at or after `since` and before `until`.
    Dead {
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redriven {
    pub count: u64,
    /// Where to go on; `None`: that was all.
    pub next: Option<i64>,
}
