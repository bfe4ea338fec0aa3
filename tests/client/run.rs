//! The client as a process: run to its end, or watched while it runs, in a pipe or on a terminal.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::harness::{Ended, PATIENCE, run_with};

/// The client, with nothing in its environment that would tell it where to go or how to write.
pub(crate) fn client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecobee-token"));
    for name in ["ECOBEE_TOKEND_SOCKET", "XDG_RUNTIME_DIR", "NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// The client of the daemon at this socket.
pub(crate) fn client_of(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = client();
    command.arg("--socket").arg(socket).args(arguments);
    command
}

/// Runs the client of this socket to its end.
pub(crate) fn run(socket: &Path, arguments: &[&str]) -> Ended {
    run_with(client_of(socket, arguments), "")
}

/// A client that is watched while it runs.
pub(crate) struct Watched {
    child: Child,
    heard: Arc<(Mutex<String>, Condvar)>,
}

impl Watched {
    /// In a pipe; both outputs together.
    pub(crate) fn in_a_pipe(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdout(writer.try_clone().expect("its second end")).stderr(writer);
        Self::listen(command, reader)
    }

    /// On a terminal of this width and height.
    pub(crate) fn on_a_terminal(mut command: Command, columns: u16, rows: u16) -> Self {
        let ours =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it opens");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).expect("it is there");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("it has a size");
        let copy = || theirs.try_clone().expect("descriptors are left");
        command.stdin(copy()).stdout(copy()).stderr(theirs);
        Self::listen(command, File::from(ours))
    }

    fn listen(mut command: Command, mut source: impl Read + Send + 'static) -> Self {
        let child = command.spawn().expect("the client starts");
        // Its end of the pipe or terminal must not live on here.
        drop(command);
        let heard = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let sink = Arc::clone(&heard);
        thread::spawn(move || {
            let mut room = [0; 4096];
            // A terminal whose other end is closed ends with an error.
            while let Ok(length @ 1..) = source.read(&mut room) {
                sink.0.lock().expect("no panic").push_str(&String::from_utf8_lossy(&room[..length]));
                sink.1.notify_all();
            }
            sink.0.lock().expect("no panic").push(END);
            sink.1.notify_all();
        });
        Self { child, heard }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has said this; all that it has said so far.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = self.heard.0.lock().expect("no panic");
        while !heard.contains(words) {
            let left = deadline.saturating_duration_since(Instant::now());
            let in_vain = left.is_zero() || heard.ends_with(END);
            assert!(!in_vain, "waited in vain for {words:?}; it said {heard:?}");
            heard = self.heard.1.wait_timeout(heard, left).expect("no panic").0;
        }
        heard.clone()
    }

    /// Waits for its end: the exit status, and all that it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it ends");
        let said = self.wait_for(&END.to_string());
        (status.code(), said.trim_end_matches(END).to_owned())
    }
}

/// Stands behind the last that was heard; no program says this.
const END: char = '\u{10ffff}';

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
