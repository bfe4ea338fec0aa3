//! What the API says to a bearer token.
mod client;

use client::{KEY, Tokens, client, quick, start};
use ecobee_simulator::{Liveness, Which};

#[test]
fn a_living_token_reads_thermostats() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    let answer = me.thermostat_answer(&tokens.access);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["page"]["totalPages"], 1);
    assert_eq!(body["thermostatList"][0]["identifier"].as_str().map(str::len), Some(12));
    assert_eq!(body["status"]["code"], 0);
}

#[test]
fn a_token_that_nobody_issued_is_code_1() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let answer = me.thermostat_answer("made-up");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["status"]["code"], 1);
    assert_eq!(answer.json()["status"]["message"], "Authentication failed.");
    assert_eq!(me.get("/1/thermostat").status, 500, "nor is none at all");
    assert_eq!(ecobee.is_alive("made-up"), Liveness::Unknown);
}

#[test]
fn a_token_that_is_expired_by_hand_is_code_14_and_can_be_refreshed() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    assert_eq!(ecobee.expire_access(Which::Client(KEY.into())), 1);
    assert_eq!(me.thermostat(&tokens.access), (500, 14));
    let new = Tokens::of(&me.refresh(&tokens.refresh));
    assert_eq!(me.thermostat(&new.access), (200, 0));
}

#[test]
fn an_application_that_the_person_removes_is_code_16() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    assert_eq!(ecobee.deauthorize(Which::Token(tokens.access.clone())), 1);
    assert_eq!(me.thermostat(&tokens.access), (500, 16));
    assert_eq!(me.refresh(&tokens.refresh).error(), (400, "invalid_grant".into()));
    assert_eq!(me.thermostat(&me.log_in().access), (200, 0));
}

#[test]
fn a_key_that_ecobee_withdraws_is_code_2_until_it_is_restored() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    ecobee.revoke_application(KEY);
    assert_eq!(me.thermostat(&tokens.access), (500, 2));
    for refused in [me.refresh(&tokens.refresh), me.authorize()] {
        assert_eq!(refused.error(), (401, "invalid_client".into()));
    }
    ecobee.restore_application(KEY);
    assert_eq!(me.thermostat(&tokens.access), (200, 0));
    Tokens::of(&me.refresh(&tokens.refresh));
}
