//! A folder with everything the real daemon needs, the simulator beside it, and the daemon itself: started,
//! killed and started again as a test likes.

#![allow(dead_code, unused_imports, reason = "each test file uses what it needs of this")]

mod daemon;
pub(crate) mod http;
mod lines;
mod run;
mod stage;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use daemon::Daemon;
pub(crate) use lines::Lines;
pub(crate) use run::{Ended, run_with, tokend, tokend_command};
pub(crate) use stage::{Stage, quick};

/// Longer than anything that a test waits for should take, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a token lives in most tests, as at ecobee: none of them lasts until it is refreshed.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

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

/// What `play` brings, played by another user; nothing, said aloud, where that cannot be done.
pub(crate) fn as_user<T: Send + 'static>(uid: u32, play: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can play another user");
        return None;
    }
    let other = thread::spawn(move || {
        rustix::thread::set_thread_uid(rustix::thread::Uid::from_raw(uid)).expect("root may");
        play()
    });
    Some(other.join().expect("the other user's part is played"))
}

/// Both ends of a crowd's connections need descriptors.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit can be raised to the hard one");
}
