//! The only code that names a driver; one file or folder per technology.

pub mod guard; // the only way to an address that somebody else named
pub mod sqlite; // the store: one writer, group commit
