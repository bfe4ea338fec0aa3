//! A pretend world for the keeper: a boot clock that jumps from deadline to deadline, an ecobee, a disk, people
//! and clients. It carries out what the keeper orders and holds every step to the [laws](laws::Laws).
//!
//! Where to look: what a test can do and see is here and in [`clients`], what clients ask in [`question`]; how time
//! goes on in [`agenda`]; what becomes of the keeper's orders in [`orders`]; what must hold in [`laws`].
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of the world")]

mod agenda;
mod clients;
mod dice;
mod disk;
mod ecobee;
mod history;
mod laws;
mod machine;
mod orders;
mod question;
mod shelf;
mod tally;

use std::time::Duration;

use agenda::Agenda;
pub(crate) use dice::Dice;
pub(crate) use disk::{Disk, DiskMishap};
pub(crate) use ecobee::{Ecobee, Errand, Mishap, Rotation, Word};
use ecobee_tokend::keeper::{Event, Keeper, Moment, PinView, Policy, State, TokenView, View};
use history::Deed;
pub(crate) use history::History;
pub(crate) use laws::{Counts, Law};
use laws::{Laws, Sight};
use machine::Machine;
pub(crate) use question::{ALICE, Question, authorize, bare, json, refresh, rejected};
pub(crate) use shelf::Shelf;
pub(crate) use tally::{Fault, Tally};

/// A call that takes longer is given up by the daemon.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// In seconds.
pub(crate) const HOUR: u64 = 3600;
pub(crate) const DAY: u64 = 24 * HOUR;

/// A length of so many seconds.
pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A length of so many milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What people do when a PIN is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// Nothing.
    Away,
    /// They enter it so much later.
    Enter(Duration),
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
    agenda: Agenda,
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
            keeper: Keeper::new(policy.clone().into(), disk.record.clone(), now, 0),
            policy,
            ecobee: Ecobee::default(),
            disk,
            people: People::Away,
            machine: Machine::default(),
            history: History::default(),
            tally: Tally::default(),
            last_lent: None,
            laws: Laws::default(),
            agenda: Agenda::default(),
            wake_at: None,
            life: 0,
            requests: 0,
            fuse: None,
        }
    }

    /// A world in which the daemon has just started for the first time.
    pub(crate) fn started() -> Self {
        Self::started_with(|_| {})
    }

    /// The same, furnished so.
    pub(crate) fn started_with(furnish: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::new();
        furnish(&mut world);
        world.start();
        world
    }

    /// A world in which a PIN has just been shown.
    pub(crate) fn awaiting() -> Self {
        let mut world = Self::started();
        world.run(secs(1));
        assert_eq!(world.state(), State::AwaitingUser);
        world
    }

    /// A world in which a person has just entered the first PIN.
    pub(crate) fn authorized() -> Self {
        Self::authorized_with(|_| {})
    }

    /// The same, with access tokens that live so long.
    pub(crate) fn authorized_for(lifetime: Duration) -> Self {
        Self::authorized_with(|world| world.ecobee.lifetime = lifetime)
    }

    /// The same, furnished so.
    pub(crate) fn authorized_with(furnish: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::started_with(furnish);
        world.enter_first_pin();
        world
    }

    /// A person enters the PIN on show; time goes on until the grant has come, and what was is forgotten.
    fn enter_first_pin(&mut self) {
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
        self.keeper = Keeper::new(self.policy.clone().into(), record, self.now, self.life);
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
        self.step(Event::PolicyChanged(policy.into()));
    }

    /// A needless tick.
    pub(crate) fn tick(&mut self) {
        self.step(Event::Ticked);
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

    /// The living token.
    #[track_caller]
    pub(crate) fn token(&self) -> TokenView {
        self.view().token.expect("a living token")
    }

    /// When the keeper wants to be woken.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// Whether ecobee takes this access token now.
    pub(crate) fn takes(&self, token: &str) -> bool {
        self.ecobee.takes(token, self.now)
    }

    /// How many calls of this kind were sent.
    pub(crate) fn calls(&self, errand: Errand) -> usize {
        self.history.sent(errand).len()
    }

    /// How many refreshes were sent.
    pub(crate) fn refreshes(&self) -> usize {
        self.calls(Errand::Refresh)
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

    // The laws.

    /// From here on the first breach of a law is kept, and does not panic.
    pub(crate) fn keep_breaches(&mut self) {
        self.laws.keep_breaches();
    }

    /// The first breach of a law.
    pub(crate) fn breach(&self) -> Option<&str> {
        self.laws.breach()
    }

    /// How often each law was held against this world.
    pub(crate) fn counts(&self) -> &Counts {
        self.laws.counts()
    }

    /// The daemon is gone: nobody may be left waiting.
    pub(crate) fn all_are_answered(&mut self) {
        self.laws.all_are_answered();
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
