//! Years of weather over a pretend world: spells of calm, rough and mad ones, and what people and machines do in them.
//!
//! One account's life, some years long, comes from one seed. What befell it and how often each law was held against it
//! is summed up in an [`Almanac`].
#![allow(dead_code, reason = "each program uses its own part of it")]

mod almanac;
mod spell;

use std::cell::Cell;
use std::time::Duration;

pub(crate) use almanac::Almanac;
use ecobee_tokend::keeper::{Moment, Policy, RequestId};
use spell::Spell;

use crate::world::{
    DAY, Dice, Errand, Fault, HOUR, Mishap, People, Question, Rotation, Shelf, World, authorize, bare, json,
    refresh, rejected, secs,
};

/// In seconds.
const YEAR: u64 = 365 * DAY + 6 * HOUR;

/// One account's life lasts so long at most; then comes another, with dice of its own.
pub(crate) const YEARS_A_LIFE: u32 = 10;

thread_local! {
    /// Whose life is being lived on this thread, should the keeper itself panic.
    static LIVING: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
}

/// The seed and the year that this thread is in.
pub(crate) fn living() -> (u64, u32) {
    LIVING.get()
}

/// A law was broken.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) seed: u64,
    /// In which year, counted from 1.
    pub(crate) year: u32,
    pub(crate) what: String,
    /// The last events before it.
    pub(crate) history: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, year, what, history } = self;
        write!(f, "seed {seed}, year {year}: {what}\nwhat happened before:{history}\n")
    }
}

/// Lives one account's life.
pub(crate) fn live(seed: u64, years: u32) -> Result<Almanac, Breach> {
    let mut life = Life::new(seed);
    for year in 1..=years {
        LIVING.set((seed, year));
        let ends_at = life.begun_at + secs(YEAR * u64::from(year));
        while life.world.now < ends_at && life.world.breach().is_none() {
            life.live_a_spell(ends_at);
        }
        life.is_lawful(seed, year)?;
    }
    life.end();
    life.is_lawful(seed, years)?;
    Ok(Almanac::of(&life.world, years))
}

/// One account's life.
struct Life {
    world: World,
    dice: Dice,
    begun_at: Moment,
    /// Until then nobody is at home, whatever is on show.
    nobody_home_until: Moment,
    /// Requests that may still wait.
    waiting: Vec<RequestId>,
    usual_lifetime: Duration,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.keep_breaches();
        world.disk.shelf = Some(Shelf::new());
        world.disk.leftovers = Some(Dice::new(dice.below(u64::MAX)));
        world.policy = policy(&mut dice);
        world.ecobee.rotation = dice.one_of(&Rotation::ALL);
        let usual_lifetime = secs(dice.one_of(&[3600, 3600, 3600, 3599, 3599, 1800, 7200, 86_400]));
        world.people = People::Enter(secs(60));
        world.start();
        let begun_at = world.now;
        Self { world, dice, begun_at, nobody_home_until: begun_at, waiting: Vec::new(), usual_lifetime }
    }

    fn live_a_spell(&mut self, year_ends_at: Moment) {
        let spell = Spell::choose(&mut self.dice);
        let ends_at = (self.world.now + spell.length(&mut self.dice)).min(year_ends_at);
        self.people_change();
        spell.begin(&mut self.world, &mut self.dice, ends_at, self.usual_lifetime);
        while self.world.now < ends_at && self.world.breach().is_none() {
            let pause = self.pause(spell);
            self.world.run_until((self.world.now + pause).min(ends_at));
            self.something_happens(spell);
            self.world.history.forget_old();
        }
    }

    /// From a moment to hours, more often the short ones where more is going on.
    fn pause(&mut self, spell: Spell) -> Duration {
        let watched = spell.is_calm() && self.world.pin().is_none();
        let longest = if watched { 8 * HOUR } else { HOUR };
        match self.dice.below(20) {
            0 => Duration::ZERO,
            1..4 => self.dice.length(secs(20)),
            4..8 => self.dice.length(secs(600)),
            _ => self.dice.length(secs(longest)),
        }
    }

    fn people_change(&mut self) {
        let pin_lifetime = self.world.ecobee.pin_lifetime;
        self.world.people = match self.dice.below(100) {
            0..86 => People::Enter(self.dice.length(secs(500)).max(secs(1))),
            86..92 => People::Enter(pin_lifetime + self.dice.length(secs(300))),
            _ => People::Away,
        };
        if self.dice.below(1000) == 0 {
            self.nobody_home_until = self.world.now + self.dice.length(secs(28 * DAY));
        }
        if self.world.now < self.nobody_home_until {
            self.world.people = People::Away;
        }
    }

    fn something_happens(&mut self, spell: Spell) {
        match self.dice.below(1000) {
            0..600 => self.ask(),
            600..640 => self.ask_around_the_window(),
            640..670 => self.hang_up(),
            670..690 => self.world.tick(),
            690..780 => self.a_person_looks(),
            780..830 => self.next_call_meets_something(),
            830..850 => self.world.suspend(self.dice.length(secs(12 * HOUR))),
            850..860 => self.wall_clock_steps(),
            860..880 => {
                self.world.tally.count(Fault::KilledBetweenSteps);
                self.world.crash();
            }
            880..905 => {
                let actions = self.dice.below(12);
                self.world.kill_after(actions);
            }
            905..912 => self.reboot(),
            912..918 => self.stop_and_start(),
            918..930 => {
                self.world.tally.count(Fault::Sigusr1);
                self.world.sigusr1();
            }
            930..940 => {
                self.world.tally.count(Fault::Reloaded);
                let reloaded = policy(&mut self.dice);
                self.world.reload(reloaded);
            }
            940..960 => {
                self.world.tally.count(Fault::AccessTokenDied);
                self.world.kill_access_token();
                self.report_token();
            }
            960..962 if spell.is_calm() => {
                self.world.tally.count(Fault::Revoked);
                self.world.revoke_all();
            }
            962..964 if spell.is_calm() => {
                self.world.tally.count(Fault::RefreshTokensDied);
                self.world.ecobee.revoke_refresh_tokens();
            }
            964..968 => {
                self.world.tally.count(Fault::RotationChanged);
                self.world.ecobee.rotation = self.dice.one_of(&Rotation::ALL);
            }
            968..970 => self.a_crowd_forces(),
            _ => {}
        }
    }

    // Clients.

    /// Many users who all want a new token at once, and go on wanting it for half an hour.
    fn a_crowd_forces(&mut self) {
        for _ in 0..40 {
            let uid = u32::try_from(self.dice.below(5)).expect("small");
            self.waiting.push(self.world.ask(refresh().by(uid)));
            let pause = self.dice.length(secs(90));
            self.world.run(pause);
        }
        self.waiting.clear();
    }

    fn ask(&mut self) {
        let question = self.question();
        let id = self.world.ask(question);
        self.waiting.push(id);
        if self.waiting.len() > 8 {
            self.waiting.remove(0);
        }
    }

    fn question(&mut self) -> Question {
        let dice = &mut self.dice;
        let plain = match dice.below(40) {
            0 => refresh(),
            1 => return self.rejected(),
            2 => return authorize().wait(dice.below(100)),
            3 => return authorize(),
            4..16 => bare(),
            _ => json(),
        };
        let by = plain.by(u32::try_from(dice.below(5)).expect("small"));
        let by = if dice.percent(15) { by.wait(dice.below(3600)) } else { by };
        let most = self.world.ecobee.lifetime.as_secs();
        if dice.percent(25) { by.min_ttl(dice.below(most + 1)) } else { by }
    }

    fn rejected(&mut self) -> Question {
        let uid = u32::try_from(self.dice.below(5)).expect("small");
        let token = match (&self.world.last_lent, self.dice.below(4)) {
            (Some(token), 0..3) => token.clone(),
            _ => "a token from elsewhere".to_owned(),
        };
        let fault = if self.world.takes(&token) { Fault::RejectedWrongly } else { Fault::RejectedRightly };
        self.world.tally.count(fault);
        rejected(&token).by(uid)
    }

    /// Whoever holds the dead token says so.
    fn report_token(&mut self) {
        if self.dice.percent(70) {
            let question = self.rejected();
            self.waiting.push(self.world.ask(question));
        }
    }

    /// Many questions in the seconds in which the token is replaced, and now and then a kill among them.
    fn ask_around_the_window(&mut self) {
        let Some(token) = self.world.view().token else { return };
        let before = token.refresh_at - self.dice.length(secs(20));
        self.world.run_until(before);
        for _ in 0..self.dice.below(12) {
            self.ask();
            if self.dice.percent(3) {
                self.world.tally.count(Fault::KilledBetweenSteps);
                self.world.crash();
            }
            if self.dice.percent(50) {
                let pause = self.dice.length(secs(3));
                self.world.run(pause);
            }
        }
    }

    fn hang_up(&mut self) {
        let waiting = self.waiting.iter().position(|&id| self.world.waits_still(id));
        if let Some(id) = waiting.map(|found| self.waiting.remove(found)) {
            self.world.tally.count(Fault::HungUp);
            self.world.hang_up(id);
        }
    }

    // People.

    fn a_person_looks(&mut self) {
        if self.nobody_home_until <= self.world.now && self.world.pin().is_some() {
            self.world.enter_pin();
        }
    }

    // The machine.

    fn wall_clock_steps(&mut self) {
        self.world.tally.count(Fault::WallStepped);
        let far = i64::try_from(self.dice.below(2 * 7_200_000)).expect("small") - 7_200_000;
        self.world.machine.set_wrong_by(if self.dice.percent(50) { 0 } else { far });
    }

    fn reboot(&mut self) {
        let off = match self.dice.below(10) {
            0..6 => secs(10) + self.dice.length(secs(120)),
            6..9 => self.dice.length(secs(8 * HOUR)),
            _ => self.dice.length(secs(5 * DAY)),
        };
        self.world.tally.count(Fault::Rebooted);
        match self.dice.below(10) {
            0..3 => {
                self.world.tally.count(Fault::ClockDoubted);
                let behind = self.dice.length(secs(YEAR));
                self.world.machine.lose_the_time(behind);
            }
            3 => {}
            _ => self.world.machine.synchronise(),
        }
        self.world.reboot(off);
    }

    fn stop_and_start(&mut self) {
        self.world.tally.count(Fault::StoppedAndStarted);
        self.world.stop();
        self.world.run(secs(1) + self.dice.length(secs(75)));
        self.world.crash();
    }

    // ecobee.

    fn next_call_meets_something(&mut self) {
        let errand = self.dice.one_of(&[Errand::Refresh, Errand::Refresh, Errand::Poll, Errand::Authorize]);
        for _ in 0..=self.dice.below(5) {
            let mishap = Mishap::thrown(&mut self.dice, errand);
            self.world.ecobee.next(errand, mishap);
        }
    }

    fn is_lawful(&self, seed: u64, year: u32) -> Result<(), Breach> {
        let Some(what) = self.world.breach() else { return Ok(()) };
        Err(Breach { seed, year, what: what.to_owned(), history: self.world.history.to_string() })
    }

    /// The daemon stops for good: nobody is left waiting.
    fn end(&mut self) {
        self.world.stop();
        self.world.run(secs(75));
        self.world.all_are_answered();
    }
}

/// Usual settings in half of all cases.
fn policy(dice: &mut Dice) -> Policy {
    if dice.percent(50) {
        return Policy::default();
    }
    let retry_initial = secs(1 + dice.below(30));
    let longest = dice.one_of(&[300, 300, 300, 60, 900, 3600]);
    Policy {
        ahead: secs(60 + dice.below(1741)),
        retry_initial,
        retry_max: secs(longest).max(retry_initial),
        refusals_before_pin: u32::try_from(1 + dice.below(5)).expect("small"),
        remind_every: secs(HOUR + dice.below(2 * DAY)),
        ..Policy::default()
    }
}
