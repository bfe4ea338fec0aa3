//! A pretend disk: saves take time, fail and hang; what was reported as saved survives a crash.

use std::collections::VecDeque;
use std::time::Duration;

use ecobee_tokend::keeper::{Moment, Record, SaveId};

/// What befalls one save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskMishap {
    /// It works after so long.
    Takes(Duration),
    /// It fails after so long.
    Fails(Duration),
}

/// Chooses a mishap for each save.
pub(crate) type DiskWeather = Box<dyn FnMut(Moment) -> Option<DiskMishap>>;

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
    /// How many saves were ordered.
    pub(crate) orders: u64,
    mishaps: VecDeque<DiskMishap>,
    weather: Option<DiskWeather>,
    under_way: Option<(SaveId, Record)>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            takes: Duration::from_millis(20),
            broken: false,
            careless: false,
            record: Record::default(),
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
        now: Moment,
        save: SaveId,
        record: Record,
    ) -> (Duration, Result<(), String>) {
        assert!(self.under_way.is_none(), "two saves at a time");
        self.under_way = Some((save, record));
        self.orders += 1;
        let usual = if self.broken { DiskMishap::Fails(self.takes) } else { DiskMishap::Takes(self.takes) };
        let chosen = self.mishaps.pop_front();
        let chosen = chosen.or_else(|| self.weather.as_mut().and_then(|weather| weather(now)));
        match chosen.unwrap_or(usual) {
            DiskMishap::Takes(long) => (long, Ok(())),
            DiskMishap::Fails(long) => (long, Err("no space left on device".to_owned())),
        }
    }

    /// A save has come to its end.
    pub(crate) fn end(&mut self, save: SaveId, result: &Result<(), String>) {
        let ended = self.under_way.take();
        let Some((_, record)) = ended.filter(|(under_way, _)| *under_way == save) else {
            panic!("a save ended that had not begun");
        };
        if result.is_ok() {
            self.record = record;
        }
    }

    /// The record of the save under way.
    pub(crate) fn under_way(&self) -> Option<&Record> {
        self.under_way.as_ref().map(|(_, record)| record)
    }

    /// The daemon is gone: what was under way is lost. What the next one loads.
    pub(crate) fn load(&mut self, now: Moment) -> Record {
        self.under_way = None;
        let mut record = self.record.clone();
        if let Some(grant) = record.grant.as_mut().filter(|_| !self.careless) {
            let marked = grant.refresh_sent;
            grant.access = grant.access.take().filter(|access| !marked && now < access.expires_at);
        }
        record
    }
}
