//! The only code that names a driver; one file or folder per technology.

#[cfg(feature = "dev")]
pub mod embedded_s3; // an S3 server in this process
pub mod guard; // the only way to an address that somebody else named
pub mod s3; // Blobs: any S3 API
pub mod sources; // Sources: links at the provider
