//! A series of failures of one kind of call.

use std::time::Duration;

use super::{Moment, News};

/// Failures in a row, until a success. Boxed, for there are rarely any.
#[derive(Clone, Debug, Default)]
pub(super) struct Series(Option<Box<Row>>);

#[derive(Clone, Debug)]
struct Row {
    failures: u32,
    since: Moment,
    last_at: Moment,
    last_reason: String,
}

impl Series {
    /// Counts a failure; the first of a series is bigger news than the next.
    pub(super) fn failed(&mut self, now: Moment, reason: &str) -> News {
        let (since, failures) = (self.since().unwrap_or(now), self.failures().saturating_add(1));
        self.0 = Some(Box::new(Row { failures, since, last_at: now, last_reason: reason.to_owned() }));
        if failures == 1 {
            News::TroubleBegan(reason.to_owned())
        } else {
            News::TroubleGoesOn { failures, reason: reason.to_owned() }
        }
    }

    /// Counts a failure that only a better configuration ends; each reason is big news once.
    pub(super) fn misconfigured(&mut self, now: Moment, reason: &str) -> News {
        let known = self.last().is_some_and(|(_, last)| last == reason);
        let news = self.failed(now, reason);
        if known { news } else { News::Misconfigured(reason.to_owned()) }
    }

    /// Ends the series; how long it lasted, if there was one.
    pub(super) fn succeeded(&mut self, now: Moment) -> Option<Duration> {
        self.0.take().map(|row| now.since(row.since))
    }

    /// Failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.0.as_ref().map_or(0, |row| row.failures)
    }

    /// When the series began.
    pub(super) fn since(&self) -> Option<Moment> {
        self.0.as_ref().map(|row| row.since)
    }

    /// The last failure, and when it was.
    pub(super) fn last(&self) -> Option<(Moment, &str)> {
        self.0.as_ref().map(|row| (row.last_at, row.last_reason.as_str()))
    }
}
