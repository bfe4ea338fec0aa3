//! Other programs that get the token: a command's environment, curl's header.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use ecobee_simulator::{CallKind, Endpoint, Mood, Options};

use crate::harness::{HOUR, Stage, quick, run_with, skipped};
use crate::run::{Watched, client_of, run};

/// Whether curl is here; says so if not.
fn curl_is_here() -> bool {
    let here = Command::new("curl").arg("--version").output().is_ok();
    if !here {
        skipped("curl is not installed here");
    }
    here
}

#[test]
fn a_command_finds_the_token_in_its_environment() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let token = daemon.token("home");
    let said = run(
        &daemon.socket,
        &["exec", "--", "sh", "-c", "echo \"$ECOBEE_TOKEN\" \"$1\"; exit 42", "sh", "--x"],
    );
    assert_eq!(said.with(42).stdout, format!("{token} --x\n"));
    let said = run(&daemon.socket, &["exec", "--env", "OTHER", "sh", "-c", "echo \"$OTHER-$ECOBEE_TOKEN\""]);
    assert_eq!(said.with(0).stdout, format!("{token}-\n"));
}

#[test]
fn a_command_takes_the_place_of_the_client() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let script = "echo $$; read line; echo \"$line\"; kill -TERM $$";
    let command = client_of(&daemon.socket, &["exec", "--", "sh", "-c", script]);
    let said = run_with(command, "for the command\n");
    assert_eq!(said.status.signal(), Some(15), "{said:?}");
    assert!(said.stdout.ends_with("\nfor the command\n"), "{said:?}");

    let watched = Watched::in_a_pipe(client_of(&daemon.socket, &["exec", "--", "sh", "-c", "echo pid=$$."]));
    watched.wait_for(&format!("pid={}.", watched.pid()));
}

#[test]
fn a_command_that_is_not_there_or_no_program_says_so() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let said = run(&daemon.socket, &["exec", "--", "no-such-program"]).with(127);
    assert!(said.stderr.contains("no-such-program"), "{}", said.stderr);
    let folder = stage.folder.path().display().to_string();
    run(&daemon.socket, &["exec", "--", &folder]).with(126);
}

#[test]
fn a_command_without_a_token_does_not_run() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let said = run(&daemon.socket, &["exec", "--", "sh", "-c", "echo ran"]).with(3);
    assert_eq!(said.stdout, "");
}

#[test]
fn curl_sends_the_header_and_keeps_its_own_input_and_status() {
    if !curl_is_here() {
        return;
    }
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let url = format!("{}/1/thermostat?format=json", stage.simulator.url());
    for leading in [&["-s"][..], &["-q", "-s"], &["-qs"], &["-qso", "/dev/stdout"], &["--disable", "-s"]] {
        let said = run(&daemon.socket, &[&["curl", "--"], leading, &["--fail", &url]].concat()).with(0);
        assert!(said.stdout.contains("thermostatList"), "{leading:?}: {said:?}");
    }
    let clear = format!("{}/_control/calls/clear", stage.simulator.url());
    let piped = client_of(&daemon.socket, &["curl", "--", "-s", "--data-binary", "@-", &clear]);
    run_with(piped, "{}").with(0);

    // 7: could not connect; 2: an argument lacks its value, ours not taken for it.
    run(&daemon.socket, &["curl", "--", "-s", "http://127.0.0.1:1/"]).with(7);
    run(&daemon.socket, &["curl", "--", "-s", &url, "--output"]).with(2);
}

#[test]
fn a_token_longer_than_a_pipe_gets_through_to_curl() {
    if !curl_is_here() {
        return;
    }
    let token = "t".repeat(64 * 1024);
    let mut options: Options = quick(HOUR);
    options.raw.access_token = Some(format!("\"{token}\""));
    let stage = Stage::new(options);
    let daemon = stage.start_authorized();
    let folder = stage.folder.path();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let hearing = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (stream, _) = listener.accept().expect("curl comes");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let found = lines.filter(|line| line.starts_with("Authorization: ")).collect::<Vec<_>>();
        (&stream).write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").expect("curl listens");
        found
    });
    let mut command = client_of(&daemon.socket, &["curl", "--", "-s", &format!("http://{address}/")]);
    command.current_dir(folder);
    run_with(command, "").with(0);
    assert!(hearing.join().expect("it heard") == [format!("Authorization: Bearer {token}")]);
}

/// What their command lines and environments show is searched by `tests/leaks.rs`, and shown by `tests/recording/run`.
#[test]
fn neither_a_command_nor_curl_is_given_the_token_in_a_file() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let exec = client_of(&daemon.socket, &["exec", "--", "sh", "-c", "echo begun; sleep 600"]);
    let exec = Watched::in_a_pipe(exec);
    exec.wait_for("begun");
    let mut running = vec![exec];
    if curl_is_here() {
        stage.simulator.add_mood(Mood::hang().on(Endpoint::Thermostat));
        let url = format!("{}/1/thermostat?format=json", stage.simulator.url());
        running.push(Watched::in_a_pipe(client_of(&daemon.socket, &["curl", "--", "-s", &url])));
        stage.wait_for_call(CallKind::Thermostat);
    }
    for program in running {
        let open = fs::read_dir(format!("/proc/{}/fd", program.pid())).expect("it runs");
        for place in open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()) {
            assert!(!(place.is_absolute() && place.is_file()), "{} is open as a file", place.display());
        }
    }
}

#[test]
fn an_environment_that_the_system_does_not_take_is_told_as_that() {
    let mut options: Options = quick(HOUR);
    options.raw.access_token = Some(format!("\"{}\"", "t".repeat(64 * 1024)));
    let stage = Stage::new(options);
    let daemon = stage.start_authorized();
    run(&daemon.socket, &["exec", "--", "true"]).with(0);

    // A quarter of the stack's limit is what arguments and environment may take together, 128 KiB at least.
    let client = client_of(&daemon.socket, &[]);
    let long = "x".repeat(80 * 1024);
    let mut command = Command::new("prlimit");
    command.arg("--stack=524288").arg(client.get_program()).args(client.get_args());
    command.args(["exec", "--", "true", &long]);
    let said = run_with(command, "").with(126);
    assert!(
        said.stderr.contains("true: its arguments and its environment are together more than"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.len() < 1000, "{} bytes", said.stderr.len());
}
