//! What operators do by hand, and the log of it.

use super::store::StoreError;
use crate::domain::ids::Tenant;
use crate::domain::time::Timestamp;
use crate::domain::transition::Transition;
use async_trait::async_trait;

#[async_trait]
pub trait OperatorLog: Send + Sync {
    /// Commits a decision an operator asked for, under the task's version alone, with its line in the operator log: both
    /// or neither. `Conflict` as for any commit.
    async fn commit_by_operator(
        &self,
        transition: Transition,
        entry: OperatorEntry,
    ) -> Result<(), StoreError>;
}

/// One line of the operator log.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorEntry {
    pub at: Timestamp,
    pub tenant: Tenant,
    /// The API key's id.
    pub actor: String,
    pub action: &'static str,
    /// What it was done to.
    pub subject: String,
    /// Ids, codes and counts only.
    pub detail: serde_json::Value,
}
