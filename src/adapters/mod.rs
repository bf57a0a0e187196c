//! The only code that names a driver; one file or folder per technology.

#[cfg(feature = "dev")]
pub mod embedded_s3; // an S3 server in this process
pub mod guard; // the only way to an address that somebody else named
pub mod manual_clock; // time and randomness for tests and simulations
#[cfg(feature = "nats")]
pub mod nats; // EventLog on NATS JetStream
mod retry_after; // the one reader of `Retry-After`
pub mod runware; // Provider: Runware's HTTP API
pub mod s3; // Blobs: any S3 API
pub mod sources; // Sources: links at the provider
pub mod sqlite; // the store: one writer, group commit
pub mod system; // Clock and Rng of the machine
#[cfg(test)]
mod test_server; // a raw TCP peer for the clients' tests
pub mod webhook; // Sink: HTTP, signed
