//! Links to archived objects, for whoever may not hold our credentials.

use super::BoxError;
use async_trait::async_trait;
use std::time::Duration;
use url::Url;

/// The longest a link can live (S3 signature version 4).
pub const MAX_LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a link leads to.
#[derive(Clone, Copy, Debug)]
pub struct LinkTo<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    /// At most [`MAX_LINK_LIFE`]. With temporary credentials it dies with them, if that is earlier.
    pub valid_for: Duration,
    /// Saved under this name rather than shown.
    pub save_as: Option<&'a str>,
}

#[async_trait]
pub trait Links: Send + Sync {
    /// A link that lets anyone read this one object. Computed here: the object store is not asked, so the object need
    /// not exist. A secret while it lives.
    ///
    /// # Errors
    /// There are no credentials to sign with.
    async fn link(&self, to: LinkTo<'_>) -> Result<Url, BoxError>;
}
