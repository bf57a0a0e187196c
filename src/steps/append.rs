//! Chapter six, to a log outside: events are appended in order, and our position follows what was acknowledged. A crash
//! between the two appends again what is there already; the log remembers ids, and we look at its end before we go on.

use crate::crash_point;
use crate::ports::event_log::{EventLog, MAX_APPEND, Trouble};
use crate::ports::sinks::Sinks;
use crate::ports::store::StoreError;

pub struct Append<'a> {
    pub store: &'a dyn Sinks,
    pub log: &'a dyn EventLog,
    /// Under which the position is kept.
    pub sink: &'static str,
}

/// What one round came to.
#[derive(Debug, PartialEq)]
pub struct Appended {
    /// The position now.
    pub to: u64,
    pub events: u64,
    /// Nothing further was there to append.
    pub done: bool,
    pub trouble: Option<Trouble>,
}

#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.code)]
    Log(Trouble),
}

/// Where to go on: our position, or the end of the log outside when that is further and of the same history. Only what
/// our own log holds under the same number and id counts: after a restore of the database it may hold another.
pub async fn resume(ctx: &Append<'_>) -> Result<u64, AppendError> {
    let kept = ctx.store.sink_position(ctx.sink).await?;
    let last = ctx.log.last().await.map_err(AppendError::Log)?;
    let Some(last) = last.filter(|last| last.sequence > kept) else {
        return Ok(kept);
    };
    let ours = ctx.store.log_after(last.sequence - 1, 1).await?;
    if ours
        .first()
        .is_none_or(|e| e.sequence != last.sequence || e.id != last.id)
    {
        return Ok(kept);
    }
    ctx.store.advance_sink(ctx.sink, last.sequence).await?;
    Ok(last.sequence)
}

/// Appends the events after `from` that fit into one call.
pub async fn append(ctx: &Append<'_>, from: u64) -> Result<Appended, StoreError> {
    let events = ctx.store.log_after(from, MAX_APPEND).await?;
    if events.is_empty() {
        return Ok(Appended {
            to: from,
            events: 0,
            done: true,
            trouble: None,
        });
    }
    crash_point!("append.before_append");
    let (acknowledged, trouble) = ctx.log.append(&events).await;
    crash_point!("append.after_append");
    let to = match events.get(..acknowledged).and_then(<[_]>::last) {
        Some(last) => {
            ctx.store.advance_sink(ctx.sink, last.sequence).await?;
            last.sequence
        }
        None => from,
    };
    crash_point!("append.after_commit");
    Ok(Appended {
        to,
        events: acknowledged as u64,
        done: trouble.is_none() && events.len() < MAX_APPEND as usize,
        trouble,
    })
}
