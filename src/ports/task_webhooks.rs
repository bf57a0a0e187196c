//! The webhooks that single tasks brought with them, and their deliveries.

use super::store::{Claim, StoreError};
use crate::domain::backoff::Jitter;
use crate::domain::delivery::{After, Attempt, Delivery};
use crate::domain::event::NewEvent;
use crate::domain::fair_share::Places;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::lease::Lease;
use crate::domain::task::Failure;
use crate::domain::time::Timestamp;
use async_trait::async_trait;
use std::time::Duration;

/// A delivery is made in the commit that writes its event, due at once; the first claim after that adds the wait
/// before the first try.
#[async_trait]
pub trait TaskWebhooks: Send + Sync {
    /// Deliveries to try, earliest due first, shared between tenants and their receivers (scheme, host, port) as
    /// [`crate::domain::fair_share`] says; live leases are the places taken. A receiver of one tenant that fails tries in
    /// a row has the room of its [`crate::domain::endpoint::Health`]. `Delivery::attempt` counts from 1 and anew after a
    /// redrive.
    async fn claim_task_deliveries(
        &self,
        c: Claim,
        places: Places,
        first_wait: Duration,
    ) -> Result<Vec<Lease<Delivery>>, StoreError>;

    /// Records a try and what follows from it, with the operator events it calls for, under the delivery's lease.
    /// After [`crate::domain::delivery::After::Gone`] every open delivery of the task is dead for the same reason, and so
    /// is each that is made later; each of these deaths is told by a `delivery.dead` of its own.
    async fn settle_task_delivery(&self, settled: SettledTaskDelivery) -> Result<(), StoreError>;

    /// Makes the dead deliveries of a task due now, with the whole schedule before them; a 410 is forgotten. Answers
    /// how many; `None`: this tenant has no such task.
    async fn redrive_task(
        &self,
        tenant: &Tenant,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError>;

    /// What the provider's own shape needs beside an event. `None`: no such task.
    async fn brief(&self, id: TaskId) -> Result<Option<TaskBrief>, StoreError>;
}

pub struct SettledTaskDelivery {
    pub id: i64,
    pub epoch: u64,
    /// Numbered by the store: a redrive does not start anew.
    pub attempt: Attempt,
    pub after: After,
    /// Of the receiver's rest.
    pub jitter: Jitter,
    /// `delivery.dead`.
    pub events: Vec<NewEvent>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskBrief {
    /// `None`: adopted, or stored before types were kept.
    pub task_type: Option<String>,
    /// Failed items, as the provider told them.
    pub failures: Vec<Failure>,
}
