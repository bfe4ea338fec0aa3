//! A long time in changing weather: one bad mood of ecobee's after another, thrown with dice.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{Call, CallKind, Endpoint, Mood, Options, Rotation};
use serde_json::Value;

use super::back_off::{READERS_PACE, REQUEST_TIMEOUT, RETRY_MAX, SLACK, most_calls, stage};
use super::dice::Dice;
use super::evidence::{Served, why_dead};
use crate::harness::{Daemon, Stage, quick};

/// What came of a long time in changing weather.
#[derive(Debug, Default)]
pub(crate) struct Season {
    pub(crate) seed: u64,
    pub(crate) moods: u32,
    pub(crate) answers: u32,
    /// Answers without a token, because there was none.
    pub(crate) without: u32,
    pub(crate) refreshes: usize,
    /// Whatever should not have happened.
    pub(crate) faults: Vec<String>,
}

impl fmt::Display for Season {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, moods, answers, without, refreshes, faults } = self;
        writeln!(
            f,
            "{moods} changes of the weather, {answers} answers ({without} without a token, for there was none), \
             {refreshes} refreshes arrived, {} faults, seed {seed}",
            faults.len()
        )?;
        for fault in faults {
            writeln!(f, "FAULT: {fault}")?;
        }
        Ok(())
    }
}

/// Long enough for a few failures, short enough for tokens to die.
const SEASONS_LIFETIME: Duration = Duration::from_secs(16);

/// One mood after another, thrown with these dice, for so long.
pub(crate) fn season(seed: u64, length: Duration) -> Season {
    let stage = stage(Options { rotation: Rotation::Reuse, ..quick(SEASONS_LIFETIME) });
    let simulator = &stage.simulator;
    let daemon = stage.start_authorized();
    let mut dice = Dice::new(seed, 0);
    let mut season = Season { seed, ..Season::default() };
    let mut reader = Reader { stage: &stage, daemon: &daemon, last: None };
    let end = Instant::now() + length;
    while Instant::now() < end {
        simulator.clear_moods();
        if dice.one_in(6) {
            simulator.pause().expect("it stops listening");
        } else if dice.one_in(2) {
            for _ in 0..dice.pick(&[1, 2, 3]) {
                simulator.add_mood(bad_mood(&mut dice).on(Endpoint::Refresh).once());
            }
        }
        season.moods += 1;
        let until = (Instant::now() + dice.up_to(Duration::from_secs(9))).min(end);
        while Instant::now() < until {
            reader.read(&mut season);
            thread::park_timeout(READERS_PACE);
        }
        simulator.resume().expect("it listens again");
    }
    simulator.clear_moods();
    let calm = Instant::now();
    let recovered = |status: &Value| status["state"] == "authorized" && status["failures"] == 0;
    daemon.wait_for_status("home", "the end of all trouble", recovered);
    if calm.elapsed() > RETRY_MAX + REQUEST_TIMEOUT + SLACK {
        season.faults.push(format!("the recovery took {:?}", calm.elapsed()));
    }
    reader.read(&mut season);
    if simulator.calls_of(CallKind::Authorize).len() != 1 {
        season.faults.push("a person was asked".to_owned());
    }
    let refreshes = simulator.calls_of(CallKind::Refresh);
    season.refreshes = refreshes.len();
    season.faults.extend(hammering(&refreshes));
    season
}

/// A success that nobody can use: the old token is dead all the same.
const UNUSABLE: &str = "{\"access_token\": 5}";

/// One of the ways in which a refresh can fail.
fn bad_mood(dice: &mut Dice) -> Mood {
    let moods: [fn() -> Mood; 14] = [
        || Mood::hang(),
        || Mood::hang().after_commit(),
        || Mood::drop(),
        || Mood::drop().after_commit(),
        || Mood::reset(),
        || Mood::reset().after_commit(),
        || Mood::reset_after_headers(),
        || Mood::half_body(),
        || Mood::drip(Duration::from_millis(50)),
        || Mood::html(503),
        || Mood::empty(200),
        || Mood::status(429).with_retry_after("2"),
        || Mood::error("account_locked"),
        || Mood::raw(200, "application/json", UNUSABLE).after_commit(),
    ];
    dice.pick(&moods)()
}

/// Any ten seconds in which there were more calls than the back-off, begun anew by a success in between, allows.
fn hammering(refreshes: &[Call]) -> Vec<String> {
    let window = Duration::from_secs(10);
    let most = most_calls(window) + 3;
    let too_many = refreshes.iter().enumerate().filter_map(|(at, first)| {
        let count =
            refreshes[at..].iter().take_while(|call| call.arrived_at < first.arrived_at + window).count();
        (count > most).then(|| format!("{count} refreshes in 10 s from {:?} on", first.arrived_at))
    });
    too_many.collect()
}

/// Who reads tokens whatever the weather.
struct Reader<'a> {
    stage: &'a Stage,
    daemon: &'a Daemon,
    last: Option<Served>,
}

impl Reader<'_> {
    fn read(&mut self, season: &mut Season) {
        let simulator = &self.stage.simulator;
        let asked_at = simulator.truth().now();
        let answer = self.daemon.get("/token");
        let truth = simulator.truth();
        season.answers += 1;
        if answer.status != 200 {
            season.without += 1;
            if answer.member("code") != "token-unavailable" {
                season.faults.push(format!("at {asked_at:?}: {}", answer.body));
            }
            if let Some(last) = &self.last
                && truth.grants().iter().flat_map(|grant| &grant.access_tokens).any(|token| {
                    let left = token.expires_at.saturating_sub(truth.now());
                    token.value == last.token && token.ended_at.is_none() && left > Duration::from_secs(2)
                })
            {
                season.faults.push(format!("at {asked_at:?} a living token was held back: {}", answer.body));
            }
            return;
        }
        let token = answer.text().to_owned();
        let served = Served { token, asked_at, got_at: truth.now() };
        let calls = simulator.calls();
        // Answers that were spoilt on their way told the daemon nothing.
        let spoilt = |call: &&Call| call.trick.as_deref().is_some_and(|trick| trick != "raw");
        let spoilt: Vec<u64> = calls.iter().filter(spoilt).map(|call| call.id).collect();
        season.faults.extend(why_dead(&served, &truth, &calls, &spoilt, Duration::ZERO));
        self.last = Some(served);
    }
}
