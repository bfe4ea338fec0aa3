//! What the socket promises, it keeps: `expires_in`, `min_ttl`, `wait`; whatever ecobee says of a token's life.

mod harness;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Endpoint, Liveness, Mood};
use harness::{Daemon, HOUR, PATIENCE, Stage, skipped};

/// A lifetime whose window opens after 6 s and closes after 10.8 s.
const SHORT: Duration = Duration::from_secs(12);

#[test]
fn expires_in_is_the_time_to_the_daemons_next_refresh() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();

    let answer = daemon.get_json("/token");

    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let token = answer.json();
    let expires_in = token["expires_in"].as_u64().expect("whole seconds");
    assert!((2990..3060).contains(&expires_in), "the window opens after 3000 s: {expires_in}");
    assert_eq!(token["token_type"], "Bearer");
    assert_eq!(token["scope"], "smartWrite");
    assert_eq!(token["access_token"], daemon.get("/token").text());
}

#[test]
fn min_ttl_is_kept_across_a_refresh() {
    let stage = Stage::with_lifetime(SHORT);
    let daemon = stage.start_authorized();
    let promise = Duration::from_secs(5);
    let mut tokens = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while tokens.len() < 3 {
        assert!(Instant::now() < deadline, "no refresh came");
        let answer = daemon.get_json("/token?min_ttl=5");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.json();
        assert!(token["expires_in"].as_u64() >= Some(5), "{token}");
        let value = token["access_token"].as_str().unwrap_or_default().to_owned();
        let now = stage.simulator.truth().now();
        if tokens.last().is_none_or(|(last, _)| *last != value) {
            tokens.push((value, now));
        } else if let Some((_, promised_at)) = tokens.last_mut() {
            *promised_at = now;
        }
    }
    let truth = stage.simulator.truth();
    for (value, promised_at) in &tokens[..tokens.len() - 1] {
        let known = truth.grants()[0].access_tokens.iter().find(|token| token.value == *value);
        let ended_at = known.expect("ecobee issued it").ended_at.expect("it was replaced");
        // The promise was made a little before `promised_at` was read.
        let kept = ended_at + Duration::from_millis(500) >= *promised_at + promise;
        assert!(kept, "promised at {promised_at:?} for {promise:?}, ended at {ended_at:?}");
    }
}

#[test]
fn a_stream_of_plain_readers_cannot_push_a_refresh_back() {
    let stage = Stage::with_lifetime(SHORT);
    let daemon = stage.start_authorized();
    let deadline = Instant::now() + PATIENCE;
    while stage.simulator.calls_of(CallKind::Refresh).is_empty() {
        assert!(Instant::now() < deadline, "the readers starve the refresh");
        assert_eq!(daemon.get("/token").status, 200);
    }
    let truth = stage.simulator.truth();
    let first = &truth.grants()[0].access_tokens[0];
    let refreshed_at = stage.simulator.calls_of(CallKind::Refresh)[0].arrived_at;
    // The last promise of five seconds, made just before the window opens, may last until it closes.
    let closes_at = first.expires_at.saturating_sub(SHORT / 10);
    let on_its_way = Duration::from_millis(700);
    assert!(
        refreshed_at <= closes_at + on_its_way,
        "the window closed at {closes_at:?}, the refresh came at {refreshed_at:?}"
    );
}

#[test]
fn a_plain_answer_is_good_for_five_seconds_while_the_window_is_shut() {
    // Of ten seconds the window opens after five, and closes after nine.
    let stage = Stage::with_lifetime(Duration::from_secs(10));
    let daemon = stage.start_authorized();
    let now = || stage.simulator.truth().now();
    let deadline = Instant::now() + PATIENCE;
    let (token, asked_at) = loop {
        assert!(Instant::now() < deadline, "this machine is too busy to ask at the right moment");
        let truth = stage.simulator.truth();
        let newest = truth.grants()[0].access_token().expect("a token");
        let asked_at = now();
        if asked_at < newest.issued_at + Duration::from_secs(3) {
            thread::park_timeout(Duration::from_millis(20));
            continue;
        }
        let answer = daemon.get("/token");
        if answer.text() == newest.value && now() < newest.issued_at + Duration::from_millis(3900) {
            break (newest.value.clone(), asked_at);
        }
    };

    let refreshed = stage.simulator.wait_for(PATIENCE, |truth, _| {
        truth.grants()[0].access_token().is_some_and(|newest| newest.value != token)
    });

    assert!(refreshed, "no refresh came");
    let truth = stage.simulator.truth();
    let ended_at = truth.grants()[0].access_tokens.iter().find(|known| known.value == token);
    let ended_at = ended_at.and_then(|known| known.ended_at).expect("it was replaced");
    // The daemon counts in milliseconds.
    let good_for = ended_at.saturating_sub(asked_at) + Duration::from_millis(2);
    assert!(good_for >= Duration::from_secs(5), "{good_for:?}");
}

#[test]
fn a_promise_that_does_not_fit_waits_for_the_refresh() {
    let stage = Stage::with_lifetime(SHORT);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    let status = daemon.wait_for_status("home", "the last seconds before the refresh", |status| {
        status["token"]["expires_in"].as_u64().is_some_and(|left| left <= 6)
    });
    assert_eq!(status["state"], "authorized");

    let answer = daemon.get_json("/token?min_ttl=6");

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_ne!(answer.member("access_token"), old);
    assert!(answer.json()["expires_in"].as_u64() >= Some(6), "{}", answer.body);
    assert_eq!(stage.simulator.is_alive(&answer.member("access_token")), Liveness::Alive);
}

#[test]
fn a_request_for_a_promise_waits_for_thirty_seconds_at_most() {
    let stage = Stage::with_lifetime(HOUR).request_timeout("1m");
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::hang().on(Endpoint::Refresh));
    daemon.signal("USR1");
    stage.wait_for_call(CallKind::Refresh);
    let asked_at = Instant::now();

    let answer = daemon.get("/token?min_ttl=1");

    assert_eq!((answer.status, answer.member("code")), (503, "token-unavailable".to_owned()));
    let waited = asked_at.elapsed();
    assert!((30..45).contains(&waited.as_secs()), "{waited:?}");
}

#[test]
fn more_than_any_token_can_promise_is_refused() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();

    let answer = daemon.get("/token?min_ttl=3001");

    assert_eq!((answer.status, answer.member("code")), (400, "min-ttl-too-long".to_owned()));
    assert_eq!(daemon.get("/token?min_ttl=3000").status, 200);
}

#[test]
fn readers_get_the_old_token_when_a_refresh_takes_long() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    stage.simulator.add_mood(Mood::delay_before_commit(Duration::from_secs(6)).on(Endpoint::Refresh).once());
    daemon.signal("USR1");
    stage.wait_for_call(CallKind::Refresh);

    let asked_at = Instant::now();
    let answer = daemon.get_json("/token");

    assert_eq!(answer.member("access_token"), old);
    assert_eq!(answer.json()["expires_in"], 0);
    let waited = asked_at.elapsed();
    assert!(waited < Duration::from_secs(5), "two seconds after the refresh was sent, not {waited:?}");
}

/// Has a daemon's disk take its time until what is written is there, twice in each save.
struct SlowDisk(Child);

impl SlowDisk {
    /// `None`, said aloud, where that cannot be done.
    fn of(daemon: &Daemon, takes: Duration) -> Option<Self> {
        let injection = format!("inject=fsync:delay_enter={}", takes.as_micros());
        let words = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", &injection];
        let pid = daemon.pid().to_string();
        let strace = Command::new("strace").args(words).args(["-p", &pid]).stderr(Stdio::null()).spawn();
        let Ok(strace) = strace else {
            skipped("strace cannot be run, and makes the disk slow");
            return None;
        };
        let mut slow_disk = Self(strace);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
            if !status.contains("TracerPid:\t0\n") {
                return Some(slow_disk);
            }
            if slow_disk.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                skipped("strace cannot watch the daemon, and make its disk slow");
                return None;
            }
            assert!(Instant::now() < deadline, "strace does not begin");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rule_1_a_new_token_is_served_though_its_save_takes_long() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let Some(_slow_disk) = SlowDisk::of(&daemon, Duration::from_secs(5)) else { return };

    let new = daemon.post("/token/rejected", &daemon.token("home"));

    assert_eq!(new.status, 200, "{}", new.body);
    assert!(!stage.stored("home").contains(new.text()), "its save did not take long");
    assert_eq!(stage.simulator.is_alive(new.text()), Liveness::Alive);
    assert_eq!(daemon.get("/token").text(), new.text());
}

/// Each refresh is marked on disk before it is sent. After a long night that is a mark for every account, and a power cut
/// while they are written must not cost the first grants that came of it.
#[test]
fn a_new_grant_does_not_wait_for_the_marks_of_all_other_accounts() {
    let names: Vec<String> = (0..10).map(|number| format!("cabin-{number}")).collect();
    let stage = Stage::with_lifetime(HOUR).accounts(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = stage.start_authorized();
    let before: Vec<String> = names.iter().map(|name| stage.stored(name)).collect();
    let marked = |text: &str| text.contains("\"refresh_sent\": true");
    let Some(_slow_disk) = SlowDisk::of(&daemon, Duration::from_millis(100)) else { return };

    daemon.signal("USR1");

    let deadline = Instant::now() + PATIENCE;
    loop {
        let now: Vec<String> = names.iter().map(|name| stage.stored(name)).collect();
        let untouched = now.iter().zip(&before).filter(|(now, before)| now == before).count();
        if (0..names.len()).any(|account| now[account] != before[account] && !marked(&now[account])) {
            assert!(
                untouched > names.len() / 2,
                "only {untouched} had no mark yet when the first grant was saved"
            );
            return;
        }
        assert!(Instant::now() < deadline, "no new grant is saved");
        thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_life_that_ecobee_cannot_mean_is_taken_as_a_minute_or_a_day() {
    let said_and_taken = [
        ("one-in-a-string", "\"1800\"", 1800),
        ("missing", "", 60),
        ("null", "null", 60),
        ("a-word", "\"soon\"", 60),
        ("over", "-3600", 60),
        ("beyond-all-numbers", "1e999", 60),
        ("a-week", "604800", 24 * 3600),
    ];
    let stage = Stage::with_lifetime(HOUR).accounts(&said_and_taken.map(|(name, ..)| name));
    let daemon = stage.start();
    for (name, said, taken) in said_and_taken {
        stage.simulator.set_options(|options| options.raw.expires_in = Some(said.to_owned()));
        daemon.enter_pin(&stage.simulator, name, stage.key_of(name));
        let left = daemon.status_of(name)["token"]["expires_in"].as_u64();
        assert!(left.is_some_and(|left| (taken - 20..=taken).contains(&left)), "{said}: {left:?}");
    }
}

#[test]
fn rule_9_tokens_of_a_second_are_refreshed_every_two_seconds_at_most() {
    let stage = Stage::with_lifetime(Duration::from_secs(1));
    let _daemon = stage.start_authorized();
    let refreshed = stage.simulator.wait_for(PATIENCE, |truth, _| truth.grants()[0].access_tokens.len() >= 4);
    assert!(refreshed, "it gave up refreshing");
    let truth = stage.simulator.truth();
    for pair in truth.grants()[0].access_tokens.windows(2) {
        let pause = pair[1].issued_at.saturating_sub(pair[0].issued_at);
        // What takes long to arrive brings the next one nearer.
        assert!(pause >= Duration::from_millis(1500), "{pause:?}");
    }
}

#[test]
fn wait_waits_for_a_person() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    let at_once = daemon.get("/token");
    assert_eq!(at_once.status, 503, "without wait there is a problem at once");

    let waiting = thread::spawn({
        let socket = daemon.socket.clone();
        move || harness::http::ask(&socket, "GET /token?wait=60").expect("an answer")
    });
    stage.simulator.approve(ecobee_simulator::Pin::from(pin)).expect("it can be entered");

    let answer = waiting.join().expect("the client lives");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
}

#[test]
fn wait_has_an_end() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let asked_at = Instant::now();

    let answer = daemon.get("/token?wait=1");

    assert_eq!((answer.status, answer.member("code")), (503, "authorization-required".to_owned()));
    assert!(asked_at.elapsed() >= Duration::from_secs(1), "it waited as long as it was told to");
}
