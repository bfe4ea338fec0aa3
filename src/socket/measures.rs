//! What the daemon tells Prometheus: `GET /metrics`.
//!
//! The HELP line of a metric is where its meaning is written down, and the only place. Times are the wall time, in
//! seconds since 1970: what remains is `… - time()`, reckoned by whoever asks. No secrets; the PIN is not here either.

mod format;
mod requests;

use std::fmt::Display;
use std::rc::Rc;

use super::form::Dialect;
use super::{Hall, Lender};
use crate::keeper::{Call, State, View};
use crate::metrics::{BOUNDS, Counter, Counts, Tally};
use format::{Ceiling, Kind, Seconds, Text};
pub(super) use requests::Requests;

const STATES: [State; 5] =
    [State::RequestingPin, State::AwaitingUser, State::Authorized, State::Refreshing, State::Retrying];

/// An account as it is now, and what has happened to it.
struct Account {
    name: String,
    view: View,
    tally: Rc<Tally>,
}

/// The whole text.
pub(super) fn text<L: Lender>(hall: &Hall<L>, dialect: Dialect) -> String {
    let lender = &*hall.lender;
    let counts = lender.counts();
    let mut text = Text::new(dialect, hall.length_of_metrics.get() + 1024);
    of_daemon(&mut text, hall, &counts);
    let accounts: Vec<Account> = lender
        .accounts()
        .into_iter()
        .map(|(name, account)| Account {
            tally: counts.tally(name.as_str()),
            view: lender.view(account),
            name,
        })
        .collect();
    of_tokens(&mut text, lender, &accounts);
    of_accounts(&mut text, &accounts);
    of_calls(&mut text, &counts);
    of_requests(&mut text, &hall.requests);
    let text = text.end();
    hall.length_of_metrics.set(text.len());
    text
}

fn of_daemon<L: Lender>(text: &mut Text, hall: &Hall<L>, counts: &Counts) {
    let lender = &*hall.lender;
    text.family("build", Kind::Info, "The version that runs.");
    let version = env!("CARGO_PKG_VERSION");
    text.sample("_info", &[("version", version)], 1);
    text.gauge(
        "start_timestamp_seconds",
        "When the daemon started.",
        Seconds(lender.wall_millis_of(counts.started_at)),
    );
    text.gauge("connections", "Connections that are open now, this one included.", hall.seats.taken());
    text.gauge("event_listeners", "Streams of GET /events that are open now.", lender.bulletin().listeners());
    text.family("turned_away", Kind::Counter, "Connections that were closed because too many were open.");
    text.sample("_total", &[], hall.requests.turned_away.get());
}

fn of_tokens<L: Lender>(text: &mut Text, lender: &L, accounts: &[Account]) {
    let at = |moment| Seconds(lender.wall_millis_of(moment));
    of_each(
        text,
        "token_expiry_timestamp_seconds",
        "When the living access token dies; nothing where none lives.",
        accounts,
        |view| view.token.as_ref().map(|token| at(token.expires_at)),
    );
    of_each(
        text,
        "token_refresh_timestamp_seconds",
        "When the living access token will be refreshed, unless somebody forces it before.",
        accounts,
        |view| view.token.as_ref().map(|token| at(token.refresh_at)),
    );
    of_each(
        text,
        "last_refresh_timestamp_seconds",
        "When the newest access token was asked for; nothing where there was none yet.",
        accounts,
        |view| view.last_refresh_at.map(at),
    );
    of_each(
        text,
        "token_living",
        "1: there is a living access token to lend. 0: there is none.",
        accounts,
        |view| Some(u8::from(view.token.is_some())),
    );
    of_each(
        text,
        "pin_waiting",
        "1: a PIN waits for a person to enter it (GET /pin shows it). 0: none does.",
        accounts,
        |view| Some(u8::from(view.pin.is_some())),
    );
    of_each(
        text,
        "pin_expiry_timestamp_seconds",
        "When the PIN that waits stops working; nothing where none waits.",
        accounts,
        |view| view.pin.as_ref().map(|pin| at(pin.expires_at)),
    );
    of_each(
        text,
        "trouble_since_timestamp_seconds",
        "When the trouble began; nothing where there is none.",
        accounts,
        |view| view.trouble_since.map(at),
    );
}

fn of_accounts(text: &mut Text, accounts: &[Account]) {
    text.family(
        "account_state",
        Kind::Gauge,
        "1 for the state that the account is in, 0 for the others; the states are those of GET /status.",
    );
    for account in accounts {
        for state in STATES {
            let is = u8::from(account.view.state == state);
            text.sample("", &[("account", &account.name), ("state", state.name())], is);
        }
    }
    of_each(text, "failures_in_a_row", "Failed calls to ecobee since the last good one.", accounts, |view| {
        Some(view.failures)
    });
    of_each(
        text,
        "unsaved",
        "1: the newest tokens could not be saved so far, and a crash now would lose them. 0: all is on disk.",
        accounts,
        |view| Some(u8::from(view.unsaved)),
    );
    counted_of_each(text, "refreshes", "Refreshes that brought a new access token.", accounts, |tally| {
        &tally.refreshes
    });
    counted_of_each(
        text,
        "authorizations",
        "PINs that a person entered and that brought a grant.",
        accounts,
        |tally| &tally.authorizations,
    );
    counted_of_each(text, "pins_over", "PINs that ended unused.", accounts, |tally| &tally.pins_over);
    text.family(
        "failures",
        Kind::Counter,
        "What failed. refused: ecobee refused the refresh token. trouble: a call came to nothing for a reason that \
         passes. misconfigured: ecobee says that the request or the configuration is wrong. save: the newest tokens \
         could not be written to the store.",
    );
    for account in accounts {
        let Account { name, tally, .. } = account;
        for (kind, counter) in [
            ("refused", &tally.refused),
            ("trouble", &tally.trouble),
            ("misconfigured", &tally.misconfigured),
            ("save", &tally.unsaved),
        ] {
            text.sample("_total", &[("account", name), ("kind", kind)], counter.get());
        }
    }
}

fn of_calls(text: &mut Text, counts: &Counts) {
    text.family(
        "ecobee_calls",
        Kind::Counter,
        "Calls to ecobee, of all accounts. unreachable: never sent. broken: the connection broke after the request \
         was sent. failed: no usable answer. unusable: new tokens came that cannot be used.",
    );
    for call in Call::ALL {
        for (outcome, count) in counts.calls(call) {
            text.sample("_total", &[("call", call.name()), ("outcome", outcome)], count);
        }
    }
    text.family(
        "ecobee_call_duration_seconds",
        Kind::Histogram,
        "How long calls to ecobee took, connecting included, however they ended.",
    );
    for call in Call::ALL {
        let durations = counts.durations(call);
        let mut all = 0;
        let bounds = BOUNDS.iter().map(|bound| format!("{}", Ceiling(*bound)));
        let bounds = bounds.chain(std::iter::once("+Inf".to_owned()));
        for (bound, count) in bounds.zip(durations.cumulated()) {
            text.sample("_bucket", &[("call", call.name()), ("le", &bound)], count);
            all = count;
        }
        text.sample("_count", &[("call", call.name())], all);
        let sum = Seconds(durations.sum_millis().try_into().unwrap_or(i64::MAX));
        text.sample("_sum", &[("call", call.name())], sum);
    }
}

fn of_requests(text: &mut Text, requests: &Requests) {
    text.family(
        "requests",
        Kind::Counter,
        "Requests that were answered, by path and HTTP status; of an account by its name or as the default one. \
         other: no path of this daemon, or not with this method; a status other than the usual ones.",
    );
    for (route, statuses) in requests.by_route() {
        for (status, count) in statuses {
            // A route has few of these; which, would be said here a second time.
            if count > 0 || (status == "200" && route != "other") {
                text.sample("_total", &[("route", &route), ("status", &status)], count);
            }
        }
    }
}

/// One sample for each account that has this value.
fn of_each<V: Display>(
    text: &mut Text,
    name: &str,
    help: &str,
    accounts: &[Account],
    value: impl Fn(&View) -> Option<V>,
) {
    text.family(name, Kind::Gauge, help);
    for account in accounts {
        if let Some(value) = value(&account.view) {
            text.sample("", &[("account", &account.name)], value);
        }
    }
}

fn counted_of_each(
    text: &mut Text,
    name: &str,
    help: &str,
    accounts: &[Account],
    counter: fn(&Tally) -> &Counter,
) {
    text.family(name, Kind::Counter, help);
    for account in accounts {
        text.sample("_total", &[("account", &account.name)], counter(&account.tally).get());
    }
}
