//! Chance that a seed repeats.

use std::time::Duration;

/// Numbers from a seed (`SplitMix64`: Steele, Lea and Flood, 2014). Ours, so that no crate's next version throws others.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        mixed % sides
    }

    /// Yes, so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let sides = u64::try_from(choices.len()).expect("a choice");
        choices[usize::try_from(self.below(sides)).expect("a choice")]
    }

    /// A length below this, in milliseconds.
    pub(crate) fn length(&mut self, below: Duration) -> Duration {
        let millis = u64::try_from(below.as_millis()).expect("a length");
        Duration::from_millis(self.below(millis.max(1)))
    }
}
