//! Chance that can be had again: the same seed throws the same numbers.

use std::thread;
use std::time::{Duration, Instant};

/// A die of any number of sides.
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    /// Dice of this seed; each `lane` throws numbers of its own.
    pub(crate) fn new(seed: u64, lane: u64) -> Self {
        let mut seeds = fastrand::Rng::with_seed(seed);
        Self(fastrand::Rng::with_seed(seeds.u64(..) ^ lane.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// True once in so many throws.
    pub(crate) fn one_in(&mut self, throws: u32) -> bool {
        self.0.u32(..throws) == 0
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.usize(..from.len())]
    }

    /// Any length of time up to this one. Short ones come more often: most interesting moments are short.
    pub(crate) fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.f64() * self.0.f64())
    }
}

/// Lets time pass: what is waited for here is a random moment, which no condition announces.
pub(crate) fn pass(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}
