//! SIGHUP: the configuration is read again, and what has changed is taken over; nothing else is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ecobee_simulator::{CallKind, Endpoint, Mood, Pin};

use crate::harness::http::{Connection, Response, ask};
use crate::harness::{HOUR, KEY, Stage, as_user};
use crate::manager::Door;

/// The section of an account as a [`Stage`] writes it.
const CABIN: &str = "[accounts.cabin]\napi-key = \"key-of-cabin-0123456789\"\n";
const CABIN_KEY: &str = "key-of-cabin-0123456789";

/// A request on a kept connection, which must survive it.
fn on(kept: &mut Connection, request: &str) -> Response {
    let response = kept.ask(request, None, "").expect("the connection is kept");
    assert_eq!(response.header("connection"), None);
    response
}

#[test]
fn systemd_hears_of_a_reload_and_of_its_end() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");

    daemon.reload();

    let lines = daemon.notified.all();
    let place = |what: &str| lines.iter().position(|line| line.starts_with(what)).expect(what);
    assert!(place("RELOADING=1") < lines.iter().rposition(|line| line == "READY=1").expect("the end"));
    let since: u64 = lines[place("MONOTONIC_USEC=")]["MONOTONIC_USEC=".len()..].parse().expect("a number");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec).expect("after the boot") * 1_000_000;
    assert!(since <= now + 1_000_000 && since + 60_000_000 > now, "{since} is not about {now}");
}

#[test]
fn an_unchanged_file_changes_nothing_and_costs_no_call() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let mut kept = Connection::open(&stage.socket()).expect("it connects");
    stage.simulator.clear_calls();
    for _ in 0..3 {
        daemon.reload();
        assert_eq!(on(&mut kept, "GET /token").text(), token);
    }
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_bad_file_is_not_taken_over_and_the_reason_stays_in_the_status_until_it_is_mended() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    stage.simulator.clear_calls();
    stage.rewrite(|text| text.replace("[refresh]", "[refresh]\nahed = \"5m\"") + CABIN);

    daemon.reload();

    daemon.log.wait_for("the reason", |line| line.contains("ERROR") && line.contains("refresh.ahed"));
    daemon.wait_for_its_status("the reason beside the rest", |status| {
        status.contains("token good") && status.contains("refresh.ahed")
    });
    assert_eq!(daemon.get("/token").text(), token);
    assert_eq!(daemon.get("/accounts/cabin/status").status, 404, "nothing of it was taken over");
    assert_eq!(stage.simulator.calls(), []);

    stage.rewrite(|text| text.replace("ahed = \"5m\"", ""));
    daemon.reload();

    daemon.wait_for_its_status("the reason gone", |status| !status.contains("refresh.ahed"));
    assert_eq!(daemon.get("/accounts/cabin/status").status, 200);
}

#[test]
fn a_missing_file_is_a_bad_one() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    fs::remove_file(stage.folder.path().join("config.toml")).expect("it is ours");
    daemon.reload();
    daemon.log.wait_for("the reason", |line| line.contains("ERROR") && line.contains("does not exist"));
    assert_eq!(daemon.get("/token").status, 200);
}

#[test]
fn accounts_are_picked_up_by_a_daemon_that_had_none() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);
    let daemon = stage.start();
    daemon.notified.wait_for("advice", |line| {
        line.starts_with("STATUS=") && line.contains("[accounts.NAME]") && line.contains("reload")
    });
    let mut kept = Connection::open(&stage.socket()).expect("it connects");
    assert_eq!(on(&mut kept, "GET /token").status, 503);

    stage.append(CABIN);
    daemon.reload();

    daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY);
    assert_eq!(on(&mut kept, "GET /token").status, 200, "the only account is the default");
    assert_eq!(on(&mut kept, "GET /healthz").status, 200);
}

#[test]
fn an_account_that_comes_disturbs_no_other() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let mut kept = Connection::open(&stage.socket()).expect("it connects");
    assert_eq!(on(&mut kept, "GET /token").text(), token);

    stage.append(CABIN);
    daemon.reload();

    assert_eq!(
        on(&mut kept, "GET /accounts/cabin/status").status,
        200,
        "it is there when the reload is over"
    );
    assert_eq!(on(&mut kept, "GET /token").status, 400, "two accounts and no default");
    assert_eq!(on(&mut kept, "GET /accounts/home/token").text(), token);
    assert_ne!(daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY), token);
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh), []);
}

#[test]
fn an_account_that_goes_answers_its_waiting_clients_and_keeps_its_file() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "cabin"]);
    let daemon = stage.start();
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    daemon.pin("cabin");
    let mut kept = Connection::open(&stage.socket()).expect("it connects");
    assert_eq!(on(&mut kept, "GET /accounts/cabin/status").status, 200);
    let mut waiting = Connection::open(&stage.socket()).expect("it connects");
    waiting.send("GET /accounts/cabin/token?wait=3600", None, "").expect("it asks");
    // One connection is served after the other: what is asked now comes after the other has begun to wait.
    for _ in 0..3 {
        assert_eq!(on(&mut kept, "GET /accounts/home/token").status, 200);
    }
    let file = stage.stored("cabin");

    stage.rewrite(|text| text.replace(CABIN, ""));
    daemon.reload();

    let answer = waiting.receive().expect("an answer at once");
    assert_eq!((answer.status, answer.member("code")), (404, "unknown-account".to_owned()));
    assert_eq!(on(&mut kept, "GET /accounts/cabin/token").member("code"), "unknown-account");
    assert_eq!(on(&mut kept, "GET /token").status, 200, "the one that is left is the default");
    assert!(!file.is_empty() && stage.stored("cabin") == file);
}

#[test]
fn an_account_that_comes_back_takes_up_its_file() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "cabin"]);
    let daemon = stage.start();
    let token = daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY);
    stage.rewrite(|text| text.replace(CABIN, ""));
    daemon.reload();
    assert_eq!(daemon.get("/accounts/cabin/token").status, 404);
    stage.simulator.clear_calls();

    stage.append(CABIN);
    daemon.reload();

    assert_eq!(daemon.token("cabin"), token);
    assert!(stage.simulator.calls().iter().all(|call| call.client_id.as_deref() != Some(CABIN_KEY)));
}

/// Has the token of `cabin` refreshed by an ecobee that takes so long for the answer: who waits for it.
fn refresh_cabin_slowly(stage: &Stage, length: Duration) -> Connection {
    let slow = Mood::delay_after_commit(length).on(Endpoint::Refresh).of_client(CABIN_KEY);
    stage.simulator.add_mood(slow.once());
    let mut asking = Connection::open(&stage.socket()).expect("it connects");
    asking.send("POST /accounts/cabin/refresh", None, "").expect("it asks");
    stage.wait_for_call(CallKind::Refresh);
    asking
}

#[test]
fn a_refresh_in_flight_of_an_account_that_goes_is_awaited_and_what_it_brings_is_saved() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "cabin"]);
    let daemon = stage.start();
    let old = daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY);
    let mut asking = refresh_cabin_slowly(&stage, Duration::from_secs(3));

    stage.rewrite(|text| text.replace(CABIN, ""));
    daemon.reload();
    assert_eq!(asking.receive().expect("an answer at once").status, 404);
    // Back before the call is over: no second one is made beside it.
    stage.append(CABIN);
    daemon.reload();

    let answer = daemon.get("/accounts/cabin/token?min_ttl=60");
    assert_eq!(answer.status, 200, "whoever asks meanwhile waits for the end: {}", answer.body);
    let token = answer.text().to_owned();
    assert_ne!(token, old);
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1);
    assert!(stage.stored("cabin").contains(&token));
}

#[test]
fn an_account_that_comes_back_before_it_could_be_saved_has_lost_nothing() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "cabin"]);
    let daemon = stage.start();
    let old = daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY);
    let mut asking = refresh_cabin_slowly(&stage, Duration::from_secs(1));
    let in_the_way = stage.hinder_saving("cabin");
    let token = asking.receive().expect("an answer").text().to_owned();
    assert_ne!(token, old);
    daemon.log.wait_for("the failure", |line| line.contains("ERROR") && line.contains("in memory only"));

    stage.rewrite(|text| text.replace(CABIN, ""));
    daemon.reload();
    assert_eq!(daemon.get("/accounts/cabin/token").status, 404);
    stage.append(CABIN);
    daemon.reload();
    let answer = daemon.get("/accounts/cabin/token");
    assert_eq!((answer.status, answer.text()), (200, token.as_str()), "{}", answer.body);

    in_the_way.remove();
    daemon.log.wait_for("the save", |line| line.contains("everything is saved again"));
    assert!(stage.stored("cabin").contains(&token));
    assert_eq!(stage.simulator.calls_of(CallKind::Refresh).len(), 1);
    // It is as alive as before.
    assert_eq!(daemon.post("/accounts/cabin/authorize", "").status, 200);
}

#[test]
fn rule_12_another_api_key_starts_a_pin_flow_and_keeps_the_old_file() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let old = stage.stored("home");
    stage.put("home.key", KEY, 0o600);
    stage.rewrite(|text| text.replace(&format!("api-key = \"{KEY}\""), "api-key-file = \"home.key\""));
    daemon.reload();
    assert_eq!(daemon.get("/token").status, 200, "the same key from another place is the same key");

    stage.put("home.key", "another-key-0123456789", 0o600);
    daemon.reload();

    let pin = daemon.pin("home");
    assert_eq!(daemon.get("/token").member("pin"), pin);
    assert_eq!(stage.kept_aside("home.json.other-key-"), [old]);
    let key = "another-key-0123456789".to_owned();
    stage.simulator.approve(Pin::LatestOf(key)).expect("the simulator knows the PIN");
    daemon.token("home");
}

#[test]
fn another_api_key_during_a_refresh_waits_for_its_end_and_loses_nothing() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let slow = Mood::delay_after_commit(Duration::from_secs(2)).on(Endpoint::Refresh);
    stage.simulator.add_mood(slow.once());
    daemon.signal("USR1");
    stage.wait_for_call(CallKind::Refresh);

    stage.rewrite(|text| text.replace(KEY, "another-key-0123456789"));
    daemon.reload();
    assert_eq!(daemon.get("/token").status, 503, "the old key's token is nobody's any more");

    daemon.pin("home");
    let truth = stage.simulator.truth();
    let fresh =
        truth.grants().iter().flat_map(|grant| &grant.refresh_tokens).last().expect("a grant").value.clone();
    let kept = stage.kept_aside("home.json.other-key-").concat();
    assert!(kept.contains(&fresh), "what the refresh brought lies in the file that is kept aside");
}

#[test]
fn rule_12_another_scope_is_said_and_waits_for_the_next_authorization() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.simulator.clear_calls();
    stage.append("scope = \"smartRead\"\n");
    daemon.reload();
    daemon.log.wait_for("a word about it", |line| line.contains("smartWrite") && line.contains("smartRead"));
    assert_eq!(daemon.get_json("/token").json()["scope"], "smartWrite");
    assert_eq!(stage.simulator.calls(), []);
    daemon.post("/authorize", "");
    let scope = stage.simulator.truth().pin_of(KEY).map(|pin| pin.scope.clone());
    assert_eq!(scope.as_deref(), Some("smartRead"));
}

#[test]
fn another_policy_holds_from_the_next_token_on() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let ahead = || {
        let token = daemon.status_of("home")["token"].clone();
        let at =
            |key: &str| -> jiff::Timestamp { token[key].as_str().expect("a time").parse().expect("a time") };
        at("expires_at").duration_since(at("refresh_at")).as_secs()
    };
    assert!(ahead() <= 600);
    stage.rewrite(|text| text.replace("ahead = \"10m\"", "ahead = \"30m\""));

    daemon.reload();

    assert!(ahead() <= 600, "no promise is broken");
    assert_eq!(daemon.post("/refresh", "").status, 200);
    assert!(ahead() > 1200, "{}", ahead());
}

#[test]
fn another_default_account_is_the_default() {
    let stage =
        Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]).top_level("default-account = \"home\"");
    let daemon = stage.start_authorized();
    let token_of = |name: &str| daemon.token(name);
    assert_eq!(daemon.get("/token").text(), token_of("home"));
    stage.rewrite(|text| text.replace("default-account = \"home\"", "default-account = \"cabin\""));
    daemon.reload();
    assert_eq!(daemon.get("/token").text(), token_of("cabin"));
}

#[test]
fn another_address_of_ecobee_is_used_from_the_next_call_on() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let next = Stage::with_lifetime(HOUR);
    stage.rewrite(|text| text.replace(&stage.simulator.url(), &next.simulator.url()));
    daemon.reload();
    assert_eq!(next.simulator.calls(), [], "not before there is a reason");
    stage.simulator.clear_calls();
    daemon.post("/authorize", "");
    assert_eq!(next.simulator.calls_of(CallKind::Authorize).len(), 1);
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_reload_names_the_changed_keys_that_need_a_restart_and_no_others() {
    let stage = Stage::with_lifetime(HOUR).socket_section("mode = \"0600\"");
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let folder = stage.state().display().to_string();
    let other = format!("{folder}2");
    stage.rewrite(|text| text.replace("0600", "0660").replace(&folder, &other));

    daemon.reload();

    let names = "a restart is needed for what is new in socket.mode, store.directory";
    let line = daemon.log.wait_for("the names", |line| line.contains(" WARN ") && line.contains(names));
    assert!(line.ends_with(names), "{line}");
    daemon.wait_for_its_status("the names", |status| status.ends_with(names));
    assert_eq!(daemon.get("/token").text(), token);
    assert_eq!(fs::metadata(stage.socket()).expect("it is there").permissions().mode() & 0o777, 0o600);

    stage.rewrite(|text| text.replace("0660", "0600").replace(&other, &folder));
    daemon.reload();
    daemon.wait_for_its_status("nothing to be said", |status| !status.contains("restart"));
}

#[test]
fn what_is_new_in_socket_needs_no_restart_where_systemd_made_the_socket() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = Door::of(&stage).start(&stage);
    stage.rewrite(|text| text.replace("[socket]", "[socket]\nmode = \"0600\""));
    daemon.reload();
    daemon.log.wait_for("the end", |line| line.contains("reloaded"));
    assert!(!daemon.log.all().join("\n").contains("restart"));
}

#[test]
fn another_allow_list_holds_for_connections_that_are_open() {
    let stage = Stage::with_lifetime(HOUR).open_to_the_world();
    let daemon = stage.start_authorized();
    let socket = stage.socket();
    let connection = as_user(65534, move || Connection::open(&socket).expect("it connects"));
    let Some(mut nobody) = connection else { return };
    assert_eq!(on(&mut nobody, "GET /token").status, 200);

    stage.append("allow-users = [1]\n");
    daemon.reload();
    assert_eq!(on(&mut nobody, "GET /token").status, 403);

    stage.rewrite(|text| text.replace("allow-users = [1]", "allow-users = [65534]"));
    daemon.reload();
    assert_eq!(on(&mut nobody, "GET /token").status, 200);
}

#[test]
fn another_allow_list_holds_for_those_who_wait_already() {
    let stage = Stage::with_lifetime(HOUR).open_to_the_world();
    let daemon = stage.start();
    daemon.pin("home");
    let socket = stage.socket();
    let waiting = as_user(65534, move || {
        let mut nobody = Connection::open(&socket).expect("it connects");
        nobody.send("GET /token?wait=60", None, "").expect("it asks");
        nobody
    });
    let Some(mut nobody) = waiting else { return };
    // Whoever comes later is answered later.
    assert_eq!(ask(&stage.socket(), "GET /status").expect("an answer").status, 200);

    stage.append("allow-users = [1]\n");
    daemon.reload();
    daemon.enter_pin(&stage.simulator, "home", KEY);
    assert_eq!(nobody.receive().expect("an answer").status, 403);
}

#[test]
fn a_new_account_whose_file_cannot_be_used_keeps_the_old_settings() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "cabin"]);
    let daemon = stage.start();
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    daemon.enter_pin(&stage.simulator, "cabin", CABIN_KEY);
    stage.rewrite(|text| text.replace(CABIN, ""));
    daemon.reload();
    let file = stage.state().join("cabin.json");
    let newer = stage.stored("cabin").replacen("\"version\": 1", "\"version\": 3", 1);
    fs::write(&file, &newer).expect("it is ours");

    stage.append(CABIN);
    daemon.reload();

    daemon.log.wait_for("the reason", |line| line.contains("ERROR") && line.contains("cabin.json"));
    assert_eq!(daemon.get("/accounts/cabin/token").status, 404);
    assert_eq!(daemon.get("/token").status, 200);
    assert_eq!(stage.stored("cabin"), newer);
}

#[test]
fn reloads_one_after_the_other_end_with_the_last_file() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    for round in 0..20 {
        let name = format!("[accounts.extra-{round}]\n");
        stage.append(&format!("{name}api-key = \"key-of-extra-{round}-0123456789\"\n"));
        daemon.signal("HUP");
    }
    daemon.wait_for_status("extra-19", "the last one", |status| status["state"].is_string());
    let names = ask(&stage.socket(), "GET /status").expect("an answer").json();
    assert_eq!(names["accounts"].as_object().map(serde_json::Map::len), Some(21));
    assert_eq!(daemon.get("/accounts/home/token").text(), token);
}
