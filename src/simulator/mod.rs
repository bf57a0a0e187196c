//! The provider's stand-in: Runware's API and CDN over real HTTP, as its documentation and its users describe them,
//! with every fault on demand. It shares no code with the rest of the crate, so a shared mistake cannot hide.
//!
//! | address | what |
//! |---|---|
//! | `POST /v1` | task objects in an array: the generation tasks, `getResponse`, `getTaskDetails`, `ping`, … |
//! | `GET /video/os/<shard>/ws/5/vi/<id>.mp4` | the files, until their links die |
//! | `GET /sim/v1/stats` | [`Stats`] |
//! | `GET /sim/v1/generations` | every accepted task with the truth about its results: [`Generation`] |
//! | `GET`, `POST /sim/v1/faults` | show, replace the faults in force: `{"profile":"mild","loseCallbacks":0.5}` |
//! | `POST /sim/v1/advance` | push the clock forward: `{"by":"2h"}` |
//!
//! Faults hold for everyone ([`Options::faults`]), for one request (header `X-Simulate`), or for all that concerns one
//! task (`[sim: …]` in its prompt, or the header of the request that submitted it); the grammar is in [`directive`].
//! Chance is rolled from the seed and the taskUUID, so a run with the same seed and the same UUIDs repeats itself.

mod api;
mod callback;
mod cdn;
pub mod cli;
mod clock;
mod connection;
mod control;
mod dice;
pub mod directive;
mod download;
pub mod faults;
mod generate;
mod life;
mod media;
mod query;
mod report;
mod server;
pub mod setting;
mod tally;
mod task;
#[cfg(test)]
mod tests;
mod upload;
mod utility;
mod validate;
mod view;
mod wire;
mod world;

pub use cli::{SimulateArgs, run};
pub use faults::Faults;
pub use report::{Generation, GenerationResult, ResultState};
pub use server::{Options, Simulator};
pub use tally::Tally;
pub use world::Stats;
