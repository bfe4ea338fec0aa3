//! A folder with everything the real daemon needs, the simulator beside it, and the daemon itself: started,
//! killed and started again as a test likes.

#![allow(dead_code, reason = "each test file uses what it needs of this")]

pub(crate) mod http;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ecobee_simulator::{Options, Pin, Simulator};
use ecobee_tokend::secret::SecretBytes;
use http::{Response, ask, ask_json, post};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything that a test waits for should take, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Everything, except that every connection is noted at `debug`.
const LOG_FILTER: &str = "ecobee_tokend=trace,ecobee_tokend::socket=info";

/// A failed test shows so many lines of the daemon's log.
const SHOWN_AT_A_FAILURE: usize = 60;

/// The API key of the account `home`. Made up.
pub(crate) const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

/// The daemon's binary: cargo tells tests where it is, an example says so itself.
static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// For an example, which has built the daemon: that is where it lies.
pub(crate) fn use_binary(path: PathBuf) {
    BINARY.set(path).expect("said once, before the first daemon starts");
}

/// The daemon's binary.
pub(crate) fn binary() -> &'static Path {
    BINARY.get_or_init(|| {
        let told = option_env!("CARGO_BIN_EXE_ecobee-tokend").map(PathBuf::from);
        told.expect("cargo tells tests, and an example says it before it starts a daemon")
    })
}

/// Says so even where the test runner keeps the output of a test to itself.
pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Lines that come from elsewhere, and a way to wait for one.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    /// Whoever waits in vain panics while it looks at the lines, and they are still to be shown then.
    fn look(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.look().push(line);
        self.0.1.notify_all();
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.look().clone()
    }

    /// Waits for a line of which the test holds.
    pub(crate) fn wait_for(&self, what: &str, test: impl Fn(&str) -> bool) -> String {
        self.wait_until(what, |lines| lines.iter().find(|line| test(line)).cloned())
    }

    /// Waits until there is something to be found in the lines.
    pub(crate) fn wait_until<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.look();
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the lines are:\n{}", lines.join("\n"));
            lines = self.0.1.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A folder, a simulator, a configuration.
pub(crate) struct Stage {
    pub(crate) folder: TempDir,
    pub(crate) simulator: Simulator,
    accounts: Vec<(String, String)>,
    extra: String,
    ecobee_extra: String,
    socket_extra: String,
    store_extra: String,
    account_extra: String,
    refresh: String,
    url: String,
    request_timeout: String,
}

impl Stage {
    /// The account `home` at a simulator with these options.
    pub(crate) fn new(options: Options) -> Self {
        let simulator = Simulator::start(options).expect("the simulator starts");
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            url: simulator.url(),
            simulator,
            accounts: vec![("home".to_owned(), KEY.to_owned())],
            extra: String::new(),
            ecobee_extra: String::new(),
            socket_extra: String::new(),
            store_extra: String::new(),
            account_extra: String::new(),
            refresh: "ahead = \"10m\"\nretry-initial = \"1s\"\n".to_owned(),
            request_timeout: "10s".to_owned(),
        }
    }

    /// Tokens that live so long; PINs polled each second.
    pub(crate) fn with_lifetime(lifetime: Duration) -> Self {
        Self::new(quick(lifetime))
    }

    /// These accounts, each with a made-up API key of its own.
    pub(crate) fn accounts(mut self, names: &[&str]) -> Self {
        self.accounts =
            names.iter().map(|&name| (name.to_owned(), format!("key-of-{name}-0123456789"))).collect();
        self
    }

    /// These accounts, all with the same API key.
    pub(crate) fn accounts_with_one_key(mut self, names: &[String], key: &str) -> Self {
        self.accounts = names.iter().map(|name| (name.clone(), key.to_owned())).collect();
        self
    }

    /// More of the configuration's top level; stands first in the file.
    pub(crate) fn top_level(mut self, toml: &str) -> Self {
        self.extra = format!("{toml}\n");
        self
    }

    /// More keys for `[ecobee]`.
    pub(crate) fn ecobee(mut self, toml: &str) -> Self {
        self.ecobee_extra = format!("{toml}\n");
        self
    }

    /// More keys for `[socket]`.
    pub(crate) fn socket_section(mut self, toml: &str) -> Self {
        self.socket_extra = format!("{toml}\n");
        self
    }

    /// More keys for `[store]`.
    pub(crate) fn store_section(mut self, toml: &str) -> Self {
        self.change_store(toml);
        self
    }

    /// Other keys for `[store]` than so far, from the next start on.
    pub(crate) fn change_store(&mut self, toml: &str) {
        self.store_extra = format!("{toml}\n");
    }

    /// The store is encrypted with a key from a file, from the next start on; what that is made of. Made up.
    pub(crate) fn keep_store_key(&mut self) -> SecretBytes {
        let material: Vec<u8> = (0..32).map(|_| fastrand::u8(..)).collect();
        fs::write(self.folder.path().join("store.key"), &material).expect("it is ours");
        self.change_store("key-file = \"store.key\"");
        SecretBytes::copy_of(&material)
    }

    /// An account that the configuration has no longer, from the next start on.
    pub(crate) fn leave_out(&mut self, account: &str) {
        self.accounts.retain(|(name, _)| name != account);
    }

    /// More keys for each account.
    pub(crate) fn each_account(mut self, toml: &str) -> Self {
        self.account_extra = format!("{toml}\n");
        self
    }

    /// The `[refresh]` section.
    pub(crate) fn refresh(mut self, toml: &str) -> Self {
        self.refresh = format!("{toml}\n");
        self
    }

    /// Another way to the simulator than straight to it.
    pub(crate) fn by_way_of(mut self, url: String) -> Self {
        self.url = url;
        self
    }

    /// How long a call to ecobee may take, such as `5s`.
    pub(crate) fn request_timeout(mut self, length: &str) -> Self {
        length.clone_into(&mut self.request_timeout);
        self
    }

    pub(crate) fn key_of(&self, account: &str) -> &str {
        let found = self.accounts.iter().find(|(name, _)| name == account);
        &found.expect("an account of this stage").1
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The stored record of an account, as text.
    pub(crate) fn stored(&self, account: &str) -> String {
        fs::read_to_string(self.state().join(format!("{account}.json"))).unwrap_or_default()
    }

    pub(crate) fn config(&self) -> PathBuf {
        let mut toml = self.extra.clone();
        write!(
            toml,
            "[ecobee]\nurl = \"{}\"\nrequest-timeout = \"{}\"\n{}[socket]\npath = \"{}\"\n{}[store]\n\
             directory = \"{}\"\n{}[refresh]\n{}",
            self.url,
            self.request_timeout,
            self.ecobee_extra,
            self.socket().display(),
            self.socket_extra,
            self.state().display(),
            self.store_extra,
            self.refresh
        )
        .expect("text grows");
        for (name, key) in &self.accounts {
            write!(toml, "[accounts.{name}]\napi-key = \"{key}\"\n{}", self.account_extra)
                .expect("text grows");
        }
        let path = self.folder.path().join("config.toml");
        fs::write(&path, toml).expect("the configuration is written");
        path
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        self.start_under(&[])
    }

    /// The same, within a program such as `prlimit --nofile=64`.
    pub(crate) fn start_under(&self, around: &[&str]) -> Daemon {
        let daemon = Daemon::launch_under(around, &self.config(), self.folder.path(), &self.socket());
        daemon.notified.wait_for("READY=1", |line| line == "READY=1");
        daemon
    }

    /// Starts the daemon, enters its PIN, and waits for the token.
    pub(crate) fn start_authorized(&self) -> Daemon {
        let daemon = self.start();
        for (name, key) in &self.accounts {
            daemon.enter_pin(&self.simulator, name, key);
        }
        daemon
    }
}

/// A server whose PINs are polled each second and whose tokens live so long.
pub(crate) fn quick(lifetime: Duration) -> Options {
    Options { interval: Duration::from_secs(1), lifetime, ..Options::default() }
}

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
        Self::launch_under(&[], config, folder, socket)
    }

    /// The same, within another program.
    pub(crate) fn launch_under(around: &[&str], config: &Path, folder: &Path, socket: &Path) -> Self {
        Self::launch_with(around, config, folder, socket, |_| {})
    }

    /// The same, with changes to the command that starts it.
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
