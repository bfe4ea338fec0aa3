//! Programs that are run to their end.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use super::binary;

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// It ended with this status.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// It said these words among others.
    #[track_caller]
    pub(crate) fn telling(self, words: &str) -> Self {
        assert!(self.said().contains(words), "{words:?} is not in {self:#?}");
        self
    }

    /// It said nothing of this.
    #[track_caller]
    pub(crate) fn hiding(self, secret: &str) -> Self {
        assert!(!self.said().contains(secret), "{secret:?} is in {self:#?}");
        self
    }

    /// All that it said.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn run_with(mut command: Command, input: &str) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is ours");
    let input = input.to_owned();
    // What does not read its input is no failure.
    let writing = thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("the writer ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// `ecobee-tokend COMMAND --config CONFIG WORDS…`, with nothing in its environment that would tell it more.
pub(crate) fn tokend_command(command: &str, config: &Path, words: &[&str]) -> Command {
    let mut tokend = Command::new(binary());
    tokend.arg(command).arg("--config").arg(config).args(words);
    let proxies = ["https_proxy", "http_proxy", "all_proxy", "no_proxy"];
    for name in proxies.into_iter().chain(["notify_socket", "credentials_directory", "state_directory"]) {
        tokend.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    tokend
}

/// The same, run to its end.
pub(crate) fn tokend(command: &str, config: &Path, words: &[&str]) -> Ended {
    run_with(tokend_command(command, config, words), "")
}
