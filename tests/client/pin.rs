//! PINs on show, from the first look to the token.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ecobee_simulator::{Endpoint, Mood, Pin};
use serde_json::Value;

use crate::harness::{HOUR, PATIENCE, Stage};
use crate::run::{Watched, client_of, run};

#[test]
fn in_a_pipe_it_is_one_line() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    let said = run(&daemon.socket, &["pin"]).with(0);
    assert!(
        said.stdout.starts_with(&format!("enter PIN {pin} at ecobee.com, My Apps, within 8m")),
        "{said:?}"
    );
    assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (1, ""));

    let said = run(&daemon.socket, &["pin", "--json"]).with(0);
    let object: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(object["pin"], pin);
    assert_eq!(object["enter_at"], "ecobee.com, My Apps");
    assert!(object["expires_in"].is_u64() && object["expires_at"].is_string());
}

#[test]
fn on_a_terminal_it_is_large() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    let (status, said) = Watched::on_a_terminal(client_of(&daemon.socket, &["pin"]), 80, 24).ended();
    assert_eq!(status, Some(0));
    assert!(said.contains('█') && said.contains(&format!("PIN       \u{1b}[1m{pin}\u{1b}[m")), "{said}");
    assert!(said.contains("Enter it  at ecobee.com, My Apps") && said.contains("It works  for 8m"), "{said}");

    // Too narrow for large letters; in a locale without UTF-8; without colours; where nothing moves.
    let (_, said) = Watched::on_a_terminal(client_of(&daemon.socket, &["pin"]), 40, 24).ended();
    assert!(!said.contains('█') && said.contains(&pin), "{said}");
    let mut ascii = client_of(&daemon.socket, &["pin"]);
    ascii.env("LANG", "C").env("NO_COLOR", "1");
    let (_, said) = Watched::on_a_terminal(ascii, 80, 24).ended();
    assert!(said.is_ascii() && said.contains("###") && !said.contains('\u{1b}'), "{said}");
    let mut dumb = client_of(&daemon.socket, &["pin"]);
    dumb.env("TERM", "dumb");
    let (_, said) = Watched::on_a_terminal(dumb, 80, 24).ended();
    assert!(said.starts_with(&format!("enter PIN {pin} at")), "{said}");
}

#[test]
fn waiting_in_a_pipe_it_follows_to_the_next_pin_and_ends_with_the_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let first = daemon.pin("home");
    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["pin", "--wait"]));
    watched.wait_for(&format!("enter PIN {first} at"));
    stage.simulator.expire_pin(Pin::Latest).expect("it waits");
    watched.wait_for("That PIN is over; here is the next.\nenter PIN ");
    let second = daemon.pin("home");
    assert_ne!(first, second);
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let (status, said) = watched.ended();
    assert_eq!(status, Some(0), "{said}");
    // Between the two PINs it may also say that there is none just now, if it happens to look then.
    let news = ["enter PIN ", "That PIN is over", "There is a token"];
    let lines: Vec<_> =
        said.lines().filter(|line| news.iter().any(|beginning| line.starts_with(beginning))).collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(lines[2].starts_with(&format!("enter PIN {second} at")), "{said}");
    assert_eq!(lines[3], "There is a token now. Nothing more is to be done.");
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
}

#[test]
fn waiting_on_a_terminal_it_counts_down() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let watched = Watched::on_a_terminal(client_of(&daemon.socket, &["pin", "--wait"]), 80, 24);
    watched.wait_for("\r\u{1b}[KWaiting until it is entered ... 8m");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = watched.wait_for("");
        let shown: BTreeSet<&str> = said
            .split("entered ... ")
            .skip(1)
            .filter_map(|rest| rest.split_once(" left"))
            .map(|(left, _)| left)
            .collect();
        if shown.len() > 2 {
            break;
        }
        assert!(Instant::now() < deadline, "it does not count: {said:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let (status, said) = watched.ended();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.ends_with("\r\u{1b}[KThere is a token now. Nothing more is to be done.\r\n"), "{said:?}");
}

#[test]
fn where_none_is_needed_it_says_so() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    for arguments in [&["pin"][..], &["pin", "--wait"], &["pin", "--json"]] {
        let said = run(&daemon.socket, arguments).with(0);
        assert_eq!(
            (said.stdout.as_str(), said.stderr.as_str()),
            ("", "ecobee-token: no PIN is needed: there is a living token\n")
        );
    }
}

#[test]
fn it_waits_for_a_pin_too_and_says_what_is_in_the_way_once() {
    let stage = Stage::with_lifetime(HOUR);
    stage.simulator.add_mood(Mood::status(503).on(Endpoint::Authorize));
    let daemon = stage.start();
    daemon.wait_for_status("home", "a failure", |status| status["failures"].as_u64() > Some(0));
    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["pin", "--wait"]));
    watched.wait_for("no token just now");
    stage.simulator.clear_moods();
    watched.wait_for("enter PIN ");
}

#[test]
fn a_restart_of_the_daemon_is_waited_for() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["pin", "--wait"]));
    watched.wait_for(&format!("enter PIN {pin}"));
    assert!(daemon.stop().success());
    watched.wait_for("no daemon");
    let daemon = stage.start();
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    let (status, said) = watched.ended();
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_new_pin_can_be_asked_for_beside_a_living_grant() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &["authorize"]).with(0);
    let pin = daemon.pin("home");
    assert!(said.stdout.starts_with(&format!("enter PIN {pin} at")), "{said:?}");
    run(&daemon.socket, &[]).with(0);
    let said = run(&daemon.socket, &["authorize", "--json"]).with(75);
    assert!(said.stderr.contains("ask again in "), "{said:?}");

    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["pin", "--wait"]));
    watched.wait_for("enter PIN ");
    stage.simulator.approve(Pin::Latest).expect("it can be entered");
    let (status, said) = watched.ended();
    assert_eq!(status, Some(0), "{said}");
}
