//! What the daemon tells Prometheus: `GET /metrics`.
//!
//! The HELP line of a metric is where its meaning is written down, and the only place. Times are the wall time, in
//! seconds since 1970: what remains is `… - time()`, reckoned by whoever asks. No secrets; the PIN is not here either.

use std::cell::Cell;
use std::fmt::{self, Display, Write};
use std::rc::Rc;

use hyper::StatusCode;

use super::form::Dialect;
use super::routes::{self, What};
use super::{Hall, Lender};
use crate::keeper::{Call, State, View};
use crate::metrics::{BOUNDS, Counter, Counts, Tally};

/// Every metric's name begins so. Even that of the process's start: its usual name would collide with `node_exporter`'s
/// own in a file that it reads.
const OURS: &str = "ecobee_tokend";

/// The statuses that this house answers with; others share the place behind them.
const STATUSES: [u16; 8] = [200, 400, 403, 404, 405, 413, 429, 503];

/// As many as there are routes, and one for what is at no path.
const ROUTES: usize = What::Health as usize + 2;

const STATES: [State; 5] =
    [State::RequestingPin, State::AwaitingUser, State::Authorized, State::Refreshing, State::Retrying];

/// How many requests were answered, and how.
#[derive(Default)]
pub(super) struct Requests {
    answered: [[Counter; STATUSES.len() + 1]; ROUTES],
    turned_away: Counter,
    /// The length of the last text: the next one will not be much longer.
    last_text: Cell<usize>,
}

impl Requests {
    /// `what` is `None` where nothing is at the path, or nothing that this method could do.
    pub(super) fn count(&self, what: Option<What>, status: StatusCode) {
        let route = what.map_or(ROUTES - 1, |what| what as usize);
        let status = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len());
        if let Some(counter) = self.answered.get(route).and_then(|statuses| statuses.get(status)) {
            counter.count();
        }
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.count();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Histogram,
    Info,
}

/// A text that grows, family by family.
struct Text {
    dialect: Dialect,
    out: String,
    /// The family that is being written.
    name: String,
}

/// A label's name and its value.
type Label<'a> = (&'a str, &'a str);

impl Text {
    /// Begins a family; `help` is one line.
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.name = format!("{OURS}_{name}");
        let (suffix, kind) = match (self.dialect, kind) {
            (_, Kind::Gauge) => ("", "gauge"),
            (_, Kind::Histogram) => ("", "histogram"),
            (Dialect::OpenMetrics, Kind::Counter) => ("", "counter"),
            (Dialect::OpenMetrics, Kind::Info) => ("", "info"),
            (Dialect::Prometheus, Kind::Counter) => ("_total", "counter"),
            (Dialect::Prometheus, Kind::Info) => ("_info", "gauge"),
        };
        let name = &self.name;
        let _ = write!(self.out, "# TYPE {name}{suffix} {kind}\n# HELP {name}{suffix} {help}\n");
        if self.dialect == Dialect::OpenMetrics && name.ends_with("_seconds") {
            let _ = writeln!(self.out, "# UNIT {name} seconds");
        }
    }

    fn sample(&mut self, suffix: &str, labels: &[Label], value: impl Display) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"{}\"", Escaped(value));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample("", &[], value);
    }

    /// One sample for each account that has this value.
    fn of_each<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        accounts: &[Account],
        value: impl Fn(&View) -> Option<V>,
    ) {
        self.family(name, Kind::Gauge, help);
        for account in accounts {
            if let Some(value) = value(&account.view) {
                self.sample("", &[("account", &account.name)], value);
            }
        }
    }

    fn counted_of_each(
        &mut self,
        name: &str,
        help: &str,
        accounts: &[Account],
        counter: fn(&Tally) -> &Counter,
    ) {
        self.family(name, Kind::Counter, help);
        for account in accounts {
            self.sample("_total", &[("account", &account.name)], counter(&account.tally).get());
        }
    }
}

/// A label's value as both dialects write it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Milliseconds, written as seconds.
struct Seconds(i64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let millis = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", millis / 1000, millis % 1000)
    }
}

struct Account {
    name: String,
    view: View,
    tally: Rc<Tally>,
}

/// The whole text.
pub(super) fn text<L: Lender>(hall: &Hall<L>, dialect: Dialect) -> String {
    let lender = &*hall.lender;
    let counts = lender.counts();
    let room = hall.requests.last_text.get() + 1024;
    let mut text = Text { dialect, out: String::with_capacity(room), name: String::new() };
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
    if dialect == Dialect::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    hall.requests.last_text.set(text.out.len());
    text.out
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
    text.of_each(
        "token_expiry_timestamp_seconds",
        "When the living access token dies; nothing where none lives.",
        accounts,
        |view| view.token.as_ref().map(|token| at(token.expires_at)),
    );
    text.of_each(
        "token_refresh_timestamp_seconds",
        "When the living access token will be refreshed, unless somebody forces it before.",
        accounts,
        |view| view.token.as_ref().map(|token| at(token.refresh_at)),
    );
    text.of_each(
        "last_refresh_timestamp_seconds",
        "When the newest access token was asked for; nothing where there was none yet.",
        accounts,
        |view| view.last_refresh_at.map(at),
    );
    text.of_each(
        "token_living",
        "1: there is a living access token to lend. 0: there is none.",
        accounts,
        |view| Some(u8::from(view.token.is_some())),
    );
    text.of_each(
        "pin_waiting",
        "1: a PIN waits for a person to enter it (GET /pin shows it). 0: none does.",
        accounts,
        |view| Some(u8::from(view.pin.is_some())),
    );
    text.of_each(
        "pin_expiry_timestamp_seconds",
        "When the PIN that waits stops working; nothing where none waits.",
        accounts,
        |view| view.pin.as_ref().map(|pin| at(pin.expires_at)),
    );
    text.of_each(
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
    text.of_each("failures_in_a_row", "Failed calls to ecobee since the last good one.", accounts, |view| {
        Some(view.failures)
    });
    text.of_each(
        "unsaved",
        "1: the newest tokens could not be saved so far, and a crash now would lose them. 0: all is on disk.",
        accounts,
        |view| Some(u8::from(view.unsaved)),
    );
    text.counted_of_each("refreshes", "Refreshes that brought a new access token.", accounts, |tally| {
        &tally.refreshes
    });
    text.counted_of_each(
        "authorizations",
        "PINs that a person entered and that brought a grant.",
        accounts,
        |tally| &tally.authorizations,
    );
    text.counted_of_each("pins_over", "PINs that ended unused.", accounts, |tally| &tally.pins_over);
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
        let bounds = BOUNDS.iter().map(|bound| format!("{}", Bound(*bound)));
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

/// Milliseconds, written as the shortest number of seconds that has a point, as `OpenMetrics` wants bounds.
struct Bound(u64);

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = format!("{:03}", self.0 % 1000);
        let places = places.trim_end_matches('0');
        write!(f, "{}.{}", self.0 / 1000, if places.is_empty() { "0" } else { places })
    }
}

fn of_requests(text: &mut Text, requests: &Requests) {
    text.family(
        "requests",
        Kind::Counter,
        "Requests that were answered, by path and HTTP status; of an account by its name or as the default one. \
         other: no path of this daemon, or not with this method; a status other than the usual ones.",
    );
    let routes = routes::all().map(What::path).chain(std::iter::once("other"));
    for (route, statuses) in routes.zip(&requests.answered) {
        let names = STATUSES.iter().map(u16::to_string).chain(std::iter::once("other".to_owned()));
        for (status, counter) in names.zip(statuses) {
            // A route has few of these; which, would be said here a second time.
            if counter.get() > 0 || (status == "200" && route != "other") {
                text.sample("_total", &[("route", route), ("status", &status)], counter.get());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut text = Text { dialect: Dialect::OpenMetrics, out: String::new(), name: "x".to_owned() };
        text.sample("_total", &[("a", "1\"} 2\n\\")], 3);
        assert_eq!(text.out, "x_total{a=\"1\\\"} 2\\n\\\\\"} 3\n");
    }

    #[test]
    fn times_are_seconds_with_their_milliseconds() {
        for (millis, written) in
            [(0, "0.000"), (1_763_755_200_045, "1763755200.045"), (-1_500, "-1.500"), (-5, "-0.005")]
        {
            assert_eq!(Seconds(millis).to_string(), written);
        }
        for (millis, written) in [(50, "0.05"), (250, "0.25"), (1000, "1.0"), (2500, "2.5"), (60_000, "60.0")]
        {
            assert_eq!(Bound(millis).to_string(), written);
        }
    }

    #[test]
    fn no_two_routes_share_a_counter() {
        let requests = Requests::default();
        assert_eq!(routes::all().count() + 1, ROUTES);
        for what in routes::all().map(Some).chain([None]) {
            for status in STATUSES.iter().chain(&[500]) {
                requests.count(what, StatusCode::from_u16(*status).expect("a status"));
            }
        }
        let counted: Vec<u64> = requests.answered.iter().flatten().map(Counter::get).collect();
        assert!(counted.iter().all(|count| *count == 1), "{counted:?}");
    }
}
