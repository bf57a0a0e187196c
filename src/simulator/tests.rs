//! The simulator seen from outside, over HTTP, as a client sees it; `harshness` calls its handlers.

mod callbacks;
mod downloads;
mod faulty_api;
mod generations;
mod harness;
mod harshness;
mod patience;
mod validation;
