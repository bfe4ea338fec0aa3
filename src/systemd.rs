//! What systemd is told (ready, status, watchdog, reloading, stopping), and the sockets that it hands over.

mod sentence;

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;

pub use sentence::{Contact, Line, sentence};

/// Says something to systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

/// The socket answers.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] ends it. systemd 253 and newer want to know since when.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd could not be told of a reload"),
    }
}

/// The daemon is about to leave.
pub fn stopping() {
    notify(&[NotifyState::Stopping, EXTENSION]);
}

/// What goes on takes its time and has not come to a standstill: to be said again every [`EXTEND_EVERY`], for each
/// word of it lasts three times as long.
pub fn extend() {
    notify(&[EXTENSION]);
}

/// How often [`extend`] is to be repeated.
pub const EXTEND_EVERY: Duration = Duration::from_secs(5);

const EXTENSION: NotifyState<'_> = NotifyState::ExtendTimeoutUsec(15_000_000);

/// The loop is alive.
pub fn watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// What `systemctl status` shows.
pub fn status(sentence: &str) {
    // A line of its own would be an order to systemd.
    let line = sentence.replace(char::is_control, " ");
    notify(&[NotifyState::Status(&line)]);
}

/// How often the watchdog wants to hear from the loop: twice in the time that systemd allows.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2).filter(|interval| !interval.is_zero())
}

/// The handing over of sockets went wrong.
#[derive(Debug)]
pub struct InheritError(String);

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LISTEN_FDS: {}; start the daemon by its units, or without this variable", self.0)
    }
}

impl std::error::Error for InheritError {}

/// The descriptors that systemd hands over (`sd_listen_fds(3)`), whatever they are; none where it hands over nothing.
///
/// To be called once, before anything else is opened. The variables stay in the environment: they name this process,
/// so that no child takes them for its own.
pub fn inherited() -> Result<Vec<OwnedFd>, InheritError> {
    // sd-notify sees to it that all of them are open, and closed to children; sd-listen-fds owns what it finds.
    sd_notify::listen_fds().map(drop).map_err(|error| InheritError(error.to_string()))?;
    let found = sd_listen_fds::get().map_err(|error| InheritError(error.to_string()))?;
    Ok(found.into_iter().map(|(_, descriptor)| descriptor.into_std()).collect())
}
