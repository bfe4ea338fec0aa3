//! A series of failures of one kind of call.

use std::time::Duration;

use super::{Moment, News};

/// Failures in a row, until a success.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    failures: u32,
    trouble: Option<(Moment, Moment, String)>,
}

impl Series {
    /// Counts a failure; the first of a series is bigger news than the next.
    pub(super) fn failed(&mut self, now: Moment, reason: &str) -> News {
        self.failures = self.failures.saturating_add(1);
        let since = self.trouble.as_ref().map_or(now, |&(since, _, _)| since);
        self.trouble = Some((since, now, reason.to_owned()));
        if self.failures == 1 {
            News::TroubleBegan(reason.to_owned())
        } else {
            News::TroubleGoesOn { failures: self.failures, reason: reason.to_owned() }
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
        self.failures = 0;
        self.trouble.take().map(|(since, _, _)| now.since(since))
    }

    /// Failures in a row so far.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// When the series began.
    pub(super) fn since(&self) -> Option<Moment> {
        self.trouble.as_ref().map(|&(since, _, _)| since)
    }

    /// The last failure, and when it was.
    pub(super) fn last(&self) -> Option<(Moment, &str)> {
        self.trouble.as_ref().map(|(_, last, reason)| (*last, reason.as_str()))
    }
}
