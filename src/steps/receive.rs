//! Chapter three: a callback's body becomes a stored receipt, nothing more. It is a wake-up; the status query is the
//! truth. The caller has checked the token: without it no row changes (I14).

use crate::crash_point;
use crate::domain::file::{Policy, TaskFile};
use crate::domain::ids::{Digest, TaskId, Tenant};
use crate::domain::task::Origin;
use crate::ports::clock::Clock;
use crate::ports::store::{Inbox, NewReceipt, Queue, Recorded, StoreError, TaskStore};
use crate::ports::wake::Wakeups;

/// Durable when it returns. A valid token for a task we do not know adopts the task: the database was restored from
/// an older backup, and the result is paid for.
pub async fn receive(
    inbox: &dyn Inbox,
    tasks: &dyn TaskStore,
    clock: &dyn Clock,
    wakeups: &Wakeups,
    policy: &Policy,
    task: TaskId,
    body: Vec<u8>,
) -> Result<Recorded, StoreError> {
    let receipt = |body| NewReceipt {
        task,
        sha256: Digest::of(body),
        body: body.to_vec(),
        at: clock.now(),
    };
    crash_point!("receive.before_store");
    let mut recorded = inbox.record(receipt(&body)).await?;
    if recorded == Recorded::UnknownTask {
        let adopted = TaskFile::adopt(
            task,
            Tenant::default_tenant(),
            Origin::Recovered,
            policy,
            clock.now(),
        );
        tasks.adopt(adopted).await?;
        recorded = inbox.record(receipt(&body)).await?;
    }
    crash_point!("receive.after_store");
    if matches!(recorded, Recorded::New | Recorded::Full) {
        wakeups.ring(Queue::Queries);
    }
    Ok(recorded)
}
