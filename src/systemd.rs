//! What systemd is told (ready, status, watchdog, reloading, stopping), and the sockets that it hands over.

use std::fmt::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::{Reading, time_of_day};
use crate::keeper::{ENTER_AT, State, View};

/// `STATUS=` names this many accounts at most; of more, it counts the rest.
const NAMED_IN_STATUS: usize = 3;

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

/// An account as the status sees it.
pub struct Line<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its keeper shows.
    pub view: View,
    /// What came of the last call to ecobee.
    pub contact: Contact,
}

/// Whether ecobee was there when it was last called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It was, or has not been called yet.
    Reached,
    /// No request got through to it.
    Unreachable,
}

/// One sentence on all accounts: those in need first.
pub fn sentence<'a>(accounts: impl Iterator<Item = Line<'a>>, now: &Reading) -> String {
    let is_well =
        |line: &Line<'_>| line.view.token.is_some() && line.view.failures == 0 && line.view.pin.is_none();
    // Of ten thousand accounts, those are kept that may be named.
    let (mut ailing, mut well) = (Vec::new(), Vec::new());
    let (mut all_ailing, mut all_well) = (0, 0);
    for line in accounts {
        let (named, all) =
            if is_well(&line) { (&mut well, &mut all_well) } else { (&mut ailing, &mut all_ailing) };
        *all += 1;
        if named.len() < NAMED_IN_STATUS {
            named.push(line);
        }
    }
    if all_ailing + all_well == 0 {
        return "no account is configured: add an [accounts.NAME] table with an API key to the configuration, \
                then reload (systemctl reload ecobee-tokend)"
            .to_owned();
    }
    well.truncate(NAMED_IN_STATUS - ailing.len());
    let mut text = String::new();
    for (index, line) in ailing.iter().chain(&well).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let _ = write!(text, "{separator}{}: {}", line.name, of_account(line, now));
    }
    let well_too = all_well - well.len();
    let rest = all_ailing - ailing.len() + well_too;
    if rest > 0 {
        let _ = write!(text, "; and {rest} more, {well_too} of them with a good token");
    }
    text
}

fn of_account(line: &Line<'_>, now: &Reading) -> String {
    let Line { view, contact, .. } = line;
    let mut clauses = Vec::new();
    if let Some(pin) = &view.pin {
        let until = time_of_day(now.wall_of(pin.expires_at));
        clauses.push(format!("enter PIN {} at {}, before {until}", pin.pin, ENTER_AT));
    }
    if let (Some(since), Some(error)) = (view.trouble_since, &view.last_error) {
        let trouble = match contact {
            Contact::Unreachable => "ecobee unreachable",
            Contact::Reached => "trouble",
        };
        clauses.push(format!("{trouble} for {} ({error})", roughly(now.moment.since(since))));
    }
    if let Some(token) = &view.token {
        clauses.push(format!("token good until {}", time_of_day(now.wall_of(token.expires_at))));
    } else if view.pin.is_none() {
        let waiting_for = match view.state {
            State::RequestingPin | State::AwaitingUser => "asking ecobee for a PIN",
            State::Authorized | State::Refreshing | State::Retrying => "no token yet",
        };
        clauses.push(waiting_for.to_owned());
    }
    if view.unsaved {
        clauses.push("what is newest could not be saved (the log says what a restart would lose)".to_owned());
    }
    clauses.join("; ")
}

fn roughly(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
