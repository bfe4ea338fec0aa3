//! Each kind of trouble with the way to ecobee, while there is a living token.

use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Endpoint, Liveness, Mood, Options, Simulator, Tls};
use serde_json::Value;

use super::back_off::{READERS_PACE, REQUEST_TIMEOUT, RETRY_MAX, SLACK, most_calls, stage};
use super::relay::{Line, Relay};
use super::season::{Season, season};
use crate::harness::{Daemon, PATIENCE, Stage, quick};

const HOUR: Duration = Duration::from_secs(3600);

/// What a storm is made of.
struct Storm<'a> {
    stage: &'a Stage,
    begin: &'a dyn Fn(),
    end: &'a dyn Fn(),
    /// How many calls came so far, where that can be counted at the other end.
    calls: Option<&'a dyn Fn() -> usize>,
    /// It lasts until so many calls have failed.
    failures: u64,
    /// What the daemon says of it.
    says: &'a [&'a str],
}

impl Storm<'_> {
    /// Begins when a refresh is due; the daemon keeps serving, is patient, and recovers by itself.
    fn is_ridden_out(&self) {
        let simulator = &self.stage.simulator;
        let daemon = self.stage.start_authorized();
        let old = daemon.token("home");
        let calls_before = self.calls.map(|calls| calls());
        (self.begin)();
        let began = Instant::now();
        daemon.signal("USR1");

        let status = read_until(&daemon, &old, |status| status["failures"].as_u64() >= Some(self.failures));

        let error = status["last_error"].as_str().unwrap_or_default();
        for words in self.says {
            assert!(error.contains(words), "{words:?} is not in {error:?}");
        }
        (self.end)();
        let ended = Instant::now();
        let failures = usize::try_from(status["failures"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        let calls = self.calls.zip(calls_before).map_or(failures, |(calls, before)| calls() - before);
        let most = most_calls(ended - began + Duration::from_secs(1));
        assert!(calls <= most, "{calls} calls in {:?}; rule 9 allows {most}", ended - began);

        let renewed = |status: &Value| status["state"] == "authorized" && status["failures"] == 0;
        daemon.wait_for_status("home", "the end of the trouble", renewed);
        let took = ended.elapsed();
        assert!(took <= RETRY_MAX + REQUEST_TIMEOUT + SLACK, "the recovery took {took:?}");
        let new = daemon.token("home");
        assert_ne!(new, old, "it was renewed");
        assert_eq!(simulator.is_alive(&new), Liveness::Alive);
        assert_eq!(simulator.calls_of(CallKind::Authorize).len(), 1, "no person was asked");
    }
}

/// Reads all the while; each answer is the old token, which lives for all the daemon can know.
fn read_until(daemon: &Daemon, old: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = daemon.get("/token");
        assert_eq!((answer.status, answer.text()), (200, old), "the old token is served meanwhile");
        let status = daemon.status_of("home");
        if enough(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "the storm does not get worse: {status:#}");
        thread::park_timeout(READERS_PACE);
    }
}

/// A mood of the simulator, from beginning to end.
fn is_ridden_out(mood: Mood, failures: u64, says: &[&str]) {
    let stage = stage(quick(HOUR));
    let simulator = &stage.simulator;
    let mood = mood.on(Endpoint::Refresh);
    Storm {
        stage: &stage,
        begin: &|| simulator.add_mood(mood.clone()),
        end: &|| simulator.clear_moods(),
        calls: Some(&|| simulator.calls_of(CallKind::Refresh).len()),
        failures,
        says,
    }
    .is_ridden_out();
}

#[test]
fn refused_connections() {
    let stage = stage(quick(HOUR));
    Storm {
        stage: &stage,
        begin: &|| stage.simulator.pause().expect("it stops listening"),
        end: &|| stage.simulator.resume().expect("it listens again"),
        calls: None,
        failures: 4,
        says: &["connection refused"],
    }
    .is_ridden_out();
}

#[test]
fn an_ecobee_that_never_answers() {
    is_ridden_out(Mood::hang(), 3, &["no answer within 5 s"]);
}

#[test]
fn an_answer_that_comes_drop_by_drop() {
    is_ridden_out(Mood::drip(Duration::from_millis(50)), 3, &[]);
}

#[test]
fn resets_before_the_answer() {
    is_ridden_out(Mood::reset(), 4, &[]);
}

#[test]
fn resets_that_swallow_the_answer() {
    is_ridden_out(Mood::reset().after_commit(), 4, &[]);
}

#[test]
fn resets_after_the_headers() {
    is_ridden_out(Mood::reset_after_headers(), 4, &["half a body"]);
}

#[test]
fn half_a_body() {
    is_ridden_out(Mood::half_body(), 4, &["half a body"]);
}

#[test]
fn connections_that_close_without_a_word() {
    is_ridden_out(Mood::drop(), 4, &["without an answer"]);
}

#[test]
fn pages_in_place_of_tokens() {
    is_ridden_out(Mood::html(503), 4, &["503"]);
}

#[test]
fn a_wish_to_be_left_alone() {
    is_ridden_out(Mood::status(429).with_retry_after("3"), 3, &["429"]);
}

#[test]
fn trouble_that_outlives_the_token_is_no_reason_to_ask_a_person() {
    let stage = stage(quick(Duration::from_secs(6)));
    let simulator = &stage.simulator;
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    simulator.add_mood(Mood::html(503).on(Endpoint::Refresh));

    // More failures than refusals would be needed.
    daemon.wait_for_status("home", "long trouble", |status| {
        status["token"].is_null() && status["failures"].as_u64() >= Some(5)
    });

    let answer = daemon.get("/token");
    assert_eq!((answer.status, answer.member("code").as_str()), (503, "token-unavailable"));
    assert_eq!(daemon.status_of("home")["pin"], Value::Null);
    simulator.clear_moods();
    let new = daemon.token("home");
    assert_ne!(new, old);
    assert_eq!(simulator.is_alive(&new), Liveness::Alive);
    assert_eq!(simulator.calls_of(CallKind::Authorize).len(), 1, "no person was asked");
}

/// The exchange between the daemon and a good ecobee puts the calls elsewhere for a while.
fn over_tls(elsewhere: impl FnOnce() -> (Line, Vec<Simulator>), failures: u64, says: &[&str]) {
    let good = Options { tls: Tls::Good, ..quick(HOUR) };
    let stage = stage(good);
    let (line, others) = elsewhere();
    let authorities: String =
        [&stage.simulator].into_iter().chain(&others).filter_map(Simulator::ca_pem).collect();
    let ca_file = stage.folder.path().join("ca.pem");
    std::fs::write(&ca_file, authorities).expect("the certificates are written");
    let home = Line::To(stage.simulator.address());
    let relay = Relay::start(home);
    let stage = stage.ecobee(&format!("ca-file = \"{}\"", ca_file.display())).by_way_of(relay.url());
    Storm {
        stage: &stage,
        begin: &|| relay.switch(line),
        end: &|| relay.switch(home),
        calls: Some(&|| relay.connections()),
        failures,
        says,
    }
    .is_ridden_out();
    for other in &others {
        assert_eq!(other.calls(), [], "nothing was told to a server with a bad certificate");
    }
}

fn certificate(tls: Tls) -> (Line, Vec<Simulator>) {
    let other = Simulator::start(Options { tls, ..Options::default() }).expect("the simulator starts");
    (Line::To(other.address()), vec![other])
}

#[test]
fn a_certificate_that_is_not_valid_yet_and_a_hint_at_the_clock() {
    over_tls(|| certificate(Tls::NotYetValid), 3, &["3000-01-01", "clock may be wrong"]);
}

#[test]
fn a_certificate_that_has_run_out() {
    over_tls(|| certificate(Tls::Expired), 3, &["2015-01-01"]);
}

#[test]
fn a_certificate_for_another_host() {
    over_tls(|| certificate(Tls::WrongName), 3, &["not for localhost", "ecobee.invalid"]);
}

#[test]
fn something_that_speaks_no_tls() {
    over_tls(|| (Line::Babble, Vec::new()), 4, &["no TLS"]);
}

#[test]
fn a_handshake_that_is_hung_up() {
    over_tls(|| (Line::HungUp, Vec::new()), 4, &["no TLS"]);
}

#[test]
fn a_handshake_that_never_goes_on() {
    over_tls(|| (Line::Silent, Vec::new()), 2, &["within 5 s"]);
}

#[test]
fn forty_seconds_of_changing_weather() {
    let told = season(super::seed(), Duration::from_secs(40));
    println!("{told}");
    let Season { answers, refreshes, faults, .. } = &told;
    assert!(*answers > 100 && *refreshes > 1, "that was no season: {told}");
    assert!(
        faults.is_empty(),
        "{told}\nto see it again: TORTURE_SEED={} cargo test --test torture",
        told.seed
    );
}
