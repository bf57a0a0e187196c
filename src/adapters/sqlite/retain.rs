//! Retention: each step looks in a read, and asks the writer only when there is something to remove.

use super::{SqliteStore, retention};
use crate::domain::time::Timestamp;
use crate::ports::retention::{Removed, Retention};
use crate::ports::store::StoreError;
use async_trait::async_trait;

#[async_trait]
impl Retention for SqliteStore {
    async fn erase_documents(&self, settled_before: Timestamp, after: u64) -> Result<Removed, StoreError> {
        let look = move |conn: &_| retention::documents(conn, settled_before, after);
        let mut stretch = self.read("look_for_documents", look).await?;
        let old = std::mem::take(&mut stretch.old);
        if old.is_empty() {
            return Ok(stretch.removed(0));
        }
        let erase = move |conn: &_| retention::erase_documents(conn, settled_before, &old);
        Ok(stretch.removed(self.write("erase_documents", erase).await?))
    }

    async fn remove_events(&self, written_before: Timestamp, after: u64) -> Result<Removed, StoreError> {
        let look = move |conn: &_| retention::events(conn, written_before, after);
        let mut stretch = self.read("look_for_events", look).await?;
        let old = std::mem::take(&mut stretch.old);
        if old.is_empty() {
            return Ok(stretch.removed(0));
        }
        let remove = move |conn: &_| retention::remove_events(conn, &old);
        Ok(stretch.removed(self.write("remove_events", remove).await?))
    }

    async fn remove_tasks(
        &self,
        settled_before: Timestamp,
        now: Timestamp,
        after: u64,
    ) -> Result<Removed, StoreError> {
        let look = move |conn: &_| retention::tasks(conn, settled_before, after);
        let mut stretch = self.read("look_for_tasks", look).await?;
        let old = std::mem::take(&mut stretch.old);
        if old.is_empty() {
            return Ok(stretch.removed(0));
        }
        let remove = move |conn: &_| retention::remove_tasks(conn, settled_before, now, &old);
        Ok(stretch.removed(self.write("remove_tasks", remove).await?))
    }
}
