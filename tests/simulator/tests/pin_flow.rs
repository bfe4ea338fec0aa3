//! From a PIN to tokens, and every way in which that is refused.
mod client;

use client::{KEY, LONG, Tokens, client, encode, quick, start};
use ecobee_simulator::{
    CallKind, Endpoint, Fault, Liveness, Mood, Options, Pin, PinForm, PinState, PinUnit, TokenForm,
};
use std::time::Duration;

#[test]
fn a_pin_that_a_person_enters_becomes_tokens() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let pin = me.authorize();
    assert_eq!(pin.status, 200);
    assert_eq!(me.poll(&pin.text("code")).error(), (401, "authorization_pending".into()));
    assert_eq!(ecobee.approve(Pin::Latest).expect("a PIN"), pin.text("ecobeePin"));
    let tokens = me.poll(&pin.text("code"));
    assert_eq!(tokens.json()["token_type"], "Bearer");
    assert_eq!(tokens.json()["expires_in"], 3599);
    assert_eq!(tokens.json()["scope"], "smartWrite");
    assert_eq!(ecobee.is_alive(&tokens.text("access_token")), Liveness::Alive);
}

#[test]
fn authorize_tells_minutes_for_the_pin_and_seconds_for_the_interval() {
    let ecobee = start(Options::default());
    let pin = client(&ecobee).authorize().json();
    assert_eq!(pin["expires_in"], 9);
    assert_eq!(pin["interval"], 30);
    assert_eq!(pin["scope"], "smartWrite");
    assert_eq!(pin["code"].as_str().map(str::len), Some(24));
}

#[test]
fn authorize_can_tell_seconds_as_ecobee_once_did() {
    let ecobee = start(Options { pin_unit: PinUnit::Seconds, ..quick() });
    assert_eq!(client(&ecobee).authorize().json()["expires_in"], 540);
}

#[test]
fn a_pin_has_two_groups_of_four() {
    let ecobee = start(quick());
    let pin = client(&ecobee).authorize().text("ecobeePin");
    let (left, right) = pin.split_once('-').expect("a dash");
    assert_eq!((left.len(), right.len()), (4, 4));
    assert!((left.to_owned() + right).bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
}

#[test]
fn a_documented_pin_has_four_characters() {
    let ecobee = start(Options { pin_form: PinForm::Documented, ..quick() });
    assert_eq!(client(&ecobee).authorize().text("ecobeePin").len(), 4);
}

#[test]
fn a_pin_that_nobody_enters_expires() {
    let ecobee = start(Options { pin_lifetime: Duration::from_millis(30), ..quick() });
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    assert!(ecobee.wait_for(LONG, |truth, _| truth.pins()[0].state == PinState::Expired));
    assert_eq!(me.poll(&code).error(), (401, "authorization_expired".into()));
    assert!(ecobee.approve(Pin::Latest).is_err());
}

#[test]
fn a_pin_can_be_expired_by_hand() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    ecobee.expire_pin(Pin::Latest).expect("it is waiting");
    assert_eq!(me.poll(&code).error(), (401, "authorization_expired".into()));
}

#[test]
fn a_pin_that_is_denied_is_over() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let pin = me.authorize();
    ecobee.deny(pin.text("ecobeePin").as_str()).expect("it is waiting");
    assert_eq!(me.poll(&pin.text("code")).error(), (302, "access_denied".into()));
}

#[test]
fn a_code_works_once() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.approved();
    Tokens::of(&me.poll(&code));
    assert_eq!(me.poll(&code).error(), (400, "invalid_grant".into()));
    assert_eq!(ecobee.truth().counters().grants, 1);
}

#[test]
fn a_code_works_only_for_the_key_that_asked() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.approved();
    let thief = client::Client { key: "another", ..me };
    assert_eq!(thief.poll(&code).error(), (400, "invalid_grant".into()));
    Tokens::of(&me.poll(&code));
}

#[test]
fn a_poll_that_comes_too_soon_is_slowed_down() {
    let ecobee = start(Options { interval: Duration::from_secs(1000), ..Options::default() });
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    assert_eq!(me.poll(&code).error().1, "authorization_pending");
    assert_eq!(me.poll(&code).error(), (401, "slow_down".into()));
    assert_eq!(ecobee.truth().pins()[0].interval, Duration::from_secs(1005), "each slow_down adds 5 s");
    assert_eq!(me.poll(&code).error(), (401, "slow_down".into()));
    assert_eq!(ecobee.truth().pins()[0].interval, Duration::from_secs(1010));
    assert_eq!(ecobee.truth().counters().slow_downs, 2);
}

#[test]
fn a_poll_within_the_tolerance_is_in_time() {
    let ecobee = start(Options { interval: Duration::from_millis(50), ..Options::default() });
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    for _ in 0..3 {
        assert_eq!(me.poll(&code).error().1, "authorization_pending");
    }
}

#[test]
fn two_pins_are_polled_each_at_its_own_pace() {
    let ecobee = start(Options { interval: Duration::from_secs(1000), ..Options::default() });
    let me = client(&ecobee);
    let codes = [me.authorize().text("code"), me.authorize().text("code")];
    for code in &codes {
        assert_eq!(me.poll(code).error().1, "authorization_pending");
    }
}

#[test]
fn a_slow_down_out_of_a_mood_holds_for_the_next_poll() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    ecobee.add_mood(Mood::error("slow_down").on(Endpoint::Poll).once());
    assert_eq!(me.poll(&code).error(), (401, "slow_down".into()));
    assert_eq!(me.poll(&code).error().1, "slow_down", "5 s have not passed since");
}

#[test]
fn each_pin_is_approved_by_itself_when_that_is_wished() {
    let ecobee = start(Options { approve_after: Some(Duration::from_millis(20)), ..quick() });
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    assert!(ecobee.wait_for(LONG, |truth, _| truth.pins()[0].state == PinState::Approved));
    Tokens::of(&me.poll(&code));
}

#[test]
fn an_access_token_is_a_jwt_when_asked_for_one() {
    let ecobee = start(quick());
    let tokens = client(&ecobee).log_in();
    let parts: Vec<&str> = tokens.access.split('.').collect();
    assert_eq!(parts.len(), 3);
    assert!(
        parts
            .iter()
            .flat_map(|part| part.bytes())
            .all(|byte| { byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' })
    );
    let length = tokens.access.len();
    assert!((1000..1050).contains(&length), "about 1 KB, not {length}");
}

#[test]
fn a_jwt_can_be_seven_kilobytes_long() {
    let ecobee = start(Options { jwt_bytes: 7 * 1024, ..quick() });
    let me = client(&ecobee);
    let tokens = me.log_in();
    let length = tokens.access.len();
    assert!((7100..7200).contains(&length), "about 7 KB, not {length}");
    assert_eq!(me.thermostat(&tokens.access), (200, 0));
}

#[test]
fn an_access_token_is_opaque_when_no_jwt_was_asked_for() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.approved();
    let target = format!("/token?grant_type=ecobeePin&code={code}&client_id={KEY}");
    let tokens = Tokens::of(&me.post(&target));
    assert_eq!(tokens.access.len(), 32);
    assert_eq!(me.thermostat(&tokens.access), (200, 0));
}

#[test]
fn access_tokens_can_be_jwts_whatever_was_asked_for() {
    let ecobee = start(Options { token_form: TokenForm::Jwt, ..quick() });
    let me = client(&ecobee);
    let code = me.approved();
    let target = format!("/token?grant_type=ecobeePin&code={code}&client_id={KEY}");
    assert!(Tokens::of(&me.post(&target)).access.contains('.'));
}

#[test]
fn requests_that_lack_something_are_invalid() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    for target in [
        "/authorize?response_type=ecobeePin&scope=smartWrite",
        "/authorize?client_id=k&scope=smartWrite",
        "/authorize?response_type=code&client_id=k&scope=smartWrite",
        "/authorize?response_type=ecobeePin&client_id=k",
    ] {
        assert_eq!(me.get(target).error(), (400, "invalid_request".into()), "{target}");
    }
    for target in [
        "/token",
        "/token?grant_type=ecobeePin&client_id=k",
        "/token?grant_type=ecobeePin&code=c",
        "/token?grant_type=refresh_token&client_id=k",
        "/token?grant_type=refresh_token&client_id=k&refresh_token=",
        "/token?code=c&client_id=k",
    ] {
        assert_eq!(me.post(target).error(), (400, "invalid_request".into()), "{target}");
    }
    assert!(ecobee.truth().pins().is_empty());
}

#[test]
fn scopes_are_checked() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let asks = |scope: &str| {
        let scope = encode(scope);
        me.get(&format!("/authorize?response_type=ecobeePin&client_id={KEY}&scope={scope}"))
    };
    assert_eq!(asks("everything").error(), (400, "invalid_scope".into()));
    assert_eq!(asks("smartRead,ems").text("scope"), "smartRead,ems");
}

#[test]
fn a_grant_type_that_nobody_knows_is_not_supported() {
    let ecobee = start(quick());
    let answer = client(&ecobee).post(&format!("/token?grant_type=password&client_id={KEY}"));
    assert_eq!(answer.error(), (400, "unsupported_grant_type".into()));
}

#[test]
fn a_wrong_method_is_not_supported() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let target = format!("/token?grant_type=refresh_token&refresh_token=r&client_id={KEY}");
    assert_eq!(me.get(&target).error(), (400, "not_supported".into()));
    let target = format!("/authorize?response_type=ecobeePin&client_id={KEY}&scope=ems");
    assert_eq!(me.post(&target).error(), (400, "not_supported".into()));
}

#[test]
fn a_key_that_is_not_known_is_an_invalid_client() {
    let ecobee = start(Options { api_keys: Some(vec!["another".into()]), ..quick() });
    let me = client(&ecobee);
    assert_eq!(me.authorize().error(), (401, "invalid_client".into()));
    assert_eq!(me.refresh("r").error(), (401, "invalid_client".into()));
    assert_eq!(me.poll("c").error(), (401, "invalid_client".into()));
    let known = client::Client { key: "another", ..me };
    known.log_in();
}

#[test]
fn every_error_of_the_table_can_be_given_with_its_status() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    for fault in Fault::ALL {
        ecobee.add_mood(Mood::error(fault.name()).on(Endpoint::Refresh).once());
        let answer = me.refresh("any");
        assert_eq!(answer.error(), (fault.status(), fault.name().into()));
        assert_eq!(answer.text("error_description"), fault.description());
        assert!(answer.text("error_uri").starts_with("https://"));
    }
}

#[test]
fn the_table_is_the_documented_one() {
    let documented = [
        ("access_denied", 302),
        ("invalid_request", 400),
        ("invalid_client", 401),
        ("invalid_grant", 400),
        ("unauthorized_client", 400),
        ("unsupported_grant_type", 400),
        ("invalid_scope", 400),
        ("not_supported", 400),
        ("account_locked", 401),
        ("account_disabled", 401),
        ("authorization_pending", 401),
        ("authorization_expired", 401),
        ("slow_down", 401),
    ];
    assert_eq!(Fault::ALL.map(|fault| (fault.name(), fault.status())), documented);
}

#[test]
fn the_log_tells_what_was_asked_and_answered() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let code = me.authorize().text("code");
    me.poll(&code);
    ecobee.approve(Pin::Latest).expect("it is waiting");
    let tokens = Tokens::of(&me.poll(&code));
    me.thermostat(&tokens.access);

    let calls = ecobee.calls();
    let seen: Vec<_> = calls
        .iter()
        .map(|call| (call.kind, call.shown.as_deref(), call.status, call.answer.as_str(), call.committed))
        .collect();
    let code = Some(code.as_str());
    let access = Some(tokens.access.as_str());
    assert_eq!(
        seen,
        [
            (CallKind::Authorize, None, Some(200), "ok", true),
            (CallKind::Poll, code, Some(401), "authorization_pending", false),
            (CallKind::Poll, code, Some(200), "ok", true),
            (CallKind::Thermostat, access, Some(200), "ok", false),
        ]
    );
    assert!(calls.iter().all(|call| call.client_id.as_deref() == Some(KEY)));
    assert!(calls.iter().all(|call| call.answered_at.is_some_and(|at| call.arrived_at <= at)));
}
