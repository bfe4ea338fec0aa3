//! What must hold at every step, in every story, every storm and every decade.
//!
//! Each room of laws remembers what it needs to judge: [`lending`] what clients get, [`pace`] how fast things go,
//! [`life`] what must happen at last. The [`court`] counts.

mod court;
mod lending;
mod life;
mod pace;

pub(crate) use court::{Counts, Law};
use court::{Court, Severity};
use ecobee_tokend::keeper::{
    Action, Answer, Ask, Moment, Notice, Outcome, PinView, Policy, Reach, Record, RequestId, View, Want,
};
use lending::Lending;
pub(super) use lending::SAVE_PATIENCE;
use life::Life;
pub(super) use pace::LONGEST_HOLD;
use pace::Pace;

use super::ecobee::{Ecobee, Errand, Request};

/// The laws, and what they must remember to judge.
#[derive(Default)]
pub(crate) struct Laws {
    court: Court,
    lending: Lending,
    pace: Pace,
    life: Life,
}

/// How times came over from the boot in which a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// As they should.
    Sound,
    /// The wall clock was believed, and is wrong.
    Misled,
    /// The wall clock is not to be believed.
    Doubtful,
}

/// What the laws look at beside what they remember.
pub(crate) struct Sight<'a> {
    pub(crate) now: Moment,
    pub(crate) policy: &'a Policy,
    pub(crate) ecobee: &'a Ecobee,
    /// How times came over from another boot, at a start.
    pub(crate) passage: Passage,
}

impl<'a> Sight<'a> {
    pub(crate) fn new(now: Moment, policy: &'a Policy, ecobee: &'a Ecobee) -> Self {
        Self { now, policy, ecobee, passage: Passage::Sound }
    }
}

impl Laws {
    /// From here on the first breach is kept, and does not panic.
    pub(crate) fn keep_breaches(&mut self) {
        self.court.severity = Severity::Keeps;
    }

    /// The first breach.
    pub(crate) fn breach(&self) -> Option<&str> {
        self.court.breach()
    }

    /// How often each law was held against the world.
    pub(crate) fn counts(&self) -> &Counts {
        &self.court.counts
    }

    /// A step has led to these actions.
    pub(crate) fn step_ended(&mut self, now: Moment, actions: &[Action]) {
        self.pace.step_ended(&mut self.court, now, actions);
    }

    /// They have been carried out.
    pub(crate) fn actions_done(&mut self, sight: &Sight<'_>, view: &View) {
        self.lending.actions_done(&mut self.court, sight.now);
        self.life.look(&mut self.court, sight, view, &self.pace);
    }

    /// A request arrives.
    pub(crate) fn asked(&mut self, now: Moment, id: RequestId, ask: &Ask) {
        if ask.want == Want::Authorize {
            self.pace.pin_wanted();
        }
        self.lending.asked(now, id, ask);
    }

    /// A request was not sent away in this step.
    pub(crate) fn admitted(&mut self, now: Moment, ask: &Ask) {
        self.lending.admitted(&mut self.court, now, ask);
    }

    /// A client brought a refresh on in this step.
    pub(crate) fn forced(&mut self, now: Moment, uid: u32) {
        self.pace.forced(&mut self.court, now, uid);
    }

    /// A client may have brought a refresh on that waits for the call in flight to end, or for a mark.
    pub(crate) fn may_be_forced(&mut self) {
        if self.pace.calls() || self.lending.disbelieves() {
            self.pace.may_be_forced();
        }
    }

    /// The administrator wants a refresh now.
    pub(crate) fn refresh_wanted(&mut self, now: Moment) {
        self.lending.forced(&mut self.court, now);
    }

    /// The keeper believes that the current token is rejected.
    pub(crate) fn rejected(&mut self) {
        self.lending.rejected();
    }

    /// The keeper counts the refresh token out, and awaits a person.
    pub(crate) fn given_up(&mut self, now: Moment) {
        self.pace.given_up(now);
    }

    /// A request has no answer yet.
    pub(crate) fn waits(&mut self, id: RequestId, view: &View) {
        self.lending.waits(&mut self.court, id, view, self.pace.calls());
    }

    /// A client is gone.
    pub(crate) fn hung_up(&mut self, id: RequestId) {
        self.lending.hung_up(id);
    }

    /// The daemon is about to leave.
    pub(crate) fn stopping(&mut self) {
        self.pace.stopping();
        self.life.stopping();
    }

    /// A request is answered.
    pub(crate) fn answered(&mut self, sight: &Sight<'_>, id: RequestId, answer: &Answer) {
        self.lending.answered(&mut self.court, sight, id, answer);
    }

    /// A call is sent; whether anything will befall it.
    pub(crate) fn call_began(&mut self, sight: &Sight<'_>, request: &Request, mishap: bool) {
        self.pace.call_began(&mut self.court, sight, request);
        if request.errand() == Errand::Refresh {
            self.lending.refresh_began(&mut self.court, sight.now);
        }
        self.life.call_began(&mut self.court, request.errand(), mishap);
    }

    /// A call has killed an access token, and the keeper does not know it yet.
    pub(crate) fn killed(&mut self, token: String) {
        self.lending.killed(token);
    }

    /// The answer to a call arrives.
    pub(crate) fn call_ended(
        &mut self,
        sight: &Sight<'_>,
        sent_at: Moment,
        request: &Request,
        outcome: &Outcome,
        living: bool,
    ) {
        let errand = self.pace.call_ended(sight.now, outcome, sight.policy);
        self.lending.call_ended(errand, outcome);
        self.life.call_ended(&mut self.court, sight.now, request, outcome, living);
        match outcome {
            Outcome::Granted(granted) => self.lending.granted(sight, sent_at, granted),
            Outcome::Trouble(trouble)
                if trouble.reach == Reach::Granted && request.errand() == Errand::Refresh =>
            {
                self.lending.heard_dead();
            }
            Outcome::Trouble(_)
            | Outcome::PinIssued(_)
            | Outcome::Pending
            | Outcome::SlowDown
            | Outcome::PinOver(_)
            | Outcome::Refused(_)
            | Outcome::Misconfigured(_) => {}
        }
    }

    /// There is trouble that the keeper can do nothing about, until then.
    pub(crate) fn trouble(&mut self, until: Moment) {
        self.life.trouble(until);
    }

    /// The machine slept until now.
    pub(crate) fn resumed(&mut self, now: Moment) {
        self.life.trouble(now);
        if self.pace.calls() {
            // What the answer brings may be dead on arrival.
            self.life.entry_is_void(&mut self.court);
        }
    }

    /// A person has entered a PIN; this one was on show.
    pub(crate) fn entered(&mut self, sight: &Sight<'_>, pin: &str, shown: Option<&PinView>) {
        self.life.entered(sight, pin, shown, &self.pace);
    }

    /// A save is ordered.
    pub(crate) fn save_began(&mut self, sight: &Sight<'_>, record: &Record) {
        self.pace.save_began(&mut self.court, sight.now);
        self.lending.save_began(sight.now);
        self.life.save_began(&mut self.court, sight, record);
    }

    /// A save has come to its end.
    pub(crate) fn saved(&mut self, record: Option<&Record>, now: Moment, worked: bool) {
        self.lending.saved(record, now, worked);
    }

    /// People are told something.
    pub(crate) fn notified(&mut self, now: Moment, policy: &Policy, notice: &Notice) {
        self.pace.notified(&mut self.court, now, policy, notice);
    }

    /// The daemon is gone, and a new one starts with this record; `saved` is what lay on the disk.
    pub(crate) fn restarted(&mut self, sight: &Sight<'_>, record: &Record, saved: &Record) {
        self.lending.restarted(&mut self.court, sight, record);
        self.pace.restarted(sight, record);
        self.life.restarted(&mut self.court, sight, record, saved);
    }

    /// Whether this request has no answer.
    pub(crate) fn is_open(&self, id: RequestId) -> bool {
        self.lending.is_open(id)
    }

    /// The daemon has left.
    pub(crate) fn all_are_answered(&mut self) {
        let left = self.lending.open();
        self.court.hold(Law::AnswerInTime, left == 0, || format!("{left} are left waiting by a stop"));
    }
}
