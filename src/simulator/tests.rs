//! The simulator seen from outside, over HTTP, as a client sees it.

mod callbacks;
mod downloads;
mod faulty_api;
mod generations;
mod harness;
mod validation;
