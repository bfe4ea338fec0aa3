//! The program `ecobee-simulator` as a shell script meets it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecobee-simulator"));
    command.args(arguments);
    command
}

fn ended(arguments: &[&str]) -> Output {
    program(arguments).output().expect("it runs")
}

/// A running program that does not outlive its test.
struct Running {
    child: Child,
    url: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = program(arguments).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut url = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut url).expect("a line");
        let url = url.trim().to_owned();
        Self { child, url }
    }

    fn get(&self, target: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_prints_its_url_when_it_listens() {
    let running = Running::start(&["--listen", "127.0.0.1:0"]);
    assert!(running.url.starts_with("http://127.0.0.1:"));
    assert!(running.get("/_control/state").contains("\"grants\":[]"));
}

#[test]
fn its_options_reach_the_server() {
    let running = Running::start(&[
        "--listen=[::1]:0",
        "--pin-minutes=3",
        "--interval=7",
        "--pin-form=documented",
        "--api-key=one",
        "--api-key=two",
        r#"--options={"raw": {"scope": "\"any\""}}"#,
    ]);
    assert!(running.url.starts_with("http://[::1]:"));
    let target = "/authorize?response_type=ecobeePin&scope=ems&client_id=";
    let answer = running.get(&format!("{target}two"));
    for member in [r#""expires_in":3"#, r#""interval":7"#, r#""scope":"any""#] {
        assert!(answer.contains(member), "{member} in {answer}");
    }
    assert!(running.get(&format!("{target}three")).contains("invalid_client"));
}

#[test]
fn its_certificate_is_written_before_the_url_is_told() {
    let folder = std::env::temp_dir().join(format!("ecobee-simulator-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("ca.pem");
    let path = file.to_str().expect("text");
    let running = Running::start(&["--listen", "127.0.0.1:0", "--tls", "--ca-out", path]);
    assert!(running.url.starts_with("https://localhost:"));
    let pem = std::fs::read_to_string(&file).expect("it was written");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    std::fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn help_shows_every_option_and_every_route() {
    let help = ended(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).expect("text");
    for (method, path, _) in ecobee_simulator::ROUTES {
        assert!(help.contains(&format!("{method:<4} {path}")), "{path}");
    }
    let readme = include_str!("../README.md");
    let options = help.split(|c: char| !c.is_ascii_lowercase() && c != '-');
    for option in options.filter(|word| word.starts_with("--")) {
        assert!(readme.contains(option), "{option} is in the README");
    }
}

#[test]
fn wrong_arguments_are_said_in_one_line() {
    for arguments in [
        &["--listne", "127.0.0.1:0"][..],
        &["--rotation", "round"],
        &["--interval", "-1"],
        &["--interval", "soon"],
        &["--tls=bad"],
        &["--ca-out", "nowhere"],
        &["--options", "{\"no-such\": 1}"],
        &["stray"],
    ] {
        let output = ended(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.starts_with("ecobee-simulator: "), "{told}");
    }
}

#[test]
fn it_refuses_to_listen_where_others_could_reach_it() {
    let output = ended(&["--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains("not a loopback address"), "{told}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let running = Running::start(&["--listen", "127.0.0.1:0"]);
    let address = running.url.trim_start_matches("http://");
    let output = ended(&["--listen", address]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains(address) && told.contains("in use"), "{told}");
}
