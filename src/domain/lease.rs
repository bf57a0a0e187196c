//! Exclusive claims. A claim raises the row's epoch; every write under it names that epoch, so a worker that woke
//! too late changes nothing (I10).

use super::ids::{AssetId, TaskId};
use super::time::Timestamp;

/// An exclusive claim on `item` until `until`; renew it at a third of its length or lose it.
#[derive(Clone, Debug)]
pub struct Lease<T> {
    pub item: T,
    pub epoch: u64,
    pub until: Timestamp,
}

/// Which lease a write stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Nobody's lease: the task's version alone decides (an operator, an adoption).
    Version,
    Task {
        id: TaskId,
        epoch: u64,
    },
    Asset {
        id: AssetId,
        epoch: u64,
    },
}
