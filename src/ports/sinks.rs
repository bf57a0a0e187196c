//! How far logs outside have got, and the log as they read it.

use super::store::StoreError;
use crate::domain::event::Event;
use async_trait::async_trait;

#[async_trait]
pub trait Sinks: Send + Sync {
    /// Which sinks the settings name. A new one starts before the first event; one that is named no more keeps its
    /// position and holds nothing back.
    async fn use_sinks(&self, names: &[&'static str]) -> Result<(), StoreError>;

    /// Every event up to this sequence was acknowledged, or passed over.
    async fn sink_position(&self, name: &'static str) -> Result<u64, StoreError>;

    /// Moves the position forward; a lower one changes nothing.
    async fn advance_sink(&self, name: &'static str, to: u64) -> Result<(), StoreError>;

    /// Every event after a position, whoever it belongs to, in order; at most `limit` (1–1000).
    async fn log_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError>;

    /// Tells this database from any other: made once, with it.
    async fn instance_id(&self) -> Result<String, StoreError>;
}
