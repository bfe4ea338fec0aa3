//! What has been ordered to disk, and what is known to lie there.

use std::time::Duration;

use super::{Moment, SaveId};

/// A save that takes longer than this no longer holds up what waits for it.
pub(super) const SAVE_PATIENCE: Duration = Duration::from_secs(2);

/// One save at a time; what changes meanwhile is saved next.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    ordered: u64,
    reported: u64,
    wanted: Wanted,
    disbelieved: bool,
    failures: u32,
    /// How often something came that cannot be had again; how often by the save on its way; how often by what lies on disk.
    gains: u64,
    gains_ordered: u64,
    gains_saved: u64,
    /// The worst that the diary has of saves that fail.
    told: Option<Stake>,
}

/// What a kill would lose while saves fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stake {
    /// Notes only, such as the mark before a refresh.
    Notes,
    /// A token or a PIN.
    Treasure,
}

/// Whether the record has changed since the last save was ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    Now,
    /// The last save failed.
    At(Moment),
}

/// What a report of a save means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// It is not of the save on its way.
    Foreign,
    /// It is on disk, as it should be.
    Saved,
    /// It is not.
    Failed,
    /// Saves work again.
    Recovered,
}

impl Ledger {
    /// The record has changed. The number under which this state will be reported as saved.
    pub(super) fn change(&mut self) -> SaveId {
        self.wanted = Wanted::Now;
        SaveId(self.ordered + 1)
    }

    /// The same, and the record has a token or a PIN in it that cannot be had again.
    pub(super) fn gain(&mut self) -> SaveId {
        self.gains += 1;
        self.change()
    }

    /// What a kill would lose.
    pub(super) fn stake(&self) -> Stake {
        if self.gains > self.gains_saved { Stake::Treasure } else { Stake::Notes }
    }

    /// What a kill would lose, now that a save has failed; told once, and once more when it becomes worse.
    pub(super) fn news_of_failure(&mut self) -> Option<Stake> {
        let stake = Some(self.stake());
        (stake > self.told).then(|| self.told = stake).and(stake)
    }

    /// A failed save is not put off any longer.
    pub(super) fn hurry(&mut self) {
        if matches!(self.wanted, Wanted::At(_)) {
            self.wanted = Wanted::Now;
        }
    }

    /// Whether a save is on its way.
    fn is_busy(&self) -> bool {
        self.ordered > self.reported
    }

    /// Whether nothing is on its way and nothing new is to follow.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_busy() && self.wanted != Wanted::Now
    }

    /// The number of the save to order now, if one is due.
    pub(super) fn due(&mut self, now: Moment) -> Option<SaveId> {
        let due = match self.wanted {
            Wanted::Nothing => false,
            Wanted::Now => true,
            Wanted::At(at) => at <= now,
        };
        if !due || self.is_busy() {
            return None;
        }
        self.wanted = Wanted::Nothing;
        self.gains_ordered = self.gains;
        self.ordered += 1;
        Some(SaveId(self.ordered))
    }

    /// A save has come to its end; a failed one is tried again at `again_at`.
    pub(super) fn report(&mut self, save: SaveId, ok: bool, again_at: Moment) -> Report {
        if save.0 != self.ordered || !self.is_busy() {
            return Report::Foreign;
        }
        self.reported = save.0;
        if ok {
            self.disbelieved = false;
            self.gains_saved = self.gains_ordered;
            self.told = None;
            return if std::mem::take(&mut self.failures) > 0 { Report::Recovered } else { Report::Saved };
        }
        self.failures = self.failures.saturating_add(1);
        if self.wanted == Wanted::Nothing {
            self.wanted = Wanted::At(again_at);
        }
        Report::Failed
    }

    /// Whether the outcome of this save is known, good or bad.
    pub(super) fn is_reported(&self, save: SaveId) -> bool {
        self.reported >= save.0
    }

    /// Whether the last save failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// On disk lies an access token that was not believed; until the next save, a later start may believe it.
    pub(super) fn disbelieve(&mut self) {
        self.disbelieved = true;
    }

    /// Whether such a token lies there still.
    pub(super) fn holds_disbelieved(&self) -> bool {
        self.disbelieved
    }

    /// Failed saves in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// When a failed save is to be tried again.
    pub(super) fn wake_at(&self) -> Option<Moment> {
        match self.wanted {
            Wanted::At(at) => Some(at),
            Wanted::Nothing | Wanted::Now => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_millis(0);
    const LATER: Moment = Moment::from_millis(5000);

    #[test]
    fn a_change_during_a_save_is_saved_next() {
        let mut ledger = Ledger::default();
        let first = ledger.change();
        assert_eq!(ledger.due(NOW), Some(first));
        let second = ledger.change();
        assert_ne!(first, second);
        assert_eq!(ledger.due(NOW), None, "one save at a time");
        assert_eq!(ledger.report(first, true, LATER), Report::Saved);
        assert!(ledger.is_reported(first) && !ledger.is_reported(second));
        assert_eq!(ledger.due(NOW), Some(second));
        assert!(!ledger.is_settled());
        assert_eq!(ledger.report(second, true, LATER), Report::Saved);
        assert!(ledger.is_settled());
        assert_eq!(ledger.due(LATER), None);
    }

    #[test]
    fn a_failed_save_is_ordered_again_later() {
        let mut ledger = Ledger::default();
        ledger.change();
        let first = ledger.due(NOW).expect("an order");
        assert_eq!(ledger.report(first, false, LATER), Report::Failed);
        assert_eq!((ledger.due(NOW), ledger.wake_at()), (None, Some(LATER)));
        let second = ledger.due(LATER).expect("an order");
        assert_eq!(ledger.wake_at(), None);
        assert_eq!(ledger.report(second, false, LATER), Report::Failed);
        assert_eq!(ledger.failures(), 2);
        let third = ledger.due(LATER).expect("an order");
        assert_eq!(ledger.report(third, true, LATER), Report::Recovered);
        assert!(!ledger.is_failing());
    }

    #[test]
    fn what_was_gained_is_at_stake_until_a_save_that_began_later_succeeds() {
        let mut ledger = Ledger::default();
        let save_next = |ledger: &mut Ledger, ok| {
            let save = ledger.due(LATER).expect("an order");
            ledger.report(save, ok, LATER);
        };
        ledger.change();
        save_next(&mut ledger, false);
        assert_eq!((ledger.stake(), ledger.news_of_failure()), (Stake::Notes, Some(Stake::Notes)));
        let under_way = ledger.due(LATER).expect("an order");
        ledger.gain();
        assert_eq!(ledger.report(under_way, true, LATER), Report::Recovered);
        assert_eq!(ledger.stake(), Stake::Treasure, "that save began before");
        save_next(&mut ledger, false);
        assert_eq!((ledger.news_of_failure(), ledger.news_of_failure()), (Some(Stake::Treasure), None));
        save_next(&mut ledger, true);
        assert_eq!(ledger.stake(), Stake::Notes);
    }

    #[test]
    fn a_failure_is_told_once_and_once_more_when_it_becomes_worse() {
        let mut ledger = Ledger::default();
        assert_eq!((ledger.news_of_failure(), ledger.news_of_failure()), (Some(Stake::Notes), None));
        ledger.gain();
        assert_eq!((ledger.news_of_failure(), ledger.news_of_failure()), (Some(Stake::Treasure), None));
    }

    #[test]
    fn a_report_that_nobody_waits_for_changes_nothing() {
        let mut ledger = Ledger::default();
        ledger.change();
        let save = ledger.due(NOW).expect("an order");
        assert_eq!(ledger.report(SaveId(save.0 + 1), false, LATER), Report::Foreign);
        assert_eq!(ledger.report(save, true, LATER), Report::Saved);
        assert_eq!(ledger.report(save, false, LATER), Report::Foreign);
        assert!(!ledger.is_failing());
    }
}
