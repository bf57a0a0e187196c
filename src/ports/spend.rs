//! What the provider says was spent on its account.

use super::provider::ProviderError;
use crate::domain::time::Timestamp;
use async_trait::async_trait;

#[async_trait]
pub trait Spend: Send + Sync {
    /// The account's days from `from` up to and with the day of `to`, oldest first; within the provider's budget of
    /// requests. A figure the answer does not name is `None`; an answer nobody can read is an error.
    async fn days(&self, from: Timestamp, to: Timestamp) -> Result<Vec<SpentDay>, ProviderError>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpentDay {
    /// `2026-01-31`, UTC.
    pub day: String,
    /// USD.
    pub cost: Option<f64>,
    pub requests: Option<u64>,
}
