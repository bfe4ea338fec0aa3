//! `GET /events` of the real daemon: what a consumer that stays hears of.

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use harness::{Daemon, HOUR, KEY, PATIENCE, Stage};
use serde_json::Value;

/// A listener of few words: HTTP/1.0, so that the stream comes without chunks.
struct Listener {
    lines: BufReader<UnixStream>,
    /// All that it heard.
    heard: String,
}

impl Listener {
    fn of(daemon: &Daemon, path: &str) -> Self {
        let mut stream = UnixStream::connect(&daemon.socket).expect("it connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("it asks");
        let mut listener = Self { lines: BufReader::new(stream), heard: String::new() };
        while listener.line().is_some_and(|line| !line.is_empty()) {}
        listener
    }

    /// `None`: the stream is over.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("the daemon says something in time");
        self.heard += &line;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event.
    fn event(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(word) = line.strip_prefix("event: ") {
                word.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    /// The first event of which this holds.
    fn wait_for(&mut self, test: impl Fn(&str, &Value) -> bool) -> Value {
        loop {
            let (name, data) = self.event().expect("the stream goes on");
            if test(&name, &data) {
                return data;
            }
        }
    }
}

fn state(data: &Value) -> &str {
    data["status"]["state"].as_str().unwrap_or_default()
}

#[test]
fn a_listener_hears_the_whole_story() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    let mut listener = Listener::of(&daemon, "/events");
    let (first, status) = listener.event().expect("the status");
    assert_eq!((first.as_str(), &status["version"]), ("status", &env!("CARGO_PKG_VERSION").into()));

    daemon.enter_pin(&stage.simulator, "home", KEY);
    let authorized = listener.wait_for(|_, data| state(data) == "authorized");
    assert_eq!(authorized["account"], "home");
    assert!(authorized["status"]["token"]["expires_at"].is_string(), "{authorized}");
    assert!(authorized["status"]["pin"].is_null(), "{authorized}");

    let answer = daemon.post("/refresh", "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    listener.wait_for(|_, data| state(data) == "refreshing");
    listener.wait_for(|_, data| state(data) == "authorized");
}

#[test]
fn a_reader_of_tokens_is_no_event() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let mut listener = Listener::of(&daemon, "/accounts/home/events");
    listener.event().expect("the status");
    for _ in 0..100 {
        daemon.get("/token");
    }
    daemon.post("/refresh", "");
    let (_, next) = listener.event().expect("the refresh");
    assert_eq!(next["state"], "refreshing", "nothing before that was a change: {next}");
}

#[test]
fn accounts_that_a_reload_brings_and_takes_are_told() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["barn", "home"]);
    let daemon = stage.start();
    for name in ["barn", "home"] {
        daemon.pin(name);
    }
    let mut all = Listener::of(&daemon, "/events");
    let mut barn = Listener::of(&daemon, "/accounts/barn/events");
    all.event().expect("the status");
    barn.event().expect("the status");

    stage.rewrite(|text| text.replace("accounts.barn", "accounts.shed"));
    daemon.signal("HUP");

    let is_of = |name: &'static str| move |data: &Value| data["account"] == name;
    let (of_barn, of_shed) = (is_of("barn"), is_of("shed"));
    let (mut gone, mut came) = (false, false);
    while !(gone && came) {
        let (name, data) = all.event().expect("the stream goes on");
        gone |= name == "removed" && of_barn(&data);
        came |= name == "account" && of_shed(&data);
    }
    barn.wait_for(|name, _| name == "removed");
    assert_eq!(barn.event(), None, "nothing more can be told of it");
}

#[test]
fn the_end_of_the_daemon_is_the_end_of_its_streams_and_not_held_up_by_them() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    let mut listeners: Vec<_> =
        ["/events", "/accounts/home/events"].map(|path| Listener::of(&daemon, path)).into();
    for listener in &mut listeners {
        listener.event().expect("the status");
    }
    let before = Instant::now();
    assert!(daemon.stop().success());
    assert!(before.elapsed() < Duration::from_secs(4), "{:?}: a listener was waited for", before.elapsed());
    for listener in &mut listeners {
        assert_eq!(listener.event(), None);
        assert!(listener.heard.ends_with(": the daemon stops\nretry: 1000\n\n"), "{}", listener.heard);
    }
}
