//! How tokens, PINs and states are written.

use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response};
use serde::{Serialize, Serializer};

use super::Lender;
use super::body::Body;
use super::form::{Dialect, Form};
use super::problem::Problem;
use crate::clock;
use crate::keeper::{AccessToken, ENTER_AT, Moment, PinView, State, View};

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Most answers are bare tokens. Their headers are made once: that is a tenth of what such an answer would cost.
static OF_BARE_TOKENS: LazyLock<HeaderMap> = LazyLock::new(|| headers(TEXT));

/// How many accounts a sentence names.
const NAMED: usize = 5;

/// No answer is to be stored: some carry secrets, and the others are stale at once too.
pub(super) fn headers(media_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

fn ok(media_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    with(headers(media_type), Body::whole(bytes))
}

fn with(headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

/// A document and a newline, for the sake of those who read it in a terminal.
pub(super) fn json(document: &impl Serialize) -> Vec<u8> {
    // Strings and numbers only: there is nothing that could fail.
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[derive(Serialize)]
struct TokenDocument<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

pub(super) fn token(access: Rc<AccessToken>, promised: Duration, form: Form) -> Response<Body> {
    match form {
        Form::Text => with(OF_BARE_TOKENS.clone(), Body::line(access)),
        Form::Header => ok(TEXT, format!("Authorization: {} {}\n", access.token_type, access.token.expose())),
        Form::Json => ok(
            JSON,
            json(&TokenDocument {
                access_token: access.token.expose(),
                token_type: &access.token_type,
                expires_in: promised.as_secs(),
                scope: access.scope.as_deref(),
            }),
        ),
    }
}

/// A wall time, in milliseconds since 1970; written as RFC 3339 wants it, in whole seconds of UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(i64);

impl Time {
    fn of<L: Lender>(lender: &L, moment: Moment) -> Self {
        Self(lender.wall_millis_of(moment))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        clock::utc(self.0).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The PIN object.
#[derive(Debug, Serialize)]
pub(super) struct PinDocument {
    pub(super) pin: String,
    enter_at: &'static str,
    expires_in: u64,
    pub(super) expires_at: Time,
}

impl PinDocument {
    pub(super) fn new<L: Lender>(lender: &L, view: PinView) -> Self {
        Self {
            pin: view.pin,
            enter_at: ENTER_AT,
            expires_in: view.expires_in.as_secs(),
            expires_at: Time::of(lender, view.expires_at),
        }
    }
}

pub(super) fn pin<L: Lender>(lender: &L, view: PinView) -> Response<Body> {
    ok(JSON, json(&PinDocument::new(lender, view)))
}

#[derive(Serialize)]
struct TimesDocument {
    issued_at: Time,
    expires_at: Time,
    refresh_at: Time,
    expires_in: u64,
}

/// What `/accounts/NAME/status` says.
#[derive(Serialize)]
pub(super) struct AccountDocument {
    state: &'static str,
    token: Option<TimesDocument>,
    pin: Option<PinDocument>,
    failures: u32,
    last_error: Option<String>,
    last_refresh_at: Option<Time>,
}

pub(super) fn of_account<L: Lender>(lender: &L, account: L::Account) -> AccountDocument {
    let view = lender.view(account);
    AccountDocument {
        state: view.state.name(),
        token: view.token.map(|token| TimesDocument {
            issued_at: Time::of(lender, token.issued_at),
            expires_at: Time::of(lender, token.expires_at),
            refresh_at: Time::of(lender, token.refresh_at),
            expires_in: token.expires_at.until_from(lender.now()).as_secs(),
        }),
        pin: view.pin.map(|pin| PinDocument::new(lender, pin)),
        failures: view.failures,
        last_error: view.last_error,
        last_refresh_at: view.last_refresh_at.map(|moment| Time::of(lender, moment)),
    }
}

pub(super) fn events(stream: Body) -> Response<Body> {
    with(headers(EVENTS), stream)
}

pub(super) fn metrics(dialect: Dialect, text: String) -> Response<Body> {
    ok(dialect.media_type(), text)
}

pub(super) fn status<L: Lender>(lender: &L, account: L::Account) -> Response<Body> {
    ok(JSON, json(&of_account(lender, account)))
}

#[derive(Serialize)]
struct DaemonDocument<A> {
    version: &'static str,
    default_account: Option<String>,
    accounts: A,
}

/// Written one by one, so that no second copy of thousands of views is ever held.
struct AllAccounts<'a, L: Lender>(&'a L);

impl<L: Lender> Serialize for AllAccounts<'_, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(lender) = *self;
        let accounts = lender.accounts().into_iter();
        serializer.collect_map(accounts.map(|(name, account)| (name, of_account(lender, account))))
    }
}

pub(super) fn statuses<L: Lender>(lender: &L) -> Response<Body> {
    let document = DaemonDocument {
        version: env!("CARGO_PKG_VERSION"),
        default_account: lender.default_name(),
        accounts: AllAccounts(lender),
    };
    ok(JSON, json(&document))
}

pub(super) fn health<L: Lender>(lender: &L) -> Result<Response<Body>, Problem> {
    let accounts = lender.accounts();
    if accounts.is_empty() {
        return Err(Problem::no_account());
    }
    let all = accounts.len();
    let without: Vec<_> = accounts
        .into_iter()
        .filter_map(|(name, account)| {
            let view = lender.view(account);
            view.token.is_none().then(|| format!("{name} ({})", lack(&view)))
        })
        .collect();
    if without.is_empty() {
        return Ok(ok(TEXT, "ok\n"));
    }
    Err(Problem::without_token(format!(
        "{} of {all} accounts without a living token: {}.",
        without.len(),
        some_of(&without)
    )))
}

/// Why there is no living token.
fn lack(view: &View) -> String {
    match (&view.pin, &view.last_error, view.state) {
        (Some(pin), ..) => format!("a person must enter the PIN {} at {ENTER_AT}", pin.pin),
        (None, Some(error), _) => error.clone(),
        (None, None, State::RequestingPin | State::AwaitingUser) => "ecobee is asked for a PIN".to_owned(),
        (None, None, State::Authorized | State::Refreshing | State::Retrying) => {
            "a refresh is under way".to_owned()
        }
    }
}

/// The first few names, and how many more there are.
pub(super) fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
