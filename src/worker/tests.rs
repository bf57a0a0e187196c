use super::*;
use crate::adapters::manual_clock::ManualClock;
use crate::domain::delivery::Delivery;
use crate::domain::file::TaskFile;
use crate::domain::ids::TaskId;
use crate::ports::store::{CopyJob, Inquiry};
use std::sync::Mutex;
use tokio::sync::mpsc;

const START: Timestamp = Timestamp::from_millis(0);
const LEASE: Duration = Duration::from_secs(60);
const PUT_OFF: Duration = Duration::from_secs(1);

/// A queue of one row: due at an instant, or under a lease.
#[derive(Default)]
struct Row(Mutex<Option<Timestamp>>);

#[async_trait]
impl Leases for Row {
    async fn next_due(&self, _: Queue) -> Result<Option<Timestamp>, StoreError> {
        let due = *self.0.lock().unwrap();
        Ok(Some(due.unwrap_or(START.plus(LEASE))))
    }
    async fn renew(&self, _: &Held, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
    async fn release(&self, _: &Held) -> Result<(), StoreError> {
        Ok(())
    }
    async fn void_leases(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
    async fn claim_submissions(&self, _: Claim) -> Result<Vec<Lease<TaskFile>>, StoreError> {
        Ok(vec![])
    }
    async fn claim_queries(&self, _: Claim) -> Result<Vec<Lease<Inquiry>>, StoreError> {
        Ok(vec![])
    }
    async fn claim_copies(&self, _: Claim) -> Result<Vec<Lease<CopyJob>>, StoreError> {
        Ok(vec![])
    }
    async fn claim_deliveries(&self, _: Claim, _: u32) -> Result<Vec<Lease<Delivery>>, StoreError> {
        Ok(vec![])
    }
}

/// Puts its row off, again and again.
struct PutsOff {
    row: Arc<Row>,
    clock: Arc<ManualClock>,
    began: mpsc::UnboundedSender<()>,
    go_on: Semaphore,
}

#[async_trait]
impl Work for PutsOff {
    type Item = ();
    const QUEUE: Queue = Queue::Copies;

    async fn claim(&self, claim: Claim) -> Result<Vec<Lease<()>>, StoreError> {
        let due = self.row.0.lock().unwrap().take_if(|due| *due <= claim.now);
        let lease = |_| Lease {
            item: (),
            epoch: 1,
            until: claim.now.plus(claim.lease),
        };
        Ok(due.map(lease).into_iter().collect())
    }

    fn held(_: &Lease<()>) -> Held {
        let id = TaskId::ordered(0, [0; 16]);
        Held::Task { id, epoch: 1 }
    }

    async fn work(&self, _: Vec<Lease<()>>) {
        self.began.send(()).unwrap();
        self.go_on.acquire().await.unwrap().forget();
        *self.row.0.lock().unwrap() = Some(self.clock.now().plus(PUT_OFF));
    }
}

/// Lets everything run that can.
async fn quiet() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn f8_what_is_put_off_is_taken_up_when_due_and_not_when_its_lease_would_have_lapsed() {
    let clock = Arc::new(ManualClock::at(START));
    let row = Arc::new(Row(Mutex::new(Some(START))));
    let (began, mut calls) = mpsc::unbounded_channel();
    let work = Arc::new(PutsOff {
        row: row.clone(),
        clock: clock.clone(),
        began,
        go_on: Semaphore::new(0),
    });
    let env = Loop {
        store: row,
        clock: clock.clone(),
        wakeups: Wakeups::default(),
        concurrency: 2,
        lease: LEASE,
        drain: LEASE,
        stop: CancellationToken::new(),
    };
    let stop = env.stop.clone();
    let running = tokio::spawn(run(work.clone(), env));
    calls.recv().await.unwrap();
    quiet().await; // meanwhile the loop has looked and seen nothing due before the lease lapses
    work.go_on.add_permits(1);
    quiet().await;
    assert_eq!(clock.next_wake(), Some(START.plus(PUT_OFF)));
    clock.advance(PUT_OFF);
    calls.recv().await.unwrap();
    work.go_on.add_permits(1);
    stop.cancel();
    running.await.unwrap();
}
