//! What systemd is told: ready, status, watchdog, stopping.

use std::fmt::Write;
use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use sd_notify::NotifyState;

use crate::keeper::{ENTER_AT, Moment, State, View};

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

/// The daemon is about to leave, and may take so long.
pub fn stopping(at_most: Duration) {
    let microseconds = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(microseconds)]);
}

/// The loop is alive.
pub fn watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// What `systemctl status` shows.
pub fn status(sentence: &str) {
    notify(&[NotifyState::Status(sentence)]);
}

/// How often the watchdog wants to hear from the loop: twice in the time that systemd allows.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2).filter(|interval| !interval.is_zero())
}

/// One sentence on all accounts: those in need first.
pub fn sentence<'a>(
    accounts: impl Iterator<Item = (&'a str, View)>,
    now: Moment,
    wall_millis_of: impl Fn(Moment) -> i64,
) -> String {
    let mut accounts: Vec<(&str, View)> = accounts.collect();
    if accounts.is_empty() {
        return "no account is configured: add an [accounts.NAME] table with an API key to the configuration, \
                then restart"
            .to_owned();
    }
    let is_well = |view: &View| view.token.is_some() && view.failures == 0 && view.pin.is_none();
    accounts.sort_by_key(|(_, view)| is_well(view));
    let mut text = String::new();
    for (index, (name, view)) in accounts.iter().take(NAMED_IN_STATUS).enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let _ = write!(text, "{separator}{name}: {}", of_account(view, now, &wall_millis_of));
    }
    let rest = accounts.get(NAMED_IN_STATUS..).unwrap_or_default();
    if !rest.is_empty() {
        let well = rest.iter().filter(|(_, view)| is_well(view)).count();
        let _ = write!(text, "; and {} more, {well} of them with a good token", rest.len());
    }
    text
}

fn of_account(view: &View, now: Moment, wall_millis_of: &impl Fn(Moment) -> i64) -> String {
    let mut clauses = Vec::new();
    if let Some(pin) = &view.pin {
        let until = local_time(wall_millis_of(pin.expires_at));
        clauses.push(format!("enter PIN {} at {}, before {until}", pin.pin, ENTER_AT));
    }
    if let (Some(since), Some(error)) = (view.trouble_since, &view.last_error) {
        clauses.push(format!("trouble for {} ({error})", roughly(now.since(since))));
    }
    if let Some(token) = &view.token {
        clauses.push(format!("token good until {}", local_time(wall_millis_of(token.expires_at))));
    } else if view.pin.is_none() {
        let waiting_for = match view.state {
            State::RequestingPin | State::AwaitingUser => "asking ecobee for a PIN",
            State::Authorized | State::Refreshing | State::Retrying => "no token yet",
        };
        clauses.push(waiting_for.to_owned());
    }
    if view.unsaved {
        clauses.push("what is newest could not be saved, a restart would lose it".to_owned());
    }
    clauses.join("; ")
}

/// A wall time as people here read it: `18:43`.
pub fn local_time(wall_millis: i64) -> String {
    Timestamp::from_millisecond(wall_millis).map_or_else(
        |_| "an unknown time".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%H:%M").to_string(),
    )
}

fn roughly(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
