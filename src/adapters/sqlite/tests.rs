//! Tests of what only this adapter promises.
