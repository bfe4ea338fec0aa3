//! Decides what happens next to one account; knows no clock, socket or file.
//!
//! [`Keeper::step`] is the whole interface: one [`Event`] in, the ordered [`Action`]s out, the next deadline always
//! last among them. [`Keeper::view`] only looks. Jitter comes from a number given at the start.
//!
//! # The machine
//! Two things happen side by side to an account: its grant ages and is renewed, and sometimes a PIN waits for a
//! person. They share one call to ecobee at a time.
//!
//! ```text
//! the grant (renewal.rs)
//!                    refresh due           mark saved               granted          saved, or 2 s
//!   Authorized ───────────────▶ Marking ────────────▶ Refreshing ──────────▶ Saving ───────────▶ Authorized
//!       ▲  ▲                      │ mark failed, window open   │  ▲
//!       │  └──────────────────────┘                    failed  │  │ back-off over
//!       │                                                      ▼  │
//!       │ PIN entered (by way of Saving)                      Retrying
//!       │                                                      │  refused so often, and no living token:
//!       │                                                      ▼  the previous refresh token once, then
//!    Absent                 after 1 min, then every 5:       Refused ──▶ Refreshing(slow) ──▶ Saving, or Refused
//!
//! (Marking ends with the window, or with the token: the refresh is sent then, marked or not. Only an access token that
//! a restart might serve needs the mark, be it one on disk that this start did not believe.)
//!
//! the PIN (pin.rs)
//!           a person is needed,                 issued               entered
//!   Idle ─────────────────────▶ Requesting ──────────────▶ Awaiting ─────────▶ the grant: Saving
//!           or a client asks         ▲                        │  │
//!                                    └────────────────────────┘  └──▶ Idle: the old grant works after all,
//!                                      over, and still needed              or it lapsed beside a living one
//! ```
//!
//! # What holds in every state
//! - **A grant is saved before it is served**, unless saving fails or takes longer than 2 s.
//! - **Only ecobee's explicit refusals count against a refresh token**, and a counted-out one is kept and tried on.
//! - **At most one call is in flight**, and no client can cancel it.
//! - **No deadline lies in the past when a step ends**: what is due is done or waits for an event.

mod budget;
mod desk;
mod grant;
mod ledger;
mod moment;
mod pin;
mod plan;
mod renewal;
mod series;
mod words;

use std::rc::Rc;
use std::time::Duration;

use budget::Budget;
use desk::Waiter;
use grant::Phase;
use ledger::{Ledger, Report, Stake};
pub use moment::Moment;
use pin::PinFlow;
use plan::Plan;
pub use plan::{Audience, Jitter, Policy, Window};
use series::Series;
pub use words::*;

/// While the daemon stops, a failed save is tried again this often: soon it will be too late.
const LAST_SAVES_PAUSE: Duration = Duration::from_secs(1);

/// What is in memory only is tried to be saved this often at least: a disk that works again is used while there is time.
const LONGEST_RISK: Duration = Duration::from_secs(30);

/// Whether new calls may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Season {
    Open,
    Stopping,
}

/// Keeps one account's grant alive. See the module's documentation.
#[derive(Debug)]
pub struct Keeper {
    policy: Rc<Policy>,
    jitter: Jitter,
    season: Season,
    phase: Phase,
    pin: PinFlow,
    slot: Option<(CallId, Call)>,
    last_call: CallId,
    last_serial: u64,
    refreshes: Series,
    pins: Series,
    ledger: Ledger,
    budget: Budget,
    waiters: Vec<Waiter>,
    /// Until then no step has anything to do that no event asks for.
    due_at: Option<Moment>,
    pin_asked_at: Option<Moment>,
    pin_again_at: Option<Moment>,
    pin_held_until: Option<Moment>,
    told: Tidings,
    out: Vec<Action>,
}

impl Keeper {
    /// A keeper for an account of which `record` was stored. `seed` is for jitter; step it with
    /// [`Event::Started`] first.
    pub fn new(policy: Rc<Policy>, record: Record, now: Moment, seed: u64) -> Self {
        let mut keeper = Self {
            policy,
            jitter: Jitter::new(seed),
            season: Season::Open,
            phase: Phase::Absent,
            pin: PinFlow::Idle,
            slot: None,
            last_call: CallId(0),
            last_serial: 0,
            refreshes: Series::default(),
            pins: Series::default(),
            ledger: Ledger::default(),
            budget: Budget::default(),
            waiters: Vec::new(),
            due_at: Some(now),
            pin_asked_at: None,
            pin_again_at: None,
            pin_held_until: None,
            told: record.told,
            out: Vec::new(),
        };
        if let Some(stored) = record.grant {
            keeper.restore_grant(stored, now);
        }
        if let Some(stored) = record.pin {
            keeper.restore_pin(stored, now);
        }
        keeper
    }

    /// One event in, the work it leads to out, in order.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Started | Event::Ticked => {}
            Event::Asked(request, ask) => {
                if let Some(answer) = self.lend(now, &ask) {
                    self.out.push(Action::Answer(request, answer));
                    return self.rest();
                }
                self.advance(now);
                self.asked(now, request, &ask);
            }
            Event::HungUp(request) => self.waiters.retain(|waiter| waiter.request != request),
            Event::Replied { call, sent_at, outcome } => self.replied(now, call, sent_at, outcome),
            Event::Saved(save, result) => self.saved(now, save, result),
            Event::RefreshWanted => {
                // The administrator has no socket to be told on; the refresh, or its absence, shows in the diary.
                let _ = self.force(now, 0);
            }
            Event::PolicyChanged(policy) => self.policy = policy,
            Event::Stopping => {
                self.season = Season::Stopping;
                self.ledger.hurry();
            }
            Event::Resumed => {
                self.season = Season::Open;
                self.ledger.hurry();
            }
        }
        // What was just asked for may begin at once; who waits is judged in the light of that.
        self.advance(now);
        self.judge_waiters(now);
        // Judging may have put a refresh off, which is to be written down.
        self.order_save(now);
        self.due_at = self.find_due_at(now);
        self.rest()
    }

    /// Ends a step.
    fn rest(&mut self) -> Vec<Action> {
        self.out.push(Action::WakeAt(self.due_at));
        std::mem::take(&mut self.out)
    }

    fn replied(&mut self, now: Moment, call: CallId, sent_at: Moment, outcome: Outcome) {
        let Some((_, kind)) = self.slot.take_if(|(expected, _)| *expected == call) else {
            return;
        };
        match kind {
            Call::Refresh => self.refreshed(now, sent_at, outcome),
            Call::Authorize => self.pin_answered(now, sent_at, outcome),
            Call::Poll => self.polled(now, sent_at, outcome),
        }
    }

    fn saved(&mut self, now: Moment, save: SaveId, result: Result<(), String>) {
        let pause = match self.season {
            Season::Open => {
                let pause = self.policy.back_off(self.ledger.failures() + 1, &mut self.jitter);
                if self.ledger.stake() == Stake::Treasure { pause.min(LONGEST_RISK) } else { pause }
            }
            Season::Stopping => LAST_SAVES_PAUSE,
        };
        match (self.ledger.report(save, result.is_ok(), now + pause), result) {
            (Report::Foreign | Report::Saved, _) => {}
            (Report::Recovered, _) => self.tell(News::SaveRecovered),
            (Report::Failed, result) => {
                let reason = result.err().unwrap_or_default();
                match self.ledger.news_of_failure() {
                    Some(Stake::Treasure) => self.tell(News::SaveFailed(reason)),
                    Some(Stake::Notes) => self.tell(News::NoteNotSaved(reason)),
                    None => {}
                }
            }
        }
    }

    /// Does what is due, until nothing is.
    fn advance(&mut self, now: Moment) {
        self.advance_grant(now);
        self.advance_pin(now);
        self.order_save(now);
    }

    fn order_save(&mut self, now: Moment) {
        if let Some(save) = self.ledger.due(now) {
            let record = Box::new(self.record());
            self.out.push(Action::Persist { save, record });
        }
    }

    /// The next moment at which something is due that no event announces.
    fn find_due_at(&self, now: Moment) -> Option<Moment> {
        let waiting = self.waiters.iter().map(|waiter| waiter.again_at).min();
        [self.grant_wake_at(now), self.pin_wake_at(now), self.ledger.wake_at(), waiting]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a call may begin: none is in flight, and no record is waited for that a call depends on.
    fn may_call(&self) -> bool {
        self.season == Season::Open && self.slot.is_none() && !self.phase.is_writing()
    }

    fn next_call(&mut self, kind: Call) -> CallId {
        self.last_call.0 += 1;
        self.slot = Some((self.last_call, kind));
        self.last_call
    }

    fn tell(&mut self, news: News) {
        self.out.push(Action::Tell(news));
    }

    /// The pause after so many failures, `held` being how long ecobee wishes to be left alone.
    fn pause_after(&mut self, failures: u32, held: Duration) -> Duration {
        self.policy.back_off(failures, &mut self.jitter).max(held)
    }

    /// What is to lie on disk of this state.
    fn record(&self) -> Record {
        let told = match self.phase {
            // Its end is told as soon as the new grant is there: no save of its own is needed for that.
            Phase::Saving { .. } => Tidings::default(),
            Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Retrying { .. }
            | Phase::Refused { .. } => self.told.clone(),
        };
        Record { grant: self.stored_grant(), pin: self.stored_pin(), told }
    }

    /// The name of the state.
    fn state(&self, now: Moment) -> State {
        match self.phase.state() {
            Some(state) => state,
            None if self.visible_pin(now).is_some() => State::AwaitingUser,
            None => State::RequestingPin,
        }
    }

    /// All that anyone may know of this account.
    pub fn view(&self, now: Moment) -> View {
        // What failed for a PIN that nobody needs any more is no trouble.
        let pins = Some(&self.pins).filter(|_| !matches!(self.pin, PinFlow::Idle));
        let troubles = || [Some(&self.refreshes), pins].into_iter().flatten();
        let last_error = troubles()
            .filter_map(Series::last)
            .max_by_key(|(at, _)| *at)
            .map(|(_, reason)| reason.to_owned());
        View {
            state: self.state(now),
            token: self.token_view(now),
            pin: self.visible_pin(now),
            failures: troubles().map(Series::failures).fold(0, u32::saturating_add),
            last_error,
            trouble_since: troubles().filter_map(Series::since).min(),
            next_try_at: self.next_try_at(),
            last_refresh_at: self
                .phase
                .grant()
                .and_then(|grant| grant.access.as_ref())
                .map(|access| access.issued_at),
            unsaved: self.is_unsaved(),
        }
    }

    /// When a call that failed is made again.
    fn next_try_at(&self) -> Option<Moment> {
        let refresh = match &self.phase {
            Phase::Retrying { at, .. } | Phase::Refused { at, .. } => Some(*at),
            Phase::Absent
            | Phase::Authorized { .. }
            | Phase::Marking { .. }
            | Phase::Refreshing { .. }
            | Phase::Saving { .. } => None,
        };
        let refresh = refresh.filter(|_| self.refreshes.failures() > 0);
        let pin = self.pin_due().filter(|_| self.pins.failures() > 0);
        [refresh, pin].into_iter().flatten().min()
    }

    /// Whether a kill would lose a token or a PIN: one that no save has brought to the disk yet.
    pub fn is_at_stake(&self) -> bool {
        self.ledger.stake() == Stake::Treasure
    }

    /// Whether the last save failed and the next has not succeeded yet.
    pub fn is_unsaved(&self) -> bool {
        self.ledger.is_failing()
    }
}
