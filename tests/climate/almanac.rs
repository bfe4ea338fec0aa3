//! What became of so many years.

use std::fmt;

use crate::world::{Count, Fault, Law, Tally, World};

/// Years, summed up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Almanac {
    pub(crate) years: u64,
    pub(crate) tally: Tally,
    laws: Vec<(Law, Count)>,
}

impl Almanac {
    pub(super) fn of(world: &World, years: u32) -> Self {
        let laws = Law::ALL.into_iter().map(|law| (law, world.count(law))).collect();
        Self { years: u64::from(years), tally: world.tally, laws }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.years += other.years;
        self.tally.add(&other.tally);
        if self.laws.is_empty() {
            self.laws = Law::ALL.into_iter().map(|law| (law, Count::default())).collect();
        }
        for ((_, ours), (_, theirs)) in self.laws.iter_mut().zip(&other.laws) {
            ours.checked += theirs.checked;
            ours.excused += theirs.excused;
        }
    }

    /// The kinds of faults that have not come up.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        Fault::ALL.into_iter().filter(|&(fault, _)| self.tally.of(fault) == 0).map(|(_, name)| name).collect()
    }

    /// The laws that were never held against anything.
    pub(crate) fn idle_laws(&self) -> Vec<Law> {
        self.laws.iter().filter(|(_, count)| count.checked == 0).map(|&(law, _)| law).collect()
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
        for (law, count) in &self.laws {
            let (name, excuse) = law.words();
            writeln!(f, "{name:<56} {:>12} {:>10}  {excuse}", count.checked, count.excused)?;
        }
        Ok(())
    }
}
