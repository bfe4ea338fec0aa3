//! What the kernel says of a process.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Daemon, PATIENCE};

/// A process by its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self(daemon.pid())
    }

    /// Bytes of the kernel's own account, such as `Pss`.
    pub(crate) fn memory(self, name: &str) -> f64 {
        let text =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0)).expect("a living process of ours");
        let kibibytes = number_of(&text, name).unwrap_or_else(|| panic!("the kernel does not say {name}"));
        kibibytes as f64 * 1024.0
    }

    pub(crate) fn threads(self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).map_or(0, Iterator::count)
    }

    /// How often any of the threads went to sleep of its own accord, and so was woken.
    pub(crate) fn sleeps(self) -> u64 {
        self.of_threads("status", |text| number_of(text, "voluntary_ctxt_switches").unwrap_or(0)).sum()
    }

    /// The time that the threads which live have had a processor.
    pub(crate) fn processor_time(self) -> Duration {
        let nanoseconds =
            |text: &str| text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
        Duration::from_nanos(self.of_threads("schedstat", nanoseconds).sum())
    }

    fn of_threads(self, file: &'static str, read: impl Fn(&str) -> u64) -> impl Iterator<Item = u64> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        // A thread may end before it is looked at.
        threads.filter_map(move |thread| {
            fs::read_to_string(thread.path().join(file)).ok().map(|text| read(&text))
        })
    }

    /// Waits until those threads have gone that write and look names up.
    pub(crate) fn settle(self) {
        let deadline = Instant::now() + PATIENCE;
        while self.threads() > 1 {
            assert!(Instant::now() < deadline, "{} threads stay", self.threads());
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// The number in a line such as `Pss:    123 kB`.
fn number_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
