//! Hints that a queue has work. Losing one costs a little time, never work: the store's `due_at` decides.

use super::store::Queue;
use std::sync::Arc;
use tokio::sync::Notify;

/// One bell per queue. A worker takes `bell(queue).notified()` *before* it looks for work, or a wake-up in between
/// would be lost.
#[derive(Clone, Default)]
pub struct Wakeups {
    submissions: Arc<Notify>,
    queries: Arc<Notify>,
    copies: Arc<Notify>,
    deliveries: Arc<Notify>,
    task_deliveries: Arc<Notify>,
}

impl Wakeups {
    pub fn bell(&self, queue: Queue) -> &Notify {
        match queue {
            Queue::Submissions => &self.submissions,
            Queue::Queries => &self.queries,
            Queue::Copies => &self.copies,
            Queue::Deliveries => &self.deliveries,
            Queue::TaskDeliveries => &self.task_deliveries,
        }
    }

    pub fn ring(&self, queue: Queue) {
        self.bell(queue).notify_one();
    }
}
