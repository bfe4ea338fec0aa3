//! How the accounts are, once or for as long as somebody watches: a table for people, the daemon's own JSON for
//! programs.

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::args::{Form, Stay};
use crate::calendar::epoch;
use crate::daemon::{Daemon, Document, garbled};
use crate::door::Line;
use crate::failure::Failure;
use crate::table::{Account, Accounts, Rank, accounts_of, table};
use crate::terminal::{self, Style};

/// A countdown on a terminal, and a daemon that does not listen, are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The daemon says something each half minute; one that is silent for so long hangs.
const SILENCE: Duration = Duration::from_secs(90);

/// The daemon computes a moment anew each time it is asked, from a clock that people and time servers set: so many
/// seconds more or less are still the same moment.
const SAME_MOMENT: u64 = 2;

/// Shows the status once, or goes on showing what becomes of it.
pub(crate) fn show(daemon: &Daemon, stay: Stay, form: Form) -> Result<(), Failure> {
    let mut screen = Screen { style: Style::of_stdout(), form, before: None, rows: 0 };
    let (document, accounts) = look(daemon)?;
    screen.show(&document, accounts, stay)?;
    let mut answered = true;
    let mut bell = Bell(None);
    let ticks = screen.style.moving && form == Form::Plain;
    if stay == Stay::Once {
        return Ok(());
    }
    loop {
        bell.wait(daemon, if ticks { LOOK_EVERY } else { SILENCE });
        match look(daemon) {
            Ok((document, accounts)) => {
                answered = true;
                screen.show(&document, accounts, stay)?;
            }
            // Daemons are restarted; whoever watches wants to see what comes after.
            Err(why) => {
                if std::mem::replace(&mut answered, false) {
                    terminal::remark(&why.to_string());
                    screen.rows = 0;
                    screen.before = None;
                }
            }
        }
    }
}

/// Rings when an account changes: the daemon's events, of which only matters that they come.
struct Bell(Option<Line>);

impl Bell {
    /// Until it rings, or for so long at most; where there is no bell, for a second.
    fn wait(&mut self, daemon: &Daemon, at_most: Duration) {
        let mut words = [0; 16 * 1024];
        let Some(mut line) = self.0.take().or_else(|| daemon.listen(at_most).ok()) else {
            return thread::sleep(LOOK_EVERY);
        };
        line.grant(at_most);
        let heard = loop {
            match (&line).read(&mut words) {
                // In the middle of an event, such as the list of thousands of accounts that comes first.
                Ok(length @ 1..) if !words.get(..length).is_some_and(ends_an_event) => {}
                heard => break heard,
            }
        };
        match heard {
            Ok(1..) => self.0 = Some(line),
            Err(error) if is_timeout(&error) && at_most < SILENCE => self.0 = Some(line),
            // The daemon has gone, hangs, or knows no events.
            Ok(_) | Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

fn ends_an_event(words: &[u8]) -> bool {
    words.windows(2).any(|two| two == b"\n\n")
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}

fn look(daemon: &Daemon) -> Result<(Document, Accounts), Failure> {
    let document = daemon.status()?;
    let accounts = match daemon.account() {
        Some(name) => Account::read(&document.value).map(|account| vec![(name.to_owned(), account)]),
        None => document.value.member("accounts").and_then(accounts_of).map(|mut accounts| {
            // Of one alone it goes without saying.
            let default = document.value.text("default_account").filter(|_| accounts.len() > 1);
            for (name, account) in &mut accounts {
                account.rank = if Some(name.as_str()) == default { Rank::Default } else { Rank::Other };
            }
            accounts
        }),
    };
    let accounts = accounts.ok_or_else(|| garbled("there is no status in it"))?;
    Ok((document, accounts))
}

/// What stands on it, and for how long.
struct Screen {
    style: Style,
    form: Form,
    before: Option<(Accounts, String)>,
    /// How many rows of a moving terminal the table takes.
    rows: usize,
}

impl Screen {
    fn show(&mut self, document: &Document, accounts: Accounts, stay: Stay) -> Result<(), Failure> {
        let moving = self.style.moving && self.form == Form::Plain && stay == Stay::On;
        let room = moving.then(terminal::size);
        let table = table(&accounts, self.style, room);
        if let Some((before, table_before)) = &self.before
            && (if moving { *table_before == table } else { same(before, &accounts) })
        {
            return Ok(());
        }
        if self.form == Form::Json {
            terminal::print(document.text.as_bytes())?;
        } else if moving {
            let up = match self.rows {
                0 => String::new(),
                rows => format!("\x1b[{rows}A\x1b[J"),
            };
            terminal::print(format!("{up}{table}").as_bytes())?;
            self.rows = table.lines().count();
        } else {
            let gap = if self.before.is_some() { "\n" } else { "" };
            terminal::print(format!("{gap}{table}").as_bytes())?;
        }
        self.before = Some((accounts, table));
        Ok(())
    }
}

/// Whether nothing has happened but that time went by.
fn same(before: &Accounts, now: &Accounts) -> bool {
    before.len() == now.len()
        && before.iter().zip(now).all(|((name, one), (other_name, other))| {
            let pin = |account: &Account| account.pin.as_ref().map(|pin| pin.letters.clone());
            let renewed = |account: &Account| account.last_refresh_at.as_deref().and_then(epoch);
            let same_moment = match (renewed(one), renewed(other)) {
                (Some(one), Some(other)) => one.abs_diff(other) <= SAME_MOMENT,
                (one, other) => one == other,
            };
            name == other_name
                && one.rank == other.rank
                && one.state == other.state
                && one.token.is_some() == other.token.is_some()
                && pin(one) == pin(other)
                && one.failures == other.failures
                && one.last_error == other.last_error
                && same_moment
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::{TWO, accounts};

    #[test]
    fn time_that_goes_by_is_no_change() {
        let later = TWO.replace("539", "538").replace("3000", "2999").replace("18:00:00Z", "18:00:01Z");
        assert!(same(&accounts(TWO), &accounts(&later)));
        for (from, to) in [
            ("authorized", "refreshing"),
            ("ABCD", "BBCD"),
            ("\"failures\": 3", "\"failures\": 4"),
            ("way", "ways"),
            ("18:00:00Z\", \"token", "18:00:03Z\", \"token"),
            ("\"home\"", "\"barn\""),
        ] {
            assert!(TWO.contains(from), "{from}");
            assert!(!same(&accounts(TWO), &accounts(&TWO.replace(from, to))), "{from}");
        }
    }
}
