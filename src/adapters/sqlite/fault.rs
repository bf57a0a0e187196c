//! Driver errors, translated once.

use crate::ports::BoxError;
use crate::ports::store::StoreError;
use rusqlite::ErrorCode;
use rusqlite::ffi;
use std::fmt::Display;

/// What can go wrong in a statement function: the driver's word, or a decision already in the caller's terms.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sql(e)
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl Fault {
    pub fn translate(self, during: &'static str) -> StoreError {
        match self {
            Self::Store(e) => e,
            Self::Sql(e) if is_row_trouble(&e) => StoreError::Corrupt {
                table: "database",
                id: during.to_owned(),
                source: e.into(),
            },
            Self::Sql(e) => unavailable(during, e),
        }
    }

    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Sql(e) if is_failed_sync(e))
    }
}

pub(super) fn unavailable(during: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable {
        during,
        source: source.into(),
    }
}

pub(super) fn corrupt(table: &'static str, id: impl Display, what: impl Into<BoxError>) -> Fault {
    Fault::Store(StoreError::Corrupt {
        table,
        id: id.to_string(),
        source: what.into(),
    })
}

/// After a failed fsync the kernel may have dropped the pages it could not write and report success next time: only a
/// restart, which reads the file anew, knows what is durable (F4).
pub(super) fn is_failed_sync(e: &rusqlite::Error) -> bool {
    let code = e.sqlite_error().map(|e| e.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

pub(super) fn is_unique_violation(e: &rusqlite::Error) -> bool {
    let code = e.sqlite_error().map(|e| e.extended_code);
    matches!(
        code,
        Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
    )
}

/// The same call will fail again: a damaged file, a value of the wrong type, a constraint our own code broke.
fn is_row_trouble(e: &rusqlite::Error) -> bool {
    match e {
        rusqlite::Error::SqliteFailure(f, _) => matches!(
            f.code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation
        ),
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::InvalidColumnName(_)
        | rusqlite::Error::InvalidColumnIndex(_)
        | rusqlite::Error::InvalidParameterName(_)
        | rusqlite::Error::InvalidParameterCount(..) => true,
        _ => false,
    }
}
