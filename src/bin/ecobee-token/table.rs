//! The table of accounts, and what a person should know beside it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::calendar::epoch;
use crate::daemon::Pin;
use crate::json::Value;
use crate::terminal::Style;
use crate::words::{Length, harmless};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// The accounts and their names, in the daemon's order.
pub(crate) type Accounts = Vec<(String, Account)>;

pub(crate) struct Account {
    pub(crate) state: String,
    pub(crate) token: Option<Times>,
    pub(crate) pin: Option<Pin>,
    pub(crate) failures: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) last_refresh_at: Option<String>,
    pub(crate) rank: Rank,
}

/// Whether plain commands are for it rather than for another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    Default,
    Other,
}

pub(crate) struct Times {
    expires_at: String,
    refresh_at: String,
    expires_in: u64,
}

/// The accounts of a status.
pub(crate) fn accounts_of(accounts: &Value) -> Option<Accounts> {
    let Value::Object(members) = accounts else { return None };
    members.iter().map(|(name, account)| Some((name.to_string(), Account::read(account)?))).collect()
}

/// What stands in a column, and in which colour.
type Cell = (String, &'static str);

/// Columns stand so far apart.
const GAP: usize = 2;

impl Account {
    pub(crate) fn read(object: &Value) -> Option<Self> {
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
pub(crate) fn table(accounts: &Accounts, style: Style, room: Option<(usize, usize)>) -> String {
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
pub(crate) mod tests {
    use super::*;

    const PLAIN: Style = Style { moving: false, colour: false };

    pub(crate) fn accounts(json: &str) -> Accounts {
        let status = crate::json::read(json).expect("JSON");
        status.member("accounts").and_then(accounts_of).expect("a status")
    }

    pub(crate) const TWO: &str = r#"{"version": "9", "accounts": {
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
}
