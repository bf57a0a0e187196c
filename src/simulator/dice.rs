//! Chance, from one seed: the same purpose, subject and count roll alike in every run, whatever the threads do.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::setting::OneOf;

#[derive(Debug, Clone, Copy)]
pub struct Dice {
    seed: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A generator for the `n`th occasion of `purpose` for `subject`.
    pub fn cast(&self, purpose: &str, subject: Uuid, n: u64) -> StdRng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(subject.as_bytes());
        hash.update(n.to_le_bytes());
        hash.update(purpose.as_bytes());
        StdRng::from_seed(hash.finalize().into())
    }

    pub fn hits(&self, chance: f64, purpose: &str, subject: Uuid, n: u64) -> bool {
        chance > 0.0 && hit(&mut self.cast(purpose, subject, n), chance)
    }

    /// An id with the bits of a version 4 UUID.
    pub fn uuid(&self, purpose: &str, subject: Uuid, n: u64) -> Uuid {
        uuid::Builder::from_random_bytes(self.cast(purpose, subject, n).random()).into_uuid()
    }
}

pub fn hit(rng: &mut StdRng, chance: f64) -> bool {
    rng.random_bool(chance.clamp(0.0, 1.0))
}

pub fn draw<T: Clone>(rng: &mut StdRng, alternatives: &OneOf<T>) -> T {
    let chosen = rng.random_range(0..alternatives.0.len());
    alternatives.0[chosen].clone()
}
