//! A moment on the boot clock.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds on the clock that starts at boot and counts through suspend.
///
/// Moments of an earlier boot that were carried over by wall time are negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// The moment so many milliseconds after boot (before it, if negative).
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after boot.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this moment is; nothing if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// How long there is from `now` until this moment; nothing if it is past.
    pub fn until_from(self, now: Self) -> Duration {
        self.since(now)
    }
}

fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(millis(length)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(millis(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_as_many_milliseconds_as_it_was_made_of() {
        for millis in [i64::MIN, -7, 0, 7, i64::MAX] {
            assert_eq!(Moment::from_millis(millis).as_millis(), millis);
        }
    }
}
