//! How the accounts are: a table for people, the daemon's own JSON for programs.

use std::io::Read;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::args::{Form, Stay};
use crate::calendar::epoch;
use crate::daemon::{Daemon, Document, Pin, garbled};
use crate::door::Line;
use crate::failure::Failure;
use crate::json::Value;
use crate::terminal::{self, Style};
use crate::words::{Length, harmless};

/// A countdown on a terminal, and a daemon that does not listen, are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The daemon says something each half minute; one that is silent for so long hangs.
const SILENCE: Duration = Duration::from_secs(90);

/// The daemon computes a moment anew each time it is asked, from a clock that people and time servers set: so many
/// seconds more or less are still the same moment.
const SAME_MOMENT: u64 = 2;

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// The accounts and their names, in the daemon's order.
type Accounts = Vec<(String, Account)>;

struct Account {
    state: String,
    token: Option<Times>,
    pin: Option<Pin>,
    failures: u64,
    last_error: Option<String>,
    last_refresh_at: Option<String>,
    rank: Rank,
}

/// Whether plain commands are for it rather than for another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Default,
    Other,
}

struct Times {
    expires_at: String,
    refresh_at: String,
    expires_in: u64,
}

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
        None => document.value.member("accounts").and_then(all).map(|mut accounts| {
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

fn all(accounts: &Value) -> Option<Accounts> {
    let Value::Object(members) = accounts else { return None };
    members.iter().map(|(name, account)| Some((name.to_string(), Account::read(account)?))).collect()
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

/// What stands in a column, and in which colour.
type Cell = (String, &'static str);

/// Columns stand so far apart.
const GAP: usize = 2;

impl Account {
    fn read(object: &Value) -> Option<Self> {
        let text = |name| object.text(name).map(str::to_owned);
        let times = |token: &Value| {
            Some(Times {
                expires_at: token.text("expires_at")?.to_owned(),
                refresh_at: token.text("refresh_at")?.to_owned(),
                expires_in: token.whole("expires_in")?,
            })
        };
        Some(Self {
            state: text("state")?,
            token: object.member("token").and_then(times),
            pin: object.member("pin").and_then(Pin::read),
            failures: object.whole("failures").unwrap_or_default(),
            last_error: text("last_error"),
            last_refresh_at: text("last_refresh_at"),
            rank: Rank::Other,
        })
    }

    fn cells(&self, name: &str) -> Vec<Cell> {
        let now = self.now();
        let (token, next) = match &self.token {
            Some(times) => {
                let next = epoch(&times.refresh_at).map_or_else(String::new, |at| match at - now {
                    until @ 1.. => format!("in {}", about(until)),
                    _ => "now".to_owned(),
                });
                let left = times.expires_in.try_into().unwrap_or(i64::MAX);
                ((format!("good for {}", about(left)), ""), next)
            }
            None => (("none".to_owned(), RED), String::new()),
        };
        let renewed = match self.last_refresh_at.as_deref().map(epoch) {
            Some(Some(at)) => format!("{} ago", about(now - at)),
            Some(None) => "?".to_owned(),
            None => "never".to_owned(),
        };
        let colour = match self.state.as_str() {
            "authorized" | "refreshing" => GREEN,
            "retrying" => YELLOW,
            _ => RED,
        };
        let name = match self.rank {
            Rank::Default => format!("{} (default)", harmless(name)),
            Rank::Other => harmless(name),
        };
        vec![(name, BOLD), (harmless(&self.state), colour), token, (renewed, ""), (next, "")]
    }

    /// What else a person should know.
    fn notes(&self) -> Vec<Cell> {
        let errand = self.pin.as_ref().map(|pin| (pin.errand(), BOLD));
        let trouble = self.last_error.as_deref().map(|error| {
            let error = harmless(error);
            let words = match self.failures {
                0 | 1 => error,
                failures => format!("{failures} failures in a row, the last: {error}"),
            };
            (words, YELLOW)
        });
        errand.into_iter().chain(trouble).collect()
    }

    /// The time by the daemon's clock where its answer tells it, for the daemon may run elsewhere; else by ours.
    fn now(&self) -> i64 {
        let of_token = self.token.as_ref().map(|times| (times.expires_at.as_str(), times.expires_in));
        let of_pin = self.pin.as_ref().map(|pin| (pin.expires_at.as_str(), pin.expires_in));
        of_token.or(of_pin).and_then(|(at, left)| epoch(at)?.checked_sub_unsigned(left)).unwrap_or_else(
            || {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_secs().try_into().unwrap_or(i64::MAX)
            },
        )
    }
}

/// A length in seconds, as exactly as a table needs it: one that is redrawn each second is hard to read.
fn about(seconds: i64) -> Length {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    Length(Duration::from_secs(if seconds < 120 { seconds } else { seconds / 60 * 60 }))
}

/// The table; cut to the width and height in `room`, if it is to be overwritten there later.
fn table(accounts: &Accounts, style: Style, room: Option<(usize, usize)>) -> String {
    if accounts.is_empty() {
        return "No account is configured: add an [accounts.NAME] table to the configuration.\n".to_owned();
    }
    let heading = ["ACCOUNT", "STATE", "TOKEN", "RENEWED", "NEXT"].map(|word| (word.to_owned(), BOLD));
    let mut lines = vec![heading.to_vec()];
    let mut widths = [0; 5];
    for (name, account) in accounts {
        lines.push(account.cells(name));
        lines.extend(account.notes().into_iter().map(|note| vec![(String::new(), ""), note]));
    }
    let columns_in_use = widths.len();
    for cells in lines.iter().filter(|cells| cells.len() == columns_in_use) {
        for (width, (text, _)) in widths.iter_mut().zip(cells) {
            *width = text.chars().count().max(*width);
        }
    }
    let columns = room.map_or(usize::MAX, |(columns, _)| columns);
    let mut rows: Vec<_> = lines.into_iter().map(|cells| row(cells, widths, style, columns)).collect();
    if let Some((_, height)) = room
        && rows.len() >= height
    {
        // One row for the cursor below the table, one for this remark.
        let kept = height.saturating_sub(2);
        let more = rows.len() - kept;
        rows.truncate(kept);
        rows.push(format!("({more} more lines)").chars().take(columns).collect());
    }
    rows.join("\n") + "\n"
}

/// One line of `columns` at most, without spaces at its end.
fn row(cells: Vec<Cell>, widths: [usize; 5], style: Style, columns: usize) -> String {
    let mut line = String::new();
    let (mut begin, mut end) = (0, 0);
    for ((text, colour), width) in cells.into_iter().zip(widths) {
        if !text.is_empty() && begin < columns {
            let text: String = text.chars().take(columns - begin).collect();
            line.extend(std::iter::repeat_n(' ', begin - end));
            end = begin + text.chars().count();
            line += &if colour.is_empty() { text } else { style.paint(colour, &text) };
        }
        begin += width + GAP;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { moving: false, colour: false };

    fn accounts(json: &str) -> Accounts {
        let status = crate::json::read(json).expect("JSON");
        status.member("accounts").and_then(all).expect("a status")
    }

    const TWO: &str = r#"{"version": "9", "accounts": {
        "cabin": {"state": "awaiting-user", "token": null, "failures": 3, "last_error": "no\u001b[2Jway",
            "pin": {"pin": "ABCD-EFGH", "enter_at": "ecobee.com, My Apps", "expires_in": 539,
                    "expires_at": "2026-11-21T18:52:00Z"}, "last_refresh_at": "2026-11-21T18:00:00Z"},
        "home": {"state": "authorized", "failures": 0, "last_refresh_at": "2026-11-21T18:00:00Z", "token": {
            "issued_at": "2026-11-21T18:00:00Z", "expires_at": "2026-11-21T19:00:00Z",
            "refresh_at": "2026-11-21T18:50:00Z", "expires_in": 3000}}}}"#;

    #[test]
    fn the_table_says_how_each_account_is_and_what_a_person_is_to_do() {
        let shown = table(&accounts(TWO), PLAIN, None);
        let expected = "\
ACCOUNT  STATE          TOKEN         RENEWED  NEXT
cabin    awaiting-user  none          43m ago
         enter PIN ABCD-EFGH at ecobee.com, My Apps, within 8m59s
         3 failures in a row, the last: no\u{fffd}[2Jway
home     authorized     good for 50m  10m ago  in 40m
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let coloured = table(&accounts(TWO), Style { moving: true, colour: true }, None);
        let mut plain = String::new();
        for (place, piece) in coloured.split("\u{1b}[").enumerate() {
            plain += if place == 0 { piece } else { piece.split_once('m').expect("the end of a colour").1 };
        }
        assert_ne!(coloured, plain);
        assert_eq!(plain, table(&accounts(TWO), PLAIN, None));
    }

    #[test]
    fn a_table_that_is_overwritten_later_fits_the_terminal() {
        for (columns, height) in [(20, 4), (9, 6), (1, 2), (1, 1), (200, 5)] {
            let shown = table(&accounts(TWO), PLAIN, Some((columns, height)));
            assert!(shown.lines().count() < height.max(2), "{shown}");
            assert!(shown.lines().all(|line| line.chars().count() <= columns), "{shown}");
        }
    }

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
