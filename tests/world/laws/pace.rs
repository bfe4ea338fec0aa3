//! How fast things may go: calls, polls, retries, saves, and what clients may force.

use std::collections::VecDeque;
use std::time::Duration;

use ecobee_tokend::keeper::{Action, Moment, Notice, Outcome, Policy, Reach, Record, Trouble};

use super::{Court, Law, Sight};
use crate::world::ecobee::{Errand, Request};

/// More calls in a minute than any policy allows: sixty polls, thirty refreshes, and what clients want.
const HOT_CALLS: usize = 130;

/// More saves in a minute than any policy allows.
const HOT_SAVES: usize = 300;

/// More steps at one moment than any story needs.
const HOT_STEPS: u32 = 20_000;

/// No wish of ecobee's to be left alone goes beyond this.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_secs(3600);

/// Each `slow_down` makes the polls slower by this.
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);

/// A refresh token that counts as dead is tried again after this …
const FIRST_SLOW_RETRY: Duration = Duration::from_secs(60);
/// … and then this often.
const SLOW_RETRY: Duration = Duration::from_secs(300);

/// Two forced refreshes keep this distance …
const FORCED_SPACING: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
/// … and in an hour there are so many, …
const FORCED_AN_HOUR: usize = 12;
/// … so many of them for one user other than root.
const FORCED_AN_HOUR_AND_UID: usize = 4;

/// Moments of the last minute.
#[derive(Default)]
struct Minute(VecDeque<Moment>);

impl Minute {
    fn count(&mut self, now: Moment) -> usize {
        self.0.push_back(now);
        while self.0.front().is_some_and(|at| *at + Duration::from_secs(60) <= now) {
            self.0.pop_front();
        }
        self.0.len()
    }
}

/// Failures in a row of one kind of call.
#[derive(Default)]
struct Row {
    failures: u32,
    /// Refusals are counted apart: an answer is no trouble.
    refusals: u32,
    failed_at: Moment,
    /// The next is not to come sooner.
    next_at: Option<Moment>,
}

impl Row {
    /// One more; the pause is `whole` less a quarter at least.
    fn failed(&mut self, now: Moment, outcome: &Outcome, policy: &Policy) {
        self.failures += 1;
        let refused = matches!(outcome, Outcome::Refused(_));
        self.refusals += u32::from(refused);
        let of_its_kind = if refused { self.refusals } else { self.failures };
        let doubled = policy.retry_initial.saturating_mul(1 << (of_its_kind - 1).min(20));
        let whole = if matches!(outcome, Outcome::Misconfigured(_)) { policy.retry_max } else { doubled };
        let whole = whole.min(policy.retry_max);
        self.failed_at = now;
        self.next_at = Some(now + three_quarters(whole));
    }

    /// A call of another kind worked: the row is over, but for the first pause.
    fn calmed(&mut self, policy: &Policy) {
        let first = three_quarters(policy.retry_initial);
        (self.failures, self.refusals) = (0, 0);
        self.next_at = self.next_at.map(|at| at.min(self.failed_at + first));
    }

    fn ended(&mut self) {
        *self = Self::default();
    }

    fn allows(&self, now: Moment) -> bool {
        self.next_at.is_none_or(|at| at <= now)
    }
}

/// A pause less all the jitter that there may be.
fn three_quarters(whole: Duration) -> Duration {
    whole.saturating_sub(whole / 4)
}

/// Whether the refresh token counts as dead, and is tried on slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Credit {
    #[default]
    Some,
    UsedUp,
}

/// What must be remembered of calls and saves.
#[derive(Default)]
pub(super) struct Pace {
    call: Option<Errand>,
    /// The token that the last refresh showed.
    shown: Option<String>,
    authorizes: Row,
    polls: Row,
    refreshes: Row,
    /// Whether the refresh in flight shows the token before the refused one.
    last_resort: bool,
    /// Until when ecobee wishes to be left alone: with refreshes, with what has to do with PINs.
    refreshes_held: Option<Moment>,
    pins_held: Option<Moment>,
    /// Whether the last call was a refresh that ended with a broken connection.
    broke: bool,
    stopping: bool,
    calls: Minute,
    saves: Minute,
    steps: (Moment, u32),
    credit: Credit,
    next_poll_at: Option<Moment>,
    interval: Duration,
    pins_paused_until: Moment,
    forced: VecDeque<(Moment, u32)>,
    notified_at: Option<Moment>,
}

impl Pace {
    /// Exactly one deadline, the last of the actions, and not due yet.
    pub(super) fn step_ended(&mut self, court: &mut Court, now: Moment, actions: &[Action]) {
        let deadlines = actions.iter().filter(|action| matches!(action, Action::WakeAt(_))).count();
        let ahead = match actions.last() {
            Some(Action::WakeAt(Some(at))) => *at > now,
            Some(Action::WakeAt(None)) => true,
            _ => false,
        };
        court.hold(Law::OneDeadline, deadlines == 1 && ahead, || format!("{actions:?}"));
        self.steps = if self.steps.0 == now { (now, self.steps.1 + 1) } else { (now, 1) };
        let cool = self.steps.1 < HOT_STEPS;
        court.hold(Law::NoHotLoop, cool, || "so many steps at one moment".to_owned());
    }

    /// The daemon is about to leave.
    pub(super) fn stopping(&mut self) {
        self.stopping = true;
    }

    /// Whether a call is in flight.
    pub(super) fn calls(&self) -> bool {
        self.call.is_some()
    }

    /// The pause between two polls.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// When the next poll is allowed, if one is waited for.
    pub(super) fn next_poll_at(&self) -> Option<Moment> {
        self.next_poll_at.max(self.pins_held)
    }

    /// Until when the pause lasts at most that followed the last failure of a call about a PIN.
    pub(super) fn pins_paused_until(&self) -> Moment {
        self.pins_paused_until
    }

    /// A call is sent: the only one, and not too soon.
    pub(super) fn call_began(&mut self, court: &mut Court, sight: &Sight<'_>, request: &Request) {
        let (now, errand) = (sight.now, request.errand());
        court.hold(Law::OneCall, self.call.is_none(), || {
            format!("{errand:?} is sent while {:?} is in flight", self.call)
        });
        let calls = self.calls.count(now);
        court.hold(Law::NoHotLoop, calls <= HOT_CALLS, || format!("{calls} calls in a minute"));
        let repetition = errand == Errand::Refresh
            && self.broke
            && self.refreshes.failures == 1
            && self.shown.as_deref() == Some(request.shown());
        court.hold_unless(repetition, Law::NothingAfterStop, !self.stopping, || format!("{errand:?}"));
        let (row, held) = match errand {
            Errand::Authorize => (&self.authorizes, self.pins_held),
            Errand::Poll => (&self.polls, self.pins_held),
            Errand::Refresh => (&self.refreshes, self.refreshes_held),
        };
        // The token before the refused one is tried at once, and once.
        let last_resort =
            errand == Errand::Refresh && self.shown.as_deref().is_some_and(|last| last != request.shown());
        court.hold_unless(repetition || last_resort, Law::BackOff, row.allows(now), || {
            format!(
                "{errand:?} after {} failures, {} ms too soon",
                row.failures,
                row.next_at.map_or(0, |at| at.since(now).as_millis())
            )
        });
        let left_alone = held.is_none_or(|until| until <= now);
        court.hold_unless(repetition, Law::RetryAfter, left_alone, || {
            format!("{errand:?}, {} ms too soon", held.map_or(0, |until| until.since(now).as_millis()))
        });
        match errand {
            Errand::Authorize => {}
            Errand::Poll => {
                let early = self.next_poll_at.map_or(Duration::ZERO, |at| at.since(now));
                court.hold(Law::PollPace, early.is_zero(), || format!("{early:?} too soon"));
                self.next_poll_at = Some(now + self.interval);
            }
            Errand::Refresh => {
                self.shown = Some(request.shown().to_owned());
                // The two count as one.
                self.refreshes.failures -= u32::from(repetition);
                self.last_resort = last_resort;
            }
        }
        self.call = Some(errand);
        self.broke = false;
    }

    /// The answer to a call arrives; which call it was.
    pub(super) fn call_ended(&mut self, now: Moment, outcome: &Outcome, policy: &Policy) -> Option<Errand> {
        let errand = self.call.take()?;
        let held =
            if let Outcome::Trouble(Trouble { retry_after, .. }) = outcome { *retry_after } else { None };
        let held = held.map(|long| now + long.min(LONGEST_HOLD));
        let worked = match (errand, outcome) {
            (_, Outcome::Granted(_)) => true,
            (Errand::Authorize, outcome) => matches!(outcome, Outcome::PinIssued(_)),
            (Errand::Poll, outcome) => {
                matches!(outcome, Outcome::Pending | Outcome::SlowDown | Outcome::PinOver(_))
            }
            (Errand::Refresh, _) => false,
        };
        let row = match errand {
            Errand::Authorize => &mut self.authorizes,
            Errand::Poll => &mut self.polls,
            Errand::Refresh => &mut self.refreshes,
        };
        if worked {
            row.ended();
        } else {
            row.failed(now, outcome, policy);
            if errand != Errand::Refresh {
                self.pins_paused_until = (now + policy.retry_max).max(held.unwrap_or(now));
            }
        }
        if errand == Errand::Refresh && std::mem::take(&mut self.last_resort) {
            self.refreshes.refusals = self.refreshes.refusals.saturating_sub(1);
            self.refreshes.failures = self.refreshes.failures.saturating_sub(1);
        }
        if self.credit == Credit::UsedUp && errand == Errand::Refresh {
            self.refreshes.next_at = Some(now + SLOW_RETRY);
        }
        if worked && errand == Errand::Poll {
            self.authorizes.calmed(policy);
        }
        match errand {
            Errand::Authorize | Errand::Poll => self.pins_held = self.pins_held.max(held),
            Errand::Refresh => self.refreshes_held = self.refreshes_held.max(held),
        }
        match outcome {
            // A new grant begins anew.
            Outcome::Granted(_) => {
                self.refreshes.ended();
                self.authorizes.calmed(policy);
                self.polls.calmed(policy);
                (self.refreshes_held, self.pins_held) = (None, None);
                self.shown = None;
                self.credit = Credit::Some;
            }
            Outcome::PinIssued(issued) => {
                self.polls.ended();
                self.interval = issued.interval;
                self.next_poll_at = Some(now + self.interval);
            }
            Outcome::SlowDown if errand == Errand::Poll => {
                self.interval += SLOW_DOWN_STEP;
                self.next_poll_at = Some(now + self.interval);
            }
            // The PIN was entered, and what can be used of its grant begins anew too.
            Outcome::Trouble(trouble) if errand == Errand::Poll && trouble.rotated.is_some() => {
                self.refreshes.next_at = None;
                self.refreshes.refusals = 0;
                self.refreshes_held = None;
                self.credit = Credit::Some;
                self.shown = None;
            }
            Outcome::Trouble(trouble) if trouble.rotated.is_some() => {
                self.shown = None;
                self.refreshes.refusals = 0;
            }
            Outcome::Pending
            | Outcome::SlowDown
            | Outcome::PinOver(_)
            | Outcome::Refused(_)
            | Outcome::Misconfigured(_)
            | Outcome::Trouble(_) => {}
        }
        self.broke = errand == Errand::Refresh
            && matches!(outcome, Outcome::Trouble(trouble) if trouble.reach == Reach::Broken);
        Some(errand)
    }

    /// The keeper counts the refresh token out.
    pub(super) fn given_up(&mut self, now: Moment) {
        self.credit = Credit::UsedUp;
        self.refreshes.next_at = Some(now + FIRST_SLOW_RETRY);
    }

    /// A client asks for a PIN: it may have one though the last request failed.
    pub(super) fn pin_wanted(&mut self) {
        self.authorizes.next_at = None;
    }

    /// A client forces a refresh, and the keeper goes along.
    pub(super) fn forced(&mut self, court: &mut Court, now: Moment, uid: u32) {
        while self.forced.front().is_some_and(|&(at, _)| at + HOUR <= now) {
            self.forced.pop_front();
        }
        let spaced = self.forced.back().is_none_or(|&(at, _)| at + FORCED_SPACING <= now);
        let of_uid = self.forced.iter().filter(|&&(_, who)| who == uid).count();
        let total = self.forced.len();
        let allowed = spaced && total < FORCED_AN_HOUR && (uid == 0 || of_uid < FORCED_AN_HOUR_AND_UID);
        court.hold(Law::ForcedBudget, allowed, || {
            format!("user {uid} has had {of_uid} of {total} in this hour; far enough apart: {spaced}")
        });
        self.forced.push_back((now, uid));
        self.refreshes.next_at = None;
    }

    /// A client may have forced a refresh that is still to come.
    pub(super) fn may_be_forced(&mut self) {
        self.refreshes.next_at = None;
    }

    /// A save is ordered.
    pub(super) fn save_began(&mut self, court: &mut Court, now: Moment) {
        let saves = self.saves.count(now);
        court.hold(Law::NoHotLoop, saves <= HOT_SAVES, || format!("{saves} saves in a minute"));
    }

    /// People are told of a PIN no more often than they asked to be.
    pub(super) fn notified(&mut self, court: &mut Court, now: Moment, policy: &Policy, notice: &Notice) {
        match notice {
            Notice::PinWaiting(_) | Notice::PinReminder(_) => {
                let due = self.notified_at.is_none_or(|at| at + policy.remind_every <= now);
                court.hold(Law::PeopleNotPestered, due, || format!("{notice:?}"));
                self.notified_at = Some(now);
            }
            Notice::TokenBack => self.notified_at = None,
            Notice::TokenLost { .. } => {}
        }
    }

    /// The daemon is gone, and a new one starts with this record. What it did not write down it does not know.
    pub(super) fn restarted(&mut self, sight: &Sight<'_>, record: &Record) {
        let used_up = record.grant.as_ref().is_some_and(|grant| {
            let refused = grant.refusals >= sight.policy.refusals_before_pin;
            refused && grant.access.is_none() && grant.previous.is_none()
        });
        let credit = if used_up { Credit::UsedUp } else { Credit::Some };
        let interval = record.pin.as_ref().map(|pin| pin.interval);
        *self = Self {
            calls: std::mem::take(&mut self.calls),
            saves: std::mem::take(&mut self.saves),
            steps: self.steps,
            interval: interval.unwrap_or_default(),
            next_poll_at: interval.map(|interval| sight.now + interval),
            credit,
            ..Self::default()
        };
    }
}
