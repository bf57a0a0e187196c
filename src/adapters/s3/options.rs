//! How to reach the bucket, and what to ask of it.

use secrecy::SecretString;
use std::collections::BTreeMap;
use url::Url;

#[derive(Clone, Debug)]
pub struct S3Options {
    pub bucket: String,
    /// `None`: what the environment says, else `us-east-1`, which stores with an endpoint of their own accept.
    pub region: Option<String>,
    /// `None`: AWS. The operator's own address, so http is allowed.
    pub endpoint: Option<Url>,
    pub force_path_style: bool,
    pub credentials: Access,
    pub checksum: Checksum,
    pub create_only: CreateOnly,
    pub kms_key: Option<String>,
    pub storage_class: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// Bytes, at least 5 MiB (S3 refuses a smaller part unless it is the last). One part is held in memory.
    pub part_size: usize,
    /// How many bodies without a length are stored at once; each holds one part.
    pub unsized_concurrency: usize,
}

#[derive(Clone, Debug)]
pub enum Access {
    /// Environment, profile, web identity, container, instance: the AWS default chain.
    DefaultChain,
    /// For the embedded store and tests.
    Static {
        access_key: String,
        secret_key: SecretString,
    },
}

/// What the store computes over the bytes it received, checks, and keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Lets an object be verified by HEAD alone, unless it went up in parts: S3 has no SHA-256 of the whole for those.
    Sha256,
    /// Cheaper on machines without SHA instructions. Verifying reads the object back once.
    Crc64Nvme,
    /// For stores without checksums. Verifying reads the object back once.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOnly {
    /// `If-None-Match: *`: the store decides, atomically.
    Native,
    /// For stores that do not know that header: look first. Two writers that look at the same moment both write,
    /// and the later one wins; leases make that rare, not impossible.
    Head,
}
