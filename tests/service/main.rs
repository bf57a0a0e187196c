//! The assembled service as a process, and the world around it: stories that pass through every part at once.

mod bodies; // requests that are not proper
mod canary; // secrets stay secret
mod disk; // no room left
mod forged; // callbacks that lie
#[path = "../support/hook.rs"]
mod hook;
mod journey; // the same run under lost and doubled callbacks
mod keys; // keys and tenants beside a running service
mod outages; // object store, provider and consumer that go and come back
#[path = "../support/outside.rs"]
mod outside;
mod signatures; // verified by somebody else's code
mod sources; // files that are not what they should be
mod start; // what keeps it from starting
mod stores; // what an object store gets wrong
mod webhook_url; // a task's own webhook, and the archived file by its address
mod wire; // a connection that can be cut
mod world; // what the stories do and look at
