//! Moving committed pages from the log into the database, PASSIVE and on a thread of its own, so that no commit waits
//! for it. TRUNCATE and RESTART would make the writer wait for every reader.

use super::fault::is_failed_sync;
use super::writer::Signals;
use rusqlite::Connection;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Log frames (pages of 4 KiB) that call for a checkpoint: 8 MiB.
const CHECKPOINT_FRAMES: i64 = 2048;
/// Under unbroken load the log never stands still long enough to be emptied from another thread, and grows. From here
/// (32 MiB) the writer moves the last frames itself, between two transactions: the log starts again from the front.
const CATCH_UP_FRAMES: i64 = 4 * CHECKPOINT_FRAMES;

/// The writer's side: looks at the log after each commit (one may be megabytes) and calls the checkpointer.
pub(super) struct WalWatch {
    call: SyncSender<()>,
    /// Held by whoever moves frames: two at once, and the second is told `busy` and moves none.
    pass: Arc<Mutex<()>>,
    /// The length at which the writer moves frames itself.
    catch_up_at: i64,
}

impl WalWatch {
    pub fn after_commit(&mut self, conn: &Connection, signals: &Signals) {
        let Ok(frames) = checkpoint(conn, "NOOP") else {
            return; // only a hint: the next look comes soon
        };
        if frames < CATCH_UP_FRAMES {
            self.catch_up_at = CATCH_UP_FRAMES;
            if frames >= CHECKPOINT_FRAMES {
                let _ = self.call.try_send(()); // full: it was called already
            }
        } else if frames >= self.catch_up_at {
            // The checkpointer may be slow, but is in one pass at most; called again it would take the next turn, too.
            let _turn = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
            report(checkpoint(conn, "PASSIVE"), signals);
            // A reader that still needs the log keeps it from starting again: not tried anew at every commit.
            self.catch_up_at = frames + CHECKPOINT_FRAMES / 8;
        }
    }
}

/// Ends with the watch.
pub(super) fn start(conn: Connection, signals: Arc<Signals>) -> (WalWatch, JoinHandle<()>) {
    let (call, calls) = sync_channel(1);
    let pass = Arc::new(Mutex::new(()));
    let watch = WalWatch {
        call,
        pass: Arc::clone(&pass),
        catch_up_at: CATCH_UP_FRAMES,
    };
    let thread = std::thread::Builder::new()
        .name("sqlite-checkpoint".to_owned())
        .spawn(move || serve(&conn, &calls, &pass, &signals))
        .expect("a process that cannot start its first threads cannot run");
    (watch, thread)
}

fn serve(conn: &Connection, calls: &Receiver<()>, pass: &Mutex<()>, signals: &Signals) {
    while calls.recv().is_ok() {
        let _turn = pass.lock().unwrap_or_else(PoisonError::into_inner);
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

#[cfg(test)]
mod tests {
    use super::super::open::connect;
    use super::*;
    use tokio::sync::watch;

    /// A log of `frames` and more, grown by commits that nobody watches.
    fn grow(conn: &Connection, frames: i64) {
        while checkpoint(conn, "NOOP").unwrap() < frames {
            conn.execute("INSERT INTO t VALUES (randomblob(1000000))", [])
                .unwrap();
        }
    }

    #[test]
    fn the_log_has_a_bound_however_slow_the_checkpointer_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)")
            .unwrap();
        let signals = Signals {
            last_sequence: watch::channel(0).0,
            fatal: watch::channel(None).0,
        };
        let (call, calls) = sync_channel(1);
        let pass = Arc::new(Mutex::new(()));
        let mut watch = WalWatch {
            call,
            pass: Arc::clone(&pass),
            catch_up_at: CATCH_UP_FRAMES,
        };
        grow(&conn, CHECKPOINT_FRAMES);
        watch.after_commit(&conn, &signals);
        assert!(calls.try_recv().is_ok(), "it is called in time");

        // It is in its pass, and slow; the writer waits for that one, calls for no other, and does the rest.
        let slow = Connection::open(&path).unwrap();
        let (begun, has_begun) = sync_channel(0);
        let passing = std::thread::spawn(move || {
            let _turn = pass.lock().unwrap();
            begun.send(()).unwrap();
            checkpoint(&slow, "PASSIVE").unwrap();
        });
        has_begun.recv().unwrap();
        grow(&conn, CATCH_UP_FRAMES);
        watch.after_commit(&conn, &signals);
        passing.join().unwrap();
        assert!(calls.try_recv().is_err());
        conn.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let after = checkpoint(&conn, "NOOP").unwrap();
        assert!(
            after < CHECKPOINT_FRAMES,
            "it began at the front again: {after} frames"
        );

        // While a reader needs the log it cannot; the writer does not try at every commit, and it does once he is gone.
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN").unwrap();
        let _: i64 = reader
            .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
            .unwrap();
        grow(&conn, CATCH_UP_FRAMES);
        watch.after_commit(&conn, &signals);
        let next = watch.catch_up_at;
        watch.after_commit(&conn, &signals);
        assert_eq!(watch.catch_up_at, next);
        reader.execute_batch("COMMIT").unwrap();
        grow(&conn, next);
        watch.after_commit(&conn, &signals);
        conn.execute("INSERT INTO t VALUES (1)", []).unwrap();
        assert!(checkpoint(&conn, "NOOP").unwrap() < CHECKPOINT_FRAMES);
    }

    #[test]
    fn the_checkpointer_takes_its_turn_and_a_spike_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
            .unwrap();
        let conn = connect(&path).unwrap();
        let signals = Arc::new(Signals {
            last_sequence: watch::channel(0).0,
            fatal: watch::channel(None).0,
        });
        let (mut watch, thread) = start(connect(&path).unwrap(), Arc::clone(&signals));
        {
            let pass = Arc::clone(&watch.pass);
            let _turn = pass.lock().unwrap();
            watch.call.send(()).unwrap();
            watch.call.send(()).unwrap(); // there is room once the first was taken
            for _ in 0..50 {
                std::thread::sleep(std::time::Duration::from_millis(2));
                assert!(watch.call.try_send(()).is_err(), "it waits with the first");
            }
        }
        grow(&conn, 2 * CATCH_UP_FRAMES);
        let log = path.with_file_name("a.db-wal");
        let grown = std::fs::metadata(&log).unwrap().len();
        watch.after_commit(&conn, &signals);
        conn.execute("INSERT INTO t VALUES (1)", []).unwrap();
        let left = std::fs::metadata(&log).unwrap().len();
        assert!(
            grown > 64 * 1024 * 1024 && left <= 32 * 1024 * 1024,
            "{grown}, then {left}"
        );
        drop(watch);
        thread.join().unwrap();
    }
}
