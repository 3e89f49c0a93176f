//! Randomness that the same seed gives again.

use std::hash::{BuildHasher as _, RandomState};

/// Selects the seed of every test that uses randomness.
pub const SEED: &str = "PIPEWRIGHT_TESTS_SEED";

/// splitmix64.
#[derive(Default)]
pub struct Random(u64);

impl Random {
    /// From the seed of the environment, or a new one; the test tells which.
    pub fn seeded() -> (u64, Self) {
        let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        (seed, Self(seed))
    }

    /// Another sequence, for who runs beside.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
