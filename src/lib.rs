//! Catchment: a generated video you paid for is never lost and never bought twice.
//!
//! The map, in reading order; `ARCHITECTURE.md` tells the walk of the data.

pub mod adapters; // the only code that names a driver
pub mod app; // composition root
pub mod cli; // one file per command group; most commands are HTTP clients of the service
pub mod config; // settings: one struct per component, checked once
pub mod crash; // named crash points for tests
pub mod domain; // decisions only
pub mod ports; // the traits the steps need
pub mod simulator; // the provider over real HTTP, with every fault on demand; imports nothing of ours
pub mod steps; // the story, one chapter a file
pub mod telemetry; // log subscriber; every metric name in one place
