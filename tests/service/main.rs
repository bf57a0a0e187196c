//! The assembled service as a process, and the world around it: stories that pass through every part at once.

mod audits; // the loss proof, and what it mends
mod backlog; // much that waits, and what is asked for by hand
mod backups; // a copy taken while all goes on, and what is re-learned after it
mod bodies; // requests that are not proper
mod canary; // secrets stay secret
mod cloudevents; // read by somebody else's code
mod consumers; // one bad among good ones
mod containers; // what every container tells, and what a cut one comes to
mod cutter; // a relay that hangs up in the middle
mod disk; // no room left
mod endings; // bodies without a length
mod foreign_sources; // nginx in every way a CDN might serve
mod forged; // callbacks that lie
mod guard; // links and endpoints that lead inside
mod harsh; // everything goes wrong at once
#[path = "../support/hook.rs"]
mod hook;
mod hostile; // consumers that mean harm, that lie and that hang
mod imports; // tasks submitted elsewhere
mod journal; // the only disk is lost
mod journey; // the same run under lost and doubled callbacks
mod keys; // keys and tenants beside a running service
mod large; // many large files at once: memory, and callbacks meanwhile
mod listen; // the log at the command line
mod nats; // events in JetStream
#[path = "../support/nats.rs"]
mod nats_server;
mod nginx; // a server of files that is not ours
mod outages; // object store, provider and consumer that go and come back
#[path = "../support/outside.rs"]
mod outside;
mod results; // images, sounds and edited media
mod retention; // what is too old goes
mod room; // bodies in hand
mod signatures; // verified by somebody else's code
mod sources; // files that are not what they should be
mod stand_in; // a provider whose links lead anywhere
mod start; // what keeps it from starting
mod stores; // what an object store gets wrong
mod streams; // live readers and killed services
mod webhook_url; // a task's own webhook, and the archived file by its address
mod wire; // a connection that can be cut
mod world; // what the stories do and look at
