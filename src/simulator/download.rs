//! The bytes of one download: chunks made as they are sent, with a cut, a pause or a rate where asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::{Stream, stream};

use super::clock::real_sleep;
use super::connection::FLUSH_PAUSE;
use super::media::garbage;
use super::task::Task;
use super::world::World;

const CHUNK_BYTES: u64 = 64 * 1024;

/// What to send of a file; offsets are the file's.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub at: u64,
    pub stop: u64,
    pub is_garbage: bool,
    pub rate: Option<u64>,
    /// Break the connection at `stop` instead of ending the body.
    is_cut: bool,
    stall: Option<(u64, Duration)>,
}

impl Plan {
    pub fn whole(start: u64, end: u64) -> Self {
        Self {
            at: start,
            stop: end,
            is_garbage: false,
            rate: None,
            is_cut: false,
            stall: None,
        }
    }

    pub fn cut_after(&mut self, bytes: u64) {
        let stop = self.at.saturating_add(bytes);
        // A cut at or past the end would be no cut.
        if stop < self.stop {
            self.stop = stop;
            self.is_cut = true;
        }
    }

    pub fn stall_after(&mut self, bytes: u64, length: Duration) {
        self.stall = Some((self.at.saturating_add(bytes), length));
    }

    /// The wrong length to declare. One that is too large ends in a cut, one too small loses the rest.
    pub fn misdeclare(&mut self, by: i64) -> u64 {
        let declared = (self.stop - self.at).saturating_add_signed(by);
        self.is_cut = by > 0;
        self.stop = self.stop.min(self.at + declared);
        declared
    }

    /// Where the next chunk must end at the latest.
    fn next_end(&self) -> u64 {
        let piece = self
            .rate
            .map_or(CHUNK_BYTES, |rate| (rate / 10).clamp(1, CHUNK_BYTES));
        let end = self.stop.min(self.at + piece);
        match self.stall {
            Some((at, _)) if at > self.at => end.min(at),
            _ => end,
        }
    }
}

pub fn stream(
    world: Arc<World>,
    task: Arc<Task>,
    index: usize,
    plan: Plan,
) -> impl Stream<Item = io::Result<Bytes>> + 'static {
    stream::unfold(plan, move |plan| next(world.clone(), task.clone(), index, plan))
}

async fn next(
    world: Arc<World>,
    task: Arc<Task>,
    index: usize,
    mut plan: Plan,
) -> Option<(io::Result<Bytes>, Plan)> {
    if let Some((at, length)) = plan.stall
        && at <= plan.at
    {
        plan.stall = None;
        world.clock.sleep(length).await;
    }
    if plan.at >= plan.stop {
        if !plan.is_cut {
            return None;
        }
        // What was written so far leaves first, so the cut comes after that many bytes and not before.
        real_sleep(FLUSH_PAUSE).await;
        return Some((Err(io::Error::other("cut on purpose")), plan));
    }
    let length = (plan.next_end() - plan.at) as usize;
    let chunk = if plan.is_garbage {
        garbage(plan.at, length)
    } else {
        task.results[index].media.read(plan.at, length)
    };
    if let Some(rate) = plan.rate {
        world
            .clock
            .sleep(Duration::from_secs_f64(chunk.len() as f64 / rate.max(1) as f64))
            .await;
    }
    plan.at += chunk.len() as u64;
    world.count(|stats| stats.bytes_served += chunk.len() as u64);
    Some((Ok(chunk), plan))
}
