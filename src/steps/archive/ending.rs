//! Where a body without a declared length ends: it also ends where its sender died, so the source is asked.

use super::Archive;
use crate::domain::asset::SourceUrl;
use crate::ports::source::{Opened, Resume, SourceError};

/// What a source has behind the end of a body.
pub(super) enum Follows {
    Nothing,
    /// Of the same entity, by its tag.
    Rest(Opened),
    /// Of this entity or of another.
    More,
    Unsaid,
}

/// Behind the first `read` bytes. Costs one request, and another reading only where the source does no ranges.
pub(super) async fn what_follows(
    ctx: &Archive<'_>,
    url: &SourceUrl,
    read: u64,
    etag: Option<String>,
) -> Follows {
    let is_tagged = etag.is_some();
    let rest = Resume {
        from: read,
        total: None,
        etag,
    };
    match ctx.sources.open(url, Some(&rest)).await {
        // Most say it by 416, some by an empty range. A link that has died since says nothing, and never will again:
        // what came of it is all that there is.
        Err(SourceError::Odd { status: 416 } | SourceError::Dead { .. }) => Follows::Nothing,
        Ok(rest) if rest.start == read && rest.total == Some(read) => Follows::Nothing,
        Ok(rest) if rest.start == read && is_tagged => Follows::Rest(rest),
        Ok(rest) if rest.start == read => Follows::More,
        Ok(whole) => as_long_as(read, whole).await,
        // It does not do ranges, or none of this file: then it is read once more.
        Err(_) => match ctx.sources.open(url, None).await {
            Ok(whole) => as_long_as(read, whole).await,
            Err(_) => Follows::Unsaid,
        },
    }
}

/// Another reading of the whole, by its length: two that are as long were not cut. The bytes may be others where each
/// answer is made anew. Reads no further than it takes to see that there is more.
async fn as_long_as(length: u64, whole: Opened) -> Follows {
    let (mut read, mut body) = (0, whole.body);
    while read <= length {
        match body.chunk().await {
            Ok(Some(chunk)) => read += chunk.len() as u64,
            Ok(None) if read == length => return Follows::Nothing,
            Ok(None) | Err(_) => break,
        }
    }
    Follows::More
}
