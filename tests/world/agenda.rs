//! What is going to happen, and time, which goes on until it does.

use std::collections::BTreeMap;
use std::time::Duration;

use ecobee_tokend::keeper::{CallId, Event, Moment, Outcome, Reach, SaveId, State};

use super::ecobee::{Arrival, Errand, Mishap, Request, trouble};
use super::history::{Deed, outcome_in_words};
use super::laws::{LONGEST_HOLD, Sight};
use super::tally::Fault;
use super::{DAY, REQUEST_TIMEOUT, World, secs};

/// Whatever a test waits for comes sooner.
const PATIENCE: Duration = secs(7 * DAY);

/// A call on its way.
pub(super) struct Call {
    /// In which of the daemon's lives it was sent.
    pub(super) life: u64,
    pub(super) id: CallId,
    pub(super) sent_at: Moment,
    pub(super) request: Request,
    pub(super) mishap: Mishap,
}

/// What is going to happen.
pub(super) enum Due {
    /// A call reaches ecobee.
    Arrives(Call),
    /// A call comes to its end.
    Replied(Call, Outcome),
    /// A save comes to its end.
    Saved { life: u64, save: SaveId, result: Result<(), String> },
    /// A person enters a PIN.
    Enters(String),
}

impl Due {
    /// Whether it happens on this machine, which may sleep or be off.
    fn is_here(&self) -> bool {
        matches!(self, Self::Replied(..) | Self::Saved { .. })
    }
}

/// What is going to happen, and when; at the same moment, in the order in which it was entered.
#[derive(Default)]
pub(super) struct Agenda {
    due: BTreeMap<(Moment, u64), Due>,
    entries: u64,
}

impl Agenda {
    pub(super) fn enter(&mut self, at: Moment, due: Due) {
        self.entries += 1;
        self.due.insert((at, self.entries), due);
    }

    fn next_at(&self) -> Option<Moment> {
        self.due.first_key_value().map(|(&(at, _), _)| at)
    }

    /// What happens next elsewhere, if that is not after `until`.
    fn take_elsewhere(&mut self, until: Moment) -> Option<(Moment, Due)> {
        let (&key, _) = self.due.iter().find(|(_, due)| !due.is_here())?;
        let (at, _) = key;
        if until < at { None } else { Some((at, self.due.remove(&key)?)) }
    }
}

impl World {
    /// Lets time go on by so much.
    pub(crate) fn run(&mut self, long: Duration) {
        self.run_until(self.now + long);
    }

    /// Lets time go on until then.
    pub(crate) fn run_until(&mut self, until: Moment) {
        while self.breach().is_none() && self.next_event(Some(until)) {}
        if self.breach().is_none() {
            self.now = self.now.max(until);
        }
    }

    /// Lets time go on until the keeper is in this state.
    #[track_caller]
    pub(crate) fn run_until_state(&mut self, state: State) {
        let give_up_at = self.now + PATIENCE;
        while self.state() != state {
            assert!(self.now < give_up_at, "never {state:?}");
            self.next_event(None);
        }
    }

    /// Lets time go on until a call of this kind is in flight.
    #[track_caller]
    pub(crate) fn run_until_sent(&mut self, errand: Errand) {
        let before = self.calls(errand);
        let give_up_at = self.now + PATIENCE;
        while self.calls(errand) == before {
            assert!(self.now < give_up_at, "{errand:?} is never sent");
            self.next_event(None);
        }
    }

    /// The machine sleeps for so long: the clock goes on, and nothing happens before it is over.
    pub(crate) fn suspend(&mut self, long: Duration) {
        self.tally.count(Fault::Suspended);
        self.history.add(self.now, Deed::Befell("suspend"));
        self.elsewhere(self.now + long);
        self.history.add(self.now, Deed::Befell("resume"));
        self.laws.resumed(self.now);
    }

    /// Until then things happen everywhere but on this machine.
    pub(super) fn elsewhere(&mut self, until: Moment) {
        while let Some((at, due)) = self.agenda.take_elsewhere(until) {
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = until;
    }

    /// Goes to the next thing that happens, if that is not after `until`; whether there was one.
    pub(super) fn next_event(&mut self, until: Option<Moment>) -> bool {
        let agenda = self.agenda.next_at();
        let Some(at) = [agenda, self.wake_at].into_iter().flatten().min() else {
            assert!(until.is_some(), "nothing will ever happen again");
            return false;
        };
        if until.is_some_and(|until| until < at) {
            return false;
        }
        self.now = self.now.max(at);
        if agenda == Some(at) {
            if let Some((_, due)) = self.agenda.due.pop_first() {
                self.happen(due);
            }
        } else {
            self.tick();
        }
        true
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Enters(pin) => self.enter(&pin),
            Due::Arrives(call) => self.arrive(call),
            Due::Replied(call, outcome) => {
                if call.life == self.life {
                    self.reply(call, outcome);
                }
            }
            Due::Saved { life, save, result } => {
                if life == self.life {
                    self.history.add(self.now, Deed::Saved(result.clone()));
                    self.laws.saved(self.disk.under_way(), self.now, result.is_ok());
                    self.disk.end(save, &result);
                    self.step(Event::Saved(save, result));
                }
            }
        }
    }

    fn arrive(&mut self, call: Call) {
        let Arrival { outcome, killed } =
            self.ecobee.arrive(self.now, &call.request, call.mishap, &mut self.tally);
        if let Some(killed) = killed {
            self.laws.killed(killed);
        }
        let takes = match call.mishap {
            Mishap::Late(long) => long,
            Mishap::None
            | Mishap::Unsent
            | Mishap::LostBefore(_)
            | Mishap::LostAfter(_)
            | Mishap::Says(_)
            | Mishap::Garbled => self.ecobee.latency,
        };
        let (takes, outcome) =
            if takes < REQUEST_TIMEOUT { (takes, outcome) } else { (REQUEST_TIMEOUT, trouble(Reach::Sent)) };
        let ends_at = self.now.max(call.sent_at + takes);
        self.agenda.enter(ends_at, Due::Replied(call, outcome));
    }

    fn reply(&mut self, call: Call, outcome: Outcome) {
        let Call { id, sent_at, request, mishap, .. } = call;
        self.history.add(self.now, Deed::Heard(outcome_in_words(&outcome)));
        match (&request, &outcome) {
            (Request::Refresh { .. }, Outcome::Granted(_)) => self.tally.refreshes += 1,
            (_, Outcome::Granted(_)) => self.tally.authorizations += 1,
            _ => {}
        }
        if mishap != Mishap::None {
            let held = if let Outcome::Trouble(trouble) = &outcome { trouble.retry_after } else { None };
            self.laws.trouble(self.now + held.unwrap_or_default().min(LONGEST_HOLD));
        }
        let living = self.view().token.is_some();
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.call_ended(&sight, sent_at, &request, &outcome, living);
        self.step(Event::Replied { call: id, sent_at, outcome });
    }
}
