//! What the daemon is measured by: servers that do nothing but answer ([`ecobee_yardstick`]), as this program again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ecobee_yardstick::READY;
use rustix::process::{Pid, Signal, kill_process};

use crate::counting::Running;

/// A yardstick as a running process.
pub(crate) struct Yardstick {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Yardstick {
    /// Starts one that answers everything with these bytes.
    pub(crate) fn start(kind: &str, folder: &Path, answer: &[u8]) -> Self {
        Self::start_under(&[], kind, folder, answer)
    }

    /// The same, within a program that counts.
    pub(crate) fn start_under(around: &[String], kind: &str, folder: &Path, answer: &[u8]) -> Self {
        let (socket, file) = (folder.join(kind), folder.join(format!("{kind}-answer")));
        let _ = fs::remove_file(&socket);
        fs::write(&file, answer).expect("the folder is ours");
        let this = std::env::current_exe().expect("a program knows where it is");
        let mut words = around.iter().map(AsRef::as_ref).chain([this.as_os_str()]);
        let mut child = Command::new(words.next().expect("at least this program"))
            .args(words)
            .args(["--yardstick".as_ref(), kind.as_ref(), socket.as_os_str(), file.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the yardstick starts");
        let mut line = String::new();
        let told = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        assert!(told.is_ok() && line.trim() == READY, "the {kind} yardstick has not started");
        Self { child, socket }
    }
}

impl Running for Yardstick {
    fn socket(&self) -> &Path {
        &self.socket
    }

    fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
