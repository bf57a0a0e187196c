//! Catchment: a generated video you paid for is never lost and never bought twice.
//!
//! The map, in reading order; `ARCHITECTURE.md` tells the walk of the data.

pub mod adapters; // the only code that names a driver
pub mod app; // composition root: settings → adapters → steps → http + workers → orderly stop
pub mod cli; // one file per command group; most commands are HTTP clients
pub mod config; // settings: one struct per component, checked once
pub mod crash; // named crash points for tests
pub mod domain; // decisions only
pub mod http; // handlers, parsing, problem documents, OpenAPI
pub mod ports; // the traits the steps need
pub mod simulator; // provider stand-in over real HTTP; imports nothing of ours
pub mod steps; // the story, one chapter a file
pub mod telemetry; // log subscriber; every metric name in one place
pub mod worker; // the one loop: claim → step → settle → drain
