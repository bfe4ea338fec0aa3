//! Tells a person, wherever they are: by a webhook, by a command, by both.
//!
//! ```text
//! Teller ── courier   what is still to be told one way: its order, its pace, its patience
//!    │        └─ message   what is said: a sentence and facts
//!    ├───── webhook   HTTP POST
//!    └───── command   a program, with the facts in its environment and on its standard input
//! ```
//!
//! **Nobody waits for a telling**: [`Teller::tell`] notes and returns. Each way has its own courier, so that a webhook
//! that hangs holds up no command; a courier lives only while there is something to tell.
//! **Only what still holds is told**: of an account the newest message alone waits, a PIN is told while it works, and one
//! that has been replaced in the meantime is told as the next ([`Teller::pin_shown`]).
//! **A crowd is told in one message**: after eight messages at once one a minute follows, and what has gathered by then
//! goes together.
//! **No secret reaches a log**: of a webhook's address only scheme and host are ever shown, of its header fields nothing.
//!
//! # What is sent
//! A webhook gets it as the JSON body of a POST, a command on its standard input:
//!
//! ```json
//! {
//!   "text": "home: enter PIN ABCD-EFGH at ecobee.com, My Apps, before 18:52",
//!   "event": "pin-waiting",
//!   "account": "home",
//!   "pin": "ABCD-EFGH",
//!   "enter_at": "ecobee.com, My Apps",
//!   "expires_at": "2026-01-02T17:52:00Z",
//!   "expires_in": 540,
//!   "reason": null,
//!   "host": "raspberrypi",
//!   "version": "0.1.0"
//! }
//! ```
//!
//! `text` says it all to a person, in the local time of this machine. What does not apply is `null`. `event` is one of:
//!
//! | event | when | what comes with it |
//! | --- | --- | --- |
//! | `pin-waiting` | a person is needed: the first PIN | the PIN |
//! | `pin-reminder` | still so, each `remind-every` | the PIN of the moment |
//! | `token-lost` | there is no living token, and trouble that has lasted five minutes is why | `reason` |
//! | `token-back` | the end of either: there is a token again | |
//! | `test` | `ecobee-tokend test-notify` | no account |
//!
//! A message for a crowd has `account` null and two members more: `count`, and `accounts`, a list of objects with
//! `account`, `pin`, `expires_at`, `expires_in` and `reason`, 500 of them at most.
//!
//! A command finds the same in `ECOBEE_TOKEND_TEXT`, `…_EVENT`, `…_ACCOUNT`, `…_PIN`, `…_ENTER_AT`, `…_EXPIRES_AT`,
//! `…_EXPIRES_IN`, `…_REASON`, `…_COUNT`, `…_HOST` and `…_VERSION`; what does not apply is not set.

mod command;
mod courier;
mod message;
mod webhook;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::keeper::{Notice, PinView};
pub use command::Command;
use courier::Courier;
use message::{Message, Parcel};
pub use webhook::Webhook;

/// How people are told; possibly in no way at all.
#[derive(Default)]
pub struct Ways {
    /// By a POST.
    pub webhook: Option<Webhook>,
    /// By a program.
    pub command: Option<Command>,
}

/// Whether a client must name the account: it need not for the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Plain commands are for it.
    Needless,
    /// They are for another, or refused.
    Needed,
}

/// One way.
enum Way {
    Webhook(Webhook),
    Command(Command),
}

/// What came of an attempt.
enum Delivery {
    /// It is told; the words say how that was answered.
    Told(String),
    /// It is not, and this is why.
    Failed { reason: String, again: Again },
}

/// Whether another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Never,
    /// In its time, and no sooner than this.
    After(Duration),
}

/// Tells people of all accounts. Needs a runtime with local tasks.
pub struct Teller {
    couriers: [Rc<Courier>; 2],
}

impl Teller {
    /// Tells in these ways.
    pub fn new(ways: Ways) -> Self {
        let teller = Self { couriers: [Rc::default(), Rc::default()] };
        teller.change(ways);
        teller
    }

    /// From now on tells in these ways. What waits for a way that is no more is dropped.
    pub fn change(&self, ways: Ways) {
        for (courier, way) in self.couriers.iter().zip(ways.into_each()) {
            courier.change(way);
        }
    }

    /// Notes what a person should hear of; it replaces whatever of this account was still to be told.
    pub fn tell(&self, account: &str, naming: Naming, notice: &Notice) {
        for courier in &self.couriers {
            courier.tell(account, Message { notice: notice.clone(), naming });
        }
    }

    /// This PIN has taken the place of the one before: what is still to be told is told with it.
    pub fn pin_shown(&self, account: &str, pin: &PinView) {
        for courier in &self.couriers {
            courier.pin_shown(account, pin);
        }
    }

    /// There is no such account any more.
    pub fn forget(&self, account: &str) {
        for courier in &self.couriers {
            courier.forget(account);
        }
    }

    /// Tries once more what is still to be told, for so long at most. What is left then is said to be lost.
    pub async fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for courier in &self.couriers {
            courier.hurry();
        }
        for courier in &self.couriers {
            courier.rest(deadline).await;
            courier.give_up();
        }
    }
}

impl Ways {
    /// Whether there is no way at all.
    pub fn is_none(&self) -> bool {
        self.webhook.is_none() && self.command.is_none()
    }

    fn into_each(self) -> [Option<Way>; 2] {
        [self.webhook.map(Way::Webhook), self.command.map(Way::Command)]
    }

    /// Sends a test by each way, one attempt each, and hands over what came of it, way by way: the name of the way, and
    /// words for a person.
    pub async fn test(self) -> Vec<(String, Result<String, String>)> {
        let parcel = Parcel::test();
        let mut reports = Vec::new();
        for way in self.into_each().into_iter().flatten() {
            let report = match way.deliver(&parcel).await {
                Delivery::Told(words) => Ok(words),
                Delivery::Failed { reason, .. } => Err(reason),
            };
            reports.push((way.to_string(), report));
        }
        reports
    }
}

impl Way {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        match self {
            Self::Webhook(webhook) => webhook.deliver(parcel).await,
            Self::Command(command) => command.deliver(parcel).await,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(webhook) => webhook.fmt(f),
            Self::Command(command) => command.fmt(f),
        }
    }
}
