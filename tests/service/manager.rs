//! What a service manager does: hands sockets over, and waits for notifications.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use crate::harness::{Daemon, Stage};

/// Gives its standard input (and output) to the daemon as descriptors 3 (and 4), as systemd does.
const HAND_OVER_ONE: &str = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
const HAND_OVER_TWO: &str = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$@\"";

/// Starts the daemon with these descriptors, one or two; nothing is waited for.
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
        let daemon = self.launch(stage);
        daemon.notified.wait_for("READY=1", |line| line == "READY=1");
        daemon
    }
}

/// How often the daemon has said that it is ready: once for the start and once for each reload.
pub(crate) fn ready_count(lines: &[String]) -> usize {
    lines.iter().filter(|line| *line == "READY=1").count()
}

/// Reloads, and waits until the daemon says that it has.
pub(crate) fn reload(daemon: &Daemon) {
    let before = ready_count(&daemon.notified.all());
    daemon.signal("HUP");
    daemon.notified.wait_until("the end of the reload", |lines| (ready_count(lines) > before).then_some(()));
}

/// Changes the configuration file of a stage, which was written before.
pub(crate) fn rewrite(stage: &Stage, change: impl FnOnce(String) -> String) {
    let path = stage.folder.path().join("config.toml");
    let before = fs::read_to_string(&path).expect("it was written");
    let after = change(before.clone());
    assert_ne!(before, after, "the test changes nothing");
    fs::write(path, after).expect("it is ours");
}

/// Adds text to the end of the configuration file.
pub(crate) fn append(stage: &Stage, toml: &str) {
    rewrite(stage, |text| text + toml);
}

/// The last status that the daemon told.
pub(crate) fn last_status(lines: &[String]) -> Option<&str> {
    lines.iter().rev().find_map(|line| line.strip_prefix("STATUS="))
}
