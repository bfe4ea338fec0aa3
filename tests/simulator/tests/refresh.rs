//! Refreshing, under every kind of rotation.
mod client;

use client::{KEY, LONG, Tokens, client, quick, start};
use ecobee_simulator::{GrantEnd, Liveness, Options, Raw, Rotation, Simulator, Via, Which};
use serde_json::Value;
use std::time::{Duration, Instant};

fn rotating(rotation: Rotation) -> Simulator {
    start(Options { rotation, ..quick() })
}

const REFUSED: (u16, &str) = (400, "invalid_grant");

fn refused(answer: &client::Answer) {
    let (status, error) = answer.error();
    assert_eq!((status, error.as_str()), REFUSED);
}

#[test]
fn a_refresh_kills_the_previous_access_token_at_once() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let old = me.log_in();
    assert_eq!(me.thermostat(&old.access), (200, 0));
    let new = Tokens::of(&me.refresh(&old.refresh));
    assert_ne!(new.access, old.access);
    assert_eq!(me.thermostat(&old.access), (500, 14));
    assert_eq!(me.thermostat(&new.access), (200, 0));
}

#[test]
fn reuse_gives_a_new_token_and_keeps_the_old_ones() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    assert_ne!(first.refresh, second.refresh);
    for token in [&first.refresh, &second.refresh, &first.refresh] {
        Tokens::of(&me.refresh(token));
    }
}

#[test]
fn same_gives_the_token_back() {
    let ecobee = rotating(Rotation::Same);
    let me = client(&ecobee);
    let first = me.log_in();
    for _ in 0..3 {
        assert_eq!(Tokens::of(&me.refresh(&first.refresh)).refresh, first.refresh);
    }
}

#[test]
fn absent_gives_no_token_and_keeps_the_old_one() {
    let ecobee = rotating(Rotation::Absent);
    let me = client(&ecobee);
    let first = me.log_in();
    for _ in 0..2 {
        let answer = me.refresh(&first.refresh);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json().get("refresh_token"), None);
        assert_eq!(me.thermostat(&answer.text("access_token")), (200, 0));
    }
}

#[test]
fn strict_kills_the_old_token_when_it_gives_the_new_one() {
    let ecobee = rotating(Rotation::Strict);
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    assert!(!ecobee.truth().refresh_token_is_alive(&first.refresh));
    refused(&me.refresh(&first.refresh));
    assert_eq!(me.thermostat(&second.access), (200, 0), "a refusal changes nothing");
    Tokens::of(&me.refresh(&second.refresh));
}

#[test]
fn leeway_keeps_the_old_token_for_a_while_after_its_first_use() {
    let ecobee = rotating(Rotation::Leeway(Duration::from_secs(1000)));
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    let third = Tokens::of(&me.refresh(&first.refresh));
    assert_ne!(second.refresh, third.refresh);
    for token in [&second.refresh, &third.refresh] {
        Tokens::of(&me.refresh(token));
    }
}

#[test]
fn leeway_ends_counted_from_the_first_use() {
    let ecobee = rotating(Rotation::Leeway(Duration::from_millis(30)));
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    assert!(ecobee.wait_for(LONG, |truth, _| !truth.refresh_token_is_alive(&first.refresh)));
    refused(&me.refresh(&first.refresh));
    Tokens::of(&me.refresh(&second.refresh));
}

#[test]
fn a_second_use_does_not_prolong_the_leeway() {
    let ecobee = rotating(Rotation::Leeway(Duration::from_secs(1000)));
    let me = client(&ecobee);
    let first = me.log_in();
    let dies_at = || ecobee.truth().grants()[0].refresh_tokens[0].dies_at;
    me.refresh(&first.refresh);
    let settled = dies_at();
    assert!(settled.is_some());
    me.refresh(&first.refresh);
    assert_eq!(dies_at(), settled);
}

#[test]
fn reuse_detection_revokes_the_whole_family() {
    let ecobee = rotating(Rotation::ReuseDetection);
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    refused(&me.refresh(&first.refresh));
    refused(&me.refresh(&second.refresh));
    assert_eq!(me.thermostat(&second.access), (500, 1));
    assert_eq!(ecobee.truth().grants()[0].end, Some(GrantEnd::ReuseDetected));
}

#[test]
fn reuse_detection_leaves_other_grants_alone() {
    let ecobee = rotating(Rotation::ReuseDetection);
    let me = client(&ecobee);
    let (first, other) = (me.log_in(), me.log_in());
    me.refresh(&first.refresh);
    refused(&me.refresh(&first.refresh));
    assert_eq!(me.thermostat(&other.access), (200, 0));
    Tokens::of(&me.refresh(&other.refresh));
}

#[test]
fn reuse_detection_does_not_mind_a_token_that_was_revoked_by_hand() {
    let ecobee = rotating(Rotation::ReuseDetection);
    let me = client(&ecobee);
    let first = me.log_in();
    ecobee.revoke_refresh_token(&first.refresh).expect("it was given");
    refused(&me.refresh(&first.refresh));
    assert_eq!(me.thermostat(&first.access), (200, 0));
}

#[test]
fn a_token_that_was_never_given_is_refused() {
    let ecobee = rotating(Rotation::Reuse);
    refused(&client(&ecobee).refresh("v1.made+up/=="));
    assert_eq!(ecobee.truth().counters().invalid_grants, 1);
}

#[test]
fn a_token_works_only_with_its_own_key() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let mine = me.log_in();
    let thief = client::Client { key: "another", ..me };
    refused(&thief.refresh(&mine.refresh));
    assert_eq!(ecobee.is_alive(&mine.access), Liveness::Alive);
}

#[test]
fn one_refresh_token_can_be_revoked() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let first = me.log_in();
    ecobee.revoke_refresh_token(&first.refresh).expect("it was given");
    refused(&me.refresh(&first.refresh));
    assert_eq!(me.thermostat(&first.access), (200, 0));
    assert!(ecobee.revoke_refresh_token("v1.made-up").is_err());
}

#[test]
fn refresh_tokens_can_run_out() {
    let ecobee = start(Options { refresh_lifetime: Some(Duration::from_millis(30)), ..quick() });
    let me = client(&ecobee);
    let first = me.log_in();
    assert!(ecobee.wait_for(LONG, |truth, _| !truth.refresh_token_is_alive(&first.refresh)));
    refused(&me.refresh(&first.refresh));
}

#[test]
fn the_refresh_token_may_come_as_code() {
    let ecobee = rotating(Rotation::Strict);
    let me = client(&ecobee);
    let first = me.log_in();
    let code = client::encode(&first.refresh);
    let answer = me.post(&format!("/token?grant_type=refresh_token&code={code}&client_id={KEY}"));
    Tokens::of(&answer);
    let calls = ecobee.calls_of(ecobee_simulator::CallKind::Refresh);
    assert_eq!(calls[0].shown.as_deref(), Some(first.refresh.as_str()));
}

#[test]
fn a_refresh_token_survives_percent_encoding_and_nothing_less() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let first = me.log_in();
    for awkward in ['+', '/', '='] {
        assert!(first.refresh.contains(awkward), "{}", first.refresh);
    }
    let bare = first.refresh.as_str();
    let target = format!("/token?grant_type=refresh_token&refresh_token={bare}&client_id={KEY}");
    refused(&me.post(&target));
    Tokens::of(&me.refresh(&first.refresh));
}

#[test]
fn a_form_body_is_taken_too() {
    let ecobee = rotating(Rotation::Strict);
    let me = client(&ecobee);
    let first = me.log_in();
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id={KEY}&ecobee_type=jwt",
        client::encode(&first.refresh)
    );
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: ecobee\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = client::exchange(&ecobee, &request).expect("an answer");
    let second = Tokens::of(&answer);
    assert!(second.access.contains('.'), "ecobee_type was read");
    let calls = ecobee.calls_of(ecobee_simulator::CallKind::Refresh);
    assert_eq!(calls[0].via, Via::Form);
}

#[test]
fn an_access_token_runs_out() {
    let ecobee = start(Options { lifetime: Duration::from_millis(30), ..quick() });
    let me = client(&ecobee);
    let first = me.log_in();
    let ran_out =
        |access: &str| ecobee.wait_for(LONG, |truth, _| truth.liveness(access) == Liveness::Expired);
    assert!(ran_out(&first.access));
    assert_eq!(me.thermostat(&first.access), (500, 14));
    Tokens::of(&me.refresh(&first.refresh));
}

#[test]
fn who_waits_is_woken_when_a_token_runs_out_by_itself() {
    let ecobee = start(Options { lifetime: Duration::from_millis(30), ..quick() });
    let first = client(&ecobee).log_in();
    let began = Instant::now();
    assert!(ecobee.wait_for(LONG, |truth, _| truth.liveness(&first.access) == Liveness::Expired));
    assert!(began.elapsed() < LONG / 2, "not only when the limit is reached");
}

#[test]
fn answers_can_hold_any_json_and_the_truth_knows_what_was_told() {
    let ecobee = rotating(Rotation::Strict);
    let me = client(&ecobee);
    let first = me.log_in();
    ecobee.set_options(|options| {
        options.raw = Raw {
            expires_in: Some("1e999".into()),
            token_type: Some(r#""Bea\r\nrer""#.into()),
            access_token: Some(r#""short""#.into()),
            refresh_token: Some("-12".into()),
            scope: Some(String::new()),
            ..Raw::default()
        };
    });
    let answer = me.refresh(&first.refresh);
    let body = String::from_utf8(answer.body).expect("text");
    assert_eq!(
        body,
        r#"{"access_token":"short","token_type":"Bea\r\nrer","expires_in":1e999,"refresh_token":-12}"#
    );
    assert_eq!(me.thermostat("short"), (200, 0));
    assert!(!ecobee.truth().refresh_token_is_alive(&first.refresh));
}

#[test]
fn a_pin_can_be_told_in_any_json_too() {
    let ecobee = rotating(Rotation::Strict);
    ecobee.set_options(|options| {
        options.raw.pin_expires_in = Some(r#""9""#.into());
        options.raw.interval = Some("null".into());
        options.raw.pin = Some(r#""ten chars!""#.into());
    });
    let pin = client(&ecobee).authorize().json();
    assert_eq!(pin["expires_in"], "9");
    assert_eq!(pin["interval"], Value::Null);
    ecobee.approve("ten chars!").expect("it reads so");
}

#[test]
fn a_grant_can_be_given_without_a_pin() {
    let ecobee = rotating(Rotation::Strict);
    let me = client(&ecobee);
    let grant = ecobee.grant(KEY, "smartRead");
    let refresh = &grant.refresh_token().expect("a fresh grant has one").value;
    let answer = me.refresh(refresh);
    assert_eq!(answer.text("scope"), "smartRead");
    Tokens::of(&answer);
}

#[test]
fn revoking_ends_all_or_one() {
    let ecobee = rotating(Rotation::Reuse);
    let me = client(&ecobee);
    let (one, two, three) = (me.log_in(), me.log_in(), me.log_in());
    assert_eq!(ecobee.revoke(Which::Token(one.refresh.clone())), 1);
    assert_eq!(ecobee.revoke(Which::Grant(2)), 1);
    assert_eq!(me.thermostat(&one.access), (500, 1));
    assert_eq!(me.thermostat(&two.access), (500, 1));
    assert_eq!(me.thermostat(&three.access), (200, 0));
    refused(&me.refresh(&one.refresh));
    assert_eq!(ecobee.revoke_all(), 3);
    refused(&me.refresh(&three.refresh));
}
