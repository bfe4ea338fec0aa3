//! Counts what happens, for whoever watches: cells that only grow, no locks, nothing allocated at the counting.
//!
//! What each number means is said where it is written for Prometheus, in its HELP line (`socket/measures.rs`).
//! The counts belong to the daemon and, of an account, to its name: a reload loses none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::keeper::{Call, Moment, Outcome, Reach};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.0.set(self.0.get().saturating_add(1));
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// How calls end, as users see it; one for each kind of outcome.
const ENDINGS: [&str; 11] = [
    "granted",
    "pin-issued",
    "pending",
    "slow-down",
    "pin-over",
    "refused",
    "misconfigured",
    "unreachable",
    "broken",
    "failed",
    "unusable",
];

/// The place of an outcome in [`ENDINGS`].
fn ending(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Granted(_) => 0,
        Outcome::PinIssued(_) => 1,
        Outcome::Pending => 2,
        Outcome::SlowDown => 3,
        Outcome::PinOver(_) => 4,
        Outcome::Refused(_) => 5,
        Outcome::Misconfigured(_) => 6,
        Outcome::Trouble(trouble) => match trouble.reach {
            Reach::Unsent => 7,
            Reach::Broken => 8,
            Reach::Sent => 9,
            Reach::Granted => 10,
        },
    }
}

/// The upper bounds of the buckets that call durations are sorted into, in milliseconds. ecobee answers within half a
/// second on a good day; `request-timeout` may be 5 minutes.
pub const BOUNDS: [u64; 10] = [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000];

/// How long things took.
#[derive(Debug, Default)]
pub struct Durations {
    /// One for each bound, and one for what took longer.
    buckets: [Counter; BOUNDS.len() + 1],
    sum_millis: Cell<u64>,
}

impl Durations {
    fn took(&self, length: Duration) {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let place = BOUNDS.iter().position(|bound| millis <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[place].count();
        self.sum_millis.set(self.sum_millis.get().saturating_add(millis));
    }

    /// How many took no longer than each bound; the last are all.
    pub fn cumulated(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().scan(0, |so_far, bucket| {
            *so_far += bucket.get();
            Some(*so_far)
        })
    }

    /// All of them together, in milliseconds.
    pub fn sum_millis(&self) -> u64 {
        self.sum_millis.get()
    }
}

/// What happened to one account.
#[derive(Debug, Default)]
pub struct Tally {
    /// Refreshes that brought an access token.
    pub refreshes: Counter,
    /// PINs that were entered and brought a grant.
    pub authorizations: Counter,
    /// PINs that ended unused.
    pub pins_over: Counter,
    /// Refresh tokens refused by ecobee.
    pub refused: Counter,
    /// Calls that came to nothing for reasons that pass.
    pub trouble: Counter,
    /// Calls of which ecobee says that our request or configuration is wrong.
    pub misconfigured: Counter,
    /// Saves that failed.
    pub unsaved: Counter,
}

/// What happened in the house.
#[derive(Debug)]
pub struct Counts {
    /// When the daemon started.
    pub started_at: Moment,
    calls: [[Counter; ENDINGS.len()]; Call::ALL.len()],
    durations: [Durations; Call::ALL.len()],
    tallies: RefCell<HashMap<Rc<str>, Rc<Tally>>>,
}

impl Counts {
    /// Nothing has happened yet.
    pub fn new(started_at: Moment) -> Self {
        Self {
            started_at,
            calls: Default::default(),
            durations: Default::default(),
            tallies: RefCell::default(),
        }
    }

    /// The tally of the account of this name, be it new or be it back.
    pub fn tally(&self, account: impl AsRef<str> + Into<Rc<str>>) -> Rc<Tally> {
        let mut tallies = self.tallies.borrow_mut();
        if let Some(tally) = tallies.get(account.as_ref()) {
            return Rc::clone(tally);
        }
        Rc::clone(tallies.entry(account.into()).or_default())
    }

    /// A call for this account has come to its end.
    pub fn called(&self, tally: &Tally, call: Call, outcome: &Outcome, took: Duration) {
        self.calls[call as usize][ending(outcome)].count();
        self.durations[call as usize].took(took);
        match (outcome, call) {
            (Outcome::Granted(_), Call::Refresh) => tally.refreshes.count(),
            (Outcome::Granted(_), Call::Authorize | Call::Poll) => tally.authorizations.count(),
            (Outcome::PinOver(_), _) => tally.pins_over.count(),
            (Outcome::Refused(_), _) => tally.refused.count(),
            (Outcome::Trouble(_), _) => tally.trouble.count(),
            (Outcome::Misconfigured(_), _) => tally.misconfigured.count(),
            (Outcome::PinIssued(_) | Outcome::Pending | Outcome::SlowDown, _) => {}
        }
    }

    /// How many of these calls ended how.
    pub fn calls(&self, call: Call) -> impl Iterator<Item = (&'static str, u64)> {
        ENDINGS.into_iter().zip(self.calls[call as usize].iter().map(Counter::get))
    }

    /// How long these calls took.
    pub fn durations(&self, call: Call) -> &Durations {
        &self.durations[call as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::Trouble;

    fn trouble(reach: Reach) -> Outcome {
        Outcome::Trouble(Trouble { reason: String::new(), reach, retry_after: None, rotated: None })
    }

    #[test]
    fn every_outcome_has_its_own_ending() {
        for (outcome, name) in [
            (Outcome::Pending, "pending"),
            (Outcome::SlowDown, "slow-down"),
            (Outcome::PinOver(String::new()), "pin-over"),
            (Outcome::Refused(String::new()), "refused"),
            (Outcome::Misconfigured(String::new()), "misconfigured"),
            (trouble(Reach::Unsent), "unreachable"),
            (trouble(Reach::Broken), "broken"),
            (trouble(Reach::Sent), "failed"),
            (trouble(Reach::Granted), "unusable"),
        ] {
            assert_eq!(ENDINGS[ending(&outcome)], name);
        }
    }

    #[test]
    fn a_duration_is_in_all_buckets_from_its_own_on() {
        let durations = Durations::default();
        for millis in [0, 50, 51, 59_999, 60_001] {
            durations.took(Duration::from_millis(millis));
        }
        let cumulated: Vec<u64> = durations.cumulated().collect();
        assert_eq!(cumulated, [2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5]);
        assert_eq!(durations.sum_millis(), 120_101);
    }

    #[test]
    fn an_account_that_comes_back_goes_on_where_it_stopped() {
        let counts = Counts::new(Moment::from_millis(0));
        counts.called(&counts.tally("home"), Call::Refresh, &trouble(Reach::Sent), Duration::ZERO);
        assert_eq!(counts.tally("home").trouble.get(), 1);
        assert_eq!(counts.tally("barn").trouble.get(), 0);
        let failed =
            |call| counts.calls(call).find(|(ending, _)| *ending == "failed").map(|(_, count)| count);
        assert_eq!((failed(Call::Refresh), failed(Call::Poll)), (Some(1), Some(0)));
    }
}
