//! Results that are in the bucket already, though this database does not know it: it was restored from a backup, or
//! made anew from the journal. Objects under final keys are whole, created once and never changed, so one that names
//! this task and this result is the copy, and its bytes are not fetched again (G5).

use super::{Archive, verified};
use crate::domain::asset::{Asset, Intent, ObjectKey};
use crate::domain::file::{CopyOutcome, NotStored, TaskFile};
use crate::domain::task::Origin;
use crate::ports::blobs::BlobError;
use crate::ports::holdings::Found;

/// An adopted task may have been archived by whoever submitted it: look before a byte is copied.
pub(super) async fn by_an_adopted_task(
    ctx: &Archive<'_>,
    file: &TaskFile,
    asset: &Asset,
) -> Option<CopyOutcome> {
    match file.task.origin {
        Origin::Submitted => None,
        Origin::Imported | Origin::Recovered => held(ctx, file, asset).await,
    }
}

/// A dead link whose file we hold is no loss.
pub(super) async fn instead_of_a_dead_link(
    ctx: &Archive<'_>,
    file: &TaskFile,
    asset: &Asset,
    outcome: CopyOutcome,
) -> CopyOutcome {
    let dead = matches!(outcome, CopyOutcome::NotStored(NotStored::SourceDead { .. }));
    match dead && asset.intent.is_none() {
        true => held(ctx, file, asset).await.unwrap_or(outcome),
        false => outcome,
    }
}

/// Trouble of the store is no answer: the copy finds the same trouble, and says so.
async fn held(ctx: &Archive<'_>, file: &TaskFile, asset: &Asset) -> Option<CopyOutcome> {
    let key = ctx.keys.key(&file.task, asset);
    let found = ctx.blobs.find(&key).await.ok().flatten()?;
    is_ours(&found, file, asset).then_some(())?;
    let intent = described(ctx, key, found).await.ok().flatten()?;
    Some(verified(ctx, intent))
}

/// By what was written beside its bytes; both names need no escape, or are compared as they were escaped.
fn is_ours(found: &Found, file: &TaskFile, asset: &Asset) -> bool {
    let task = file.task.id.to_string();
    found.task.as_deref() == Some(task.as_str())
        && found.result.as_deref() == Some(super::flow::encoded(asset.id.result.as_str()).as_str())
}

async fn described(ctx: &Archive<'_>, key: ObjectKey, found: Found) -> Result<Option<Intent>, BlobError> {
    let sha256 = match found.sha256 {
        Some(known) => Some(known),
        None => ctx.blobs.digest(&key).await?,
    };
    Ok(sha256.map(|sha256| Intent {
        key,
        size_bytes: found.size_bytes,
        sha256,
        content_type: found
            .content_type
            .unwrap_or_else(|| "application/octet-stream".to_owned()),
        duration_ms: None,
        width: None,
        height: None,
        unverified: false,
    }))
}
