//! A pretend disk: saves take time, fail and hang; what was reported as saved survives a crash.

use std::collections::VecDeque;
use std::time::Duration;

use ecobee_tokend::clock::{Reading, Wall};
use ecobee_tokend::keeper::{Moment, Record, SaveId, StoredAccess, StoredGrant};

use super::dice::Dice;
use super::laws::{Passage, SAVE_PATIENCE};
use super::machine::Machine;
use super::secs;
use super::shelf::Shelf;
use super::tally::{Fault, Tally};

/// What befalls one save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskMishap {
    /// It works after so long.
    Takes(Duration),
    /// It fails after so long.
    Fails(Duration),
}

impl DiskMishap {
    /// As the dice fall.
    pub(crate) fn thrown(dice: &mut Dice) -> Self {
        if dice.percent(50) { Self::Fails(dice.length(secs(5))) } else { Self::Takes(dice.length(secs(40))) }
    }
}

/// Chooses a mishap for each save.
pub(crate) type DiskWeather = Box<dyn FnMut() -> Option<DiskMishap>>;

/// The pretend disk.
pub(crate) struct Disk {
    /// How long a save takes.
    pub(crate) takes: Duration,
    /// Whether every save fails.
    pub(crate) broken: bool,
    /// Whether the loader leaves it to the keeper to see that an access token may be dead.
    pub(crate) careless: bool,
    /// What survives a crash.
    pub(crate) record: Record,
    /// When `record` was written.
    written: Option<Reading>,
    /// The daemon's own store, where records shall go through it on their way to the next life.
    pub(crate) shelf: Option<Shelf>,
    /// Decides what a crash leaves of a save under way, or of a failed one; without it, nothing.
    pub(crate) leftovers: Option<Dice>,
    /// How many saves were ordered.
    pub(crate) orders: u64,
    mishaps: VecDeque<DiskMishap>,
    weather: Option<DiskWeather>,
    under_way: Option<(SaveId, Record, Reading)>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            takes: Duration::from_millis(20),
            broken: false,
            careless: false,
            record: Record::default(),
            written: None,
            shelf: None,
            leftovers: None,
            orders: 0,
            mishaps: VecDeque::new(),
            weather: None,
            under_way: None,
        }
    }
}

impl Disk {
    /// The next save meets with this; more of them queue up.
    pub(crate) fn next(&mut self, mishap: DiskMishap) {
        self.mishaps.push_back(mishap);
    }

    /// Chooses a mishap for every save that nothing else befalls.
    pub(crate) fn weather(&mut self, weather: DiskWeather) {
        self.weather = Some(weather);
    }

    /// A save begins; how long it takes, and what comes of it.
    pub(crate) fn begin(
        &mut self,
        save: SaveId,
        record: Record,
        written: Reading,
        tally: &mut Tally,
    ) -> (Duration, Result<(), String>) {
        assert!(self.under_way.is_none(), "two saves at a time");
        self.under_way = Some((save, record, written));
        self.orders += 1;
        let usual = if self.broken { DiskMishap::Fails(self.takes) } else { DiskMishap::Takes(self.takes) };
        let chosen = self.mishaps.pop_front();
        let chosen = chosen.or_else(|| self.weather.as_mut().and_then(|weather| weather()));
        match chosen.unwrap_or(usual) {
            DiskMishap::Takes(long) => {
                if long > SAVE_PATIENCE {
                    tally.count(Fault::SaveHung);
                }
                (long, Ok(()))
            }
            DiskMishap::Fails(long) => {
                tally.count(Fault::SaveFailed);
                (long, Err("no space left on device".to_owned()))
            }
        }
    }

    /// A save has come to its end.
    pub(crate) fn end(&mut self, save: SaveId, result: &Result<(), String>) {
        let ended = self.under_way.take();
        let Some((_, record, written)) = ended.filter(|(under_way, _, _)| *under_way == save) else {
            panic!("a save ended that had not begun");
        };
        // One that failed at its last step is on the disk all the same, perhaps.
        if result.is_ok() || self.leaves_something() {
            (self.record, self.written) = (record, Some(written));
        }
    }

    fn leaves_something(&mut self) -> bool {
        self.leftovers.as_mut().is_some_and(|dice| dice.percent(50))
    }

    /// The grant that survives a crash.
    #[track_caller]
    pub(crate) fn grant(&self) -> &StoredGrant {
        self.record.grant.as_ref().expect("a stored grant")
    }

    /// The access token that survives a crash.
    #[track_caller]
    pub(crate) fn access(&self) -> &StoredAccess {
        self.grant().access.as_ref().expect("a stored access token")
    }

    /// The record of the save under way.
    pub(crate) fn under_way(&self) -> Option<&Record> {
        self.under_way.as_ref().map(|(_, record, _)| record)
    }

    /// The daemon is gone: what was under way is lost, or not. What the next one loads, and whether the wall clock
    /// misleads it.
    pub(crate) fn load(&mut self, now: Moment, machine: &Machine) -> (Record, Passage) {
        if let Some((_, record, written)) = self.under_way.take()
            && self.leaves_something()
        {
            (self.record, self.written) = (record, Some(written));
        }
        let reading = machine.reading(now);
        let (mut record, mut passage) = (self.record.clone(), Passage::Sound);
        if let (Some(shelf), Some(written)) = (&self.shelf, &self.written) {
            record = shelf.carry(&self.record, written, &reading);
            let elapsed = reading.wall_millis - written.wall_millis;
            let other_boot = reading.boot_id != written.boot_id;
            let passed = now.as_millis() - written.moment.as_millis();
            if other_boot && reading.wall == Wall::Doubtful {
                passage = Passage::Doubtful;
            } else if other_boot && elapsed != passed {
                passage = Passage::Misled;
            }
        }
        if let Some(grant) = record.grant.as_mut().filter(|_| !self.careless) {
            let marked = grant.refresh_sent;
            grant.access = grant.access.take().filter(|access| !marked && now < access.expires_at);
        }
        (record, passage)
    }
}
