//! Whatever bytes come: what has to hold of each door of the house. `tests/fuzz` finds the bytes, `tests/corpora.rs`
//! tries those that were kept.

#[path = "trials/answers.rs"]
pub(crate) mod answers;
#[path = "trials/configuration.rs"]
pub(crate) mod configuration;
#[path = "trials/requests.rs"]
pub(crate) mod requests;
#[path = "trials/stored.rs"]
pub(crate) mod stored;

use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A folder in memory where there is such a thing: many thousand files a second go through it.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// No time passes in it while anything can happen, so that nobody waits for a deadline.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
}

/// Words that a person reads on a terminal and in the journal.
fn assert_fit_for_a_person(words: &str) {
    assert!(!words.trim().is_empty(), "no words at all");
    let strange = words.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(strange, None, "in {words:?}");
}
