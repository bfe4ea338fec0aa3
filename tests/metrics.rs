//! `GET /metrics` of the real daemon: its counters move as the simulator counts.

mod harness;

use ecobee_simulator::{CallKind, Simulator};
use harness::{Daemon, HOUR, Stage};

/// The value of a sample that is there.
#[track_caller]
fn value(text: &str, sample: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let found = found.unwrap_or_else(|| panic!("{sample} is not there:\n{text}"));
    found.parse().expect("a number")
}

/// All samples of a family that carry this label, added up.
fn sum(text: &str, family: &str, label: &str) -> f64 {
    let samples =
        text.lines().filter(|line| line.starts_with(&format!("{family}{{")) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn metrics(daemon: &Daemon) -> String {
    let answer = daemon.get("/metrics");
    assert_eq!(answer.status, 200);
    answer.body
}

#[track_caller]
fn as_the_simulator_counts(text: &str, simulator: &Simulator) {
    for (kind, call) in
        [(CallKind::Authorize, "authorize"), (CallKind::Poll, "poll"), (CallKind::Refresh, "refresh")]
    {
        let label = format!("call=\"{call}\"");
        #[allow(clippy::cast_precision_loss, reason = "a few calls")]
        let counted = simulator.calls_of(kind).len() as f64;
        let told = sum(text, "ecobee_tokend_ecobee_calls_total", &label);
        assert!(
            (told - counted).abs() < 0.5,
            "{call}: {told} told, {counted} counted by the simulator\n{text}"
        );
        let timed = value(text, &format!("ecobee_tokend_ecobee_call_duration_seconds_count{{{label}}}"));
        assert!((timed - counted).abs() < 0.5, "{call}: {timed} timed, {counted} counted");
    }
}

#[test]
fn the_counters_move_as_the_simulator_counts_and_a_reload_keeps_them() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let text = metrics(&daemon);
    assert!((value(&text, "ecobee_tokend_pin_waiting{account=\"home\"}") - 1.0).abs() < 0.5);
    assert!((value(&text, "ecobee_tokend_token_living{account=\"home\"}")).abs() < 0.5);

    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    assert_eq!(daemon.post("/refresh", "").status, 200);
    let text = metrics(&daemon);
    as_the_simulator_counts(&text, &stage.simulator);
    for (sample, wanted) in [
        ("ecobee_tokend_authorizations_total{account=\"home\"}", 1.0),
        ("ecobee_tokend_refreshes_total{account=\"home\"}", 1.0),
        ("ecobee_tokend_pin_waiting{account=\"home\"}", 0.0),
        ("ecobee_tokend_token_living{account=\"home\"}", 1.0),
        ("ecobee_tokend_unsaved{account=\"home\"}", 0.0),
        ("ecobee_tokend_requests_total{route=\"/refresh\",status=\"200\"}", 1.0),
    ] {
        assert!((value(&text, sample) - wanted).abs() < 0.5, "{sample} is not {wanted}:\n{text}");
    }
    let issued = value(&text, "ecobee_tokend_last_refresh_timestamp_seconds{account=\"home\"}");
    let expiry = value(&text, "ecobee_tokend_token_expiry_timestamp_seconds{account=\"home\"}");
    assert!((expiry - issued - 3600.0).abs() < 1.0, "a token of an hour: {issued} {expiry}");
    assert!(issued >= value(&text, "ecobee_tokend_start_timestamp_seconds"));

    daemon.reload();
    let text = metrics(&daemon);
    as_the_simulator_counts(&text, &stage.simulator);
    assert!((value(&text, "ecobee_tokend_refreshes_total{account=\"home\"}") - 1.0).abs() < 0.5);
}

#[test]
fn a_call_that_reaches_nobody_is_counted_as_that() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.simulator.pause().expect("ecobee is away");
    assert_ne!(daemon.post("/refresh?wait=1", "").status, 429);
    daemon.wait_for_status("home", "a failure", |status| status["failures"].as_u64() > Some(0));
    let text = metrics(&daemon);
    let away = "ecobee_tokend_ecobee_calls_total{call=\"refresh\",outcome=\"unreachable\"}";
    assert!(value(&text, away) >= 1.0, "{text}");
    assert!(value(&text, "ecobee_tokend_failures_total{account=\"home\",kind=\"trouble\"}") >= 1.0);
    assert!(value(&text, "ecobee_tokend_failures_in_a_row{account=\"home\"}") >= 1.0);
    assert!(value(&text, "ecobee_tokend_trouble_since_timestamp_seconds{account=\"home\"}") > 0.0);
}
