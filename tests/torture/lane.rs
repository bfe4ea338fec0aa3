//! One daemon's many lives, one after another, beside a simulator of its own.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{Call, CallKind, Endpoint, Mood, Options, Pin, PinState, Rotation, Truth};
use ecobee_tokend::secret::SecretBytes;
use serde_json::Value;

use super::asking::Asking;
use super::dice::{Dice, pass};
use super::evidence::{Left, Served, came_too_late, last_grant, the_last, why_dead, why_unsaved};
use super::kills::{Forgiveness, Tally};
use crate::harness::http::Response;
use crate::harness::{Daemon, KEY, PATIENCE, Stage};

/// Short, so that planned refreshes come by; a whole number of seconds, as ecobee tells them.
const LIFETIME: Duration = Duration::from_secs(5);

/// ecobee takes up to so long before, and again after, the moment at which the truth changes.
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// From the arrival of the answer to the end of the save it is a few milliseconds.
const SAVING: Duration = Duration::from_millis(12);

/// One lane.
pub(crate) struct Lane {
    number: u64,
    stage: Stage,
    /// What the store is encrypted with.
    key: Option<SecretBytes>,
    forgiveness: Forgiveness,
    dice: Dice,
    tally: Tally,
    /// Calls whose daemon was killed before they were answered.
    orphans: Vec<u64>,
    /// What the last kill left.
    left: Left,
    killed_at: Duration,
    /// The PIN that people were shown.
    pin_on_show: Option<String>,
    /// What ecobee gave last reached nobody, so that a person is needed: by which kind of call it gave it.
    doom: Option<CallKind>,
    /// The last grant whose loss has been counted.
    mourned: u64,
}

/// One life.
struct Life {
    daemon: Daemon,
    began: Duration,
    served: Option<Served>,
}

/// What a daemon has to say after its start.
enum First {
    Token,
    Person,
}

/// The moments of a call to ecobee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The daemon is about to send it.
    Ordered,
    Arrived,
    Committed,
    Answered,
    /// A client has what it led to.
    Served,
}

const STOPS: [Stop; 8] = [
    Stop::Ordered,
    Stop::Arrived,
    Stop::Arrived,
    Stop::Committed,
    Stop::Committed,
    Stop::Answered,
    Stop::Answered,
    Stop::Served,
];

impl Lane {
    pub(crate) fn new(rotation: Rotation, forgiveness: Forgiveness, seed: u64, number: u64) -> Self {
        let options = Options {
            interval: Duration::from_secs(1),
            lifetime: LIFETIME,
            rotation,
            jwt_bytes: 700,
            ..Options::default()
        };
        // Here a refusal is never a whim of ecobee's: one is enough, and shows at once who is refused.
        let refresh = "ahead = \"10m\"\nretry-initial = \"1s\"\nrefusals-before-pin = 1";
        let mut stage = Stage::new(options).refresh(refresh);
        // Every other lane keeps its store encrypted, and must not be any worse for it.
        let key = (number % 2 == 1).then(|| stage.keep_store_key());
        Self {
            number,
            stage,
            key,
            forgiveness,
            dice: Dice::new(seed, number),
            tally: Tally::default(),
            orphans: Vec::new(),
            left: Left::default(),
            killed_at: Duration::ZERO,
            pin_on_show: None,
            doom: None,
            mourned: 0,
        }
    }

    /// Lives until so many kills have been died, and once more to see that all is well.
    pub(crate) fn run(mut self, kills: u32) -> Tally {
        while self.tally.kills < kills {
            if self.dice.one_in(8) {
                self.start_anew();
            }
            if self.dice.one_in(10) {
                self.die_at_birth();
            } else {
                self.live();
            }
        }
        let mut life = self.start();
        if let First::Person = self.first_words(&mut life) {
            self.enter_pin(&life);
            self.token(&mut life, "a token at the very end");
        }
        self.tally
    }

    /// A machine that has never had a grant.
    fn start_anew(&mut self) {
        let _ = fs::remove_dir_all(self.stage.state());
        self.left = Left::default();
        self.pin_on_show = None;
        self.doom = None;
        self.stage.simulator.revoke_all();
    }

    fn now(&self) -> Duration {
        self.stage.simulator.truth().now()
    }

    fn start(&mut self) -> Life {
        let began = self.now();
        Life { daemon: self.stage.start(), began, served: None }
    }

    fn die_at_birth(&mut self) {
        let began = self.now();
        let daemon = Daemon::launch(&self.stage.config(), self.stage.folder.path(), &self.stage.socket());
        pass(self.dice.up_to(Duration::from_millis(150)));
        self.kill(Life { daemon, began, served: None });
    }

    fn live(&mut self) {
        let with_delays = self.dice.one_in(2);
        if with_delays {
            self.delay(Endpoint::Authorize);
        }
        let before = self.last_call();
        let mut life = self.start();
        match self.first_words(&mut life) {
            First::Token => self.die_with_a_grant(life),
            First::Person => self.die_without_a_grant(life, before),
        }
    }

    /// Makes ecobee slow at this endpoint, before and after its truth changes.
    fn delay(&mut self, endpoint: Endpoint) {
        let before = self.dice.up_to(LONGEST_DELAY);
        let after = self.dice.up_to(LONGEST_DELAY);
        let mood = Mood::delay_before_commit(before).delayed_after(after).on(endpoint);
        self.stage.simulator.add_mood(mood);
    }

    /// Whether a token comes without a person, and if not, whether that is anyone's fault.
    fn first_words(&mut self, life: &mut Life) -> First {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked_at = self.now();
            let answer = life.daemon.get("/token");
            if answer.status == 200 {
                self.served(life, &answer, asked_at);
                self.pin_on_show = None;
                self.doom = None;
                return First::Token;
            }
            let state = life.daemon.state_of("home");
            if matches!(state.as_str(), "requesting-pin" | "awaiting-user") {
                self.look_into_the_loss(life);
                return First::Person;
            }
            assert!(Instant::now() < deadline, "neither a token nor a PIN comes: {}", answer.body);
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// A person is needed. Is there a grant of which the daemon should know?
    fn look_into_the_loss(&mut self, life: &Life) {
        let Some(lost) = self.grant_before(life.began) else {
            return self.look_for_the_pin(life);
        };
        self.mourned = lost;
        self.pin_on_show = None;
        self.look_for_doom();
        match self.doom.take() {
            Some(CallKind::Poll) => self.tally.first_tokens_lost += 1,
            Some(_) => self.tally.refreshes_lost += 1,
            None => {
                self.tally.refreshes_lost += 1;
                let told = format!(
                    "a grant was lost; the kill at {:?} left {}; the last calls: {}",
                    self.killed_at,
                    self.left,
                    the_last(&self.stage.simulator.calls())
                );
                return self.fault(&told);
            }
        }
        self.tally.explained += 1;
    }

    /// The living grant that was given before this moment, unless its loss has been counted already.
    fn grant_before(&self, moment: Duration) -> Option<u64> {
        let truth = self.stage.simulator.truth();
        let grant = truth.grant_of(KEY).filter(|grant| grant.end.is_none() && grant.created_at < moment)?;
        (grant.id > self.mourned).then_some(grant.id)
    }

    /// The PIN that people were shown must still be the one.
    fn look_for_the_pin(&mut self, life: &Life) {
        let Some(shown) = self.pin_on_show.clone() else { return };
        if !can_be_used(&self.stage.simulator.truth(), &shown) {
            return;
        }
        // It may have been entered and used while it was being looked for.
        let status = life.daemon.wait_for_status("home", "a PIN", |status| {
            status["pin"]["pin"].is_string() || status["state"] == "authorized"
        });
        match status["pin"]["pin"].as_str() {
            Some(pin) if pin != shown => {
                self.fault(&format!("the PIN {shown} was on show, and after the kill it is {pin}"));
            }
            Some(_) => self.tally.pins_kept += 1,
            None => {}
        }
    }

    /// Finds out whether what ecobee gave last could have been saved at all.
    fn look_for_doom(&mut self) {
        let truth = self.stage.simulator.truth();
        if self.doom.is_some() || self.left.holds_a_living_grant(&truth) {
            return;
        }
        let calls = self.stage.simulator.calls();
        self.doom = last_grant(&calls)
            .filter(|call| came_too_late(call, &self.orphans, self.killed_at))
            .filter(|call| call.kind == CallKind::Poll || self.forgiveness == Forgiveness::Never)
            .map(|call| call.kind);
    }

    fn die_without_a_grant(&mut self, mut life: Life, before: u64) {
        if self.dice.one_in(4) {
            let stop = self.dice.pick(&[Stop::Arrived, Stop::Committed, Stop::Answered]);
            let moment = self.dice.up_to(LONGEST_DELAY);
            // Where the PIN is stored already, no call comes.
            if self.left.pin.is_none() {
                self.wait_for_call(&life, CallKind::Authorize, before, stop);
            }
            pass(moment);
            return self.kill(life);
        }
        self.pin_on_show = Some(self.working_pin(&life));
        if self.dice.one_in(3) {
            pass(self.dice.up_to(Duration::from_millis(1500)));
            return self.kill(life);
        }
        let seen = self.last_call();
        self.delay(Endpoint::Poll);
        let waiting = Asking::begin(&life.daemon, "GET /token?wait=60", self.now());
        self.enter_pin(&life);
        if self.dice.one_in(2) {
            let stop = self.dice.pick(&STOPS[1..]);
            return self.die_in_a_call(life, CallKind::Poll, seen, stop, waiting);
        }
        self.take(&mut life, waiting);
        self.die_with_a_grant(life);
    }

    /// Waits for a PIN on show that works. A stored one may be spent, or may be about to be by a call of the last life:
    /// its tokens are lost.
    fn working_pin(&self, life: &Life) -> String {
        self.lay_the_ghosts();
        let works = |status: &Value| {
            let shown = status["pin"]["pin"].as_str();
            shown.is_some_and(|shown| can_be_used(&self.stage.simulator.truth(), shown))
        };
        let status = life.daemon.wait_for_status("home", "a PIN that works", works);
        status["pin"]["pin"].as_str().unwrap_or_default().to_owned()
    }

    fn enter_pin(&self, life: &Life) {
        let pin = self.working_pin(life);
        // A predecessor's PIN may have been entered already.
        let _ = self.stage.simulator.approve(Pin::from(pin));
    }

    fn die_with_a_grant(&mut self, mut life: Life) {
        if self.dice.one_in(12) {
            let end = Instant::now() + self.dice.up_to(Duration::from_millis(300));
            while Instant::now() < end {
                self.token(&mut life, "a token while all is well");
                thread::park_timeout(Duration::from_millis(5));
            }
            return self.kill(life);
        }
        self.delay(Endpoint::Refresh);
        let seen = self.last_call();
        let stop = self.dice.pick(&STOPS);
        // One at a time is forced; the others come by themselves, when half of the lifetime is over.
        let request = if self.dice.one_in(5) { "GET /token?wait=60" } else { "POST /refresh" };
        let waiting = Asking::begin(&life.daemon, request, self.now());
        if request == "GET /token?wait=60" {
            self.take(&mut life, waiting);
            let again = Asking::begin(&life.daemon, "GET /token?wait=60&min_ttl=2", self.now());
            return self.die_in_a_call(life, CallKind::Refresh, seen, stop, again);
        }
        self.die_in_a_call(life, CallKind::Refresh, seen, stop, waiting);
    }

    fn die_in_a_call(&mut self, mut life: Life, kind: CallKind, seen: u64, stop: Stop, waiting: Asking) {
        match stop {
            Stop::Ordered => pass(self.dice.up_to(SAVING)),
            Stop::Served => self.take(&mut life, waiting),
            Stop::Arrived | Stop::Committed | Stop::Answered => {
                self.wait_for_call(&life, kind, seen, stop);
                let longest = if stop == Stop::Answered { SAVING } else { LONGEST_DELAY };
                pass(self.dice.up_to(longest));
                if let Some(answer) = waiting.try_take() {
                    self.served(&mut life, &answer, waiting.asked_at);
                }
            }
        }
        self.kill(life);
    }

    fn last_call(&self) -> u64 {
        self.stage.simulator.calls().last().map_or(0, |call| call.id)
    }

    /// Waits until a call newer than `seen` has got so far.
    fn wait_for_call(&mut self, life: &Life, kind: CallKind, seen: u64, stop: Stop) {
        let so_far = |call: &Call| match stop {
            Stop::Ordered | Stop::Arrived => true,
            Stop::Committed => call.committed || call.answered_at.is_some(),
            Stop::Answered | Stop::Served => call.answered_at.is_some(),
        };
        // The polls before the PIN is entered bring nothing.
        let counts = |call: &Call| kind != CallKind::Poll || call.committed || call.answered_at.is_none();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let came = self.stage.simulator.wait_for(Duration::from_millis(500), |_, calls| {
                let newer = calls.iter().filter(|call| call.id > seen && call.kind == kind);
                newer.filter(|call| counts(call)).any(so_far)
            });
            if came {
                return;
            }
            let state = life.daemon.state_of("home");
            if kind == CallKind::Refresh && matches!(state.as_str(), "requesting-pin" | "awaiting-user") {
                return self.fault(&format!("a grant that had just been served from is over: {state}"));
            }
            assert!(Instant::now() < deadline, "lane {}: no {kind:?} came so far as {stop:?}", self.number);
        }
    }

    /// Takes the answer that is waited for.
    fn take(&mut self, life: &mut Life, waiting: Asking) {
        let asked_at = waiting.asked_at;
        let answer = waiting.take().expect("the daemon answers");
        self.served(life, &answer, asked_at);
    }

    fn token(&mut self, life: &mut Life, what: &str) {
        let asked_at = self.now();
        let answer = life.daemon.get("/token?wait=60");
        assert_eq!(answer.status, 200, "{what}: {}", answer.body);
        self.served(life, &answer, asked_at);
    }

    /// A client has an answer; if it is a token, it lives.
    fn served(&mut self, life: &mut Life, answer: &Response, asked_at: Duration) {
        if answer.status != 200 {
            return;
        }
        let token = match answer.member("access_token") {
            member if member.is_empty() => answer.text().to_owned(),
            member => member,
        };
        self.tally.tokens_served += 1;
        let truth = self.stage.simulator.truth();
        let served = Served { token, asked_at, got_at: truth.now() };
        let calls = self.stage.simulator.calls();
        if let Some(why) = why_dead(&served, &truth, &calls, &self.orphans, life.began) {
            let told = format!("lane {}, after kill {}: a dead token: {why}", self.number, self.tally.kills);
            self.tally.dead_served.push(told);
        }
        life.served = Some(served);
    }

    /// The end of a life.
    fn kill(&mut self, life: Life) {
        let Life { daemon, served, .. } = life;
        daemon.kill();
        self.stage.simulator.clear_moods();
        self.killed_at = self.now();
        let calls = self.stage.simulator.calls();
        let unanswered: Vec<u64> =
            calls.iter().filter(|call| call.answered_at.is_none()).map(|call| call.id).collect();
        self.left = Left::read(&self.stage.state(), self.key.as_ref());
        self.tally.kills += 1;
        let truth = self.stage.simulator.truth();
        if let Some(why) = served.and_then(|served| why_unsaved(&served, &self.left, &truth, &calls)) {
            self.fault(&why);
        }
        if !unanswered.is_empty() || self.left.marked {
            self.tally.during_calls += 1;
        }
        self.orphans.extend(&unanswered);
        // Most of the time the calls of the dead are over before the next daemon makes its own.
        if !self.dice.one_in(4) {
            let over = self
                .stage
                .simulator
                .wait_for(PATIENCE, |_, calls| calls.iter().all(|call| call.answered_at.is_some()));
            assert!(over, "every call is answered in the end");
        }
        // What was given and did not reach the disk is noted now: the next kill may come before it shows.
        if self.grant_before(self.now()).is_some() {
            self.look_for_doom();
        }
    }

    /// Waits until no call of a killed daemon is under way any more.
    fn lay_the_ghosts(&self) {
        let over = self.stage.simulator.wait_for(PATIENCE, |_, calls| {
            calls.iter().all(|call| call.answered_at.is_some() || !self.orphans.contains(&call.id))
        });
        assert!(over, "every call is answered in the end");
    }

    fn fault(&mut self, what: &str) {
        let told = format!("lane {}, kill {}: {what}", self.number, self.tally.kills);
        self.tally.unexplained.push(told);
    }
}

fn can_be_used(truth: &Truth, shown: &str) -> bool {
    let usable = |state| matches!(state, PinState::Waiting | PinState::Approved);
    truth.pins().iter().any(|pin| pin.pin == shown && usable(pin.state))
}
