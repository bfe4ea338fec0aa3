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
    /// Whether a person can be told at all.
    pub audience: Audience,
}

/// Whether there is a way to tell a person of a PIN. What nobody could hear is told as soon as somebody can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// There is.
    Present,
    /// There is none so far.
    Absent,
}

/// For the pretend world: a daemon's policy is that of its configuration, whose defaults are in `config.rs`.
impl Default for Policy {
    fn default() -> Self {
        Self {
            ahead: Duration::from_secs(600),
            retry_initial: Duration::from_secs(5),
            retry_max: Duration::from_secs(300),
            refusals_before_pin: 3,
            remind_every: Duration::from_secs(24 * 3600),
            audience: Audience::Present,
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
        let planned = (now.max(opens_at) + PLAIN_PROMISE).min(closes_at).max(pace);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lifetimes() -> impl Strategy<Value = Duration> {
        prop_oneof![1..120_u64, 1..=86_400_u64].prop_map(Duration::from_secs)
    }

    fn aheads() -> impl Strategy<Value = Duration> {
        (60..=1800_u64).prop_map(Duration::from_secs)
    }

    /// So long after the last question, for so long, and whether the answer shows it.
    fn questions() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
        prop::collection::vec((0..600_000_u64, prop_oneof![Just(0), 1..4_000_u64], any::<bool>()), 1..60)
    }

    const ISSUED_AT: Moment = Moment::from_millis(77_000);

    fn plan(lifetime: Duration, ahead: Duration, wanted: Duration, seed: u64) -> Plan {
        Plan::new(ISSUED_AT, lifetime, ahead, wanted, &mut Jitter::new(seed))
    }

    proptest! {
        #[test]
        fn a_window_is_as_documented(lifetime in lifetimes(), ahead in aheads()) {
            let window = Window::of(lifetime, ahead);
            prop_assert!(window.opens_after >= lifetime / 2);
            prop_assert!(window.opens_after >= lifetime.saturating_sub(ahead));
            prop_assert!(window.opens_after == lifetime / 2 || window.opens_after + ahead == lifetime);
            let margin = lifetime.saturating_sub(window.closes_after);
            prop_assert_eq!(margin, Duration::from_secs(60).min(lifetime / 10).min(ahead / 2));
            prop_assert!(window.opens_after < window.closes_after);
        }

        #[test]
        fn a_refresh_is_planned_in_the_first_tenth_of_the_window(
            lifetime in lifetimes(), ahead in aheads(), seed: u64
        ) {
            let window = Window::of(lifetime, ahead);
            let after = plan(lifetime, ahead, Duration::ZERO, seed).refresh_at().since(ISSUED_AT);
            prop_assert!(after >= window.opens_after + PLAIN_PROMISE.min(window.tenth()), "a plain reader moves it");
            prop_assert!(after >= LEAST_PACE.max(lifetime / 2));
            prop_assert!(after <= (window.opens_after + window.tenth()).max(LEAST_PACE));
        }

        #[test]
        fn a_refresh_waits_for_the_longest_promise_that_the_window_allows(
            lifetime in lifetimes(), ahead in aheads(), wanted in lifetimes(), seed: u64
        ) {
            let window = Window::of(lifetime, ahead);
            let after = plan(lifetime, ahead, wanted, seed).refresh_at().since(ISSUED_AT);
            prop_assert!(after >= wanted.min(window.closes_after));
            prop_assert!(after <= window.closes_after.max(LEAST_PACE));
        }

        #[test]
        fn promises_end_before_the_refresh_and_the_refresh_before_the_close(
            lifetime in lifetimes(), ahead in aheads(), seed: u64, questions in questions()
        ) {
            let mut plan = plan(lifetime, ahead, Duration::ZERO, seed);
            let close = (ISSUED_AT + Window::of(lifetime, ahead).closes_after).max(plan.refresh_at());
            let (mut now, mut held_until, mut fixed) = (ISSUED_AT, ISSUED_AT, false);
            for (pause, min_ttl, lifetime_is_told) in questions {
                now = now + Duration::from_millis(pause);
                let told = if lifetime_is_told { Told::Lifetime } else { Told::TokenOnly };
                let min_ttl = Duration::from_secs(min_ttl);
                let before = plan.refresh_at();
                let lease = plan.lease(now, min_ttl, told);
                prop_assert!(plan.refresh_at() >= before);
                prop_assert!(plan.refresh_at() <= close);
                prop_assert!(!fixed || plan.refresh_at() == before, "a fixed refresh moved");
                prop_assert!(now < plan.opens_at || !min_ttl.is_zero() || plan.refresh_at() == before);
                match lease {
                    Lease::Promised(promised) => {
                        prop_assert!(promised >= min_ttl);
                        prop_assert_eq!(promised, plan.refresh_at().since(now));
                        let held = if lifetime_is_told { promised } else { promised.min(min_ttl.max(PLAIN_PROMISE)) };
                        held_until = held_until.max(now + held);
                    }
                    Lease::PutOff => {
                        prop_assert!(now + min_ttl <= plan.refresh_at());
                        prop_assert!(matches!(plan.lease(now, min_ttl, told), Lease::Promised(_)));
                        held_until = held_until.max(plan.promised_until);
                    }
                    Lease::AfterRefresh => {
                        prop_assert!(now + min_ttl > before);
                        fixed = true;
                    }
                }
                prop_assert!(plan.early_at(now).is_none_or(|early| early >= held_until.max(now)));
            }
        }

        #[test]
        fn a_restored_plan_keeps_what_was_promised(
            lifetime in lifetimes(), ahead in aheads(), seed: u64, questions in questions()
        ) {
            let mut plan = plan(lifetime, ahead, Duration::ZERO, seed);
            let (mut now, mut held_until, mut stored) = (ISSUED_AT, ISSUED_AT, plan.refresh_at());
            let window = Window::of(lifetime, ahead);
            for (pause, min_ttl, _) in questions {
                now = now + Duration::from_millis(pause);
                if plan.refresh_at() <= now {
                    break;
                }
                match plan.lease(now, Duration::from_secs(min_ttl), Told::Lifetime) {
                    Lease::Promised(promised) => held_until = held_until.max(now + promised),
                    Lease::PutOff => stored = plan.refresh_at(),
                    Lease::AfterRefresh => {}
                }
                let restored = Plan::restored(ISSUED_AT, lifetime, ahead, stored, now);
                prop_assert!(restored.refresh_at() >= held_until);
                prop_assert!(restored.refresh_at() >= (now + PLAIN_PROMISE).min(ISSUED_AT + window.closes_after));
                prop_assert!(restored.refresh_at() >= ISSUED_AT + LEAST_PACE.max(lifetime / 2));
                prop_assert!(restored.refresh_at() <= plan.closes_at());
                prop_assert_eq!(restored.early_at(now), None);
            }
        }

        #[test]
        fn a_back_off_doubles_up_to_the_longest_pause_less_a_quarter_at_most(
            initial in 1..=60_u64, more in 0..3600_u64, failures in 1..200_u32, seed: u64
        ) {
            let (retry_initial, retry_max) = (Duration::from_secs(initial), Duration::from_secs(initial + more));
            let policy = Policy { retry_initial, retry_max, ..Policy::default() };
            let doubled = retry_initial.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX).max(1));
            let whole = if failures > 20 { retry_max } else { doubled.min(retry_max) };
            let pause = policy.back_off(failures, &mut Jitter::new(seed));
            prop_assert!(pause <= whole);
            prop_assert!(pause >= whole * 3 / 4);
        }

        #[test]
        fn jitter_stays_within_its_length(length in 0..100_000_u64, seed: u64) {
            let length = Duration::from_millis(length);
            prop_assert!(Jitter::new(seed).part_of(length) <= length);
        }
    }

    /// What a plain reader is owed at the opening is not written down, but known.
    #[test]
    fn a_restored_plan_keeps_what_a_reader_was_promised_after_the_plan_was_fixed() {
        let (lifetime, ahead) = (Duration::from_secs(60), Duration::from_secs(600));
        let mut plan = plan(lifetime, ahead, Duration::ZERO, 1);
        let (stored, now) = (plan.refresh_at(), ISSUED_AT + Duration::from_secs(25));
        assert_eq!(plan.lease(now, Duration::from_secs(30), Told::Lifetime), Lease::AfterRefresh);
        let Lease::Promised(promised) = plan.lease(now, Duration::ZERO, Told::Lifetime) else {
            panic!("no promise")
        };
        assert_eq!(now + promised, ISSUED_AT + Duration::from_secs(35));
        assert!(stored < now + promised);
        let restored = Plan::restored(ISSUED_AT, lifetime, ahead, stored, now);
        assert!(restored.refresh_at() >= now + promised);
    }

    /// Of a token that lives a minute: with the usual `ahead` its window is half of that.
    #[test]
    fn at_the_opening_the_window_is_open() {
        let (opens_at, minute) = (ISSUED_AT + Duration::from_secs(30), Duration::from_secs(60));
        let plan = plan(minute, Duration::from_secs(600), Duration::ZERO, 1);
        let just_before = opens_at - Duration::from_millis(1);
        assert!(plan.early_at(just_before).is_some());
        assert_eq!(plan.early_at(opens_at), None);
        let (mut shut, mut open) = (plan.clone(), plan.clone());
        shut.lease(just_before, Duration::ZERO, Told::Lifetime);
        assert_eq!(shut.refresh_at(), just_before + PLAIN_PROMISE);
        open.lease(opens_at, Duration::ZERO, Told::Lifetime);
        assert_eq!(open, Plan { promised_until: plan.refresh_at(), ..plan }, "nothing else has moved");
    }

    #[test]
    fn a_promise_that_just_fits_moves_nothing_and_one_that_does_not_moves_the_refresh_by_a_step_more() {
        let (hour, now) = (Duration::from_secs(3600), ISSUED_AT + Duration::from_secs(1000));
        let mut plan = plan(hour, Duration::from_secs(600), Duration::ZERO, 1);
        let planned = plan.refresh_at();
        let fitting = planned.since(now);
        assert_eq!(plan.clone().lease(now, fitting, Told::TokenOnly), Lease::Promised(fitting));
        let longer = fitting + Duration::from_millis(1);
        assert_eq!(plan.lease(now, longer, Told::TokenOnly), Lease::PutOff);
        // A tenth of a window of nine minutes.
        assert_eq!(plan.refresh_at(), now + longer + Duration::from_secs(54));
        assert_eq!(plan.early_at(now), Some(now + longer), "what was promised counts at once");
    }

    /// Known numbers of `SplitMix64`.
    #[test]
    fn jitter_is_well_mixed() {
        let mut jitter = Jitter::new(1_234_567);
        let mut next = || jitter.part_of(Duration::from_millis(u64::MAX)).as_millis();
        assert_eq!(next(), 6_457_827_717_110_365_317);
        assert_eq!(next(), 3_203_168_211_198_807_973);
        assert_eq!(next(), 9_817_491_932_198_370_423);
    }

    #[test]
    fn a_restart_does_not_hurry_a_token_that_lives_shorter_than_the_pace() {
        let (second, ahead) = (Duration::from_secs(1), Duration::from_secs(600));
        let restored = Plan::restored(ISSUED_AT, second, ahead, ISSUED_AT + LEAST_PACE, ISSUED_AT);
        assert_eq!(restored.refresh_at(), ISSUED_AT + LEAST_PACE);
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let mut jitter = Jitter::new(1);
        let parts: Vec<_> = (0..200).map(|_| jitter.part_of(Duration::from_millis(3)).as_millis()).collect();
        assert!((0..=3).all(|part| parts.contains(&part)), "{parts:?}");
    }
}
