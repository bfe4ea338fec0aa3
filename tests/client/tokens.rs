//! Tokens printed, reported and renewed.

use std::thread;

use ecobee_simulator::{Liveness, Options, Pin};
use serde_json::Value;

use crate::harness::{HOUR, Stage, quick, run_with};
use crate::run::{client, client_of, run};

#[test]
fn it_prints_the_token_and_a_newline() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &[]).with(0);
    assert_eq!((said.stdout, said.stderr), (format!("{}\n", daemon.token("home")), String::new()));
}

#[test]
fn json_is_the_token_object() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &["--json"]).with(0);
    let object: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(object["access_token"], daemon.token("home"));
    assert_eq!(object["token_type"], "Bearer");
    assert!(object["expires_in"].as_u64().is_some_and(|left| left > 2000), "{object}");
    assert!(said.stdout.ends_with("}\n"));
}

#[test]
fn header_is_a_line_for_curl() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let said = run(&daemon.socket, &["--header"]).with(0);
    assert_eq!(said.stdout, format!("Authorization: Bearer {token}\n"));
}

#[test]
fn an_account_is_asked_for_by_name() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    let daemon = stage.start_authorized();
    for name in ["cabin", "home"] {
        let said = run(&daemon.socket, &["--account", name]).with(0);
        assert_eq!(said.stdout.trim_end(), daemon.token(name));
    }
}

#[test]
fn min_ttl_is_kept_or_refused() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &["--min-ttl", "49m", "--json"]).with(0);
    let object: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert!(object["expires_in"].as_u64().is_some_and(|left| left >= 49 * 60), "{object}");

    let said = run(&daemon.socket, &["--min-ttl", "2h"]).with(2);
    assert!(said.stderr.contains("min_ttl may be 3000"), "{}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn wait_waits_for_the_person() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let socket = daemon.socket.clone();
    let waiting = thread::spawn(move || run(&socket, &["--wait", "60s"]));
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let said = waiting.join().expect("it ends").with(0);
    assert_eq!(stage.simulator.is_alive(said.stdout.trim_end()), Liveness::Alive);
}

#[test]
fn a_refused_token_gets_a_successor() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let refused = daemon.token("home");
    let said = run_with(client_of(&daemon.socket, &["rejected"]), &format!("{refused}\n")).with(0);
    assert_ne!(said.stdout.trim_end(), refused);
    assert_eq!(stage.simulator.is_alive(said.stdout.trim_end()), Liveness::Alive);

    let calls = stage.simulator.calls().len();
    let again = run_with(client_of(&daemon.socket, &["rejected", "--header"]), &refused).with(0);
    assert_eq!(again.stdout, format!("Authorization: Bearer {}", said.stdout));
    assert_eq!(stage.simulator.calls().len(), calls, "an old token costs no refresh");
}

#[test]
fn what_is_no_token_is_not_reported() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let calls = stage.simulator.calls().len();
    for input in ["", "\n", "two words", "caf\u{e9}", "a\nb", &"x".repeat(70_000)] {
        let said = run_with(client_of(&daemon.socket, &["rejected"]), input).with(2);
        assert!(said.stderr.contains("standard input"), "{}", said.stderr);
        assert!(input.trim().is_empty() || !said.stderr.contains(input), "{}", said.stderr);
    }
    assert_eq!(stage.simulator.calls().len(), calls);
}

#[test]
fn a_refresh_gives_a_new_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let before = daemon.token("home");
    let said = run(&daemon.socket, &["refresh"]).with(0);
    assert_ne!(said.stdout.trim_end(), before);
    assert_eq!(said.stdout.trim_end(), daemon.token("home"));
}

#[test]
fn a_token_may_have_any_visible_character() {
    let token: String = (0x21..=0x7e_u8).map(char::from).collect();
    let mut options: Options = quick(HOUR);
    options.raw.access_token = Some(serde_json::to_string(&token).expect("JSON"));
    let stage = Stage::new(options);
    let daemon = stage.start_authorized();
    assert_eq!(run(&daemon.socket, &[]).with(0).stdout, format!("{token}\n"));
    let header = run(&daemon.socket, &["--header"]).with(0).stdout;
    assert_eq!(header, format!("Authorization: Bearer {token}\n"));
    let object = run(&daemon.socket, &["--json"]).with(0).stdout;
    let object: Value = serde_json::from_str(&object).expect("JSON");
    assert_eq!(object["access_token"], token);
}

#[test]
fn the_socket_is_found_by_option_then_variable_then_place() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = format!("{}\n", daemon.token("home"));
    let runtime_dir = stage.folder.path().join("run");
    std::fs::create_dir_all(runtime_dir.join("ecobee-tokend")).expect("a folder");
    let mut by_place = client();
    by_place.env("XDG_RUNTIME_DIR", &runtime_dir).env("ECOBEE_TOKEND_SOCKET", "");
    // Not there yet: the next place is tried, and both are named.
    if !std::path::Path::new("/run/ecobee-tokend/socket").exists() {
        let said = run_with(by_place, "").with(69);
        let first = runtime_dir.join("ecobee-tokend/socket").display().to_string();
        assert!(said.stderr.contains(&first), "{}", said.stderr);
        assert!(said.stderr.contains("/run/ecobee-tokend/socket"), "{}", said.stderr);
    }
    std::os::unix::fs::symlink(&daemon.socket, runtime_dir.join("ecobee-tokend/socket")).expect("a link");
    let mut by_place = client();
    by_place.env("XDG_RUNTIME_DIR", &runtime_dir);
    assert_eq!(run_with(by_place, "").with(0).stdout, token);

    let mut by_variable = client();
    by_variable.env("XDG_RUNTIME_DIR", "/nowhere").env("ECOBEE_TOKEND_SOCKET", &daemon.socket);
    assert_eq!(run_with(by_variable, "").with(0).stdout, token);

    let mut by_option = client_of(&daemon.socket, &[]);
    by_option.env("ECOBEE_TOKEND_SOCKET", "/nowhere");
    assert_eq!(run_with(by_option, "").with(0).stdout, token);

    let mut by_wrong_variable = client();
    by_wrong_variable.env("XDG_RUNTIME_DIR", &runtime_dir).env("ECOBEE_TOKEND_SOCKET", "/nowhere");
    run_with(by_wrong_variable, "").with(69);
}
