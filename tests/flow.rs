//! The main job, end to end: the real daemon, a real socket, a pretend ecobee that knows the truth.

mod harness;

use std::time::{Duration, Instant};

use ecobee_simulator::{Call, CallKind, Endpoint, Liveness, Mood, Options, Pin, Rotation};
use harness::{Daemon, HOUR, KEY, PATIENCE, Stage, quick};

#[test]
fn a_person_enters_the_pin_and_the_script_gets_its_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();

    let pin = daemon.pin("home");
    let before = daemon.get("/token");
    assert_eq!(before.status, 503);
    assert_eq!(before.member("code"), "authorization-required");
    assert_eq!(before.member("pin"), pin);
    daemon.notified.wait_for("the PIN in STATUS=", |line| line.starts_with("STATUS=") && line.contains(&pin));
    daemon.log.wait_for("the PIN in the log", |line| line.contains(&pin));

    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let token = daemon.token("home");

    assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive);
    assert_eq!(daemon.state_of("home"), "authorized");
    assert_eq!(daemon.get("/pin").status, 404);
    assert_eq!(daemon.get("/header").text(), format!("Authorization: Bearer {token}"));
    daemon.notified.wait_for("the good news", |line| line.starts_with("STATUS=home: token good until"));
}

#[test]
fn neither_a_stop_nor_a_kill_costs_a_call_to_ecobee() {
    let stage = Stage::with_lifetime(HOUR);
    let mut daemon = stage.start_authorized();
    let token = daemon.token("home");
    stage.simulator.clear_calls();
    for signal in ["TERM", "INT", "KILL"] {
        daemon.signal(signal);
        let (status, log) = daemon.ended();
        assert_eq!(status.success(), signal != "KILL", "{signal}: {log:?}");
        daemon = stage.start();
        assert_eq!(daemon.get("/token").text(), token, "the stored token is served");
    }
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn the_token_changes_under_a_client_that_never_gets_a_dead_one() {
    let stage = Stage::with_lifetime(Duration::from_secs(8));
    let daemon = stage.start_authorized();
    let simulator = &stage.simulator;
    let (mut seen, mut asked) = (Vec::<String>::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < 4 {
        assert!(Instant::now() < deadline, "only {} tokens came by", seen.len());
        let asked_at = simulator.truth().now();
        let answer = daemon.get("/token");
        assert_eq!(answer.status, 200, "{}", answer.body);
        asked += 1;
        let token = answer.text().to_owned();
        let truth = simulator.truth();
        let known = truth
            .grants()
            .iter()
            .flat_map(|grant| &grant.access_tokens)
            .find(|known| known.value == token)
            .expect("ecobee issued it");
        assert!(
            known.expires_at >= asked_at && known.ended_at.is_none_or(|ended_at| ended_at >= asked_at),
            "a token was served that was dead when it was asked for: {known:?}, asked at {asked_at:?}"
        );
        if seen.last() != Some(&token) {
            seen.push(token);
        }
    }
    assert!(asked > 100, "the client asked all the while, {asked} times");
    for refresh in simulator.calls_of(CallKind::Refresh) {
        let truth = simulator.truth();
        let before =
            truth.grants()[0].access_tokens.iter().rfind(|token| token.issued_at < refresh.arrived_at);
        assert!(
            before.is_some_and(|token| refresh.arrived_at < token.expires_at),
            "a refresh came after expiry"
        );
    }
}

#[test]
fn a_revoked_refresh_token_leads_to_a_pin_and_to_a_token_again() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    stage.simulator.revoke_all();

    let refused = daemon.post("/token/rejected", &token);
    assert_eq!(refused.status, 503, "{}", refused.body);

    let pin = daemon.pin("home");
    assert_eq!(daemon.state_of("home"), "awaiting-user");
    assert_eq!(
        stage.simulator.calls_of(CallKind::Refresh).len(),
        3,
        "refused three times before a person is asked"
    );
    stage.simulator.approve(Pin::from(pin)).expect("the PIN on show can be entered");
    let next = daemon.token("home");
    assert_ne!(next, token);
    assert_eq!(stage.simulator.is_alive(&next), Liveness::Alive);
}

#[test]
fn a_pin_that_nobody_entered_is_followed_by_the_next() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let first = daemon.pin("home");

    stage.simulator.expire_pin(Pin::Latest).expect("it expires");

    let status = daemon.wait_for_status("home", "another PIN", |status| {
        status["pin"]["pin"].as_str().is_some_and(|pin| pin != first)
    });
    let second = status["pin"]["pin"].as_str().expect("a PIN").to_owned();
    stage.simulator.approve(Pin::from(second)).expect("the new PIN works");
    daemon.token("home");
}

#[test]
fn polls_keep_the_interval_and_slow_down_is_obeyed() {
    let stage = Stage::with_lifetime(HOUR);
    stage.simulator.add_mood(Mood::error("slow_down").on(Endpoint::Poll).once());
    let daemon = stage.start();
    let polls = |count: usize| {
        let came = stage.simulator.wait_for(PATIENCE, |_, calls| {
            calls.iter().filter(|call| call.kind == CallKind::Poll).count() >= count
        });
        assert!(came, "waited in vain for poll {count}");
    };
    polls(3);
    daemon.stop();

    let calls = stage.simulator.calls();
    let pin_at = calls.iter().find(|call| call.kind == CallKind::Authorize).and_then(|call| call.answered_at);
    let polls: Vec<Duration> =
        calls.iter().filter(|call| call.kind == CallKind::Poll).map(|call| call.arrived_at).collect();
    assert!(polls[0] >= pin_at.expect("answered") + Duration::from_secs(1), "the first poll came too soon");
    for pair in polls.windows(2) {
        let pause = pair[1].saturating_sub(pair[0]);
        assert!(
            pause >= Duration::from_secs(6),
            "after slow_down each pause is 1 s + 5 s, this one is {pause:?}"
        );
    }
}

#[test]
fn the_trouble_of_one_account_does_not_harm_another() {
    let stage = Stage::with_lifetime(Duration::from_secs(8)).accounts(&["home", "office"]);
    let daemon = stage.start_authorized();
    let hang = Mood::hang().of_client(stage.key_of("office")).on(Endpoint::Refresh);
    stage.simulator.add_mood(hang);

    daemon.wait_for_status("office", "trouble", |status| status["failures"].as_u64() > Some(0));

    let answer = daemon.get("/accounts/home/token");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
    assert_eq!(daemon.status_of("home")["failures"], 0);
    let refreshed = stage.simulator.calls_of(CallKind::Refresh);
    assert!(
        refreshed
            .iter()
            .any(|call| call.client_id.as_deref() == Some(stage.key_of("home")) && call.committed)
    );
    assert_eq!(daemon.get("/healthz").status, 503);
}

#[test]
fn a_pin_waits_through_a_restart_and_still_works() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    daemon.kill();

    let daemon = stage.start();

    assert_eq!(daemon.pin("home"), pin, "the PIN that people were sent is still the one");
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 1);
    stage.simulator.approve(Pin::from(pin)).expect("it still works");
    daemon.token("home");
}

#[test]
fn a_kill_before_the_answer_is_saved_makes_the_next_start_refresh_before_it_serves() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    stage.simulator.add_mood(Mood::delay_after_commit(PATIENCE).on(Endpoint::Refresh).once());
    daemon.signal("USR1");
    let committed = stage.simulator.wait_for(PATIENCE, |truth, _| truth.counters().refreshes > 0);
    assert!(committed, "the refresh never reached ecobee");
    daemon.kill();
    stage.simulator.clear_moods();
    assert_ne!(stage.simulator.is_alive(&old), Liveness::Alive, "ecobee has replaced the token");

    let daemon = stage.start();
    let answer = daemon.get("/token");

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_ne!(answer.text(), old, "the stored token is dead and must not be served");
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
}

#[test]
fn a_rejected_token_is_replaced_and_an_old_one_is_answered_with_the_current() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let first = daemon.token("home");
    stage.simulator.expire_access(ecobee_simulator::Which::All);

    let second = daemon.post("/token/rejected", &first);
    assert_eq!(second.status, 200, "{}", second.body);
    assert_ne!(second.text(), first);
    assert_eq!(stage.simulator.is_alive(second.text()), Liveness::Alive);
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1);

    let again = daemon.post("/token/rejected", &format!("{first}\n"));
    assert_eq!(again.text(), second.text(), "an old token is answered with the current one");
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1, "and costs no refresh");

    let too_soon = daemon.post("/token/rejected", second.text());
    assert_eq!(too_soon.status, 429, "one forced refresh in 30 s: {}", too_soon.body);
    assert!(!too_soon.body.contains(second.text()), "the reported token is never handed back");
}

#[test]
fn a_stop_during_a_refresh_loses_nothing() {
    for rotation in [Rotation::Strict, Rotation::Reuse] {
        let stage = Stage::new(Options { rotation, ..quick(HOUR) });
        let daemon = stage.start_authorized();
        let old = daemon.token("home");
        let delay = Duration::from_secs(2);
        stage.simulator.add_mood(Mood::delay_after_commit(delay).on(Endpoint::Refresh).once());
        daemon.signal("USR1");
        assert!(stage.simulator.wait_for(PATIENCE, |truth, _| truth.counters().refreshes > 0));

        assert!(daemon.stop().success());

        stage.simulator.clear_calls();
        let daemon = stage.start();
        let token = daemon.get("/token").text().to_owned();
        assert_ne!(token, old);
        assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive);
        assert_eq!(stage.simulator.calls(), [], "the answer was awaited, saved, and is served");
    }
}

#[test]
fn rule_1_a_disk_that_takes_nothing_keeps_nobody_from_their_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let in_the_way = stage.hinder_saving("home");

    let first = daemon.post("/token/rejected", &daemon.token("home"));

    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(stage.simulator.is_alive(first.text()), Liveness::Alive);
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR") && line.contains("home.json"));
    in_the_way.remove();
    daemon.log.wait_for("the recovery", |line| line.contains("is saved again"));
    assert!(stage.stored("home").contains(first.text()), "and is saved in the end");
}

#[test]
fn rule_6_a_stop_tries_once_more_to_save_what_could_not_be_saved() {
    let stage = Stage::with_lifetime(HOUR).refresh("retry-initial = \"1m\"");
    let daemon = stage.start_authorized();
    let in_the_way = stage.hinder_saving("home");
    let token = daemon.post("/token/rejected", &daemon.token("home")).text().to_owned();
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR"));
    in_the_way.remove();

    assert!(daemon.stop().success());

    assert!(
        stage.stored("home").contains(&token),
        "the next save was a minute away; the stop did not wait for it"
    );
    stage.simulator.clear_calls();
    assert_eq!(stage.start().get("/token").text(), token);
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_stop_that_cannot_save_says_so_and_ends_all_the_same() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.hinder_saving("home");
    daemon.post("/token/rejected", &daemon.token("home"));
    daemon.log.wait_for("a loud word", |line| line.contains("ERROR"));

    daemon.signal("TERM");

    let (status, log) = daemon.ended();
    assert!(status.success());
    assert!(log.iter().any(|line| line.contains("leaving, though the newest state of home")), "{log:?}");
}

#[test]
fn rule_2_the_previous_refresh_token_is_tried_once_before_a_person_is_asked() {
    let stage = Stage::with_lifetime(Duration::from_secs(6)).refresh("retry-initial = \"1s\"");
    let daemon = stage.start_authorized();
    // The successor has not been used yet when ecobee begins to refuse.
    assert!(stage.simulator.wait_for(PATIENCE, |truth, _| truth.counters().refreshes > 0));
    stage.simulator.add_mood(Mood::error("invalid_grant").on(Endpoint::Refresh));

    daemon.pin("home");

    let refreshes = stage.simulator.calls_of(CallKind::Refresh);
    let shown: Vec<&str> = refreshes.iter().map(|call| call.shown.as_deref().expect("a token")).collect();
    let [first, refused @ .., last] = &shown[..] else { panic!("{shown:?}") };
    assert!(refused.len() >= 3 && refused.iter().all(|token| token == &refused[0]), "{shown:?}");
    assert!(last == first && last != &refused[0], "{shown:?}");
}

#[test]
fn rule_3_an_answer_without_a_refresh_token_keeps_the_old_one() {
    let stage = Stage::new(Options { rotation: Rotation::Absent, ..quick(HOUR) });
    let daemon = stage.start_authorized();
    assert_eq!(daemon.post("/refresh", "").status, 200);
    let shown = stage.simulator.calls_of(CallKind::Refresh).remove(0).shown.expect("a token");
    let stored: serde_json::Value = serde_json::from_str(&stage.stored("home")).expect("JSON");
    assert_eq!(stored["grant"]["refresh_token"], shown, "it is the one for the next refresh, too");
}

#[test]
fn rule_5_refusals_are_counted_across_restarts() {
    let stage = Stage::with_lifetime(HOUR).refresh("retry-initial = \"1m\"");
    let mut daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::error("invalid_grant").on(Endpoint::Refresh));
    daemon.post("/token/rejected", &daemon.token("home"));
    for refusals in 1..3 {
        daemon.wait_for_status("home", "the refusal", |status| status["state"] == "retrying");
        assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), refusals);
        assert!(daemon.stop().success());
        daemon = stage.start();
    }
    daemon.pin("home");
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 3);
}

/// A token that ecobee refuses, so that a person is awaited, and ecobee in good health again.
fn wrongly_refused() -> (Stage, Daemon) {
    let stage = Stage::with_lifetime(Duration::from_secs(4)).refresh("refusals-before-pin = 1");
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::error("invalid_grant").on(Endpoint::Refresh));
    daemon.pin("home");
    stage.simulator.clear_moods();
    stage.simulator.set_options(|options| options.lifetime = HOUR);
    (stage, daemon)
}

fn no_pin_is_needed(stage: &Stage, daemon: &Daemon) {
    daemon.log.wait_for("the good news", |line| line.contains("no PIN needs to be entered"));
    assert_eq!(daemon.get("/pin").status, 404);
    let answer = daemon.get("/token");
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive, "{}", answer.body);
    assert_eq!(stage.simulator.truth().grants().len(), 1, "nobody has entered the PIN");
}

#[test]
fn rule_5_a_refused_token_that_works_again_calls_the_pin_off() {
    let (stage, daemon) = wrongly_refused();

    let answer = daemon.post("/refresh", "");

    assert_eq!(answer.status, 200, "{}", answer.body);
    no_pin_is_needed(&stage, &daemon);
}

#[test]
#[ignore = "takes more than a minute; .ci/run runs it beside other checks"]
fn rule_5_a_refused_token_is_tried_again_after_a_minute() {
    let (stage, daemon) = wrongly_refused();

    let worked = |calls: &[Call]| calls.iter().any(|call| call.kind == CallKind::Refresh && call.committed);
    assert!(stage.simulator.wait_for(PATIENCE * 2, |_, calls| worked(calls)), "it was not tried again");

    let calls = stage.simulator.calls();
    let last = |kind: CallKind| calls.iter().rfind(|call| call.kind == kind).expect("such a call").arrived_at;
    let pause = last(CallKind::Refresh).saturating_sub(last(CallKind::Authorize));
    assert!((59..75).contains(&pause.as_secs()), "{pause:?} after the PIN was asked for");
    no_pin_is_needed(&stage, &daemon);
}

#[test]
fn a_broken_connection_is_tried_again_at_once_with_the_same_token() {
    let stage =
        Stage::new(Options { rotation: Rotation::Reuse, ..quick(HOUR) }).refresh("retry-initial = \"1m\"");
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::drop().after_commit().on(Endpoint::Refresh).once());

    let answer = daemon.post("/refresh", "");

    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(stage.simulator.is_alive(answer.text()), Liveness::Alive);
    let refreshes = stage.simulator.calls_of(CallKind::Refresh);
    assert_eq!(refreshes.len(), 2);
    assert_eq!(refreshes[0].shown, refreshes[1].shown, "the same refresh token was shown");
}

#[test]
fn trouble_leaves_the_living_token_in_use_and_ends_by_itself() {
    let stage = Stage::with_lifetime(Duration::from_secs(20));
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    stage.simulator.pause().expect("it stops listening");

    daemon.wait_for_status("home", "a failed refresh", |status| status["state"] == "retrying");
    let answer = daemon.get("/token");
    assert_eq!((answer.status, answer.text()), (200, token.as_str()), "the old token still lives");
    stage.simulator.resume().expect("it listens again");

    daemon.wait_for_status("home", "the end of the trouble", |status| status["state"] == "authorized");
    assert_ne!(daemon.token("home"), token);
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 1, "no person was asked");
}

#[test]
fn a_pin_asked_for_beside_a_living_grant_replaces_it_only_when_entered() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let old = daemon.token("home");

    let answer = daemon.post("/authorize", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let pin = answer.member("pin");
    assert_eq!(daemon.get("/token").text(), old, "the living grant is served meanwhile");
    assert_eq!(daemon.state_of("home"), "authorized");
    assert_eq!(daemon.get("/pin").member("pin"), pin);
    assert_eq!(daemon.post("/authorize", "").status, 429, "at most once in 30 s");

    stage.simulator.approve(Pin::from(pin)).expect("it can be entered");
    daemon.wait_for_status("home", "the PIN to be used", |status| status["pin"].is_null());
    let next = daemon.token("home");
    assert_ne!(next, old);
    assert_eq!(stage.simulator.is_alive(&next), Liveness::Alive);
}

#[test]
fn the_whole_flow_runs_over_tls_with_a_private_certificate_authority() {
    let stage = Stage::new(Options { tls: ecobee_simulator::Tls::Good, ..quick(HOUR) }).trusting();
    let daemon = stage.start_authorized();

    assert_eq!(stage.simulator.is_alive(&daemon.token("home")), Liveness::Alive);
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused_with_a_reason() {
    let stage = Stage::new(Options { tls: ecobee_simulator::Tls::Good, ..quick(HOUR) });
    let daemon = stage.start();

    let status = daemon.wait_for_status("home", "trouble", |status| status["failures"].as_u64() > Some(0));

    let error = status["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("certificate"), "the reason is named: {error}");
    assert_eq!(stage.simulator.calls(), []);
    let answer = daemon.get("/token");
    assert_eq!((answer.status, answer.member("code")), (503, "token-unavailable".to_owned()));
}

#[test]
fn an_unusable_success_ends_the_old_token_and_its_refresh_token_is_kept() {
    let stage = Stage::new(Options { rotation: Rotation::Strict, ..quick(HOUR) });
    let daemon = stage.start_authorized();
    let old = daemon.token("home");
    stage.simulator.set_options(|options| options.raw.access_token = Some("\"a\\r\\nb\"".to_owned()));

    let answer = daemon.post("/refresh", "");

    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(daemon.get("/token").status, 503, "ecobee has replaced the old token");
    assert_eq!(daemon.get("/healthz").status, 503);
    stage.simulator.set_options(|options| options.raw.access_token = None);
    let token = daemon.token("home");
    assert_ne!(token, old);
    assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive, "the rotated refresh token was not lost");
    assert_eq!(stage.simulator.calls_of(CallKind::Authorize).len(), 1, "and no person was asked");
}

#[test]
fn rule_13_the_token_type_is_bearer_in_any_case_and_is_lent_as_ecobee_wrote_it() {
    let stage = Stage::with_lifetime(HOUR);
    stage
        .simulator
        .set_options(|options| options.raw.token_type = Some("\"bearer\", \"new_in_2030\": {}".to_owned()));
    let daemon = stage.start_authorized();

    let token = daemon.token("home");

    assert_eq!(daemon.get("/header").text(), format!("Authorization: bearer {token}"));
    assert_eq!(daemon.get_json("/token").json()["token_type"], "bearer");
    assert!(!daemon.log.all().join("\n").contains("no bearer token"));
}

#[test]
fn rule_12_a_changed_scope_is_said_and_waits_for_the_next_authorization() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start_authorized().kill();
    let stage = stage.each_account("scope = \"smartRead\"");
    stage.simulator.clear_calls();

    let daemon = stage.start();

    daemon.log.wait_for("a word about it", |line| line.contains("smartWrite") && line.contains("smartRead"));
    assert_eq!(daemon.get_json("/token").json()["scope"], "smartWrite");
    assert_eq!(stage.simulator.calls(), []);
    let pin = daemon.post("/authorize", "").member("pin");
    assert_eq!(
        stage.simulator.truth().pin_of(KEY).map(|pin| pin.scope.clone()).as_deref(),
        Some("smartRead")
    );
    stage.simulator.approve(Pin::from(pin)).expect("it can be entered");
    daemon.wait_for_status("home", "the PIN to be used", |status| status["pin"].is_null());
    assert_eq!(daemon.get_json("/token?wait=10").json()["scope"], "smartRead");
}

/// The life that `tests/leaks.rs` searches begins without a store.
#[test]
fn rule_15_a_start_from_the_store_says_no_secret() {
    let stage = Stage::with_lifetime(HOUR);
    stage.store_a_refused_grant();

    let daemon = stage.start();

    let status = daemon.get("/status").body;
    let said = [daemon.log.all(), daemon.notified.all(), vec![status]].concat().join("\n");
    let grant = stage.simulator.truth().grant_of(KEY).expect("a grant").clone();
    let access = grant.access_tokens.into_iter().map(|token| token.value);
    let refresh = grant.refresh_tokens.into_iter().map(|token| token.value);
    for secret in access.chain(refresh).chain([KEY.to_owned()]) {
        assert!(!said.contains(&secret), "{secret} in {said}");
    }
}
