//! What `systemctl status` shows of the accounts: one sentence, for a person.

use std::fmt::Write;
use std::time::Duration;

use crate::clock::{Reading, time_of_day};
use crate::keeper::{ENTER_AT, State, View};

/// So many accounts are named at most; of more, the rest is counted.
const NAMED: usize = 3;

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
        if named.len() < NAMED {
            named.push(line);
        }
    }
    if all_ailing + all_well == 0 {
        return "no account is configured: add an [accounts.NAME] table with an API key to the configuration, \
                then reload (systemctl reload ecobee-tokend)"
            .to_owned();
    }
    well.truncate(NAMED - ailing.len());
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
