//! What must happen at last: a grant lives on, a dead one leads to a PIN, an entered PIN to a token.
//!
//! *Trouble* is what the keeper can do nothing about: a call that anything befell, until its answer has come and for
//! as long as that told it to stay away; a time in which ecobee refuses good tokens; a kill, a start, a suspend, a stop.
//! A disk that fails is no excuse.

use std::collections::VecDeque;
use std::time::Duration;

use ecobee_tokend::keeper::{Granted, Moment, Outcome, PinView, Policy, Record, State, View};

use ecobee_tokend::secret::Secret;

use super::lending::SAVE_PATIENCE;
use super::pace::Pace;
use super::{Court, Law, Sight};
use crate::world::ecobee::{Errand, Request};

/// Trouble over and the grant honoured, a token lives within this, …
const HEALS_WITHIN: Duration = Duration::from_secs(360);
/// … the longest pause being this.
const USUAL_RETRY_MAX: Duration = Duration::from_secs(300);

/// A dead grant leads to a PIN on show within this of the access token's death.
const PIN_WITHIN: Duration = Duration::from_secs(600);

/// An entered PIN brings a token within so much more than an interval, calls and saves aside.
const TOKEN_WITHIN: Duration = Duration::from_secs(5);

/// More refresh tokens than the keeper ever holds.
const HELD: usize = 4;

/// The time without a living access token.
struct Gap {
    since: Moment,
    /// Since when ecobee does not honour the grant, if it does not.
    dead_since: Option<Moment>,
    pin: Shown,
    /// Whether trouble came into it.
    troubled: bool,
}

/// Whether a PIN has been on show while there was no token.
enum Shown {
    NotYet,
    /// One is, until then at most.
    Until(Moment),
    /// One was, until then, and the next is due so much later.
    NoMore(Moment, Duration),
}

/// A PIN that a person has entered.
struct Entered {
    pin: String,
    at: Moment,
    by: Moment,
    /// How long after the end of trouble.
    within: Duration,
}

/// What must be remembered of grants and troubles.
#[derive(Default)]
pub(super) struct Life {
    /// The refresh token that the keeper is to use.
    newest: Option<String>,
    /// All that it may still know.
    held: VecDeque<String>,
    /// How often ecobee has refused it, as far as the keeper can know.
    refusals: u32,
    /// The last moment of trouble.
    clear_from: Moment,
    gap: Option<Gap>,
    entered: Option<Entered>,
    /// Whether something befell the call in flight.
    befallen: bool,
    stopping: bool,
}

impl Life {
    /// There is trouble until then.
    pub(super) fn trouble(&mut self, until: Moment) {
        self.clear_from = self.clear_from.max(until);
        if let Some(gap) = &mut self.gap {
            gap.troubled = true;
        }
        if let Some(entered) = &mut self.entered {
            entered.by = entered.by.max(until + entered.within);
        }
    }

    /// The daemon is about to leave, and owes nobody anything.
    pub(super) fn stopping(&mut self) {
        self.stopping = true;
    }

    /// Looks at the account after whatever happened.
    pub(super) fn look(&mut self, court: &mut Court, sight: &Sight<'_>, view: &View, pace: &Pace) {
        // Where tokens die on their way, or PINs before anyone can see them, nothing can be owed.
        let sane = Self::calls(sight, 4) < sight.ecobee.pin_lifetime.min(sight.ecobee.lifetime);
        if self.stopping || !sane {
            self.trouble(sight.now);
            (self.gap, self.entered) = (None, None);
            return;
        }
        self.clear_from = self.clear_from.max(sight.ecobee.quarantine_until.min(sight.now));
        if self.befallen {
            self.trouble(sight.now);
        }
        if view.token.is_some() {
            self.gap_ends(court, sight);
        } else {
            self.gap_goes_on(court, sight, view, pace);
        }
        self.entry_is_honoured(court, sight, view);
    }

    fn gap_ends(&mut self, court: &mut Court, sight: &Sight<'_>) {
        let Some(gap) = self.gap.take() else { return };
        if gap.dead_since.is_none() {
            let bound = Self::heals_within(sight);
            let since = gap.since.max(self.clear_from);
            court.hold(Law::Heals, sight.now <= since + bound, || Self::late(sight.now, since, bound));
            if gap.troubled {
                court.excuse(Law::Heals);
            }
        }
    }

    fn gap_goes_on(&mut self, court: &mut Court, sight: &Sight<'_>, view: &View, pace: &Pace) {
        let now = sight.now;
        let honoured = self.newest.as_deref().is_some_and(|token| sight.ecobee.honours(token, now));
        let gap = self.gap.get_or_insert(Gap {
            since: now,
            dead_since: None,
            pin: Shown::NotYet,
            troubled: now < self.clear_from,
        });
        if honoured {
            gap.dead_since = None;
            let (since, bound) = (gap.since.max(self.clear_from), Self::heals_within(sight));
            if since + bound < now {
                court.hold(Law::Heals, false, || Self::late(now, since, bound));
            }
        } else {
            let dead_since = *gap.dead_since.get_or_insert(now);
            if let Some(pin) = &view.pin {
                if view.state != State::AwaitingUser {
                    // A client asked for it, while the grant has some credit left.
                    return;
                }
                if matches!(gap.pin, Shown::NotYet | Shown::NoMore(..)) {
                    court.hold(Law::PinForTheDead, true, String::new);
                }
                gap.pin = Shown::Until(pin.expires_at);
                return;
            }
            if let Shown::Until(ends_at) = gap.pin {
                // Another is asked for when a poll says that this one is over.
                let within = pace.interval() + sight.policy.retry_initial + Self::calls(sight, 3);
                gap.pin = Shown::NoMore(ends_at.min(now), within);
            }
            let since = gap.since.max(dead_since).max(self.clear_from);
            let (since, bound) = match gap.pin {
                Shown::NoMore(seen_at, within) if since < seen_at => {
                    (seen_at.max(pace.pins_paused_until()), within)
                }
                Shown::NotYet | Shown::Until(_) | Shown::NoMore(..) => (since, Self::pin_within(sight)),
            };
            if since + bound < now {
                court.hold(Law::PinForTheDead, false, || Self::late(now, since, bound));
            }
            if gap.troubled {
                gap.troubled = false;
                court.excuse(Law::PinForTheDead);
            }
        }
    }

    fn late(now: Moment, since: Moment, bound: Duration) -> String {
        format!("{} ms after trouble's end, {} ms allowed", now.since(since).as_millis(), bound.as_millis())
    }

    /// So many calls and a save.
    fn calls(sight: &Sight<'_>, calls: u32) -> Duration {
        sight.ecobee.latency * calls + SAVE_PATIENCE
    }

    fn heals_within(sight: &Sight<'_>) -> Duration {
        let longer = sight.policy.retry_max.saturating_sub(USUAL_RETRY_MAX);
        HEALS_WITHIN + longer + Self::calls(sight, 2)
    }

    /// Ten minutes, unless the settings make the refusals take longer.
    fn pin_within(sight: &Sight<'_>) -> Duration {
        let Policy { retry_initial, retry_max, refusals_before_pin, .. } = *sight.policy;
        let refusals =
            (1..refusals_before_pin).map(|k| (retry_initial * (1 << (k - 1).min(12))).min(retry_max));
        let counted_out = refusals.sum::<Duration>() + retry_max;
        PIN_WITHIN.max(counted_out + Duration::from_secs(60)) + Self::calls(sight, refusals_before_pin + 3)
    }

    /// A person has entered a PIN, and ecobee took it.
    pub(super) fn entered(&mut self, sight: &Sight<'_>, pin: &str, shown: Option<&PinView>, pace: &Pace) {
        if shown.is_none_or(|shown| shown.pin != pin) || self.entered.is_some() || self.stopping {
            return;
        }
        let poll_at = pace.next_poll_at().unwrap_or(sight.now);
        let at = sight.now.max(self.clear_from);
        let slack = TOKEN_WITHIN + Self::calls(sight, 2);
        let within = pace.interval() + slack;
        let by = (at + within).max(poll_at.max(pace.pins_paused_until()) + slack);
        self.entered = Some(Entered { pin: pin.to_owned(), at: sight.now, by, within });
    }

    fn entry_is_honoured(&mut self, court: &mut Court, sight: &Sight<'_>, view: &View) {
        let Some(entered) = &mut self.entered else { return };
        if view.token.is_some() && view.state == State::Refreshing {
            // Nobody needs the PIN just now: its polls wait for the refresh, and that for the disk.
            entered.by = entered.by.max(sight.now + entered.within);
        }
        let waits = view.pin.as_ref().is_some_and(|shown| shown.pin == entered.pin);
        let brought = view.token.is_some() && !waits;
        if brought || entered.by < sight.now {
            let (at, by) = (entered.at, entered.by);
            court.hold(Law::TokenForThePin, brought && sight.now <= by, || {
                Self::late(sight.now, at, by.since(at))
            });
            self.entered = None;
        }
    }

    /// The entered PIN may bring no token after all.
    pub(super) fn entry_is_void(&mut self, court: &mut Court) {
        if self.entered.take().is_some() {
            court.excuse(Law::TokenForThePin);
        }
    }

    /// A call is sent, and this befalls it or not.
    pub(super) fn call_began(&mut self, court: &mut Court, errand: Errand, mishap: bool) {
        self.befallen = mishap;
        // A client wants another PIN in place of the entered one, or the answer to its poll is lost.
        if errand == Errand::Authorize || (errand == Errand::Poll && mishap) {
            self.entry_is_void(court);
        }
    }

    /// The answer to a call that showed this arrives.
    pub(super) fn call_ended(
        &mut self,
        court: &mut Court,
        now: Moment,
        request: &Request,
        outcome: &Outcome,
        living: bool,
    ) {
        if std::mem::take(&mut self.befallen) && request.errand() == Errand::Poll {
            self.entry_is_void(court);
        }
        match (request, outcome) {
            (Request::Refresh { .. }, Outcome::Refused(_)) => self.refusals = self.refusals.saturating_add(1),
            (Request::Poll { .. }, Outcome::Granted(Granted { refresh_token, .. })) => {
                self.held.clear();
                self.hold(now, refresh_token.as_ref().map(|token| token.expose().to_owned()));
            }
            (Request::Refresh { token }, Outcome::Granted(Granted { refresh_token, .. })) => {
                let fresh = refresh_token.as_ref().map_or(token.as_str(), |fresh| fresh.expose());
                self.hold(now, Some(fresh.to_owned()));
            }
            (Request::Poll { .. }, Outcome::Trouble(trouble)) if living || trouble.rotated.is_none() => {}
            (request, Outcome::Trouble(trouble)) => {
                if request.errand() == Errand::Poll {
                    self.held.clear();
                }
                if let Some(rotated) = &trouble.rotated {
                    self.hold(now, Some(rotated.expose().to_owned()));
                }
            }
            _ => {}
        }
    }

    fn hold(&mut self, now: Moment, token: Option<String>) {
        self.newest.clone_from(&token);
        self.refusals = 0;
        if let Some(gap) = &mut self.gap {
            (gap.since, gap.dead_since) = (now, None);
        }
        if let Some(token) = token.filter(|token| !self.held.contains(token)) {
            self.held.push_back(token);
        }
        if self.held.len() > HELD {
            self.held.pop_front();
        }
    }

    /// A record is ordered to disk: a grant that ecobee honours is in it.
    pub(super) fn save_began(&self, court: &mut Court, sight: &Sight<'_>, record: &Record) {
        let honours = |token: &str| sight.ecobee.honours(token, sight.now);
        let kept = tokens(record).any(honours) || !self.held.iter().any(|token| honours(token));
        court.hold(Law::GrantKept, kept, || format!("none of {:?} is written", self.held));
        if let Some(grant) = record.grant.as_ref().filter(|grant| !grant.refresh_token.is_empty()) {
            court.hold(Law::OnlyRefusalsCount, grant.refusals <= self.refusals, || {
                format!("{} counted, {} heard", grant.refusals, self.refusals)
            });
        }
    }

    /// The daemon is gone, and a new one starts with this record; `saved` is what lay on the disk.
    pub(super) fn restarted(
        &mut self,
        court: &mut Court,
        sight: &Sight<'_>,
        record: &Record,
        saved: &Record,
    ) {
        let survived = tokens(record).eq(tokens(saved));
        court.hold(Law::SavedTokensSurvive, survived, || format!("{:?}", tokens(saved).collect::<Vec<_>>()));
        self.entry_is_void(court);
        self.held = tokens(record).map(str::to_owned).collect();
        self.newest = tokens(record).next().map(str::to_owned);
        self.refusals = record.grant.as_ref().map_or(0, |grant| grant.refusals);
        self.gap = None;
        self.befallen = false;
        self.stopping = false;
        self.trouble(sight.now);
    }
}

/// The refresh tokens in a record, the current one first.
fn tokens(record: &Record) -> impl Iterator<Item = &str> {
    record
        .grant
        .iter()
        .flat_map(|grant| [Some(&grant.refresh_token), grant.previous.as_ref()])
        .flatten()
        .map(Secret::expose)
}
