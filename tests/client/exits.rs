//! How it ends when there is nothing to print.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use ecobee_simulator::{Endpoint, Mood};
use tempfile::TempDir;

use crate::harness::{HOUR, Stage, run_with, skipped};
use crate::run::{client, client_of, run};

#[test]
fn a_wrong_command_line_is_answered_with_what_is_wrong() {
    for (arguments, words) in [
        (&["--tocken"][..], "--tocken"),
        (&["stauts"], "unknown command 'stauts'"),
        (&["status", "home"], "superfluous argument 'home'"),
        (&["--json", "--header"], "one of them"),
        (&["--account", "Home!"], "'Home!' is no name"),
        (&["--account", "a/../b"], "no name"),
        (&["--account", ""], "no name"),
        (&["--min-ttl", "5"], "'5' is no duration"),
        (&["--wait", "2h"], "an hour"),
        (&["--wait", "60"], "'60' is no duration such as 90s, 5m, 1h30m; 60 seconds are 60s"),
        (&["check-config"], "ecobee-tokend check-config"),
        (&["import", "ecobee.conf"], "ecobee-tokend import"),
        (&["forget", "home"], "ecobee-tokend forget"),
        (&["test-notify", "--config", "x"], "ecobee-tokend test-notify"),
        (&["--socket", ""], "the path is empty"),
        (&["exec"], "which command?"),
        (&["exec", "--json", "--", "true"], "--json is not for exec"),
        (&["exec", "--env", "A=B", "--", "true"], "'A=B' is no variable's name"),
        (&["exec", "--env", "1A", "--", "true"], "no variable's name"),
        (&["--env", "A"], "--env is not for printing the token"),
        (&["curl"], "what for?"),
        (&["curl", "-s", "http://localhost"], "behind --"),
        (&["--wait", "5s", "pin"], "--wait stands behind pin"),
        (&["pin", "--header"], "--header is not for pin"),
        (&["status", "--wait", "5s"], "--wait DUR is not for status"),
        (&["--account", "\u{1b}[2J"], "no name"),
    ] {
        let mut command = client();
        command.args(arguments);
        let said = run_with(command, "").with(2);
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains("--help") && !said.stderr.contains('\u{1b}'), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
}

#[test]
fn help_and_version_need_no_daemon() {
    for option in ["--help", "-h", "--version", "-V"] {
        let mut command = client();
        command.args(["--socket", "/nowhere", "exec", option]);
        let said = run_with(command, "").with(0);
        assert!(said.stdout.contains("ecobee-token") && said.stdout.ends_with('\n'), "{said:?}");
        assert!(said.stdout.lines().all(|line| line.len() <= 90), "{said:?}");
    }
}

#[test]
fn three_says_which_pin_where_and_for_how_long() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let pin = daemon.pin("home");
    for arguments in [&[][..], &["--json"], &["--header"], &["--wait", "0s"], &["refresh"]] {
        let said = run(&daemon.socket, arguments).with(3);
        let words = format!("enter PIN {pin} at ecobee.com, My Apps, within 8m");
        assert!(said.stderr.contains(&words), "{arguments:?}: {}", said.stderr);
        assert_eq!(said.stdout, "");
    }
}

#[test]
fn sixty_nine_says_where_no_daemon_is() {
    let folder = TempDir::new().expect("a folder");
    let nothing = folder.path().join("socket");
    let said = run(&nothing, &[]).with(69);
    assert!(said.stderr.contains(&format!("there is no {}", nothing.display())), "{}", said.stderr);
    assert!(said.stderr.contains("--socket"), "{}", said.stderr);

    drop(UnixListener::bind(&nothing).expect("a socket"));
    let said = run(&nothing, &["pin", "--wait"]).with(69);
    assert!(said.stderr.contains("nobody listens"), "{}", said.stderr);

    let long = folder.path().join("x".repeat(120));
    let said = run(&long, &[]).with(2);
    assert!(said.stderr.contains("107 bytes"), "{}", said.stderr);
}

#[test]
fn seventy_five_says_why_and_when_to_come_back() {
    let stage = Stage::with_lifetime(HOUR);
    stage.simulator.add_mood(Mood::status(503).on(Endpoint::All));
    let daemon = stage.start();
    daemon.wait_for_status("home", "a failure", |status| status["failures"].as_u64() > Some(0));
    let said = run(&daemon.socket, &[]).with(75);
    assert!(said.stderr.contains("503") && said.stderr.contains("). Try again in "), "{}", said.stderr);
    let said = run(&daemon.socket, &["pin"]).with(75);
    assert!(said.stderr.contains("503"), "{}", said.stderr);
}

/// The client as another user: `None`, said aloud, where this test cannot be one or the client is out of his reach.
fn as_nobody(command: Command) -> Option<Command> {
    let as_nobody = |mut command: Command| {
        command.uid(65534).gid(65534).current_dir("/");
        command
    };
    let mut probe = client();
    probe.arg("--version").stdout(Stdio::null());
    if as_nobody(probe).status().is_ok_and(|status| status.success()) {
        return Some(as_nobody(command));
    }
    skipped("no other user can be had here, or none that may run the client");
    None
}

#[test]
fn seventy_seven_says_which_group_to_join() {
    let folder = TempDir::new().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    fs::set_permissions(&socket, Permissions::from_mode(0o660)).expect("it is ours");
    let Some(command) = as_nobody(client_of(&socket, &[])) else { return };
    chown(&socket, None, Some(1)).expect("root may");
    let said = run_with(command, "").with(77);
    assert!(said.stderr.contains("join the group daemon"), "{}", said.stderr);
    assert!(said.stderr.contains("usermod --append --groups daemon nobody"), "{}", said.stderr);

    fs::set_permissions(&socket, Permissions::from_mode(0o600)).expect("it is ours");
    let said = run_with(as_nobody(client_of(&socket, &[])).expect("as before"), "").with(77);
    assert!(said.stderr.contains("only the user root may"), "{}", said.stderr);

    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).expect("it is ours");
    chown(folder.path(), None, Some(1)).expect("root may");
    let said = run_with(as_nobody(client_of(&socket, &[])).expect("as before"), "").with(77);
    assert!(said.stderr.contains("join the group daemon"), "{}", said.stderr);
    assert!(said.stderr.contains("is closed to you"), "{}", said.stderr);
}

#[test]
fn another_persons_runtime_folder_is_passed_over() {
    let folder = TempDir::new().expect("a folder");
    let mut command = client();
    command.env("XDG_RUNTIME_DIR", folder.path());
    let Some(command) = as_nobody(command) else { return };
    if std::path::Path::new("/run/ecobee-tokend").exists() {
        return skipped("a daemon of the system is installed here");
    }
    run_with(command, "").with(69);
}

#[test]
fn seventy_seven_also_where_an_account_is_for_others() {
    let stage = Stage::with_lifetime(HOUR).each_account("allow-users = [\"daemon\"]").open_to_the_world();
    let daemon = stage.start_authorized();
    let Some(command) = as_nobody(client_of(&daemon.socket, &[])) else { return };
    let said = run_with(command, "").with(77);
    assert!(said.stderr.contains("not for you (uid 65534)"), "{}", said.stderr);
}

#[test]
fn a_full_disk_below_the_output_is_an_error() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    for arguments in [&[][..], &["--json"], &["status"], &["--help"]] {
        let mut command = client_of(&daemon.socket, arguments);
        command
            .stdout(File::options().write(true).open("/dev/full").expect("/dev/full"))
            .stderr(Stdio::piped());
        let output = command.spawn().and_then(std::process::Child::wait_with_output).expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains("standard output"), "{said}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = client_of(&daemon.socket, &[]);
    command.stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).expect("it ends");
    assert_eq!(output.status.signal(), Some(13), "{output:?}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn among_several_accounts_it_says_how_to_name_one_and_which_there_are() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["cabin", "home", "office"]);
    let daemon = stage.start();
    for arguments in [&[][..], &["--json"], &["refresh"], &["authorize"], &["pin"], &["pin", "--wait"]] {
        let said = run(&daemon.socket, arguments).with(2);
        assert!(
            said.stderr.contains("--account NAME (cabin, home, office)"),
            "{arguments:?}: {}",
            said.stderr
        );
        assert!(said.stderr.contains("default-account") && !said.stderr.contains('/'), "{}", said.stderr);
    }
    let said = run(&daemon.socket, &["--account", "barn"]).with(2);
    assert!(said.stderr.contains("no account barn (cabin, home, office)"), "{}", said.stderr);
}

#[test]
fn of_very_many_accounts_it_names_some() {
    let names: Vec<String> = (10..23).map(|number| format!("a{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::with_lifetime(HOUR).accounts(&names);
    let daemon = stage.start();
    let said = run(&daemon.socket, &[]).with(2);
    assert!(said.stderr.contains("(a10, ") && said.stderr.contains(", a19 and 3 more;"), "{}", said.stderr);
}

#[test]
fn when_to_come_back_is_said_once() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    run(&daemon.socket, &["refresh"]).with(0);
    let said = run(&daemon.socket, &["refresh"]).with(75);
    assert!(said.stderr.contains("ask again in ") && !said.stderr.contains("Try again"), "{}", said.stderr);

    let stage = Stage::with_lifetime(Duration::from_secs(2));
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::status(503).on(Endpoint::All));
    daemon.wait_for_status("home", "the death of the token", |status| {
        status["token"].is_null() && status["failures"].as_u64() > Some(1)
    });
    let said = run(&daemon.socket, &[]).with(75);
    assert!(
        said.stderr.contains("the next try is in ") && !said.stderr.contains("Try again"),
        "{}",
        said.stderr
    );
}

#[test]
fn whoever_looks_for_a_pin_does_not_wait_for_a_refresh() {
    let stage = Stage::with_lifetime(Duration::from_secs(4)).request_timeout("1m");
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::hang().on(Endpoint::Refresh));
    daemon.wait_for_status("home", "a refresh that hangs", |status| {
        status["state"] == "refreshing" && status["token"].is_null()
    });
    let begun = std::time::Instant::now();
    let said = run(&daemon.socket, &["pin"]).with(75);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(said.stderr.contains("a refresh is under way. Try again in 1s"), "{}", said.stderr);
}
