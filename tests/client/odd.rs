//! Daemons that answer oddly, or not at all.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Ended, run_with};
use crate::run::{client_of, run};

/// Something that listens where the daemon should, and treats each connection as told.
struct Pretender {
    folder: TempDir,
}

impl Pretender {
    fn new(treat: impl Fn(UnixStream) + Send + 'static) -> Self {
        let folder = TempDir::new().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                treat(stream);
            }
        });
        Self { folder }
    }

    /// Reads the request's head and gives this answer.
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |mut stream| {
            hear(&mut stream);
            let _ = stream.write_all(&answer);
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(&self.socket(), arguments)
    }
}

fn hear(stream: &mut UnixStream) -> String {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
        heard.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn what_makes_no_sense_is_an_error_and_never_printed() {
    for (arguments, bytes) in [
        (&[][..], "SSH-2.0-OpenSSH_9.2\r\n".to_owned()),
        (&[], "\u{1b}[2J\r\n\r\n".repeat(9)),
        (&[], "x".repeat(100_000)),
        (&[], answer("200 OK", "")),
        (&[], answer("200 OK", "\n")),
        (&[], answer("200 OK", "two words\n")),
        (&[], answer("200 OK", "two\nlines\n")),
        (&[], answer("200 OK", "caf\u{e9}\n")),
        (&[], answer("200 OK", "bell\u{7}\n")),
        (&["exec", "--", "env"], answer("200 OK", "bell\u{7}\n")),
        (&["--json"], answer("200 OK", "token\n")),
        (&["--json"], answer("200 OK", "{}\n")),
        (&["--json"], answer("200 OK", r#"{"access_token": 1, "token_type": "Bearer"}"#)),
        (&["--json"], answer("200 OK", r#"{"access_token": "a\nb", "token_type": "Bearer"}"#)),
        (&["refresh", "--header"], answer("200 OK", r#"{"access_token": "a", "token_type": "X: y\r\nB"}"#)),
        (&["--header"], answer("200 OK", "Authorization: Bearer\n")),
        (&["--header"], answer("200 OK", "Authorization: Bearer a b\n")),
        (&["--header"], answer("200 OK", "Authorization: Bearer a\r\nX-Other: b\n")),
        (&["--header"], answer("200 OK", "Cookie: a b\n")),
        (&["curl", "--", "--version"], answer("200 OK", "Authorization: Bearer a\nurl = http://x\n")),
        (&["pin"], answer("200 OK", "[]")),
        (&["pin", "--json"], answer("200 OK", "{\"pin\": \"\u{1}\"}")),
        (&["status"], answer("200 OK", "{}")),
        (&["status"], answer("200 OK", &"[".repeat(100_000))),
        (&["status", "--json"], answer("200 OK", "<html>")),
        (&[], answer("500 Oops", "<html>")),
        (&[], answer("302 Found", "")),
    ] {
        let said = Pretender::answering(bytes).run(arguments).with(1);
        assert_eq!(said.stdout, "", "{arguments:?}");
        assert_eq!(said.stderr.lines().count(), 1, "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.contains(['\u{1b}', '\u{7}']), "{}", said.stderr);
    }
}

#[test]
fn an_answer_may_come_in_chunks_or_last_until_the_end() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\ntok\r\n3\r\nen\n\r\n0\r\n\r\n";
    assert_eq!(Pretender::answering(chunked).run(&[]).with(0).stdout, "token\n");
    assert_eq!(Pretender::answering("HTTP/1.0 200 OK\r\n\r\ntoken\r\n").run(&[]).with(0).stdout, "token\n");
}

#[test]
fn words_of_the_daemon_cannot_act_on_the_terminal() {
    let escape = r"\u001b[2J\u009b31m\u202e\r\n";
    let pin = format!(r#"{{"pin": "{escape}", "enter_at": "{escape}", "expires_in": 9, "code": "no-pin"}}"#);
    let problem = |code: &str| format!(r#"{{"code": "{code}", "detail": "{escape}", {}"#, &pin[1..]);
    let account = format!(
        r#"{{"state": "{escape}", "last_error": "{escape}", "last_refresh_at": "{escape}", "pin": {pin}}}"#
    );
    let status = format!(r#"{{"accounts": {{"{escape}": {account}}}}}"#);
    for (arguments, code, bytes) in [
        (
            &[][..],
            3,
            answer("503 X", &problem("authorization-required").replace(", \"code\": \"no-pin\"", "")),
        ),
        (&[], 75, answer("503 X", &problem("token-unavailable").replace(", \"code\": \"no-pin\"", ""))),
        (&["pin"], 0, answer("200 OK", &pin)),
        (&["pin", "--json"], 0, answer("200 OK", &pin)),
        (&["authorize"], 0, answer("200 OK", &pin)),
        (&["status"], 0, answer("200 OK", &status)),
        (&["status", "--json"], 0, answer("200 OK", &status)),
    ] {
        let said = Pretender::answering(bytes).run(arguments).with(code);
        let all = said.stdout + &said.stderr;
        let acting = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
        assert!(!all.contains(acting), "{arguments:?}: {all:?}");
    }
}

#[test]
fn a_daemon_that_hangs_up_may_be_restarting() {
    for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ntoken"] {
        let said = Pretender::answering(begun).run(&[]).with(75);
        assert!(said.stderr.contains("hung up") && said.stderr.contains("try again"), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
}

#[test]
fn who_is_turned_away_at_the_door_hears_why() {
    let words = r#"{"code": "too-many-requests", "detail": "No more connections now."}"#;
    let bytes = answer("429 X\r\nretry-after: 61", words);
    // It closes without having read the request.
    let pretender = Pretender::new(move |mut stream| drop(stream.write_all(bytes.as_bytes())));
    let said = pretender.run(&["--account", "home"]).with(75);
    assert!(said.stderr.contains("No more connections now. Try again in 1m1s."), "{}", said.stderr);
}

#[test]
fn nobody_waits_for_ever() {
    let silent = Pretender::new(|mut stream| {
        hear(&mut stream);
        thread::spawn(move || stream.read_exact(&mut [0]));
    });
    let dripping = Pretender::new(|mut stream| {
        thread::spawn(move || {
            while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
                thread::park_timeout(Duration::from_millis(50));
            }
        });
    });
    // Nobody accepts, and the queue is full.
    let folder = TempDir::new().expect("a folder");
    let full = folder.path().join("socket");
    let listener = UnixListener::bind(&full).expect("a socket");
    rustix::net::listen(&listener, 0).expect("a short queue");
    let _in_the_queue = UnixStream::connect(&full).expect("there is room for one");

    let begun = Instant::now();
    thread::scope(|scope| {
        for socket in [silent.socket(), dripping.socket(), full.clone()] {
            scope.spawn(move || {
                let said = run_with(client_of(&socket, &["--wait", "0s"]), "").with(75);
                assert!(said.stderr.contains("it may hang"), "{}", said.stderr);
            });
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
