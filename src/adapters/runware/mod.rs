//! The provider, over Runware's HTTP API: `client` sends and reads within bounds, `wire` is its JSON, `map` reads a
//! report out of it, `outcomes` says what an answer means for a submission, `codes` sorts its error codes, `wording`
//! says what of its words may be shown, `spend` reads the account's book.

mod budget; // how many at once, how many a second
mod client;
mod codes;
mod map;
mod outcomes;
mod spend;
#[cfg(test)]
mod tests;
mod wire;
mod wording;

pub use client::{BuildError, RunwareClient, RunwareOptions};
pub use spend::RunwareSpend;
