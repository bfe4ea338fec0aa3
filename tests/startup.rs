//! Starting: what a configuration must be like, where the socket may be, which store is taken up. Whatever ends a start
//! ends it with a sentence and its exit status.

mod harness;

#[path = "startup/check_config.rs"]
mod check_config;
#[path = "startup/store.rs"]
mod store;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use harness::{Ended, HOUR, Stage, run_with, skipped, tokend};

/// The daemon's program with these words only.
fn run(words: &[&str]) -> Ended {
    let mut command = Command::new(harness::binary());
    command.args(words).env_remove("NOTIFY_SOCKET");
    run_with(command, "")
}

/// Starts a daemon that is expected to leave, and returns its exit status and its last words.
fn fails_to_start(stage: &Stage) -> (Option<i32>, String) {
    let (status, log) = stage.launch().ended();
    (status.code(), log.join("\n"))
}

#[test]
fn a_bad_configuration_is_refused_whole_and_nothing_is_started() {
    let stage = Stage::with_lifetime(HOUR).refresh("ahed = \"10m\"");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(78), "{said}");
    assert!(
        said.contains("config.toml:") && said.contains("refresh.ahed") && said.contains("ahead"),
        "{said}"
    );
    assert!(!stage.socket().exists() && !stage.state().exists(), "nothing was started");
    assert_eq!(stage.simulator.calls(), []);
}

/// The same as a user whom modes bind, as they do not bind root; nothing, said aloud, where root cannot do without.
fn run_bound_by_modes(config: &Path) -> Option<Ended> {
    let mut command = Command::new(harness::binary());
    if rustix::process::geteuid().is_root() {
        let words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        let possible = Command::new(words[0]).args(&words[1..]).arg("true").status();
        if !possible.is_ok_and(|status| status.success()) {
            skipped("root cannot give up its rights here");
            return None;
        }
        command = Command::new(words[0]);
        command.args(&words[1..]).arg(harness::binary());
    }
    command.arg("--config").arg(config).env_remove("NOTIFY_SOCKET");
    Some(run_with(command, ""))
}

#[test]
fn a_configuration_that_may_not_be_read_is_an_error_and_not_the_defaults() {
    let stage = Stage::with_lifetime(HOUR);
    let config = stage.config();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o000)).expect("it is ours");

    let Some(ended) = run_bound_by_modes(&config) else { return };

    ended.with(78).telling(&format!("{}: may not be read by uid ", config.display())).telling("--config");
    assert!(!stage.socket().exists() && !stage.state().exists(), "nothing was started");
}

#[test]
fn a_store_without_the_right_to_write_ends_the_start_and_says_whose_it_must_be() {
    let stage = Stage::with_lifetime(HOUR);
    let config = stage.config();
    fs::create_dir(stage.state()).expect("it is ours");
    fs::set_permissions(stage.state(), fs::Permissions::from_mode(0o500)).expect("it is ours");

    let Some(ended) = run_bound_by_modes(&config) else { return };

    ended
        .with(73)
        .telling(&stage.state().display().to_string())
        .telling("has no right to; the folder and all");
    assert_eq!(stage.simulator.calls(), []);
}

#[test]
fn a_missing_configuration_is_an_error_and_not_the_defaults() {
    run(&["--config", "/nonexistent/config.toml"]).with(78).telling("/nonexistent/config.toml");
}

#[test]
fn wrong_arguments_are_usage_errors() {
    for words in [&["--nonsense"][..], &["dance"], &["forget"], &["--log-format", "sung"], &["--config"]] {
        run(words).with(2).telling("--help");
    }
    for words in [["--help"], ["--version"]] {
        run(&words).with(0);
    }
}

#[test]
fn the_clients_commands_are_found_where_they_are() {
    for (words, line) in [
        (&["status", "--watch"][..], "ecobee-token status"),
        (&["pin"], "ecobee-token pin"),
        (&["token"], "ecobee-token"),
        (&["refresh"], "ecobee-token refresh"),
        (&["curl", "-s", "x"], "ecobee-token curl --"),
    ] {
        run(words).with(2).telling(&format!("is for the client to do: {line}"));
    }
}

#[test]
fn without_accounts_it_runs_and_says_what_to_add() {
    let stage = Stage::with_lifetime(HOUR).accounts(&[]);
    let daemon = stage.start();
    daemon.notified.wait_for("advice", |line| line.starts_with("STATUS=") && line.contains("[accounts."));
    assert_eq!(daemon.get("/status").json()["accounts"], serde_json::json!({}));
    assert_eq!(daemon.get("/healthz").status, 503);
    assert!(daemon.stop().success());
}

#[test]
fn the_log_speaks_of_the_time_that_people_here_live_in() {
    let stage = Stage::with_lifetime(HOUR);
    for (zone, offset) in
        [("Asia/Kolkata", "+05:30"), (":Asia/Kolkata", "+05:30"), ("UTC-3", "+03:00"), ("", "+00:00")]
    {
        if zone.contains("Asia") && !Path::new("/usr/share/zoneinfo/Asia/Kolkata").exists() {
            skipped("this machine has no tzdata");
            continue;
        }
        let daemon = stage.launch_with(&[], |command| _ = command.env("TZ", zone)).ready();
        let line = daemon.log.wait_for("the first word", |line| line.contains("listening"));
        let time = line.split_whitespace().next().expect("a time");
        assert!(time.ends_with(offset), "TZ={zone}: {time}");
    }
}

#[test]
fn a_socket_that_a_daemon_answers_at_is_left_to_it() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let folder = stage.state().display().to_string();
    let other_store = stage.variant(|text| text.replace(&folder, &format!("{folder}-other")));

    run(&["--config", text(&other_store)]).with(73).telling(text(&stage.socket()));
    assert_eq!(daemon.get("/status").status, 200, "the first one goes on");
}

/// A path as a word of a command line.
fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn a_dead_daemons_socket_is_replaced_and_its_own_is_removed_at_the_end() {
    let stage = Stage::with_lifetime(HOUR);
    stage.start().kill();
    assert!(stage.socket().exists(), "a killed daemon leaves its socket behind");

    let daemon = stage.start();

    assert_eq!(daemon.get("/status").status, 200);
    let mode = fs::metadata(stage.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(daemon.stop().success());
    assert!(!stage.socket().exists());
}

#[test]
fn the_socket_has_the_mode_and_the_group_of_the_configuration() {
    // Of a group of one's own it would be anyway; others are root's to give.
    let group = if rustix::process::geteuid().is_root() { 1 } else { rustix::process::getegid().as_raw() };
    let stage = Stage::with_lifetime(HOUR).socket_section(&format!("mode = \"0640\"\ngroup = \"{group}\""));
    let _daemon = stage.start();
    let about = fs::metadata(stage.socket()).expect("it is there");
    assert_eq!((about.mode() & 0o7777, about.gid()), (0o640, group));
}

#[test]
fn what_is_no_socket_is_not_touched() {
    let stage = Stage::with_lifetime(HOUR);
    fs::write(stage.socket(), "precious").expect("it is ours");

    let (status, said) = fails_to_start(&stage);

    assert_eq!(status, Some(73), "{said}");
    assert_eq!(fs::read_to_string(stage.socket()).expect("it is there"), "precious");
}

#[test]
fn rule_11_a_second_daemon_on_the_same_store_names_the_first_and_leaves() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let socket = stage.socket().display().to_string();
    let other_socket = stage.variant(|text| text.replace(&socket, &format!("{socket}-other")));

    run(&["--config", text(&other_socket)]).with(73).telling(&daemon.pid().to_string());
    tokend("forget", &other_socket, &["home"]).with(73);
    assert_eq!(daemon.get("/token").status, 200);
}
