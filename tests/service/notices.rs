//! What the service manager and the journal are told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use ecobee_simulator::{Endpoint, Mood};

use crate::harness::{Daemon, HOUR, KEY, PATIENCE, Stage, skipped};

#[test]
fn the_watchdog_is_fed_twice_in_the_time_that_systemd_allows() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.launch_with(&[], |command| {
        command.env("WATCHDOG_USEC", "200000");
    });
    daemon.notified.wait_until("five times", |lines| {
        (lines.iter().filter(|line| *line == "WATCHDOG=1").count() >= 5).then_some(())
    });
}

#[test]
fn without_a_watchdog_nothing_is_fed() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    assert!(!daemon.notified.all().iter().any(|line| line.starts_with("WATCHDOG")));
}

/// A second feeder would keep a daemon alive whose loop hangs.
#[test]
fn only_the_loop_feeds_the_watchdog() {
    let mut feeders = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources").filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("the source is readable");
            for _ in text.matches("systemd::watchdog()").chain(text.matches("WATCHDOG=1")) {
                feeders.push(path.file_name().expect("a file").to_owned());
            }
        }
    }
    assert_eq!(feeders, ["supervisor.rs"]);
}

#[test]
fn an_unreachable_ecobee_is_called_that_and_the_next_try_is_announced() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.simulator.pause().expect("it stops listening");
    daemon.signal("USR1");

    daemon
        .log
        .wait_for("the next try", |line| line.contains(" WARN ") && line.ends_with("; trying again in 1 s"));
    daemon.notified.wait_for("the status", |line| {
        line.starts_with("STATUS=home: ecobee unreachable for ") && line.contains("; token good until ")
    });
}

#[test]
fn an_ecobee_that_answers_nonsense_is_trouble_but_not_unreachable() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::html(503).on(Endpoint::Refresh));
    daemon.signal("USR1");
    let status =
        daemon.notified.wait_for("the trouble", |line| line.starts_with("STATUS=home: trouble for "));
    assert!(!status.contains("unreachable"), "{status}");
}

#[test]
fn a_misspelt_log_filter_silences_nothing_and_is_complained_about() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.launch_with(&[], |command| {
        command.env("RUST_LOG", "inof");
    });
    daemon.log.wait_for("the complaint", |line| line.contains(" WARN ") && line.contains("\"inof\""));
    daemon.log.wait_for("the usual lines", |line| line.contains(" INFO ") && line.contains("listening at"));
}

#[test]
fn people_read_an_accounts_name_once_a_line() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let line = daemon.log.wait_for("the news", |line| line.contains("home: authorized; "));
    assert!(!line.contains("account=") && !line.contains("state="), "{line}");
}

#[test]
fn json_lines_have_the_account_and_its_state() {
    let stage = Stage::with_lifetime(HOUR);
    let launched = stage.launch_with(&[], |command| {
        command.args(["--log-format", "json"]);
    });
    let daemon = launched.ready();
    daemon.enter_pin(&stage.simulator, "home", stage.key_of("home"));
    let line = daemon.log.wait_for("the news", |line| line.contains("home: authorized; "));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["level"], &line["account"], &line["state"]),
        (&"INFO".into(), &"home".into(), &"authorized".into())
    );
}

/// One message of journald's native protocol, as far as single-line fields go.
fn fields(message: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = message;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if let Some((name, value)) = name.split_once('=') {
            fields.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (length, value) = rest.split_first_chunk::<8>().expect("a length");
        let length = usize::try_from(u64::from_le_bytes(*length)).expect("a small one");
        fields.push((name, String::from_utf8_lossy(&value[..length]).into_owned()));
        rest = &value[length + 1..];
    }
    fields
}

/// A journal of our own, for a daemon in a view of the file system of its own.
struct Journal {
    socket: UnixDatagram,
    daemon: Daemon,
}

impl Journal {
    /// `None` where that cannot be had. `stream` is a shell's word for what `JOURNAL_STREAM` is to say.
    fn of(stage: &Stage, stream: &str) -> Option<Self> {
        let folder = stage.folder.path().join("journal");
        fs::create_dir(&folder).expect("it is ours");
        let socket = UnixDatagram::bind(folder.join("socket")).expect("it binds");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let script = format!(
            "mkdir -p /run/systemd/journal && mount --bind \"$0\" /run/systemd/journal || exit 99; \
             JOURNAL_STREAM={stream} exec \"$@\""
        );
        let folder = folder.to_str().expect("a plain path");
        let around = ["unshare", "-m", "sh", "-c", &script, folder];
        let possible = Command::new(around[0]).args(&around[1..]).arg("true").status();
        if !possible.is_ok_and(|status| status.success()) {
            skipped("this user cannot make a mount namespace for a journal of its own");
            return None;
        }
        Some(Self { socket, daemon: stage.start_under(&around) })
    }
}

#[test]
fn a_journal_that_is_somebody_elses_is_not_written_to() {
    let stage = Stage::with_lifetime(HOUR);
    let Some(Journal { socket, daemon }) = Journal::of(&stage, "1:1") else { return };
    daemon.log.wait_for("lines for people", |line| line.contains(" INFO ") && line.contains("listening at"));
    socket.set_nonblocking(true).expect("it is ours");
    let nothing = socket.recv(&mut [0; 100]).expect_err("nothing was sent");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_journal_gets_priorities_and_fields() {
    let stage = Stage::with_lifetime(HOUR);
    let stream = "$(stat -L -c %d:%i /proc/self/fd/2)";
    let Some(Journal { socket, daemon }) = Journal::of(&stage, stream) else { return };
    let pin = daemon.pin("home");

    let mut buffer = vec![0; 65536];
    let message = loop {
        let length = socket.recv(&mut buffer).expect("the news of the PIN");
        let fields = fields(&buffer[..length]);
        if fields.iter().any(|(name, value)| name == "MESSAGE" && value.contains(&pin)) {
            break fields;
        }
    };
    for (name, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "ecobee-tokend"),
        ("ACCOUNT", "home"),
        ("STATE", "awaiting-user"),
    ] {
        assert!(message.contains(&(name.to_owned(), value.to_owned())), "{name}={value} in {message:?}");
    }
    assert_eq!(daemon.log.all(), Vec::<String>::new(), "and nothing goes there twice");
}

#[test]
fn a_stop_says_what_it_waits_for() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    let in_the_way = stage.hinder_saving("home");
    daemon.enter_pin(&stage.simulator, "home", KEY);
    daemon.log.wait_for("the failure", |line| line.contains("in memory only"));
    let log = daemon.log.clone();
    daemon.signal("TERM");
    let said = log.wait_for("what is awaited", |line| line.contains("stopping; "));
    assert!(said.contains("stopping; the saving of what is new is awaited, for "), "{said}");
    in_the_way.remove();
    let (status, _) = daemon.ended();
    assert!(status.success() && stage.stored("home").contains("refresh_token"));
}
