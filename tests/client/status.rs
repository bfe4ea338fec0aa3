//! How the accounts are, for people and for programs.

use ecobee_simulator::Pin;
use serde_json::Value;

use crate::harness::{HOUR, Stage};
use crate::run::{Watched, client_of, run};

#[test]
fn each_account_has_its_line() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]);
    let daemon = stage.start();
    let pin = daemon.pin("cabin");
    daemon.pin("home");
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));

    let said = run(&daemon.socket, &["status"]).with(0).stdout;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "ACCOUNT  STATE          TOKEN         RENEWED  NEXT");
    assert_eq!(lines[1], "cabin    awaiting-user  none          never");
    assert!(
        lines[2].starts_with(&format!("         enter PIN {pin} at ecobee.com, My Apps, within 8m")),
        "{said}"
    );
    assert!(lines[3].starts_with("home     authorized     good for 59m  "), "{said}");
    assert!(
        lines[3].contains("s ago  ") && (lines[3].ends_with("in 49m") || lines[3].ends_with("in 50m")),
        "{said}"
    );
    assert_eq!(lines.len(), 4, "{said}");
    assert!(!said.contains('\u{1b}'));

    let said = run(&daemon.socket, &["status", "--account", "home"]).with(0).stdout;
    assert!(said.lines().count() == 2 && said.contains("\nhome ") && !said.contains("cabin"), "{said}");
    run(&daemon.socket, &["status", "--account", "barn"]).with(2);
}

#[test]
fn programs_get_the_daemons_own_document() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &["status", "--json"]).with(0);
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(document["accounts"]["home"]["state"], "authorized");
    let said = run(&daemon.socket, &["--account", "home", "status", "--json"]).with(0);
    let document: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(document["state"], "authorized");
}

#[test]
fn a_daemon_without_accounts_says_what_to_add() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);
    let daemon = stage.start();
    let said = run(&daemon.socket, &["status"]).with(0);
    assert!(said.stdout.contains("[accounts.NAME]"), "{said:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let shown = |name: &str, value: &str| {
        let mut command = client_of(&daemon.socket, &["status"]);
        command.env(name, value);
        Watched::on_a_terminal(command, 80, 24).ended()
    };
    let (status, said) = shown("NO_COLOR", "");
    assert_eq!(status, Some(0));
    assert!(said.contains("\u{1b}[32mauthorized\u{1b}[m"), "{said}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")] {
        let (_, said) = shown(name, value);
        assert!(said.contains("authorized") && !said.contains('\u{1b}'), "{name}={value}: {said}");
    }
}

#[test]
fn watched_in_a_pipe_it_says_what_changes_and_nothing_else() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["status", "--watch"]));
    let json = Watched::in_a_pipe(client_of(&daemon.socket, &["status", "--watch", "--json"]));
    watched.wait_for("enter PIN");
    json.wait_for("}\n");
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let said = watched.wait_for("\nhome     authorized");
    assert!(said.matches("ACCOUNT").count() <= 3, "{said}");
    let said = json.wait_for("\"authorized\"");
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");

    // A daemon that comes back is a change that is shown.
    assert!(daemon.stop().success());
    watched.wait_for("no daemon");
    let _daemon = stage.start();
    watched
        .wait_for("start ecobee-tokend, or name its socket with --socket or $ECOBEE_TOKEND_SOCKET\nACCOUNT");
}

#[test]
fn watched_on_a_terminal_it_is_drawn_over() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let watched = Watched::on_a_terminal(client_of(&daemon.socket, &["status", "--watch"]), 60, 24);
    watched.wait_for("enter PIN");
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let said = watched.wait_for("\u{1b}[32mauthorized");
    // Three rows stood there: the heading, the account, its PIN.
    assert!(said.contains("\u{1b}[3A\u{1b}[J"), "{said:?}");
}

#[test]
fn among_several_accounts_the_default_one_is_marked() {
    let stage =
        Stage::with_lifetime(HOUR).accounts(&["cabin", "home"]).top_level("default-account = \"home\"");
    let daemon = stage.start();
    let said = run(&daemon.socket, &["status"]).with(0).stdout;
    assert!(said.contains("\nhome (default)  ") && said.contains("\ncabin           "), "{said}");
    let said = run(&daemon.socket, &["status", "--json"]).with(0).stdout;
    let document: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(document["default_account"], "home");
}
