//! The daemon as a running process: started, asked, stopped and killed as a test likes.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ecobee_simulator::{Pin, Simulator};
use serde_json::Value;

use super::http::{Response, ask, ask_json, post};
use super::{Lines, PATIENCE, binary};

/// Everything, except that every connection is noted at `debug`.
const LOG_FILTER: &str = "ecobee_tokend=trace,ecobee_tokend::socket=info";

/// A failed test shows so many lines of the daemon's log.
const SHOWN_AT_A_FAILURE: usize = 60;

/// How the daemon says that it is ready, at the start and after each reload.
const READY: &str = "READY=1";

/// The daemon as a running process.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) socket: PathBuf,
    pub(crate) log: Lines,
    pub(crate) notified: Lines,
    notify_path: PathBuf,
    logging: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts the binary; nothing is waited for.
    pub(crate) fn launch(config: &Path, folder: &Path, socket: &Path) -> Self {
        Self::launch_with(&[], config, folder, socket, |_| {})
    }

    /// The same, within another program, and with changes to the command that starts it.
    pub(crate) fn launch_with(
        around: &[&str],
        config: &Path,
        folder: &Path,
        socket: &Path,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let notify_path = folder.join("notify");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).expect("a socket for notifications");
        let notified = Lines::default();
        let (sink, log) = (notified.clone(), Lines::default());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Nothing at all is what its end is told with.
            while let Ok(length @ 1..) = notify.recv(&mut buffer) {
                for line in String::from_utf8_lossy(&buffer[..length]).lines() {
                    sink.push(line.to_owned());
                }
            }
        });
        let daemon = binary().as_os_str();
        let mut words = around.iter().map(OsStr::new).chain([daemon]);
        let mut command = Command::new(words.next().unwrap_or(daemon));
        command
            .args(words)
            .arg("--config")
            .arg(config)
            .env("NOTIFY_SOCKET", &notify_path)
            .env("RUST_LOG", LOG_FILTER)
            .env_remove("JOURNAL_STREAM")
            .env_remove("STATE_DIRECTORY")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("the daemon starts");
        let stderr = child.stderr.take().expect("its standard error is ours");
        let sink = log.clone();
        let logging = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.push(line);
            }
        });
        Self { child, socket: socket.to_owned(), log, notified, notify_path, logging: Some(logging) }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(self) -> Self {
        self.notified.wait_for("READY=1", |line| line == READY);
        self
    }

    /// Has it read its configuration again, and waits until it says that it has.
    pub(crate) fn reload(&self) {
        let count = |lines: &[String]| lines.iter().filter(|line| *line == READY).count();
        let before = count(&self.notified.all());
        self.signal("HUP");
        self.notified.wait_until("the end of the reload", |lines| (count(lines) > before).then_some(()));
    }

    /// Waits until its status, as systemd is told, is such a one.
    pub(crate) fn wait_for_its_status(&self, what: &str, test: impl Fn(&str) -> bool) {
        self.notified.wait_until(what, |lines| {
            let last = lines.iter().rev().find_map(|line| line.strip_prefix("STATUS="));
            last.filter(|status| test(status)).map(drop)
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        ask(&self.socket, &format!("GET {path}")).expect("the daemon answers")
    }

    pub(crate) fn get_json(&self, path: &str) -> Response {
        ask_json(&self.socket, &format!("GET {path}")).expect("the daemon answers")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        post(&self.socket, path, body).expect("the daemon answers")
    }

    /// The token that a plain reader gets, waiting for one if need be.
    pub(crate) fn token(&self, account: &str) -> String {
        let answer = self.get(&format!("/accounts/{account}/token?wait=60"));
        assert_eq!(answer.status, 200, "no token for {account}: {}", answer.body);
        answer.text().to_owned()
    }

    pub(crate) fn status_of(&self, account: &str) -> Value {
        self.get(&format!("/accounts/{account}/status")).json()
    }

    pub(crate) fn state_of(&self, account: &str) -> String {
        self.status_of(account)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until something is true of an account's status.
    pub(crate) fn wait_for_status(&self, account: &str, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status_of(account);
            if test(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; the status is {status:#}");
            thread::yield_now();
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for a PIN, and returns it.
    pub(crate) fn pin(&self, account: &str) -> String {
        let status = self.wait_for_status(account, "a PIN", |status| status["pin"]["pin"].is_string());
        status["pin"]["pin"].as_str().unwrap_or_default().to_owned()
    }

    /// Enters the PIN on show, as a person does, and waits for the token.
    pub(crate) fn enter_pin(&self, simulator: &Simulator, account: &str, key: &str) -> String {
        let pin = self.pin(account);
        let entered = simulator.approve(Pin::LatestOf(key.to_owned())).expect("the simulator knows the PIN");
        assert_eq!(pin, entered, "the PIN on show is the one that ecobee issued last");
        self.token(account)
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill runs").success(), "the signal was not sent");
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("it ends")
    }

    /// SIGKILL: no word of farewell.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end without doing anything to it.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().expect("it ends");
        if let Some(logging) = self.logging.take() {
            logging.join().expect("the reader of the log lives");
        }
        (status, self.log.all())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = UnixDatagram::unbound().and_then(|sender| sender.send_to(&[], &self.notify_path));
        if thread::panicking() {
            let told = self.log.all();
            let telling: Vec<_> = told.iter().filter(|line| !line.contains("what=Status")).collect();
            let last = telling.len().saturating_sub(SHOWN_AT_A_FAILURE);
            eprintln!("the end of the daemon's log:");
            for line in &telling[last..] {
                eprintln!("  {line}");
            }
        }
    }
}
