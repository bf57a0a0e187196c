//! Which function runs where, for the journal, the imports, the audit and the ledger.

use super::{SqliteStore, journal, ledger};
use crate::domain::file::TaskFile;
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::transition::Transition;
use crate::ports::records::{Adopted, LedgerQuery, LedgerRow, Need, Records, Walk, WalkPage};
use crate::ports::store::StoreError;
use async_trait::async_trait;

#[async_trait]
impl Records for SqliteStore {
    async fn keep_journal(&self, on: bool) -> Result<bool, StoreError> {
        self.write("keep_journal", move |conn| journal::keep(conn, on))
            .await
    }

    async fn journal_need(&self, id: TaskId) -> Result<Option<Need>, StoreError> {
        self.read("journal_need", move |conn| journal::need(conn, id))
            .await
    }

    async fn journal_done(&self, ids: Vec<TaskId>) -> Result<(), StoreError> {
        self.write("journal_done", move |conn| journal::done(conn, &ids))
            .await
    }

    async fn journal_later(&self, id: TaskId) -> Result<(), StoreError> {
        self.write("journal_later", move |conn| journal::later(conn, id))
            .await
    }

    async fn journal_backlog(&self, limit: u32) -> Result<Vec<TaskFile>, StoreError> {
        self.read("journal_backlog", move |conn| journal::backlog(conn, limit))
            .await
    }

    async fn adopt_all(
        &self,
        adoptions: Vec<Transition>,
        journalled: bool,
    ) -> Result<Vec<Adopted>, StoreError> {
        self.write("adopt_all", move |conn| {
            ledger::adopt_all(conn, &adoptions, journalled)
        })
        .await
    }

    async fn standings(&self, tenant: Tenant, ids: Vec<TaskId>) -> Result<Vec<Option<Adopted>>, StoreError> {
        self.read("standings", move |conn| ledger::standings(conn, &tenant, &ids))
            .await
    }

    async fn walk(&self, walk: Walk) -> Result<WalkPage, StoreError> {
        self.read("walk", move |conn| ledger::walk(conn, &walk)).await
    }

    async fn ledger(&self, query: LedgerQuery) -> Result<Vec<LedgerRow>, StoreError> {
        self.read("ledger", move |conn| ledger::ledger(conn, &query))
            .await
    }
}
