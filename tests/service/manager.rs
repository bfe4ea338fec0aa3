//! What a service manager does: it makes sockets, and hands them over.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use crate::harness::{Daemon, Stage};

/// Gives its standard input (and output) to the daemon as descriptors 3 (and 4), as systemd does.
const HAND_OVER_ONE: &str = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
const HAND_OVER_TWO: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";

/// Starts the daemon with these descriptors, one or two, and the configuration that was written; nothing is waited for.
pub(crate) fn launch_with(stage: &Stage, handed_over: Vec<OwnedFd>) -> Daemon {
    let script = if handed_over.len() == 1 { HAND_OVER_ONE } else { HAND_OVER_TWO };
    let around = ["sh", "-c", script, "sh"];
    let mut handed_over = handed_over.into_iter();
    let config = stage.folder.path().join("config.toml");
    Daemon::launch_with(&around, &config, stage.folder.path(), &stage.socket(), |command| {
        command.stdin(handed_over.next().expect("a descriptor at least"));
        if let Some(second) = handed_over.next() {
            command.stdout(second);
        }
    })
}

/// The door that a service manager keeps: it stays when the daemon goes.
pub(crate) struct Door(UnixListener);

impl Door {
    /// At the path that the stage's configuration names too.
    pub(crate) fn of(stage: &Stage) -> Self {
        stage.config();
        Self(UnixListener::bind(stage.socket()).expect("it binds"))
    }

    pub(crate) fn handed_over(&self) -> OwnedFd {
        self.0.try_clone().expect("a copy of the descriptor").into()
    }

    /// Starts the daemon behind it; nothing is waited for.
    pub(crate) fn launch(&self, stage: &Stage) -> Daemon {
        launch_with(stage, vec![self.handed_over()])
    }

    /// Starts the daemon behind it, and waits until it is ready.
    pub(crate) fn start(&self, stage: &Stage) -> Daemon {
        self.launch(stage).ready()
    }
}
