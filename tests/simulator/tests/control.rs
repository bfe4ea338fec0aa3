//! The control API over HTTP.
mod client;

use client::{KEY, LONG, Tokens, client, quick, start};
use ecobee_simulator::{Liveness, Options, ROUTES, Rotation};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};

#[test]
fn a_pin_is_approved_by_name_or_as_the_latest() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let (one, two) = (me.authorize(), me.authorize());
    let order = json!({"pin": one.text("ecobeePin")}).to_string();
    assert_eq!(me.control("approve", &order).text("pin"), one.text("ecobeePin"));
    assert_eq!(me.poll(&two.text("code")).error().1, "authorization_pending");
    Tokens::of(&me.poll(&one.text("code")));
    let approved = me.control("approve", r#"{"pin": "latest"}"#);
    assert_eq!(approved.text("pin"), two.text("ecobeePin"));
    Tokens::of(&me.poll(&two.text("code")));
}

#[test]
fn the_latest_pin_of_one_key_can_be_named() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let other = client::Client { key: "another", ..me };
    let (mine, _) = (me.authorize(), other.authorize());
    let order = json!({"client_id": KEY}).to_string();
    assert_eq!(me.control("approve", &order).text("pin"), mine.text("ecobeePin"));
}

#[test]
fn a_pin_is_denied_or_expired() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    for (route, wanted) in [("deny", "access_denied"), ("expire-pin", "authorization_expired")] {
        let code = me.authorize().text("code");
        assert_eq!(me.control(route, "").status, 200);
        assert_eq!(me.poll(&code).error().1, wanted);
    }
}

#[test]
fn grants_are_ended_in_each_way() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    for (route, code) in [("revoke", 1), ("deauthorize", 16), ("expire-access-token", 14)] {
        let tokens = me.log_in();
        let order = json!({"token": tokens.refresh}).to_string();
        assert_eq!(me.control(route, &order).json()["ended"], 1, "{route}");
        assert_eq!(me.thermostat(&tokens.access), (500, code));
    }
}

#[test]
fn which_grants_must_be_said() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    for order in ["", "{}", r#"{"all": false}"#, r#"{"all": true, "grant": 1}"#] {
        assert_eq!(me.control("revoke", order).status, 400, "{order}");
    }
    assert_eq!(me.thermostat(&tokens.access), (200, 0));
    assert_eq!(me.control("revoke", r#"{"all": true}"#).json()["ended"], 1);
}

#[test]
fn a_refresh_token_is_revoked_alone() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    let order = json!({"refresh_token": tokens.refresh}).to_string();
    assert_eq!(me.control("revoke-refresh-token", &order).status, 200);
    assert_eq!(me.refresh(&tokens.refresh).status, 400);
    assert_eq!(me.thermostat(&tokens.access), (200, 0));
    let order = r#"{"refresh_token": "none"}"#;
    assert_eq!(me.control("revoke-refresh-token", order).status, 404);
}

#[test]
fn an_application_is_revoked_and_restored() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let tokens = me.log_in();
    let order = json!({"client_id": KEY}).to_string();
    me.control("revoke-application", &order);
    assert_eq!(ecobee.is_alive(&tokens.access), Liveness::ApplicationRevoked);
    me.control("restore-application", &order);
    assert_eq!(ecobee.is_alive(&tokens.access), Liveness::Alive);
}

#[test]
fn a_grant_is_given_without_a_pin() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let order = json!({"client_id": KEY}).to_string();
    let grant = me.control("grant", &order);
    Tokens::of(&me.refresh(&grant.text("refresh_token")));
}

#[test]
fn the_state_is_the_truth() {
    let ecobee = start(Options { rotation: Rotation::Strict, ..quick() });
    let me = client(&ecobee);
    let first = me.log_in();
    let second = Tokens::of(&me.refresh(&first.refresh));
    let state = me.get("/_control/state").json();
    let alive = |kind: &str| -> Vec<(Value, Value)> {
        let tokens = state["grants"][0][kind].as_array().expect("a list");
        tokens.iter().map(|token| (token["value"].clone(), token["alive"].clone())).collect()
    };
    assert_eq!(
        alive("access_tokens"),
        [(first.access.into(), false.into()), (second.access.into(), true.into())]
    );
    assert_eq!(
        alive("refresh_tokens"),
        [(first.refresh.into(), false.into()), (second.refresh.into(), true.into())]
    );
    assert_eq!(state["pins"][0]["state"], "spent");
    assert_eq!(state["counters"]["refreshes"], 1);
    assert_eq!(state["grants"][0]["client_id"], KEY);
}

#[test]
fn the_log_is_told_and_cleared() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    me.refresh("v1.a+b");
    let log = me.get("/_control/calls").json();
    let call = &log[0];
    assert_eq!(call["kind"], "refresh");
    assert_eq!(call["client_id"], KEY);
    assert_eq!(call["shown"], "v1.a+b");
    assert_eq!(call["answer"], "invalid_grant");
    assert_eq!(call["status"], 400);
    assert_eq!(call["committed"], false);
    assert_eq!(call["via"], "query");
    assert!(call["arrived_ms"].as_u64() <= call["answered_ms"].as_u64());
    me.control("calls/clear", "");
    assert_eq!(me.get("/_control/calls").json(), json!([]));
    assert_eq!(ecobee.truth().counters().invalid_grants, 1);
}

#[test]
fn moods_are_added_one_or_many_and_cleared() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let mood = r#"{"on": "refresh", "times": 1, "trick": {"error": {"error": "account_locked"}}}"#;
    assert_eq!(me.control("moods", mood).status, 200);
    let many = r#"[{"trick": {"status": {"status": 429, "retry_after": "3"}}}, {"trick": "drop"}]"#;
    assert_eq!(me.control("moods", many).json().as_array().map(Vec::len), Some(3));
    assert_eq!(me.refresh("none").error(), (401, "account_locked".into()));
    assert_eq!(me.refresh("none").header("retry-after"), Some("3"));
    assert_eq!(me.get("/_control/moods").json()[0]["trick"]["status"]["status"], 429);
    me.control("moods/clear", "");
    assert_eq!(me.refresh("none").status, 400);
}

#[test]
fn a_misspelt_mood_is_refused_whole() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    for order in [
        "",
        "{",
        r#"{"trik": "drop"}"#,
        r#"{"trick": "dorp"}"#,
        r#"{"on": "nowhere"}"#,
        r#"{"trick": {"html": {"status": 503, "body": ""}}}"#,
        r#"[{"trick": "drop"}, {"trick": "dorp"}]"#,
    ] {
        assert_eq!(me.control("moods", order).status, 400, "{order}");
    }
    assert!(ecobee.moods().is_empty());
}

#[test]
fn options_change_while_it_runs() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let order = r#"{"rotation": "leeway=10s", "lifetime_ms": 90000, "raw": {"token_type": "\"MAC\""}}"#;
    let told = me.control("options", order).json();
    assert_eq!(told["rotation"], "leeway=10000ms");
    me.control("options", r#"{"raw": {"scope": "[]"}}"#);
    let options = ecobee.options();
    assert_eq!(options.rotation, Rotation::Leeway(Duration::from_secs(10)));
    assert_eq!(options.lifetime, Duration::from_secs(90));
    assert_eq!(options.raw.token_type.as_deref(), Some(r#""MAC""#), "merged, not replaced");
    assert_eq!(options.raw.scope.as_deref(), Some("[]"));
    for order in [r#"{"rotation": "round"}"#, r#"{"lifetime": 1}"#, "[]", "{"] {
        assert_eq!(me.control("options", order).status, 400, "{order}");
    }
    assert_eq!(ecobee.options(), options);
}

#[test]
fn waiting_ends_when_the_call_comes() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| me.control("wait", r#"{"kind": "refresh", "answer": "invalid_grant", "count": 2}"#));
        me.refresh("one");
        me.authorize();
        me.refresh("two");
        let waited = waiting.join().expect("no panic");
        assert_eq!((waited.status, &waited.json()["count"]), (200, &json!(2)));
    });
}

#[test]
fn waiting_in_vain_times_out() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let waited = me.control("wait", r#"{"kind": "poll", "timeout_ms": 20}"#);
    assert_eq!((waited.status, &waited.json()["count"]), (408, &json!(0)));
}

#[test]
fn a_pause_is_answered_and_ends_by_itself() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let mut idle = client::connect(&ecobee).expect("it listens");
    assert!(ecobee.wait_for(LONG, |truth, _| truth.counters().connections == 1));
    assert_eq!(me.control("pause", r#"{"for_ms": 50}"#).status, 200);
    assert_eq!(idle.read(&mut [0]).expect("closed in order"), 0);
    let deadline = Instant::now() + LONG;
    while client::connect(&ecobee).is_err() {
        assert!(Instant::now() < deadline, "it still refuses");
        std::thread::yield_now();
    }
}

#[test]
fn orders_are_not_in_the_log() {
    let ecobee = start(quick());
    client(&ecobee).control("moods/clear", "");
    assert!(ecobee.calls().is_empty());
}

#[test]
fn a_route_that_is_not_there_points_to_the_list() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    let answer = me.control("aprove", "");
    assert_eq!(answer.status, 404);
    assert!(answer.text("error").contains("GET /_control"));
    let answer = me.get("/_control/approve");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[test]
fn every_route_of_the_list_exists_and_is_in_the_readme() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    assert_eq!(me.get("/_control").json().as_array().map(Vec::len), Some(ROUTES.len()));
    let readme = include_str!("../README.md");
    for (method, path, _) in ROUTES {
        let answer = match method {
            "GET" => me.get(path),
            _ => me.control(path.trim_start_matches("/_control/"), r#"{"no such": 1}"#),
        };
        assert!(!matches!(answer.status, 405), "{method} {path}");
        let missing = answer.status == 404 && answer.text("error").contains("no such route");
        assert!(!missing, "{method} {path}");
        assert!(readme.contains(&format!("`{method} {path}`")), "{method} {path}");
    }
}

#[test]
fn every_option_is_in_the_readme() {
    let ecobee = start(quick());
    let options = client(&ecobee).control("options", "").json();
    let readme = include_str!("../README.md");
    let names = |object: &Value| object.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let told = |option: &str| readme.lines().find(|line| line.starts_with(&format!("| `{option}` |")));
    for option in names(&options) {
        assert!(told(&option).is_some(), "{option}");
    }
    for member in names(&options["raw"]) {
        assert!(told("raw").is_some_and(|line| line.contains(&format!("`{member}`"))), "raw.{member}");
    }
}
