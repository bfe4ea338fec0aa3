//! A pretend world for the keeper: a boot clock that jumps from deadline to deadline, an ecobee, a disk, people
//! and clients. It carries out what the keeper orders and holds every step to the [laws](laws::Laws).
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of the world")]

mod dice;
mod disk;
mod ecobee;
mod history;
mod laws;
mod machine;
mod question;
mod shelf;
mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use dice::Dice;
pub(crate) use disk::{Disk, DiskMishap};
use ecobee::{Arrival, Request, trouble};
pub(crate) use ecobee::{Ecobee, Errand, Mishap, Rotation, Word};
use ecobee_tokend::keeper::{
    Action, Answer, CallId, Event, Keeper, Moment, News, Outcome, PinView, Policy, Problem, Reach, RequestId,
    SaveId, State, View,
};
pub(crate) use history::History;
use history::{Deed, outcome_in_words};
pub(crate) use laws::{Count, Law};
use laws::{Laws, Sight};
use machine::Machine;
pub(crate) use question::{ALICE, Question, authorize, bare, json, refresh, rejected};
pub(crate) use shelf::Shelf;
pub(crate) use tally::{Fault, Tally};

/// A call that takes longer is given up by the daemon.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A length of so many seconds.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A length of so many milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What is going to happen.
enum Due {
    /// A call reaches ecobee.
    Arrives { life: u64, call: CallId, sent_at: Moment, request: Request, mishap: Mishap },
    /// A call comes to its end.
    Replied { life: u64, call: CallId, sent_at: Moment, request: Request, mishap: Mishap, outcome: Outcome },
    /// A save comes to its end.
    Saved { life: u64, save: SaveId, result: Result<(), String> },
    /// A person enters a PIN.
    Enters(String),
}

/// What people do when a PIN is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// Nothing.
    Away,
    /// They enter it so much later.
    Enter(Duration),
}

/// A token that was lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) token: String,
    pub(crate) promised: Duration,
}

/// The pretend world.
pub(crate) struct World {
    /// The boot clock.
    pub(crate) now: Moment,
    /// The settings of the next start.
    pub(crate) policy: Policy,
    pub(crate) ecobee: Ecobee,
    pub(crate) disk: Disk,
    pub(crate) people: People,
    pub(crate) machine: Machine,
    pub(crate) history: History,
    pub(crate) tally: Tally,
    /// The last access token that was lent.
    pub(crate) last_lent: Option<String>,
    keeper: Keeper,
    laws: Laws,
    agenda: BTreeMap<(Moment, u64), Due>,
    entries: u64,
    wake_at: Option<Moment>,
    life: u64,
    requests: u64,
    /// After so many actions the daemon is killed.
    fuse: Option<u64>,
}

impl World {
    /// A world in which the daemon has never run. Furnish it, then [`World::start`] it.
    pub(crate) fn new() -> Self {
        let policy = Policy::default();
        let now = Moment::from_millis(1_000_000);
        let disk = Disk::default();
        Self {
            now,
            keeper: Keeper::new(policy.clone(), disk.record.clone(), now, 0),
            policy,
            ecobee: Ecobee::default(),
            disk,
            people: People::Away,
            machine: Machine::default(),
            history: History::default(),
            tally: Tally::default(),
            last_lent: None,
            laws: Laws::default(),
            agenda: BTreeMap::new(),
            entries: 0,
            wake_at: None,
            life: 0,
            requests: 0,
            fuse: None,
        }
    }

    /// A world in which a person has just entered the first PIN.
    pub(crate) fn authorized() -> Self {
        let mut world = Self::new();
        world.start();
        world.enter_first_pin();
        world
    }

    /// The same, with access tokens that live so long.
    pub(crate) fn authorized_for(lifetime: Duration) -> Self {
        let mut world = Self::new();
        world.ecobee.lifetime = lifetime;
        world.start();
        world.enter_first_pin();
        world
    }

    /// A person enters the PIN on show; time goes on until the grant has come, and what was is forgotten.
    pub(crate) fn enter_first_pin(&mut self) {
        self.people = People::Enter(secs(1));
        self.run_until_state(State::Authorized);
        self.people = People::Away;
        self.history.forget();
    }

    /// Begins the daemon's first life, or its next after a [`World::crash`].
    pub(crate) fn start(&mut self) {
        let (record, passage) = self.disk.load(self.now, &self.machine);
        let sight = Sight { passage, ..Sight::new(self.now, &self.policy, &self.ecobee) };
        self.laws.restarted(&sight, &record, &self.disk.record);
        self.life += 1;
        self.fuse = None;
        self.keeper = Keeper::new(self.policy.clone(), record, self.now, self.life);
        self.step(Event::Started);
    }

    /// The daemon is killed and started again, in the same moment.
    pub(crate) fn crash(&mut self) {
        self.history.add(self.now, Deed::Crashed);
        self.start();
    }

    /// The daemon will be killed after so many actions more, be it amid a step, and started again.
    pub(crate) fn kill_after(&mut self, actions: u64) {
        self.fuse = Some(actions);
    }

    /// The machine goes down, is off for so long, and comes up again.
    pub(crate) fn reboot(&mut self, off: Duration) {
        self.history.add(self.now, Deed::Crashed);
        self.elsewhere(self.now + off);
        self.machine.reboot();
        self.history.add(self.now, Deed::Booted(self.machine.error()));
        self.start();
    }

    /// The daemon is told to leave.
    pub(crate) fn stop(&mut self) {
        self.laws.stopping();
        self.step(Event::Stopping);
    }

    /// The administrator sends SIGUSR1.
    pub(crate) fn sigusr1(&mut self) {
        self.history.add(self.now, Deed::Befell("SIGUSR1"));
        self.laws.refresh_wanted(self.now);
        self.forcing(0, Event::RefreshWanted);
    }

    /// The settings are reloaded.
    pub(crate) fn reload(&mut self, policy: Policy) {
        // A pause that has begun is not cut short.
        self.laws.trouble(self.now + self.policy.retry_max.saturating_sub(policy.retry_max));
        self.policy = policy.clone();
        self.step(Event::PolicyChanged(policy));
    }

    /// A needless tick.
    pub(crate) fn tick(&mut self) {
        self.step(Event::Ticked);
    }

    // Clients.

    /// A client asks; see [`World::answer`].
    pub(crate) fn ask(&mut self, question: Question) -> RequestId {
        self.requests += 1;
        self.tally.requests += 1;
        let id = RequestId(self.requests);
        let ask = question.into_ask();
        self.history.add(self.now, Deed::Asked(id, ask.clone()));
        self.laws.asked(self.now, id, &ask);
        self.forcing(ask.uid, Event::Asked(id, ask));
        self.laws.waits(id, &self.keeper.view(self.now));
        id
    }

    /// Steps the keeper with what may bring a refresh on before its time.
    fn forcing(&mut self, uid: u32, event: Event) {
        let asked = if let Event::Asked(id, ask) = &event { Some((*id, ask.clone())) } else { None };
        let before = self.keeper.view(self.now);
        let overdue = self.wake_at.is_some_and(|at| at <= self.now);
        let actions = self.keeper.step(self.now, event);
        if let Some((id, ask)) = asked {
            let sent_away = actions.iter().any(|action| {
                matches!(
                    action,
                    Action::Answer(to, Answer::Problem(Problem::TooMany { .. } | Problem::MinTtlTooLong { .. }))
                        if *to == id
                )
            });
            if !sent_away {
                self.laws.admitted(self.now, &ask);
            }
        }
        let after = self.keeper.view(self.now);
        let sends = actions.iter().any(|action| matches!(action, Action::SendRefresh { .. }));
        let sooner = match (&before.token, &after.token) {
            (Some(before), Some(after)) if before.issued_at == after.issued_at => {
                after.refresh_at < before.refresh_at
            }
            _ => false,
        };
        let begins = sends || after.state == State::Refreshing;
        if !overdue && before.state != State::Refreshing && (begins || sooner) {
            self.laws.forced(self.now, uid);
        } else {
            self.laws.may_be_forced();
        }
        self.carry_out(actions);
    }

    /// A client does not wait any longer.
    pub(crate) fn hang_up(&mut self, id: RequestId) {
        self.laws.hung_up(id);
        self.step(Event::HungUp(id));
    }

    /// The answer to a request, if it has come.
    pub(crate) fn answer(&self, id: RequestId) -> Option<Answer> {
        self.history.answer(id).map(|(_, answer)| answer.clone())
    }

    /// Whether a request still waits.
    pub(crate) fn waits(&self, id: RequestId) -> bool {
        self.history.answer(id).is_none()
    }

    /// Lets time go on until the answer has come; how long that took, and the answer.
    pub(crate) fn wait_for(&mut self, id: RequestId) -> (Duration, Answer) {
        let asked_at = self.now;
        while self.waits(id) {
            self.next_event(None);
        }
        let Some((at, answer)) = self.history.answer(id) else { panic!("no answer") };
        (at.since(asked_at), answer.clone())
    }

    /// Asks, and expects a token at once.
    #[track_caller]
    pub(crate) fn lent(&mut self, question: Question) -> Lent {
        let id = self.ask(question);
        match self.answer(id) {
            Some(answer) => as_token(answer),
            None => panic!("no answer at once"),
        }
    }

    /// Asks, waits, and expects a token; how long that took.
    #[track_caller]
    pub(crate) fn lent_later(&mut self, question: Question) -> (Duration, Lent) {
        let id = self.ask(question);
        let (took, answer) = self.wait_for(id);
        (took, as_token(answer))
    }

    /// Asks, and expects a problem at once.
    #[track_caller]
    pub(crate) fn problem(&mut self, question: Question) -> Problem {
        let id = self.ask(question);
        match self.answer(id) {
            Some(Answer::Problem(problem)) => problem,
            other => panic!("{other:?} in place of a problem"),
        }
    }

    /// Asks, waits, and expects a problem; how long that took.
    #[track_caller]
    pub(crate) fn problem_later(&mut self, question: Question) -> (Duration, Problem) {
        let id = self.ask(question);
        match self.wait_for(id) {
            (took, Answer::Problem(problem)) => (took, problem),
            (_, other) => panic!("{other:?} in place of a problem"),
        }
    }

    /// Whether a request still waits, as far as the laws know: the history may be forgotten.
    pub(crate) fn waits_still(&self, id: RequestId) -> bool {
        self.laws.is_open(id)
    }

    /// The daemon is gone: nobody may be left waiting.
    pub(crate) fn all_are_answered(&mut self) {
        self.laws.all_are_answered();
    }

    // Looking.

    pub(crate) fn view(&self) -> View {
        self.keeper.view(self.now)
    }

    pub(crate) fn state(&self) -> State {
        self.view().state
    }

    /// The PIN on show.
    pub(crate) fn pin(&self) -> Option<PinView> {
        self.view().pin
    }

    /// The planned refresh.
    #[track_caller]
    pub(crate) fn refresh_at(&self) -> Moment {
        let Some(token) = self.view().token else { panic!("no living token") };
        token.refresh_at
    }

    /// When the present token's request was sent.
    #[track_caller]
    pub(crate) fn issued_at(&self) -> Moment {
        let Some(token) = self.view().token else { panic!("no living token") };
        token.issued_at
    }

    /// When the keeper wants to be woken.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// How many requests have no answer.
    pub(crate) fn open_requests(&self) -> usize {
        self.laws.open()
    }

    /// Whether ecobee takes this access token now.
    pub(crate) fn takes(&self, token: &str) -> bool {
        self.ecobee.takes(token, self.now)
    }

    /// How many refreshes were sent.
    pub(crate) fn refreshes(&self) -> usize {
        self.history.sent_at(Errand::Refresh).len()
    }

    // People and ecobee.

    /// A person enters the PIN on show, now.
    #[track_caller]
    pub(crate) fn enter_pin(&mut self) {
        let Some(pin) = self.pin() else { panic!("no PIN is on show") };
        self.enter(&pin.pin);
    }

    fn enter(&mut self, pin: &str) {
        if self.ecobee.enter(pin, self.now) {
            self.history.add(self.now, Deed::Entered(pin.to_owned()));
            let shown = self.keeper.view(self.now).pin;
            let sight = Sight::new(self.now, &self.policy, &self.ecobee);
            self.laws.entered(&sight, pin, shown.as_ref());
        } else {
            self.tally.count(Fault::PinLate);
        }
    }

    /// ecobee takes the access token no longer, and nobody is told.
    pub(crate) fn kill_access_token(&mut self) {
        self.history.add(self.now, Deed::Befell("an access token dies"));
        if let Some(killed) = self.ecobee.kill_access_token() {
            self.laws.killed(killed);
        }
    }

    /// The owner revokes all tokens, and nobody is told.
    pub(crate) fn revoke_all(&mut self) {
        self.history.add(self.now, Deed::Befell("everything is revoked"));
        for killed in self.ecobee.revoke_all() {
            self.laws.killed(killed);
        }
    }

    // Time.

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
        let give_up_at = self.now + secs(7 * 24 * 3600);
        while self.state() != state {
            assert!(self.now < give_up_at, "never {state:?}");
            self.next_event(None);
        }
    }

    /// Lets time go on until a call of this kind is in flight.
    #[track_caller]
    pub(crate) fn run_until_sent(&mut self, errand: Errand) {
        let before = self.history.sent_at(errand).len();
        let give_up_at = self.now + secs(7 * 24 * 3600);
        while self.history.sent_at(errand).len() == before {
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
    fn elsewhere(&mut self, until: Moment) {
        let here = |due: &Due| matches!(due, Due::Replied { .. } | Due::Saved { .. });
        while let Some(at) = self.agenda.iter().find(|(_, due)| !here(due)).map(|(&at, _)| at)
            && at.0 <= until
        {
            self.now = self.now.max(at.0);
            if let Some(due) = self.agenda.remove(&at) {
                self.happen(due);
            }
        }
        self.now = until;
    }

    /// Goes to the next thing that happens, if that is not after `until`; whether there was one.
    fn next_event(&mut self, until: Option<Moment>) -> bool {
        let agenda = self.agenda.first_key_value().map(|(&(at, _), _)| at);
        let Some(at) = [agenda, self.wake_at].into_iter().flatten().min() else {
            assert!(until.is_some(), "nothing will ever happen again");
            return false;
        };
        if until.is_some_and(|until| until < at) {
            return false;
        }
        self.now = self.now.max(at);
        if agenda == Some(at) {
            if let Some((_, due)) = self.agenda.pop_first() {
                self.happen(due);
            }
        } else {
            self.step(Event::Ticked);
        }
        true
    }

    fn later(&mut self, long: Duration, due: Due) {
        self.entries += 1;
        self.agenda.insert((self.now + long, self.entries), due);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Enters(pin) => self.enter(&pin),
            Due::Arrives { life, call, sent_at, request, mishap } => {
                self.arrive(life, call, sent_at, request, mishap);
            }
            Due::Replied { life, call, sent_at, request, mishap, outcome } => {
                if life == self.life {
                    self.reply(call, sent_at, &request, mishap, outcome);
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

    fn arrive(&mut self, life: u64, call: CallId, sent_at: Moment, request: Request, mishap: Mishap) {
        let Arrival { outcome, killed } = self.ecobee.arrive(self.now, &request, mishap, &mut self.tally);
        if let Some(killed) = killed {
            self.laws.killed(killed);
        }
        let takes = match mishap {
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
        let rest = (sent_at + takes).since(self.now);
        self.later(rest, Due::Replied { life, call, sent_at, request, mishap, outcome });
    }

    fn reply(&mut self, call: CallId, sent_at: Moment, request: &Request, mishap: Mishap, outcome: Outcome) {
        self.history.add(self.now, Deed::Heard(outcome_in_words(&outcome)));
        match (request, &outcome) {
            (Request::Refresh { .. }, Outcome::Granted(_)) => self.tally.refreshes += 1,
            (_, Outcome::Granted(_)) => self.tally.authorizations += 1,
            _ => {}
        }
        if mishap != Mishap::None {
            let held = if let Outcome::Trouble(trouble) = &outcome { trouble.retry_after } else { None };
            self.laws.trouble(self.now + held.unwrap_or_default().min(Laws::LONGEST_HOLD));
        }
        let living = self.keeper.view(self.now).token.is_some();
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.call_ended(&sight, sent_at, request, &outcome, living);
        self.step(Event::Replied { call, sent_at, outcome });
    }

    // The keeper's orders.

    /// Steps the keeper and carries out what it orders.
    pub(crate) fn step(&mut self, event: Event) {
        let actions = self.keeper.step(self.now, event);
        self.carry_out(actions);
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        self.tally.events += 1;
        self.laws.step_ended(self.now, &actions);
        for action in actions {
            if let Some(left) = &mut self.fuse {
                let Some(fewer) = left.checked_sub(1) else {
                    self.tally.count(Fault::KilledWithinStep);
                    return self.crash();
                };
                *left = fewer;
            }
            self.carry_out_one(action);
        }
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.actions_done(&sight, &self.keeper.view(self.now));
    }

    fn carry_out_one(&mut self, action: Action) {
        match action {
            Action::SendAuthorize { call } => self.send(call, Request::Authorize),
            Action::SendPoll { call, code } => {
                self.send(call, Request::Poll { code: code.expose().to_owned() });
            }
            Action::SendRefresh { call, refresh_token } => {
                self.send(call, Request::Refresh { token: refresh_token.expose().to_owned() });
            }
            Action::Persist { save, record } => {
                self.tally.saves += 1;
                self.history.add(self.now, Deed::Ordered);
                let sight = Sight::new(self.now, &self.policy, &self.ecobee);
                self.laws.save_began(&sight, &record);
                let written = self.machine.reading(self.now);
                let (takes, result) = self.disk.begin(self.now, save, *record, written, &mut self.tally);
                self.later(takes, Due::Saved { life: self.life, save, result });
            }
            Action::Answer(id, answer) => {
                if let Answer::Token { access, .. } = &answer {
                    self.tally.lent += 1;
                    self.last_lent = Some(access.token.expose().to_owned());
                }
                let sight = Sight::new(self.now, &self.policy, &self.ecobee);
                self.history.add(self.now, Deed::Answered(id, answer.clone()));
                self.laws.answered(&sight, id, &answer);
            }
            Action::Tell(news) => {
                if matches!(news, News::Rejected { .. }) {
                    self.laws.rejected();
                }
                if matches!(news, News::GivenUp { .. }) {
                    self.laws.given_up(self.now);
                }
                if let News::PinShown(pin) = &news {
                    self.pin_shown(pin);
                }
                self.history.add(self.now, Deed::Told(news));
            }
            Action::Notify(notice) => {
                self.laws.notified(self.now, &self.policy, &notice);
                self.history.add(self.now, Deed::Notified(notice));
            }
            Action::WakeAt(at) => self.wake_at = at,
        }
    }

    fn pin_shown(&mut self, pin: &PinView) {
        self.tally.pins += 1;
        match self.people {
            People::Enter(after) => self.later(after, Due::Enters(pin.pin.clone())),
            People::Away => self.tally.count(Fault::PinIgnored),
        }
    }

    fn send(&mut self, call: CallId, request: Request) {
        self.history.add(self.now, Deed::Sent(request.clone()));
        let mishap = self.ecobee.fate(self.now, request.errand());
        self.tally.count_mishap(mishap);
        let sight = Sight::new(self.now, &self.policy, &self.ecobee);
        self.laws.call_began(&sight, &request, mishap != Mishap::None);
        let (life, sent_at) = (self.life, self.now);
        if mishap == Mishap::Unsent {
            let outcome = trouble(Reach::Unsent);
            let due = Due::Replied { life, call, sent_at, request, mishap, outcome };
            self.later(self.ecobee.latency, due);
        } else {
            let due = Due::Arrives { life, call, sent_at, request, mishap };
            self.later(self.ecobee.latency / 2, due);
        }
    }

    // The laws.

    /// From here on the first breach of a law is kept, and does not panic.
    pub(crate) fn keep_breaches(&mut self) {
        self.laws.keep_breaches();
    }

    /// The first breach of a law.
    pub(crate) fn breach(&self) -> Option<&str> {
        self.laws.breach()
    }

    /// How often a law was held against this world.
    pub(crate) fn count(&self, law: Law) -> Count {
        self.laws.count(law)
    }
}

/// Whoever fails wants to know what led to it.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what happened before:{}", self.history);
        }
    }
}

#[track_caller]
fn as_token(answer: Answer) -> Lent {
    match answer {
        Answer::Token { access, promised } => Lent { token: access.token.expose().to_owned(), promised },
        other @ (Answer::Pin(_) | Answer::Problem(_)) => panic!("{other:?} in place of a token"),
    }
}
