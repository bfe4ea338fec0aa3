//! What became of so many years.

use std::fmt;

use crate::world::{Counts, Fault, Law, Tally, World};

/// Years, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Almanac {
    pub(crate) years: u64,
    pub(crate) tally: Tally,
    laws: Counts,
}

impl Almanac {
    pub(super) fn of(world: &World, years: u32) -> Self {
        Self { years: u64::from(years), tally: world.tally, laws: *world.counts() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.years += other.years;
        self.tally.add(&other.tally);
        for (ours, theirs) in self.laws.iter_mut().zip(&other.laws) {
            ours.checked += theirs.checked;
            ours.excused += theirs.excused;
        }
    }

    /// The kinds of faults that have not come up.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        Fault::ALL.into_iter().filter(|&(fault, _)| self.tally.of(fault) == 0).map(|(_, name)| name).collect()
    }

    /// The laws that were never held against anything.
    pub(crate) fn idle_laws(&self) -> Vec<&'static str> {
        let laws = Law::ALL.into_iter().zip(&self.laws);
        laws.filter(|(_, count)| count.checked == 0).map(|((_, words, _), _)| words).collect()
    }
}

impl fmt::Display for Almanac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { events, refreshes, authorizations, pins, requests, lent, saves, .. } = self.tally;
        let totals = [
            ("account-years", self.years),
            ("events", events),
            ("refreshes", refreshes),
            ("saves", saves),
            ("PINs shown", pins),
            ("PINs entered, and a grant come of it", authorizations),
            ("requests", requests),
            ("tokens lent", lent),
        ];
        for (name, count) in totals {
            writeln!(f, "{name:<44} {count:>12}")?;
        }
        writeln!(f, "\n{:<44} {:>12}", "what befell them", "times")?;
        for (fault, name) in Fault::ALL {
            writeln!(f, "{name:<44} {:>12}", self.tally.of(fault))?;
        }
        writeln!(f, "\n{:<56} {:>12} {:>10}", "the laws", "held", "excused")?;
        for ((_, words, excuse), count) in Law::ALL.into_iter().zip(&self.laws) {
            writeln!(f, "{words:<56} {:>12} {:>10}  {excuse}", count.checked, count.excused)?;
        }
        Ok(())
    }
}
