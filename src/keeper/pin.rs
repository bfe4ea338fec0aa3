//! The PIN: asked for, shown, polled for, and over.

use std::time::Duration;

use super::desk::Patience;
use super::ledger::SAVE_PATIENCE;
use super::{
    Action, Audience, Call, IssuedPin, Keeper, Moment, News, Notice, Outcome, PinView, SaveId, Season,
    StoredPin,
};
use crate::secret::Secret;

/// Each `slow_down` makes the polls slower by this (RFC 8628, section 3.5).
const SLOW_DOWN_STEP: Duration = Duration::from_secs(5);

/// Polls are never closer than this, whatever ecobee claims.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// A PIN past its time whose polls fail for other reasons is held on to for so long: the person may have entered
/// it at the last moment, and only ecobee knows.
const GRACE: Duration = Duration::from_secs(300);

/// A PIN that waits to be entered.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) serial: u64,
    pin: String,
    code: Secret,
    expires_at: Moment,
    interval: Duration,
    poll_at: Moment,
    save: SaveId,
    /// It is shown when it is saved, or from here on.
    shown_from: Moment,
    diary: Diary,
}

/// Whether the diary has this PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Diary {
    Open,
    Written,
}

/// Where the PIN stands. What is known of one is boxed: most accounts have none for months.
#[derive(Debug)]
pub(super) enum PinFlow {
    /// None is wanted.
    Idle,
    /// ecobee is asked for one at `due`; the one before it is held until then.
    Requesting { due: Moment, before: Option<Box<Waiting>> },
    /// One waits to be entered.
    Awaiting { waiting: Box<Waiting> },
}

impl Keeper {
    pub(super) fn restore_pin(&mut self, stored: StoredPin, now: Moment) {
        self.pin = PinFlow::Awaiting {
            waiting: Box::new(Waiting {
                // Nobody asked for it in this life, so it is newer than nothing.
                serial: self.last_serial,
                pin: stored.pin,
                code: stored.code,
                expires_at: stored.expires_at,
                interval: stored.interval,
                poll_at: now + stored.interval,
                save: SaveId(0),
                shown_from: now,
                diary: Diary::Open,
            }),
        };
    }

    pub(super) fn stored_pin(&self) -> Option<StoredPin> {
        let waiting = match &self.pin {
            PinFlow::Idle | PinFlow::Requesting { before: None, .. } => return None,
            PinFlow::Requesting { before: Some(waiting), .. } | PinFlow::Awaiting { waiting } => waiting,
        };
        Some(StoredPin {
            pin: waiting.pin.clone(),
            code: waiting.code.clone(),
            expires_at: waiting.expires_at,
            interval: waiting.interval,
        })
    }

    /// The PIN that people may be shown: one that works, and that a restart would remember.
    pub(super) fn visible_pin(&self, now: Moment) -> Option<PinView> {
        let PinFlow::Awaiting { waiting } = &self.pin else {
            return None;
        };
        let known = self.ledger.is_reported(waiting.save) || waiting.shown_from <= now;
        (known && now < waiting.expires_at).then(|| PinView {
            pin: waiting.pin.clone(),
            expires_at: waiting.expires_at,
            expires_in: waiting.expires_at.until_from(now),
        })
    }

    /// The number of the newest PIN on show.
    pub(super) fn visible_pin_serial(&self, now: Moment) -> Option<u64> {
        let PinFlow::Awaiting { waiting } = &self.pin else {
            return None;
        };
        self.visible_pin(now).map(|_| waiting.serial)
    }

    /// Asks for a PIN now, whatever there is.
    pub(super) fn request_pin(&mut self, now: Moment) {
        let before = match std::mem::replace(&mut self.pin, PinFlow::Idle) {
            PinFlow::Idle => None,
            PinFlow::Requesting { before, .. } => before,
            PinFlow::Awaiting { waiting } => Some(waiting),
        };
        self.pin = PinFlow::Requesting { due: now, before };
    }

    /// The moment `at`, or the end of the time for which ecobee wishes to be left alone.
    fn unless_held(&self, at: Moment) -> Moment {
        at.max(self.pin_held_until.unwrap_or(at))
    }

    /// Whether ecobee is being asked for a PIN, or will be as soon as the call in flight is over.
    pub(super) fn is_requesting_pin(&self, now: Moment) -> bool {
        match &self.pin {
            PinFlow::Idle => false,
            PinFlow::Requesting { due, .. } => self.unless_held(*due) <= now,
            PinFlow::Awaiting { .. } => self.visible_pin(now).is_none(),
        }
    }

    /// When somebody who was told of no PIN should look again.
    pub(super) fn pin_expected_at(&self, now: Moment) -> Moment {
        match &self.pin {
            // It is here, and shown as soon as it is saved.
            PinFlow::Awaiting { waiting } if now < waiting.expires_at => now,
            PinFlow::Idle | PinFlow::Requesting { .. } | PinFlow::Awaiting { .. } => {
                self.pin_due().unwrap_or(now)
            }
        }
    }

    /// When the PIN flow next does something that may bring a PIN or a token.
    pub(super) fn pin_due(&self) -> Option<Moment> {
        match &self.pin {
            PinFlow::Idle => None,
            PinFlow::Requesting { due, .. } => Some(self.unless_held(*due)),
            PinFlow::Awaiting { waiting } => Some(self.unless_held(waiting.poll_at)),
        }
    }

    /// Moves the PIN on as far as time allows.
    pub(super) fn advance_pin(&mut self, now: Moment) {
        if matches!(self.pin, PinFlow::Idle) && self.phase.needs_person() && self.season == Season::Open {
            self.pin = PinFlow::Requesting { due: self.next_request_at(now), before: None };
        }
        if self.pin_due().is_some_and(|due| due <= now) && self.may_call() {
            self.send_for_pin(now);
        }
        self.show_pin(now);
    }

    fn send_for_pin(&mut self, now: Moment) {
        match &self.pin {
            PinFlow::Idle => {}
            PinFlow::Requesting { .. } => {
                self.pin_again_at = Some(now + self.policy.retry_initial);
                let call = self.next_call(Call::Authorize);
                self.out.push(Action::SendAuthorize { call });
            }
            PinFlow::Awaiting { waiting } => {
                let code = waiting.code.clone();
                let call = self.next_call(Call::Poll);
                self.out.push(Action::SendPoll { call, code });
            }
        }
    }

    /// The first PIN comes at once, and so does the next; but a server whose PINs die at birth, or that gives none,
    /// is not hammered.
    fn next_request_at(&self, now: Moment) -> Moment {
        self.pin_again_at.map_or(now, |again_at| now.max(again_at))
    }

    /// Writes the PIN into the diary once, and tells people at the first and then now and again.
    fn show_pin(&mut self, now: Moment) {
        let Some(view) = self.visible_pin(now) else {
            return;
        };
        if let PinFlow::Awaiting { waiting } = &mut self.pin
            && waiting.diary == Diary::Open
        {
            waiting.diary = Diary::Written;
            self.out.push(Action::Tell(News::PinShown(view.clone())));
        }
        if !self.phase.needs_person() || self.policy.audience == Audience::Absent {
            return;
        }
        let notice = match self.told.pin_at {
            None => Notice::PinWaiting(view),
            Some(told_at) if told_at + self.policy.remind_every <= now => Notice::PinReminder(view),
            Some(_) => return,
        };
        self.told.pin_at = Some(now);
        self.ledger.change();
        self.out.push(Action::Notify(notice));
    }

    /// The answer to `/authorize`.
    pub(super) fn pin_answered(&mut self, now: Moment, sent_at: Moment, outcome: Outcome) {
        let pause = match outcome {
            Outcome::PinIssued(issued) => return self.pin_issued(now, sent_at, issued),
            Outcome::Misconfigured(reason) => self.pin_misconfigured(now, &reason),
            Outcome::Trouble(trouble) => self.pin_call_failed(now, &trouble.reason, trouble.held()),
            Outcome::Refused(reason) | Outcome::PinOver(reason) => {
                self.pin_call_failed(now, &reason, Duration::ZERO)
            }
            Outcome::Granted(_) | Outcome::Pending | Outcome::SlowDown => {
                let reason = "ecobee answered a request for a PIN with something else";
                self.pin_call_failed(now, reason, Duration::ZERO)
            }
        };
        self.pin_again_at = Some(now + pause);
        self.pin_refused(now, pause);
    }

    fn pin_issued(&mut self, now: Moment, sent_at: Moment, issued: IssuedPin) {
        self.pins_succeeded(now);
        self.last_serial += 1;
        let interval = issued.interval.max(LEAST_INTERVAL);
        self.pin = PinFlow::Awaiting {
            waiting: Box::new(Waiting {
                serial: self.last_serial,
                pin: issued.pin,
                code: issued.code,
                expires_at: sent_at + issued.lifetime,
                interval,
                poll_at: now + interval,
                save: self.ledger.gain(),
                shown_from: now + SAVE_PATIENCE,
                diary: Diary::Open,
            }),
        };
    }

    fn pin_refused(&mut self, now: Moment, pause: Duration) {
        let wanted = self.phase.needs_person() || self.pin_is_waited_for(Patience::Stated);
        self.pin = match std::mem::replace(&mut self.pin, PinFlow::Idle) {
            PinFlow::Requesting { before: Some(waiting), .. } | PinFlow::Awaiting { waiting } => {
                PinFlow::Awaiting { waiting }
            }
            PinFlow::Requesting { before: None, .. } | PinFlow::Idle => {
                if wanted {
                    PinFlow::Requesting { due: now + pause, before: None }
                } else {
                    PinFlow::Idle
                }
            }
        };
    }

    fn pins_succeeded(&mut self, now: Moment) {
        if let Some(after) = self.pins.succeeded(now) {
            self.tell(News::TroubleEnded { after });
        }
    }

    /// The answer to a poll.
    pub(super) fn polled(&mut self, now: Moment, sent_at: Moment, outcome: Outcome) {
        match outcome {
            Outcome::Granted(granted) => {
                self.pin = PinFlow::Idle;
                self.authorized(now, sent_at, granted);
            }
            Outcome::Pending => {
                self.pins_succeeded(now);
                if self.pin_is_past(now) {
                    self.pin_over("it expired".to_owned());
                } else {
                    self.poll_again(now, Duration::ZERO);
                }
            }
            Outcome::SlowDown => {
                self.pins_succeeded(now);
                if let PinFlow::Awaiting { waiting } | PinFlow::Requesting { before: Some(waiting), .. } =
                    &mut self.pin
                {
                    waiting.interval += SLOW_DOWN_STEP;
                    self.ledger.change();
                }
                self.poll_again_unless_past(now, Duration::ZERO);
            }
            Outcome::PinOver(reason) => {
                self.pins_succeeded(now);
                self.pin_over(reason);
            }
            Outcome::Trouble(trouble) if trouble.replaces_tokens() => {
                // The PIN was entered and its code is used up; what is left of the answer is the refresh token.
                self.pin_call_failed(now, &trouble.reason, Duration::ZERO);
                self.pin_over(trouble.reason);
                if let Some(refresh_token) = trouble.rotated {
                    self.adopt(now, refresh_token);
                }
            }
            Outcome::Trouble(trouble) => {
                let pause = self.pin_call_failed(now, &trouble.reason, trouble.held());
                self.poll_again_unless_past(now, pause);
            }
            Outcome::Misconfigured(reason) => {
                let pause = self.pin_misconfigured(now, &reason);
                self.poll_again_unless_past(now, pause);
            }
            Outcome::Refused(reason) => {
                let pause = self.pin_call_failed(now, &reason, Duration::ZERO);
                self.poll_again_unless_past(now, pause);
            }
            Outcome::PinIssued(_) => {
                let pause = self.pin_call_failed(now, "ecobee answered a poll with a PIN", Duration::ZERO);
                self.poll_again_unless_past(now, pause);
            }
        }
    }

    /// Counts a failure; the pause until the next call.
    fn pin_call_failed(&mut self, now: Moment, reason: &str, held: Duration) -> Duration {
        let news = self.pins.failed(now, reason);
        self.tell(news);
        self.pin_held_until = self.pin_held_until.max(Some(now + held));
        self.pause_after(self.pins.failures(), held)
    }

    fn pin_misconfigured(&mut self, now: Moment, reason: &str) -> Duration {
        let news = self.pins.misconfigured(now, reason);
        self.tell(news);
        self.policy.retry_max
    }

    /// After a poll that told nothing of the PIN: the clock alone ends none, but one that is past its time is not asked
    /// about for ever.
    fn poll_again_unless_past(&mut self, now: Moment, at_least: Duration) {
        if matches!(&self.pin, PinFlow::Awaiting { waiting } if waiting.expires_at + GRACE <= now) {
            self.pin_over("it expired".to_owned());
        } else {
            self.poll_again(now, at_least);
        }
    }

    /// Counted from the answer, so that ecobee never sees two polls closer than it asked for.
    fn poll_again(&mut self, now: Moment, at_least: Duration) {
        if let PinFlow::Awaiting { waiting } | PinFlow::Requesting { before: Some(waiting), .. } =
            &mut self.pin
        {
            waiting.poll_at = now + waiting.interval.max(at_least);
        }
    }

    fn pin_is_past(&self, now: Moment) -> bool {
        matches!(&self.pin, PinFlow::Awaiting { waiting } if waiting.expires_at <= now)
    }

    /// This PIN will never bring a grant. The next is asked for at once where a person is still needed.
    fn pin_over(&mut self, reason: String) {
        self.tell(News::PinOver(reason));
        self.ledger.change();
        self.pin = match std::mem::replace(&mut self.pin, PinFlow::Idle) {
            // A client has just asked for another.
            PinFlow::Requesting { due, .. } => PinFlow::Requesting { due, before: None },
            PinFlow::Idle | PinFlow::Awaiting { .. } => PinFlow::Idle,
        };
    }

    /// Since when a person who is needed cannot be given a PIN, unless one was told of an earlier PIN.
    pub(super) fn without_pin_since(&self, now: Moment) -> Option<Moment> {
        self.pins.since().filter(|_| self.visible_pin(now).is_none() && self.told.pin_at.is_none())
    }

    /// Nobody needs to enter the PIN any more.
    pub(super) fn call_off_pin(&mut self) {
        match &self.pin {
            PinFlow::Idle => {}
            // A client asked for it.
            PinFlow::Requesting { .. } if self.pin_is_waited_for(Patience::Usual) => {}
            PinFlow::Requesting { .. } => self.pin = PinFlow::Idle,
            PinFlow::Awaiting { .. } => {
                self.pin = PinFlow::Idle;
                self.tell(News::PinCalledOff);
            }
        }
    }

    pub(super) fn pin_wake_at(&self, now: Moment) -> Option<Moment> {
        let heard = self.policy.audience == Audience::Present;
        let reminder = self.told.pin_at.filter(|_| heard).map(|told_at| told_at + self.policy.remind_every);
        match &self.pin {
            PinFlow::Idle => None,
            PinFlow::Requesting { .. } => self.pin_due().filter(|_| self.may_call()),
            PinFlow::Awaiting { waiting } => {
                let poll = self.pin_due().filter(|_| self.may_call());
                let shown = Some(waiting.shown_from).filter(|&from| now < from);
                let ends = Some(waiting.expires_at).filter(|&end| now < end);
                let remind = reminder.filter(|&at| now < at && self.phase.needs_person());
                [poll, shown, ends, remind].into_iter().flatten().min()
            }
        }
    }
}
