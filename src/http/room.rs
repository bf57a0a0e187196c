//! Memory for bodies in hand (T2, T3). Small ones are bounded by the connections there may be; what goes beyond takes
//! room that all clients share, as its bytes come: a declared length alone takes none.

use super::error::ApiError;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Of each body, taken without asking: what most requests need, so that they pass whoever fills the room.
pub(super) const FREE_BYTES: usize = 64 * 1024;
/// Whole bodies of the largest size for which there is room, and those of one API key among them.
const LARGEST: usize = 8;
const LARGEST_PER_KEY: usize = 4;

pub(super) struct Rooms {
    /// Bytes that all may take, and those of one key.
    all: usize,
    per_key: usize,
    taken: Mutex<Taken>,
    long_lists: Semaphore,
}

/// Holds an entry for each key that has taken any.
#[derive(Default)]
struct Taken {
    sum: usize,
    by_key: HashMap<String, usize>,
}

/// What one body has taken; given back when dropped.
pub(super) struct Room<'a> {
    rooms: &'a Rooms,
    key: String,
    bytes: usize,
}

impl Rooms {
    /// `max_body` in bytes.
    pub fn new(max_body: usize) -> Self {
        Self {
            all: max_body.saturating_mul(LARGEST),
            per_key: max_body.saturating_mul(LARGEST_PER_KEY),
            taken: Mutex::default(),
            long_lists: Semaphore::new(1),
        }
    }

    pub fn enter(&self, key: &str) -> Room<'_> {
        Room {
            rooms: self,
            key: key.to_owned(),
            bytes: 0,
        }
    }

    /// The turn to read a long list: its tree of values is several times as large as its text, so one is read at a time.
    pub async fn long_list(&self) -> SemaphorePermit<'_> {
        self.long_lists.acquire().await.expect("nobody closes it")
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room<'_> {
    /// Room for a body of so many bytes in all. Refused at once where there is none: two bodies that wait for each
    /// other's room would both wait for ever.
    ///
    /// # Errors
    /// `RateLimited` when this key has taken its share, `Overloaded` when all is taken.
    pub fn grow_to(&mut self, body: usize) -> Result<(), ApiError> {
        let more = body.saturating_sub(FREE_BYTES).saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.rooms.lock();
        let own = taken.by_key.get(&self.key).copied().unwrap_or(0);
        if own + more > self.rooms.per_key {
            return Err(ApiError::RateLimited);
        }
        if taken.sum + more > self.rooms.all {
            return Err(ApiError::Overloaded);
        }
        taken.sum += more;
        taken.by_key.insert(self.key.clone(), own + more);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.rooms.lock();
        taken.sum -= self.bytes;
        match taken.by_key.get_mut(&self.key) {
            Some(own) if *own > self.bytes => *own -= self.bytes,
            _ => drop(taken.by_key.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1024 * 1024;

    fn grown<'a>(rooms: &'a Rooms, key: &str) -> Result<Room<'a>, ApiError> {
        let mut room = rooms.enter(key);
        room.grow_to(MAX / 2)?;
        room.grow_to(MAX)?;
        Ok(room)
    }

    #[test]
    fn t3_bodies_in_hand_share_one_room_and_no_key_fills_it() {
        let rooms = Rooms::new(MAX);
        let a: Vec<_> = (0..LARGEST_PER_KEY)
            .map(|_| grown(&rooms, "a").ok().unwrap())
            .collect();
        // Each body's first bytes are free, which leaves a little more than its share.
        let refused = |key: &str| grown(&rooms, key).err();
        assert_eq!(refused("a"), Some(ApiError::RateLimited));
        let _b: Vec<_> = (0..LARGEST_PER_KEY)
            .map(|_| grown(&rooms, "b").ok().unwrap())
            .collect();
        assert_eq!(refused("c"), Some(ApiError::Overloaded));
        assert_eq!(rooms.enter("c").grow_to(FREE_BYTES), Ok(()), "small ones pass");
        drop(a);
        assert!(grown(&rooms, "c").is_ok(), "what was refused has taken nothing");
    }

    #[test]
    fn a_key_without_a_body_in_hand_is_forgotten() {
        let rooms = Rooms::new(MAX);
        drop(grown(&rooms, "a"));
        drop(grown(&rooms, "a"));
        let taken = rooms.lock();
        assert_eq!((taken.sum, taken.by_key.len()), (0, 0));
    }
}
