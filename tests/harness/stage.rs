//! All that the real daemon needs: a folder, a configuration, and the simulator beside it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ecobee_simulator::{Call, CallKind, Options, Simulator};
use ecobee_tokend::secret::SecretBytes;
use tempfile::TempDir;

use super::{Daemon, KEY, PATIENCE};

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

    /// It believes the certificate of its simulator, if that has one.
    pub(crate) fn trusting(self) -> Self {
        let Some(authority) = self.simulator.ca_pem() else { return self };
        let file = self.put("ca.pem", authority, 0o644);
        self.ecobee(&format!("ca-file = \"{}\"", file.display()))
    }

    /// More keys for `[socket]`.
    pub(crate) fn socket_section(mut self, toml: &str) -> Self {
        self.socket_extra = format!("{toml}\n");
        self
    }

    /// Every user of this machine may connect.
    pub(crate) fn open_to_the_world(self) -> Self {
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        self.socket_section("mode = \"0666\"\nallow-world = true")
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
        self.put("store.key", &material, 0o600);
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

    /// What the files contain whose names begin so, such as `home.json.broken-`.
    pub(crate) fn kept_aside(&self, beginning: &str) -> Vec<String> {
        let entries = fs::read_dir(self.state()).expect("the folder").map(|entry| entry.expect("an entry"));
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
            .map(|entry| fs::read_to_string(entry.path()).expect("text"))
            .collect()
    }

    /// Nothing of an account can be saved any more, not even by root, until this folder is removed.
    pub(crate) fn hinder_saving(&self, account: &str) -> Hindrance {
        let folder = self.state().join(format!(".{account}.json.new"));
        fs::create_dir_all(folder.join("in-the-way")).expect("it is ours");
        Hindrance(folder)
    }

    /// A file in the folder, with this mode.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }

    /// Waits until ecobee has seen such a call.
    pub(crate) fn wait_for_call(&self, kind: CallKind) {
        let came = |calls: &[Call]| calls.iter().any(|call| call.kind == kind);
        assert!(self.simulator.wait_for(PATIENCE, |_, calls| came(calls)), "no {kind:?} came");
    }

    /// Writes the configuration.
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
        self.put("config.toml", toml, 0o600)
    }

    /// The configuration, changed, in a file beside it.
    pub(crate) fn variant(&self, change: impl FnOnce(String) -> String) -> PathBuf {
        self.put("variant.toml", changed(&self.config(), change), 0o600)
    }

    /// Changes the configuration that was written, until the next start writes it anew.
    pub(crate) fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let path = self.folder.path().join("config.toml");
        fs::write(&path, changed(&path, change)).expect("it is ours");
    }

    /// Adds text to the end of the configuration that was written.
    pub(crate) fn append(&self, toml: &str) {
        self.rewrite(|text| text + toml);
    }

    /// Starts the daemon; nothing is waited for.
    pub(crate) fn launch(&self) -> Daemon {
        self.launch_with(&[], |_| {})
    }

    /// The same, within a program such as `prlimit --nofile=64`, and with changes to the command that starts it.
    pub(crate) fn launch_with(&self, around: &[&str], change: impl FnOnce(&mut Command)) -> Daemon {
        Daemon::launch_with(around, &self.config(), self.folder.path(), &self.socket(), change)
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        self.launch().ready()
    }

    /// The same, within another program.
    pub(crate) fn start_under(&self, around: &[&str]) -> Daemon {
        self.launch_with(around, |_| {}).ready()
    }

    /// Starts the daemon, enters its PIN, and waits for the token.
    pub(crate) fn start_authorized(&self) -> Daemon {
        let daemon = self.start();
        for (name, key) in &self.accounts {
            daemon.enter_pin(&self.simulator, name, key);
        }
        daemon
    }

    /// A daemon gets a grant for `home`, has it refused by ecobee as often as it takes, and stops once a PIN waits.
    pub(crate) fn store_a_refused_grant(&self) {
        let daemon = self.start_authorized();
        let token = daemon.token("home");
        self.simulator.revoke_all();
        daemon.post("/token/rejected", &token);
        daemon.pin("home");
        assert!(daemon.stop().success());
    }
}

/// What is in the way of saving.
pub(crate) struct Hindrance(PathBuf);

impl Hindrance {
    pub(crate) fn remove(self) {
        fs::remove_dir_all(self.0).expect("it is ours");
    }
}

fn changed(path: &Path, change: impl FnOnce(String) -> String) -> String {
    let before = fs::read_to_string(path).expect("it was written");
    let after = change(before.clone());
    assert_ne!(before, after, "the test changes nothing");
    after
}

/// A server whose PINs are polled each second and whose tokens live so long.
pub(crate) fn quick(lifetime: Duration) -> Options {
    Options { interval: Duration::from_secs(1), lifetime, ..Options::default() }
}
