//! What one API key may have in work at the same time (T2).

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::rates::Rate;
use actix_web::web;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `limits.*`, as far as they are about one key.
#[derive(Clone, Copy, Debug)]
pub struct KeyLimits {
    /// Requests in work at once.
    pub concurrent_requests: u32,
    /// Of these, requests that wait: long polls and event streams.
    pub event_streams: u32,
    pub rate: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Request,
    Wait,
}

/// Counts what is in work. Holds one entry per key that has anything in work, none for the others.
#[derive(Default)]
pub struct InWork(Mutex<HashMap<(String, Kind), u32>>);

/// One place in work, given back when dropped: also when the client goes away or a handler panics.
pub struct Slot<'a> {
    all: &'a InWork,
    key: (String, Kind),
}

impl InWork {
    /// # Errors
    /// `RateLimited` when `limit` places are taken.
    pub fn enter(&self, key: &str, kind: Kind, limit: u32) -> Result<Slot<'_>, ApiError> {
        let key = (key.to_owned(), kind);
        self.take(&key, limit)?;
        Ok(Slot { all: self, key })
    }

    fn take(&self, key: &(String, Kind), limit: u32) -> Result<(), ApiError> {
        let mut all = self.lock();
        let taken = all.get(key).copied().unwrap_or(0);
        if taken >= limit {
            return Err(ApiError::RateLimited);
        }
        all.insert(key.clone(), taken + 1);
        Ok(())
    }

    fn give_back(&self, key: &(String, Kind)) {
        let mut all = self.lock();
        match all.get_mut(key) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(all.remove(key)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Kind), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.all.give_back(&self.key);
    }
}

/// A [`Slot`] that outlives its handler: an answer that is still being sent holds it.
pub struct Place {
    api: web::Data<Api>,
    key: (String, Kind),
}

impl Place {
    /// # Errors
    /// `RateLimited` when the key's places are taken.
    pub fn of(api: &web::Data<Api>, caller: &Caller<'_>) -> Result<Self, ApiError> {
        let key = (caller.key.clone(), Kind::Wait);
        let limit = api.settings.key_limits.event_streams;
        api.state.in_work.take(&key, limit)?;
        let api = api.clone();
        Ok(Self { api, key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.api.state.in_work.give_back(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t2_a_key_has_so_many_places_and_gets_them_back() {
        let all = InWork::default();
        let enter = |key, kind| all.enter(key, kind, 2);
        let first = enter("a", Kind::Request).unwrap_or_else(|e| panic!("{e}"));
        let _second = enter("a", Kind::Request).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(enter("a", Kind::Request).err(), Some(ApiError::RateLimited));
        assert!(
            enter("b", Kind::Request).is_ok(),
            "another key has its own places"
        );
        assert!(enter("a", Kind::Wait).is_ok(), "waiting is counted apart");
        drop(first);
        assert!(enter("a", Kind::Request).is_ok());
    }

    #[test]
    fn a_key_without_work_is_forgotten() {
        let all = InWork::default();
        drop(all.enter("a", Kind::Request, 1));
        assert!(all.lock().is_empty());
    }
}
