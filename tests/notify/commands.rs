//! A command: what it is given, and what becomes of one that fails or hangs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{KEY, PATIENCE};
use crate::{stage, test_notify};

/// A script that is told of something, in a folder of its own, where it writes it down in the file `out`.
pub(crate) struct Teller(TempDir);

impl Teller {
    pub(crate) fn new(script: &str) -> Self {
        let teller = Self(tempfile::tempdir().expect("a folder"));
        fs::write(teller.program(), format!("#!/bin/sh\ncd \"$(dirname \"$0\")\"\n{script}\n"))
            .expect("a script");
        fs::set_permissions(teller.program(), fs::Permissions::from_mode(0o755)).expect("it may be run");
        teller
    }

    pub(crate) fn program(&self) -> String {
        self.0.path().join("tell").display().to_string()
    }

    /// Waits until all is written down: the last line is `end`.
    pub(crate) fn told(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(self.0.path().join("out")).unwrap_or_default();
            if text.trim_end().ends_with("end") {
                return text;
            }
            assert!(Instant::now() < deadline, "waited in vain for the end of {text:?}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_command_gets_the_facts_and_nothing_else_of_ours() {
    let teller = Teller::new(
        "exec > part\nenv | grep -v ^PWD\necho \"argument=$1\"\necho \"stdin=$(cat)\"\n\
         echo \"group=$(cut -d' ' -f5 /proc/$$/stat) pid=$$\"\n\
         for fd in /proc/$$/fd/*; do echo \"fd=${fd##*/} $(readlink $fd)\"; done\necho end\nmv part out",
    );
    let stage = stage(&format!("command = [\"{}\", \"$(touch /nowhere) `x` ; y\"]", teller.program()));
    let daemon =
        stage.start_under(&["env", "MY_SMTP=kept", "CREDENTIALS_DIRECTORY=/run/x", "LISTEN_FDNAMES=x"]);
    let pin = daemon.pin("home");
    let told = teller.told();
    let value = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(&format!("{name}=")));
        line.map(|line| line[name.len() + 1..].to_owned())
    };
    assert_eq!(value("ECOBEE_TOKEND_EVENT").as_deref(), Some("pin-waiting"));
    assert_eq!(value("ECOBEE_TOKEND_ACCOUNT").as_deref(), Some("home"));
    assert_eq!(value("ECOBEE_TOKEND_PIN").as_ref(), Some(&pin));
    assert_eq!(value("ECOBEE_TOKEND_ENTER_AT").as_deref(), Some("ecobee.com, My Apps"));
    assert!(value("ECOBEE_TOKEND_TEXT").expect("a sentence").contains(&pin));
    assert!(value("ECOBEE_TOKEND_EXPIRES_AT").expect("a time").ends_with('Z'));
    assert_eq!(value("ECOBEE_TOKEND_REASON"), None);
    assert_eq!(value("MY_SMTP").as_deref(), Some("kept"));
    for ours in ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "LISTEN_FDNAMES"] {
        assert_eq!(value(ours), None, "{told}");
    }
    assert_eq!(value("argument").as_deref(), Some("$(touch /nowhere) `x` ; y"));
    let json: Value = serde_json::from_str(&value("stdin").expect("a line")).expect("JSON");
    assert_eq!((&json["event"], &json["pin"]), (&"pin-waiting".into(), &pin.as_str().into()));
    let group = value("group").expect("a number");
    let (group, pid) = group.split_once(" pid=").expect("two numbers");
    assert_eq!(group, pid, "a process group of its own");
    // Whoever starts the daemon may hand strange files down; of its own there is none among them.
    let folder = stage.folder.path().display().to_string();
    let ours = [folder.as_str(), "socket:", "[timerfd]", "[eventpoll]", "[eventfd]"];
    let leaked: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("fd=") && ours.iter().any(|part| line.contains(part)))
        .collect();
    assert_eq!(leaked, [""; 0], "{told}");
    assert!(told.contains("\nfd=0 pipe:"), "{told}");
}

#[test]
fn a_command_that_fails_is_said_once_and_does_no_harm() {
    let teller = Teller::new("echo no such phone >&2; exit 7");
    let stage = stage(&format!("command = [\"{}\"]", teller.program()));
    let daemon = stage.start();
    let line = daemon.log.wait_for("the failure", |line| line.contains("ended with status 7: no such phone"));
    assert!(line.contains(" WARN ") && line.contains("pin-waiting was not told: command "), "{line}");
    daemon.log.wait_for("its words", |line| line.contains("DEBUG") && line.contains("said: no such phone"));
    daemon.enter_pin(&stage.simulator, "home", KEY);
}

/// Whether a process is there and not only waited for.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn assert_gone(pid: &str) {
    let deadline = Instant::now() + PATIENCE;
    while runs(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// Writes down which processes it is.
const HANGS: &str = "sleep 600 & echo $! > out; echo $$ >> out; echo end >> out; trap '' TERM; wait";

#[test]
fn a_command_that_hangs_is_killed_after_30_seconds_with_its_children() {
    let teller = Teller::new(HANGS);
    let stage = stage(&format!("command = [\"{}\"]", teller.program()));
    let began = Instant::now();
    test_notify(&stage).with(1).telling("took longer than 30 s and was killed");
    assert!((30..45).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    for pid in teller.told().lines().take(2) {
        assert_gone(pid);
    }
}

#[test]
fn a_stop_leaves_no_hanging_command_behind() {
    let teller = Teller::new(HANGS);
    let stage = stage(&format!("command = [\"{}\"]", teller.program()));
    let daemon = stage.start();
    let pids = teller.told();
    let stopped_at = Instant::now();
    assert!(daemon.stop().success());
    assert!(stopped_at.elapsed() < Duration::from_secs(10), "{:?}", stopped_at.elapsed());
    for pid in pids.lines().take(2) {
        assert_gone(pid);
    }
}
