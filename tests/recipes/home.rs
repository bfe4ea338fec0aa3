//! A newcomer's home: an ordinary user with nothing but the programs, on a machine whose way to `api.ecobee.com` leads to
//! the simulator. Nothing in a recipe is changed for it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{Options, Simulator, Tls};
use tempfile::TempDir;

use crate::harness::{HOUR, KEY, PATIENCE, quick, run_with};

/// Root has other folders than people have: in a user namespace of its own it is one of them.
const AS_A_PERSON: [&str; 4] = ["unshare", "--user", "--map-user=1000", "--map-group=1000"];

/// Node takes no proxy from its environment.
const WAY_OF_NODE: &str = "
const tls = require('tls');
const connect = tls.connect;
tls.connect = (options, ...rest) => {
  if (options.host !== 'api.ecobee.com') return connect(options, ...rest);
  return connect({ ...options, host: '127.0.0.1', port: PORT, servername: 'api.ecobee.com' }, ...rest);
};
";

pub(crate) struct Home {
    folder: TempDir,
    pub(crate) simulator: Simulator,
    proxy: SocketAddr,
    daemon: Option<Child>,
}

impl Home {
    /// `None`, with the reason, where nobody can be made an ordinary user.
    pub(crate) fn new() -> Result<Self, String> {
        if rustix::process::geteuid().is_root() {
            let [program, words @ ..] = AS_A_PERSON;
            let probe = Command::new(program).args(words).arg("true").output();
            if !probe.as_ref().is_ok_and(|output| output.status.success()) {
                return Err(format!("root cannot become an ordinary user here: {probe:?}"));
            }
        }
        let options = Options { tls: Tls::Good, ..quick(HOUR) };
        let simulator = Simulator::start(options).expect("the simulator starts");
        let proxy = proxy_to(simulator.address());
        let folder = TempDir::new().expect("a temporary folder");
        let home = Self { folder, simulator, proxy, daemon: None };
        for name in ["bin", "home", "home/bin", "run", "etc"] {
            fs::create_dir(home.at(name)).expect("it is ours");
        }
        // As the session of a user has it.
        fs::set_permissions(home.at("run"), fs::Permissions::from_mode(0o700)).expect("it is ours");
        let built = Path::new(env!("CARGO_BIN_EXE_ecobee-tokend")).parent().expect("a folder");
        for name in ["ecobee-tokend", "ecobee-token"] {
            std::os::unix::fs::symlink(built.join(name), home.at("bin").join(name)).expect("it is ours");
        }
        fs::write(home.at("etc/ca.pem"), home.simulator.ca_pem().expect("it has TLS")).expect("it is ours");
        let way = WAY_OF_NODE.replace("PORT", &home.simulator.address().port().to_string());
        fs::write(home.at("etc/way.js"), way).expect("it is ours");
        Ok(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the newcomer's.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.at("home").join(name)
    }

    /// The socket of the daemon.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at("run/ecobee-tokend/socket")
    }

    pub(crate) fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is ours");
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    /// A command in the environment of this user's session.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.bare_command(words);
        let inherited = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{inherited}", self.at("bin").display()))
            .env("XDG_RUNTIME_DIR", self.at("run"));
        command
    }

    /// A command as cron runs it.
    pub(crate) fn cron_command(&self, words: &[&str]) -> Command {
        let mut command = self.bare_command(words);
        command
            .env("PATH", format!("{}:/usr/bin:/bin", self.at("bin").display()))
            .env("SHELL", "/bin/sh")
            .env("LOGNAME", "newcomer");
        command
    }

    fn bare_command(&self, words: &[&str]) -> Command {
        let mut words: Vec<&str> = words.to_vec();
        if rustix::process::geteuid().is_root() {
            words.splice(..0, AS_A_PERSON);
        }
        let mut command = Command::new(words[0]);
        let authority = self.at("etc/ca.pem");
        command
            .args(&words[1..])
            .env_clear()
            .current_dir(self.at("home"))
            .env("HOME", self.at("home"))
            .env("LANG", "C.UTF-8")
            .env("HTTPS_PROXY", format!("http://{}", self.proxy))
            .env("SSL_CERT_FILE", &authority)
            .env("CURL_CA_BUNDLE", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority)
            .env("NODE_OPTIONS", format!("--require {}", self.at("etc/way.js").display()));
        command
    }

    /// Starts what is to go on running: the daemon, as this block says.
    pub(crate) fn start_daemon(&mut self, block: &str) {
        assert!(self.daemon.is_none(), "one runs already");
        let mut command = self.command(&["bash", "-euo", "pipefail", "-c", block]);
        let daemon =
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.daemon = Some(daemon.spawn().expect("it starts"));
        wait_for("the daemon's socket", || self.socket().exists());
    }

    pub(crate) fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let group = i32::try_from(daemon.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = rustix::process::kill_process_group(group.expect("it runs"), rustix::process::Signal::TERM);
        daemon.wait().expect("it ends");
    }

    /// Waits for the PIN on show.
    pub(crate) fn pin(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = run_with(self.command(&["ecobee-token", "pin"]), "");
            if let Some(pin) = shown.stdout.strip_prefix("enter PIN ") {
                return pin.split(' ').next().unwrap_or_default().to_owned();
            }
            assert!(Instant::now() < deadline, "waited in vain for a PIN: {shown:?}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Enters the PIN that was issued last, as soon as there is one.
    pub(crate) fn enter_pin(&self) {
        wait_for("a PIN", || self.simulator.approve(ecobee_simulator::Pin::LatestOf(KEY.into())).is_ok());
    }
}

fn wait_for(what: &str, test: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.stop_daemon();
    }
}

/// A proxy that connects everybody with the simulator.
fn proxy_to(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || tunnel(client, server));
        }
    });
    address
}

fn tunnel(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"CONNECT api.ecobee.com:443 ") {
        return client.write_all(b"HTTP/1.1 403 Only ecobee is known here\r\n\r\n");
    }
    let server = TcpStream::connect(server)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
