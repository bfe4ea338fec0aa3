//! The pretend machine's clocks: which boot this is, and what the wall clock says of the time.
//!
//! A new boot is a new name for the boot clock, which goes on where it stood: the keeper knows no zero.

use std::time::Duration;

use ecobee_tokend::clock::{Reading, Wall};
use ecobee_tokend::keeper::Moment;

/// A day in 2026, on which every pretend machine was first switched on.
const FIRST_DAY: i64 = 1_780_000_000_000;

/// The clocks of a machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    boot: u32,
    /// How far the wall clock goes wrong, in milliseconds.
    error: i64,
    wall: Wall,
}

impl Default for Machine {
    fn default() -> Self {
        Self { boot: 1, error: 0, wall: Wall::Believable }
    }
}

impl Machine {
    /// Both clocks.
    pub(crate) fn reading(&self, now: Moment) -> Reading {
        Reading {
            moment: now,
            wall_millis: FIRST_DAY + now.as_millis() + self.error,
            boot_id: format!("boot-{}", self.boot),
            wall: self.wall,
        }
    }

    /// How far the wall clock goes wrong.
    pub(crate) fn error(&self) -> i64 {
        self.error
    }

    /// Somebody sets the wall clock: so far wrong, in milliseconds.
    pub(crate) fn set_wrong_by(&mut self, error: i64) {
        self.error = error;
    }

    /// The machine is started again.
    pub(crate) fn reboot(&mut self) {
        self.boot += 1;
    }

    /// Its wall clock has no battery: after a start it stands where it stood so long ago, and nobody believes it.
    pub(crate) fn lose_the_time(&mut self, behind: Duration) {
        self.error = -i64::try_from(behind.as_millis()).unwrap_or(i64::MAX);
        self.wall = Wall::Doubtful;
    }

    /// The wall clock is set right, and the kernel says so.
    pub(crate) fn synchronise(&mut self) {
        self.error = 0;
        self.wall = Wall::Believable;
    }
}
