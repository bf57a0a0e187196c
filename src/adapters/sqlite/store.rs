//! Which function runs where, for everything but what `records` has.

use super::tasks::Hold;
use super::{
    SqliteStore, accounts, chores, deliveries, delivery_log, endpoints, events, leases, lists, operator,
    overdue, sinks, task_webhooks, tasks,
};
use crate::domain::delivery::{Delivery, Endpoint, Secret};
use crate::domain::endpoint::{Change, DisabledReason};
use crate::domain::event::Event;
use crate::domain::fair_share::Places;
use crate::domain::file::TaskFile;
use crate::domain::ids::{AssetId, Digest, EndpointId, TaskId, Tenant};
use crate::domain::lease::{Fence, Lease};
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use crate::ports::endpoints::{DeliveryPage, DeliveryQuery, Endpoints, Redrive, Redriven};
use crate::ports::operator::{OperatorEntry, OperatorLog};
use crate::ports::overdue::{Overdue, SendLimits};
use crate::ports::sinks::Sinks;
use crate::ports::store::{
    Accepted, Accounts, ApiKey, Claim, CopyJob, EventPage, EventQuery, FannedOut, Figures, Held, Inbox,
    Inquiry, Leases, NewApiKey, NewReceipt, NewSubmission, Outbox, Queue, Recorded, SettledDelivery,
    StoreError, TaskPage, TaskQuery, TaskStore, TimelineLine,
};
use crate::ports::task_webhooks::{SettledTaskDelivery, TaskBrief, TaskWebhooks};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::watch;

#[async_trait]
impl TaskStore for SqliteStore {
    async fn accept(&self, submission: NewSubmission) -> Result<Accepted, StoreError> {
        self.write("accept", move |conn| tasks::accept(conn, &submission))
            .await
    }

    async fn adopt(&self, transition: Transition) -> Result<bool, StoreError> {
        self.write("adopt", move |conn| tasks::adopt(conn, &transition))
            .await
    }

    async fn task(&self, tenant: Option<&Tenant>, id: TaskId) -> Result<Option<TaskFile>, StoreError> {
        let tenant = tenant.cloned();
        self.read("task", move |conn| lists::task(conn, tenant.as_ref(), id))
            .await
    }

    async fn document(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        self.read("document", move |conn| tasks::document(conn, id)).await
    }

    async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        let query = query.clone();
        self.read("tasks", move |conn| lists::tasks(conn, &query)).await
    }

    async fn timeline(&self, id: TaskId) -> Result<Vec<TimelineLine>, StoreError> {
        self.read("timeline", move |conn| lists::timeline(conn, id)).await
    }

    async fn commit(&self, transition: Transition, fence: Fence) -> Result<(), StoreError> {
        self.write("commit", move |conn| {
            tasks::commit(conn, &transition, &fence, Hold::Release).map(drop)
        })
        .await
    }

    async fn commit_and_hold(&self, transition: Transition, fence: Fence) -> Result<u64, StoreError> {
        self.write("commit_and_hold", move |conn| {
            tasks::commit(conn, &transition, &fence, Hold::Keep)
        })
        .await
    }

    async fn figures(&self, _now: Timestamp) -> Result<Figures, StoreError> {
        self.read("figures", lists::figures).await
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        self.write("check_writable", tasks::probe_write).await
    }
}

#[async_trait]
impl Inbox for SqliteStore {
    async fn record(&self, receipt: NewReceipt) -> Result<Recorded, StoreError> {
        self.receipts.write(&self.writer, receipt).await
    }
}

#[async_trait]
impl Leases for SqliteStore {
    async fn claim_submissions(&self, c: Claim) -> Result<Vec<Lease<TaskFile>>, StoreError> {
        self.write("claim_submissions", move |conn| {
            leases::claim_submissions(conn, &c)
        })
        .await
    }

    async fn claim_queries(&self, c: Claim) -> Result<Vec<Lease<Inquiry>>, StoreError> {
        self.write("claim_queries", move |conn| leases::claim_queries(conn, &c))
            .await
    }

    async fn claim_copies(&self, c: Claim) -> Result<Vec<Lease<CopyJob>>, StoreError> {
        self.write("claim_copies", move |conn| leases::claim_copies(conn, &c))
            .await
    }

    async fn claim_deliveries(
        &self,
        c: Claim,
        per_endpoint: u32,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        let until = c.now.plus(c.lease);
        let claimed = self
            .write("claim_deliveries", move |conn| {
                deliveries::claim_deliveries(conn, &c, per_endpoint)
            })
            .await?;
        if claimed.is_empty() {
            return Ok(vec![]);
        }
        let held: Vec<Held> = claimed.iter().map(deliveries::Claimed::held).collect();
        let read = self.read("claim_deliveries", move |conn| {
            deliveries::with_events(conn, &claimed, until)
        });
        match read.await {
            Ok(leases) => Ok(leases),
            Err(e) => {
                // Nobody will work them: they need not wait for their leases to lapse.
                let given_back = self.write("claim_deliveries", move |conn| {
                    held.iter().try_for_each(|one| leases::release(conn, one))
                });
                let _ = given_back.await;
                Err(e)
            }
        }
    }

    async fn renew(&self, held: &Held, until: Timestamp) -> Result<(), StoreError> {
        let held = held.clone();
        self.write("renew", move |conn| leases::renew(conn, &held, until))
            .await
    }

    async fn release(&self, held: &Held) -> Result<(), StoreError> {
        let held = held.clone();
        self.write("release", move |conn| leases::release(conn, &held))
            .await
    }

    async fn next_due(&self, queue: Queue) -> Result<Option<Timestamp>, StoreError> {
        self.read("next_due", move |conn| leases::next_due(conn, queue))
            .await
    }

    async fn void_leases(&self) -> Result<u64, StoreError> {
        self.write("void_leases", leases::void_leases).await
    }
}

#[async_trait]
impl Overdue for SqliteStore {
    async fn at_risk(&self, now: Timestamp, limit: u32) -> Result<Vec<AssetId>, StoreError> {
        self.read("at_risk", move |conn| overdue::at_risk(conn, now, limit))
            .await
    }

    async fn hasten_copies(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write("hasten_copies", move |conn| overdue::hasten_copies(conn, now))
            .await
    }

    async fn claim_unsendable(
        &self,
        c: Claim,
        limits: SendLimits,
    ) -> Result<Vec<Lease<TaskFile>>, StoreError> {
        self.write("claim_unsendable", move |conn| {
            overdue::claim_unsendable(conn, &c, &limits)
        })
        .await
    }
}

#[async_trait]
impl OperatorLog for SqliteStore {
    async fn commit_by_operator(
        &self,
        transition: Transition,
        entry: OperatorEntry,
    ) -> Result<(), StoreError> {
        self.write("commit_by_operator", move |conn| {
            operator::commit_by_operator(conn, &transition, &entry)
        })
        .await
    }
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let query = query.clone();
        self.read("events", move |conn| events::events(conn, &query))
            .await
    }

    fn last_sequence(&self) -> watch::Receiver<u64> {
        self.signals.last_sequence.subscribe()
    }

    async fn fan_out(
        &self,
        now: Timestamp,
        first_wait: Duration,
        limit: u32,
    ) -> Result<FannedOut, StoreError> {
        self.write("fan_out", move |conn| {
            endpoints::fan_out(conn, now, first_wait, limit)
        })
        .await
    }

    async fn settle_delivery(&self, settled: SettledDelivery) -> Result<Option<DisabledReason>, StoreError> {
        self.settlements.write(&self.writer, settled).await
    }

    async fn create_endpoint(&self, endpoint: Endpoint) -> Result<(), StoreError> {
        self.write("create_endpoint", move |conn| {
            endpoints::create_endpoint(conn, &endpoint)
        })
        .await
    }

    async fn endpoints(&self, tenant: Option<&Tenant>) -> Result<Vec<Endpoint>, StoreError> {
        let tenant = tenant.cloned();
        let found = self
            .read("endpoints", move |conn| {
                endpoints::endpoints(conn, tenant.as_ref())
            })
            .await?;
        Ok(found.into_iter().map(|(_, endpoint)| endpoint).collect())
    }

    async fn delete_endpoint(&self, tenant: &Tenant, id: &EndpointId) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let deleted = self
            .write("delete_endpoint", move |conn| {
                endpoints::delete_endpoint(conn, &tenant, &id)
            })
            .await?;
        let Some(key) = deleted else { return Ok(false) };
        // Should this not come to its end, the next claims go on with it.
        while let Ok(true) = self
            .write("delete_endpoint", move |conn| chores::step(conn, key))
            .await
        {}
        Ok(true)
    }
}

#[async_trait]
impl Endpoints for SqliteStore {
    async fn endpoint(&self, tenant: &Tenant, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        let found = self
            .read("endpoint", move |conn| endpoints::endpoint(conn, &tenant, &id))
            .await?;
        Ok(found.map(|(_, endpoint)| endpoint))
    }

    async fn change_endpoint(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        change: Change,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.write("change_endpoint", move |conn| {
            endpoints::change_endpoint(conn, &tenant, &id, change, now)
        })
        .await
    }

    async fn rotate_secret(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        new: Secret,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, StoreError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.write("rotate_secret", move |conn| {
            endpoints::rotate_secret(conn, &tenant, &id, new, overlap, now)
        })
        .await
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<Option<DeliveryPage>, StoreError> {
        let query = query.clone();
        self.read("deliveries", move |conn| delivery_log::deliveries(conn, &query))
            .await
    }

    async fn redrive(&self, redrive: &Redrive) -> Result<Option<Redriven>, StoreError> {
        let redrive = redrive.clone();
        self.write("redrive", move |conn| delivery_log::redrive(conn, &redrive))
            .await
    }
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_key(&self, key: NewApiKey) -> Result<(), StoreError> {
        self.write("create_key", move |conn| accounts::create_key(conn, &key))
            .await
    }

    async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read("keys", accounts::keys).await
    }

    async fn revoke_key(&self, id_or_name: &str, now: Timestamp) -> Result<bool, StoreError> {
        let id_or_name = id_or_name.to_owned();
        self.write("revoke_key", move |conn| {
            accounts::revoke_key(conn, &id_or_name, now)
        })
        .await
    }

    async fn key_by_hash(&self, sha256: &Digest) -> Result<Option<ApiKey>, StoreError> {
        let sha256 = *sha256;
        self.read("key_by_hash", move |conn| accounts::key_by_hash(conn, &sha256))
            .await
    }
}

#[async_trait]
impl TaskWebhooks for SqliteStore {
    async fn claim_task_deliveries(
        &self,
        c: Claim,
        places: Places,
        first_wait: Duration,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        self.write("claim_task_deliveries", move |conn| {
            task_webhooks::claim(conn, &c, places, first_wait)
        })
        .await
    }

    async fn settle_task_delivery(&self, settled: SettledTaskDelivery) -> Result<(), StoreError> {
        self.write("settle_task_delivery", move |conn| {
            task_webhooks::settle(conn, &settled)
        })
        .await
    }

    async fn redrive_task(
        &self,
        tenant: &Tenant,
        id: TaskId,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let tenant = tenant.clone();
        self.write("redrive_task", move |conn| {
            task_webhooks::redrive(conn, &tenant, id, now)
        })
        .await
    }

    async fn brief(&self, id: TaskId) -> Result<Option<TaskBrief>, StoreError> {
        self.read("brief", move |conn| task_webhooks::brief(conn, id))
            .await
    }
}

#[async_trait]
impl Sinks for SqliteStore {
    async fn use_sinks(&self, names: &[&'static str]) -> Result<(), StoreError> {
        let names = names.to_vec();
        self.write("use_sinks", move |conn| sinks::use_only(conn, &names))
            .await
    }

    async fn sink_position(&self, name: &'static str) -> Result<u64, StoreError> {
        self.read("sink_position", move |conn| sinks::position(conn, name))
            .await
    }

    async fn advance_sink(&self, name: &'static str, to: u64) -> Result<(), StoreError> {
        self.write("advance_sink", move |conn| sinks::advance(conn, name, to))
            .await
    }

    async fn log_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read("log_after", move |conn| events::events_after(conn, after, limit))
            .await
    }

    async fn instance_id(&self) -> Result<String, StoreError> {
        self.read("instance_id", sinks::instance_id).await
    }
}
