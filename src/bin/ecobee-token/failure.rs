//! Why there is nothing to print, and the exit status that says so to a script.

use std::fmt;
use std::process::ExitCode;

/// What a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Other = 1,
    Usage = 2,
    PinWanted = 3,
    NoDaemon = 69,
    NotNow = 75,
    NotAllowed = 77,
    CannotRun = 126,
    NotFound = 127,
}

/// A failure, in words for a person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    sentence: String,
}

impl Failure {
    /// `sentence` must be harmless already: it is printed as it stands.
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
