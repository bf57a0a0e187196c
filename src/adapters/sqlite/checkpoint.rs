//! Moving committed pages from the log into the database, PASSIVE and on a thread of its own, so that no commit waits
//! for it. TRUNCATE and RESTART would make the writer wait for every reader.

use super::fault::is_failed_sync;
use super::writer::Signals;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Log frames (pages of 4 KiB) that call for a checkpoint: 8 MiB.
const CHECKPOINT_FRAMES: i64 = 2048;
/// Under unbroken load the log never stands still long enough to be emptied from another thread, and grows. From here
/// (32 MiB) the writer moves the last frames itself, between two transactions: the log starts again from the front.
const CATCH_UP_FRAMES: i64 = 4 * CHECKPOINT_FRAMES;
/// Commits between two looks at the log's length.
const LOOK_EVERY: u32 = 16;

/// The writer's side: looks at the log now and then and calls the checkpointer.
pub(super) struct WalWatch {
    call: SyncSender<()>,
    commits: u32,
}

impl WalWatch {
    pub fn after_commit(&mut self, conn: &Connection, signals: &Signals) {
        self.commits += 1;
        if !self.commits.is_multiple_of(LOOK_EVERY) {
            return;
        }
        let Ok(frames) = checkpoint(conn, "NOOP") else {
            return; // only a hint: the next look comes soon
        };
        if frames >= CHECKPOINT_FRAMES {
            let _ = self.call.try_send(()); // full: it was called already
        }
        if frames >= CATCH_UP_FRAMES {
            report(checkpoint(conn, "PASSIVE"), signals);
        }
    }
}

/// Ends with the watch.
pub(super) fn start(conn: Connection, signals: Arc<Signals>) -> (WalWatch, JoinHandle<()>) {
    let (call, calls) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("sqlite-checkpoint".to_owned())
        .spawn(move || serve(&conn, &calls, &signals))
        .expect("a process that cannot start its first threads cannot run");
    (WalWatch { call, commits: 0 }, thread)
}

fn serve(conn: &Connection, calls: &Receiver<()>, signals: &Signals) {
    while calls.recv().is_ok() {
        report(checkpoint(conn, "PASSIVE"), signals);
    }
}

/// Frames in the log; those moved already are counted until it starts again from the front.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<i64> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}

/// A checkpoint that fails is tried again later, the log only grows; one whose fsync fails is the end (F4).
fn report(done: rusqlite::Result<i64>, signals: &Signals) {
    if let Err(e) = done
        && is_failed_sync(&e)
    {
        signals
            .fatal
            .send_replace(Some(format!("a checkpoint's fsync failed: {e}")));
    }
}
