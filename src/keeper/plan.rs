//! When a token is to be refreshed, and what may be promised until then.

use std::time::Duration;

use super::{Moment, Told};

/// A plain answer promises at least this much while the window is shut: enough to send one request.
pub(super) const PLAIN_PROMISE: Duration = Duration::from_secs(5);

/// The longest `min_ttl` while no lifetime is known: an hour's token less the ten minutes of the usual window.
pub(super) const LONGEST_MIN_TTL_UNKNOWN: Duration = Duration::from_secs(3000);

/// Two planned refreshes are never closer than this, whatever lifetime ecobee claims.
const LEAST_PACE: Duration = Duration::from_secs(2);

/// The window never closes later than this before expiry: room for a refresh and its first retries.
const LARGEST_MARGIN: Duration = Duration::from_secs(60);

/// How the keeper is to behave: the settings that concern it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The refresh window opens this long before expiry.
    pub ahead: Duration,
    /// The first pause after a failure.
    pub retry_initial: Duration,
    /// The longest pause after a failure.
    pub retry_max: Duration,
    /// How many refusals in a row make a refresh token dead.
    pub refusals_before_pin: u32,
    /// How long until a person is reminded of a PIN.
    pub remind_every: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ahead: Duration::from_secs(600),
            retry_initial: Duration::from_secs(5),
            retry_max: Duration::from_secs(300),
            refusals_before_pin: 3,
            remind_every: Duration::from_secs(24 * 3600),
        }
    }
}

impl Policy {
    /// The pause after so many failures in a row: doubling from `retry_initial` to `retry_max`, less jitter of at
    /// most a quarter.
    pub fn back_off(&self, failures: u32, jitter: &mut Jitter) -> Duration {
        let doubled = self.retry_initial.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let whole = doubled.min(self.retry_max);
        whole.saturating_sub(jitter.part_of(whole / 4))
    }
}

/// Numbers that keep a thousand daemons from knocking in step; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Numbers from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A length from nothing up to `length`. (`SplitMix64`: Steele, Lea and Flood, 2014.)
    pub fn part_of(&mut self, length: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(mixed % millis.saturating_add(1).max(1))
    }
}

/// When the refresh window of a token opens and closes, counted from its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Refreshing is right from here on …
    pub opens_after: Duration,
    /// … and must not be put off beyond here.
    pub closes_after: Duration,
}

impl Window {
    /// The window of a token that lives so long.
    pub fn of(lifetime: Duration, ahead: Duration) -> Self {
        let margin = LARGEST_MARGIN.min(lifetime / 10).min(ahead / 2);
        Self {
            opens_after: lifetime.saturating_sub(ahead).max(lifetime / 2),
            closes_after: lifetime.saturating_sub(margin),
        }
    }

    /// A tenth of its length: the most that jitter may add.
    pub fn tenth(&self) -> Duration {
        self.closes_after.saturating_sub(self.opens_after) / 10
    }
}

/// Whether a promise may still put the refresh off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Firmness {
    /// It may.
    Movable,
    /// Somebody waits for the refresh: it stays where it is.
    Fixed,
}

/// The planned refresh of a token, and the promises made until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    opens_at: Moment,
    closes_at: Moment,
    refresh_at: Moment,
    promised_until: Moment,
    firmness: Firmness,
}

/// What a request for a promise led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    /// The token will be left alone for so long.
    Promised(Duration),
    /// The refresh was put off for it: write that down, then ask again.
    PutOff,
    /// No: the refresh comes first, and now stays where it is.
    AfterRefresh,
}

impl Plan {
    /// The plan for a token issued at `issued_at` that lives for `lifetime`; `wanted` are promises that people
    /// wait for, counted from the issue.
    pub(super) fn new(
        issued_at: Moment,
        lifetime: Duration,
        ahead: Duration,
        wanted: Duration,
        jitter: &mut Jitter,
    ) -> Self {
        let window = Window::of(lifetime, ahead);
        let tenth = window.tenth();
        // No sooner than the plain promise after the opening, where the window is that long: so a plain reader of
        // a shut window is promised its seconds without moving anything.
        let least = PLAIN_PROMISE.min(tenth);
        let planned = window.opens_after + least + jitter.part_of(tenth.saturating_sub(least));
        let pace = LEAST_PACE.max(lifetime / 2);
        let refresh_after = planned.max(wanted.min(window.closes_after)).max(pace);
        Self {
            opens_at: issued_at + window.opens_after,
            closes_at: issued_at + window.closes_after.max(refresh_after),
            refresh_at: issued_at + refresh_after,
            promised_until: issued_at,
            firmness: Firmness::Movable,
        }
    }

    /// The plan of a stored token: before the restart promises were made up to `refresh_at`, to plain readers for
    /// a few seconds.
    pub(super) fn restored(
        issued_at: Moment,
        lifetime: Duration,
        ahead: Duration,
        refresh_at: Moment,
        now: Moment,
    ) -> Self {
        let window = Window::of(lifetime, ahead);
        let (opens_at, closes_at) = (issued_at + window.opens_after, issued_at + window.closes_after);
        let pace = issued_at + LEAST_PACE.max(lifetime / 2);
        let promised_until = refresh_at.min(issued_at + lifetime);
        let planned = (now + PLAIN_PROMISE).min(closes_at).max(opens_at).max(pace);
        let refresh_at = planned.max(promised_until);
        Self {
            opens_at,
            closes_at: closes_at.max(refresh_at),
            refresh_at,
            promised_until: refresh_at,
            firmness: Firmness::Movable,
        }
    }

    /// When the refresh is planned.
    pub(super) fn refresh_at(&self) -> Moment {
        self.refresh_at
    }

    /// When it may be put off no longer.
    pub(super) fn closes_at(&self) -> Moment {
        self.closes_at
    }

    /// Asks that the token be left alone for `min_ttl` from now.
    pub(super) fn lease(&mut self, now: Moment, min_ttl: Duration, told: Told) -> Lease {
        let shut = now < self.opens_at;
        if min_ttl.is_zero() {
            if shut && self.firmness == Firmness::Movable {
                self.refresh_at = self.refresh_at.max((now + PLAIN_PROMISE).min(self.closes_at));
            }
        } else if now + min_ttl > self.refresh_at {
            if self.can_put_off_to(now + min_ttl) {
                // In steps of a tenth of the window, so that a busy asker costs few writes.
                let step = self.closes_at.since(self.opens_at) / 10;
                self.refresh_at = (now + min_ttl + step).min(self.closes_at);
                self.promised_until = self.promised_until.max(now + min_ttl);
                return Lease::PutOff;
            }
            self.fix();
            return Lease::AfterRefresh;
        }
        let promised = self.refresh_at.until_from(now);
        let held = match told {
            Told::Lifetime => promised,
            Told::TokenOnly => promised.min(min_ttl.max(PLAIN_PROMISE)),
        };
        self.promised_until = self.promised_until.max(now + held);
        Lease::Promised(promised)
    }

    /// Whether the refresh may be put off until then.
    pub(super) fn can_put_off_to(&self, until: Moment) -> bool {
        self.firmness == Firmness::Movable && until <= self.closes_at
    }

    /// Somebody waits for the refresh: no promise moves it again. What plain readers of a shut window are owed
    /// is taken into account once, here.
    fn fix(&mut self) {
        if self.firmness == Firmness::Movable {
            self.firmness = Firmness::Fixed;
            self.refresh_at = self.refresh_at.max((self.opens_at + PLAIN_PROMISE).min(self.closes_at));
        }
    }

    /// The first moment before the planned refresh at which an early one would break no promise.
    pub(super) fn early_at(&self, now: Moment) -> Option<Moment> {
        let early = self.promised_until.max(now);
        (now < self.opens_at && early < self.refresh_at).then_some(early)
    }

    /// Plans the refresh for `at`, for somebody who waits for it.
    pub(super) fn bring_forward(&mut self, at: Moment) {
        self.firmness = Firmness::Fixed;
        self.refresh_at = self.refresh_at.min(at);
    }

    /// Puts a refresh that cannot begin off by a little, whatever waits.
    pub(super) fn hold_until(&mut self, at: Moment) {
        self.firmness = Firmness::Fixed;
        self.refresh_at = at.min(self.closes_at);
    }

    /// The longest `min_ttl` that a token of this kind can ever satisfy, given its issue.
    pub(super) fn longest_min_ttl(&self, issued_at: Moment) -> Duration {
        self.opens_at.since(issued_at)
    }
}
