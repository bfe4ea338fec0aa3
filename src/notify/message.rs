//! What is said: a sentence for people, facts for programs.

use std::fmt::Write;

use serde::Serialize;

use super::Naming;
use crate::clock;
use crate::keeper::{ENTER_AT, Moment, Notice, PinView};

/// A sentence for a crowd names so many accounts.
const NAMED: usize = 10;

/// The facts for a crowd list so many.
const LISTED: usize = 500;

/// What is to be told of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) notice: Notice,
    pub(super) naming: Naming,
}

/// What kind of thing has happened; the names are for programs and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Event {
    PinWaiting,
    PinReminder,
    TokenLost,
    TokenBack,
    Test,
}

/// What a way is given to deliver.
#[derive(Debug, Serialize)]
pub(super) struct Parcel {
    pub(super) text: String,
    pub(super) event: Event,
    #[serde(flatten)]
    pub(super) facts: Facts,
    pub(super) enter_at: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Vec<Facts>>,
    pub(super) host: String,
    pub(super) version: &'static str,
}

/// The facts of one account.
#[derive(Debug, Default, Serialize)]
pub(super) struct Facts {
    pub(super) account: Option<String>,
    pub(super) pin: Option<String>,
    pub(super) expires_at: Option<String>,
    pub(super) expires_in: Option<u64>,
    pub(super) reason: Option<String>,
}

impl Event {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PinWaiting => "pin-waiting",
            Self::PinReminder => "pin-reminder",
            Self::TokenLost => "token-lost",
            Self::TokenBack => "token-back",
            Self::Test => "test",
        }
    }
}

impl Message {
    pub(super) const fn event(&self) -> Event {
        match self.notice {
            Notice::PinWaiting(_) => Event::PinWaiting,
            Notice::PinReminder(_) => Event::PinReminder,
            Notice::TokenLost { .. } => Event::TokenLost,
            Notice::TokenBack => Event::TokenBack,
        }
    }

    /// The PIN that it tells of.
    pub(super) const fn pin(&self) -> Option<&PinView> {
        match &self.notice {
            Notice::PinWaiting(pin) | Notice::PinReminder(pin) => Some(pin),
            Notice::TokenLost { .. } | Notice::TokenBack => None,
        }
    }

    pub(super) fn set_pin(&mut self, newer: &PinView) {
        match &mut self.notice {
            Notice::PinWaiting(pin) | Notice::PinReminder(pin) => *pin = newer.clone(),
            Notice::TokenLost { .. } | Notice::TokenBack => {}
        }
    }

    /// Whether it is worth telling: a PIN that works no more is not.
    pub(super) fn holds(&self, now: Moment) -> bool {
        self.pin().is_none_or(|pin| now < pin.expires_at)
    }

    fn facts(&self, account: &str) -> Facts {
        let reason = match &self.notice {
            Notice::TokenLost { reason } => Some(reason.clone()),
            Notice::PinWaiting(_) | Notice::PinReminder(_) | Notice::TokenBack => None,
        };
        Facts {
            account: Some(account.to_owned()),
            pin: self.pin().map(|pin| pin.pin.clone()),
            expires_at: self.pin().map(|pin| clock::utc(clock::wall_of(pin.expires_at)).to_string()),
            expires_in: self.pin().map(|pin| pin.expires_at.until_from(clock::now()).as_secs()),
            reason,
        }
    }

    /// What it says behind the account's name.
    fn words(&self, account: &str) -> String {
        let enter = |pin: &PinView| format!("enter PIN {} at {ENTER_AT}, before {}", pin.pin, until(pin));
        match &self.notice {
            Notice::PinWaiting(pin) => {
                let name = match self.naming {
                    Naming::Needless => String::new(),
                    Naming::Needed => format!("--account {account} "),
                };
                format!("{} (after that another PIN; `ecobee-token {name}pin` shows it)", enter(pin))
            }
            Notice::PinReminder(pin) => format!("still waiting for a person: {}", enter(pin)),
            Notice::TokenLost { reason } => {
                format!("no living token, and the trouble lasts: {reason}; the daemon goes on trying")
            }
            Notice::TokenBack => "there is a living token again; nothing is left to be done".to_owned(),
        }
    }

    /// What it says in a list, behind the account's name.
    fn short_words(&self) -> String {
        let pin = |pin: &PinView| format!(" PIN {} before {}", pin.pin, until(pin));
        self.pin().map(pin).unwrap_or_default()
    }
}

impl Parcel {
    /// What one account's message is to a way.
    pub(super) fn of(account: &str, message: &Message) -> Self {
        let enter_at = message.pin().map(|_| ENTER_AT);
        let text = format!("{account}: {}", message.words(account));
        Self { enter_at, ..Self::bare(text, message.event(), message.facts(account)) }
    }

    /// Messages of the same event, of several accounts; `first` is one of them.
    pub(super) fn of_crowd(first: &Message, crowd: &[(&str, &Message)]) -> Self {
        let count = crowd.len();
        let mut text = match first.notice {
            Notice::PinWaiting(_) => format!("{count} accounts each need a PIN to be entered at {ENTER_AT}:"),
            Notice::PinReminder(_) => {
                format!("{count} accounts still wait for a PIN to be entered at {ENTER_AT}:")
            }
            Notice::TokenLost { .. } => {
                format!("{count} accounts have no living token, and the trouble lasts:")
            }
            Notice::TokenBack => format!("{count} accounts have a living token again:"),
        };
        for (index, (account, message)) in crowd.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let _ = write!(text, "{separator} {account}{}", message.short_words());
        }
        if let Some(more) = count.checked_sub(NAMED).filter(|&more| more > 0) {
            let _ = write!(text, " and {more} more; `ecobee-token status` shows all");
        }
        if let Notice::TokenLost { reason } = &first.notice {
            let _ = write!(text, " ({reason})");
        }
        let accounts = crowd.iter().take(LISTED).map(|(account, message)| message.facts(account)).collect();
        Self {
            enter_at: first.pin().map(|_| ENTER_AT),
            count: Some(count),
            accounts: Some(accounts),
            ..Self::bare(text, first.event(), Facts::default())
        }
    }

    /// What proves that a way works.
    pub(super) fn test() -> Self {
        let text = "A test of ecobee-tokend's notifications: this is how you will hear when a PIN is to be entered. \
                    Nothing needs to be done.";
        Self::bare(text.to_owned(), Event::Test, Facts::default())
    }

    fn bare(text: String, event: Event, facts: Facts) -> Self {
        Self {
            text,
            event,
            facts,
            enter_at: None,
            count: None,
            accounts: None,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always become JSON")
    }
}

/// As people here read it: `18:43`.
fn until(pin: &PinView) -> String {
    clock::time_of_day(clock::wall_of(pin.expires_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;

    fn pin(text: &str) -> PinView {
        let lifetime = Duration::from_secs(540);
        PinView { pin: text.to_owned(), expires_at: clock::now() + lifetime, expires_in: lifetime }
    }

    fn message(notice: Notice) -> Message {
        Message { notice, naming: Naming::Needless }
    }

    fn json(parcel: &Parcel) -> Value {
        serde_json::from_slice(&parcel.json()).expect("JSON")
    }

    #[test]
    fn a_pin_is_told_with_all_that_its_reader_needs() {
        let told = json(&Parcel::of("home", &message(Notice::PinWaiting(pin("ABCD-EFGH")))));
        let text = told["text"].as_str().expect("a sentence");
        assert!(text.starts_with("home: enter PIN ABCD-EFGH at ecobee.com, My Apps, before "), "{text}");
        assert_eq!(told["event"], "pin-waiting");
        assert_eq!(told["account"], "home");
        assert_eq!(told["pin"], "ABCD-EFGH");
        assert_eq!(told["enter_at"], ENTER_AT);
        assert!(matches!(told["expires_in"].as_u64(), Some(538..=540)), "{told}");
        let expires_at: Timestamp = told["expires_at"].as_str().expect("a time").parse().expect("RFC 3339");
        let left = expires_at.as_second() - clock::wall_millis() / 1000;
        assert!((537..=541).contains(&left), "{told}");
        assert_eq!(told["reason"], Value::Null);
        assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
        assert!(told["host"].is_string() && told.get("accounts").is_none(), "{told}");
    }

    #[test]
    fn the_command_that_shows_the_next_pin_names_the_account_where_it_has_to() {
        for (naming, command) in
            [(Naming::Needless, "`ecobee-token pin`"), (Naming::Needed, "`ecobee-token --account cabin pin`")]
        {
            let message = Message { notice: Notice::PinWaiting(pin("ABCD-EFGH")), naming };
            let text = Parcel::of("cabin", &message).text;
            assert!(text.contains(command), "{text}");
        }
    }

    #[test]
    fn whatever_ecobee_calls_a_pin_stays_one_string_of_the_json() {
        let odd = "\"},\r\nX-Evil: 1\\u0000{{.x}}é";
        assert_eq!(json(&Parcel::of("home", &message(Notice::PinReminder(pin(odd)))))["pin"], odd);
    }

    #[test]
    fn the_names_of_events_are_the_same_everywhere() {
        for event in [Event::PinWaiting, Event::PinReminder, Event::TokenLost, Event::TokenBack, Event::Test]
        {
            assert_eq!(serde_json::to_value(event).expect("a string"), event.name());
        }
    }

    #[test]
    fn a_crowd_is_told_in_one_sentence_of_bounded_length() {
        let messages: Vec<_> =
            (0..10_000).map(|n| (format!("a{n}"), message(Notice::PinWaiting(pin("ABCD-EFGH"))))).collect();
        let crowd: Vec<_> = messages.iter().map(|(account, message)| (account.as_str(), message)).collect();
        let parcel = Parcel::of_crowd(crowd[0].1, &crowd);
        assert!(
            parcel.text.starts_with("10000 accounts each need a PIN to be entered at"),
            "{}",
            parcel.text
        );
        assert!(parcel.text.ends_with("and 9990 more; `ecobee-token status` shows all"), "{}", parcel.text);
        assert!(parcel.text.len() < 500 && parcel.json().len() < 100_000);
        let told = json(&parcel);
        assert_eq!((&told["count"], &told["account"]), (&Value::from(10_000), &Value::Null));
        assert_eq!(told["accounts"].as_array().expect("a list").len(), LISTED);
        assert_eq!(told["accounts"][7]["account"], "a7");
        assert_eq!(told["accounts"][7]["pin"], "ABCD-EFGH");
    }

    #[test]
    fn a_pin_that_works_no_more_is_not_worth_telling_and_its_successor_is() {
        let now = clock::now();
        let mut message = message(Notice::PinReminder(pin("OLD")));
        assert!(message.holds(now));
        let later = now + Duration::from_secs(600);
        assert!(!message.holds(later));
        message.set_pin(&PinView { expires_at: later + Duration::from_secs(1), ..pin("NEW") });
        assert!(message.holds(later));
        assert_eq!(message.pin().map(|pin| pin.pin.as_str()), Some("NEW"));
        assert!(self::message(Notice::TokenBack).holds(later));
    }
}
