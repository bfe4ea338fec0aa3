//! What is asked of the daemon, and what its answers mean.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::args::Terms;
use crate::door::{Door, Line};
use crate::failure::{Exit, Failure};
use crate::http::{self, Answer, NoAnswer};
use crate::json::{self, Value};
use crate::words::{Length, harmless, harmless_json};

/// So long the daemon lets a request wait that names no bound of its own.
const USUAL_WAIT: Duration = Duration::from_secs(30);

/// An answer may come so much later than the daemon promised: machines are slow at times.
const MARGIN: Duration = Duration::from_secs(10);

/// More than a token of 64 KiB takes, written as JSON.
const TOKEN_LIMIT: usize = 512 * 1024;

/// Thousands of accounts.
const STATUS_LIMIT: usize = 16 * 1024 * 1024;

/// How many accounts a sentence names.
const NAMED: usize = 10;

/// The daemon, as one account's client meets it.
#[derive(Debug)]
pub(crate) struct Daemon {
    door: Door,
    account: Option<String>,
}

/// A PIN that waits to be entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) letters: String,
    pub(crate) enter_at: String,
    pub(crate) expires_in: u64,
    pub(crate) expires_at: String,
}

/// What the daemon said.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// One JSON text and a newline, harmless to a terminal, that can be printed as it is.
    pub(crate) text: Zeroizing<String>,
}

/// Where a PIN stands.
#[derive(Debug)]
pub(crate) enum PinDesk {
    /// One waits to be entered.
    Waiting(Pin, Document),
    /// None does.
    Empty,
}

impl Daemon {
    pub(crate) fn new(door: Door, account: Option<String>) -> Self {
        Self { door, account }
    }

    /// `GET /token`: the token alone.
    pub(crate) fn token(&self, terms: Terms) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let answer = self.lend("GET", "token", terms, None, &[])?;
        let token = line_of(&answer.body).filter(|token| is_token(token)).ok_or_else(no_token)?;
        Ok(Zeroizing::new(token.to_vec()))
    }

    /// `GET /header`: `Authorization: TYPE TOKEN`, without a newline; certainly one header and no more.
    pub(crate) fn header(&self, terms: Terms) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let answer = self.lend("GET", "header", terms, None, &[])?;
        line_of(&answer.body)
            .filter(|line| {
                let credentials = line.strip_prefix(b"Authorization: ").unwrap_or_default();
                let mut words = credentials.split(|byte| *byte == b' ');
                words.clone().count() == 2 && words.all(is_token)
            })
            .map(|line| Zeroizing::new(line.to_vec()))
            .ok_or_else(no_token)
    }

    /// `GET /token` for the whole token object.
    pub(crate) fn token_object(&self, terms: Terms) -> Result<Grant, Failure> {
        Grant::read(&self.lend("GET", "token", terms, Some(JSON), &[])?)
    }

    /// `POST /refresh`.
    pub(crate) fn refresh(&self, terms: Terms) -> Result<Grant, Failure> {
        Grant::read(&self.lend("POST", "refresh", terms, Some(JSON), &[])?)
    }

    /// `POST /token/rejected`.
    pub(crate) fn rejected(&self, token: &[u8], terms: Terms) -> Result<Grant, Failure> {
        Grant::read(&self.lend("POST", "token/rejected", terms, Some(JSON), token)?)
    }

    /// `POST /authorize`.
    pub(crate) fn authorize(&self, terms: Terms) -> Result<(Pin, Document), Failure> {
        pin_of(&self.lend("POST", "authorize", terms, Some(JSON), &[])?)
    }

    /// `GET /pin`.
    pub(crate) fn pin(&self) -> Result<PinDesk, Failure> {
        let answer = self.ask("GET", &self.target("pin"), MARGIN, Some(JSON), &[], TOKEN_LIMIT)?;
        if answer.status == 404 && value_of(&answer).text("code") == Some("no-pin") {
            return Ok(PinDesk::Empty);
        }
        pin_of(&self.good(answer)?).map(|(pin, document)| PinDesk::Waiting(pin, document))
    }

    /// `GET /status`, of all accounts or of the one that was named.
    pub(crate) fn status(&self) -> Result<Document, Failure> {
        let answer = self.ask("GET", &self.target("status"), MARGIN, Some(JSON), &[], STATUS_LIMIT)?;
        Document::read(&self.good(answer)?.body)
    }

    /// `GET /events`: a line over which something comes whenever an account changes, a status to begin with.
    pub(crate) fn listen(&self, patience: Duration) -> Result<Line, Failure> {
        let line = self.door.open(patience)?;
        let request = http::request("GET", &self.target("events"), None, &[]);
        let sent = (&line.stream).write_all(&request);
        sent.map_err(|error| unanswered(&line.path, &error.into(), patience))?;
        Ok(line)
    }

    /// The account that was named.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    fn target(&self, what: &str) -> String {
        match &self.account {
            Some(name) => format!("/accounts/{name}/{what}"),
            None => format!("/{what}"),
        }
    }

    /// Asks for something that takes terms.
    fn lend(
        &self,
        method: &str,
        what: &str,
        terms: Terms,
        accept: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let said: Vec<_> = [("min_ttl", terms.min_ttl), ("wait", terms.wait)]
            .into_iter()
            .filter_map(|(name, length)| length.map(|length| format!("{name}={}", length.as_secs())))
            .collect();
        let mut target = self.target(what);
        if !said.is_empty() {
            target = format!("{target}?{}", said.join("&"));
        }
        let patience = terms.wait.unwrap_or(USUAL_WAIT).saturating_add(MARGIN);
        self.good(self.ask(method, &target, patience, accept, body, TOKEN_LIMIT)?)
    }

    /// The answer, if it is a success; else what it says, in words of this program and a status.
    fn good(&self, answer: Answer) -> Result<Answer, Failure> {
        if answer.status == 200 {
            return Ok(answer);
        }
        let problem = value_of(&answer);
        Err(match problem.text("code") {
            Some("account-required") => Failure::new(
                Exit::Usage,
                format!(
                    "which account? Say --account NAME{}, or have one named in default-account of the daemon's \
                     configuration",
                    self.known_accounts()
                ),
            ),
            Some("unknown-account") => {
                let name = self.account.as_deref().unwrap_or_default();
                Failure::new(
                    Exit::Usage,
                    format!("--account: the daemon has no account {name}{}", self.known_accounts()),
                )
            }
            _ => failure(&answer, &problem),
        })
    }

    /// ` (cabin, home)`; nothing where the daemon does not say.
    fn known_accounts(&self) -> String {
        let answer = self.ask("GET", "/status", MARGIN, Some(JSON), &[], STATUS_LIMIT);
        let status = answer.ok().filter(|answer| answer.status == 200).map(|answer| value_of(&answer));
        let accounts = status.as_ref().and_then(|status| status.member("accounts"));
        let names: Vec<String> =
            accounts.map(Value::members).unwrap_or_default().iter().map(|(name, _)| harmless(name)).collect();
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more; ecobee-token status shows all"),
        };
        match names.get(..NAMED).unwrap_or(&names) {
            [] => String::new(),
            first => format!(" ({}{more})", first.join(", ")),
        }
    }

    fn ask(
        &self,
        method: &str,
        target: &str,
        patience: Duration,
        accept: Option<&str>,
        body: &[u8],
        limit: usize,
    ) -> Result<Answer, Failure> {
        let line = self.door.open(patience)?;
        let request = http::request(method, target, accept, body);
        match (&line.stream).write_all(&request) {
            // Who is turned away at the door is told why before the request is read.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
            sent => sent.map_err(|error| unanswered(&line.path, &error.into(), patience))?,
        }
        http::receive(&line, limit).map_err(|why| unanswered(&line.path, &why, patience))
    }
}

const JSON: &str = "application/json";

/// An access token in its token object.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) object: Document,
    pub(crate) token: Zeroizing<Vec<u8>>,
    pub(crate) header: Zeroizing<Vec<u8>>,
}

impl Grant {
    fn read(answer: &Answer) -> Result<Self, Failure> {
        let object = Document::read(&answer.body)?;
        let member = |name| object.value.text(name).filter(|text| is_token(text.as_bytes()));
        let (Some(token), Some(kind)) = (member("access_token"), member("token_type")) else {
            return Err(no_token());
        };
        let header = Zeroizing::new(format!("Authorization: {kind} {token}").into_bytes());
        Ok(Self { token: Zeroizing::new(token.as_bytes().to_vec()), header, object })
    }
}

impl Document {
    fn read(body: &[u8]) -> Result<Self, Failure> {
        let text = str::from_utf8(body).map(str::trim_end);
        let found = text.ok().and_then(|text| Some((json::read(text)?, text)));
        let (value, text) = found.ok_or_else(|| garbled("it is not JSON"))?;
        Ok(Self { value, text: Zeroizing::new(harmless_json(text) + "\n") })
    }
}

/// The body as JSON; nothing in particular where it is none.
fn value_of(answer: &Answer) -> Value {
    str::from_utf8(&answer.body).ok().and_then(json::read).unwrap_or(Value::Other)
}

fn pin_of(answer: &Answer) -> Result<(Pin, Document), Failure> {
    let document = Document::read(&answer.body)?;
    let pin = Pin::read(&document.value).ok_or_else(|| garbled("there is no PIN in it"))?;
    Ok((pin, document))
}

/// The only line of a body, without its end.
fn line_of(body: &[u8]) -> Option<&[u8]> {
    let line = body.strip_suffix(b"\n").unwrap_or(body);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    (!line.is_empty()).then_some(line)
}

/// Visible ASCII without spaces: whatever a token is made of, and nothing that could end a header.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}

fn no_token() -> Failure {
    garbled("there is no token in it")
}

pub(crate) fn garbled(what: &str) -> Failure {
    Failure::new(
        Exit::Other,
        format!(
            "the daemon's answer makes no sense: {what}; does another program listen at this socket? --socket or \
             $ECOBEE_TOKEND_SOCKET names another"
        ),
    )
}

fn unanswered(path: &Path, why: &NoAnswer, patience: Duration) -> Failure {
    let at = harmless(&path.to_string_lossy());
    match why {
        NoAnswer::TooLate => Failure::new(
            Exit::NotNow,
            format!("no answer from the daemon at {at} within {}; it may hang", Length(patience)),
        ),
        NoAnswer::CutShort => Failure::new(
            Exit::NotNow,
            format!("the daemon at {at} hung up before it had answered; it may be restarting, so try again"),
        ),
        NoAnswer::Garbled(what) => garbled(what),
        NoAnswer::Broken(error) => Failure::new(Exit::Other, format!("{at}: {error}")),
    }
}

/// What an answer says that is no success, in words and a status.
fn failure(answer: &Answer, problem: &Value) -> Failure {
    let detail = match harmless(problem.text("detail").unwrap_or_default()) {
        empty if empty.is_empty() => format!("the daemon answers with HTTP status {}", answer.status),
        detail => detail,
    };
    let again = match answer.retry_after {
        // Some of the daemon's own sentences end with it.
        Some(seconds) if detail.contains(&format!("in {seconds} s")) => String::new(),
        Some(seconds) => {
            let stop = if detail.ends_with(['.', '!', '?']) { "" } else { "." };
            format!("{stop} Try again in {}.", Length(Duration::from_secs(seconds)))
        }
        None => String::new(),
    };
    match problem.text("code").unwrap_or_default() {
        "authorization-required" => match Pin::read(problem) {
            Some(pin) => Failure::new(Exit::PinWanted, format!("a person must {}", pin.errand())),
            None => Failure::new(Exit::PinWanted, detail),
        },
        "token-unavailable" => Failure::new(Exit::NotNow, format!("no token just now: {detail}{again}")),
        "too-many-requests" => Failure::new(Exit::NotNow, format!("not now: {detail}{again}")),
        "forbidden" => Failure::new(Exit::NotAllowed, format!("not allowed: {detail}")),
        "min-ttl-too-long" | "invalid-request" => Failure::new(Exit::Usage, detail),
        "no-pin" => Failure::new(Exit::NotNow, detail),
        _ => Failure::new(Exit::Other, detail),
    }
}

impl Pin {
    /// The PIN that an object tells of.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        Some(Self {
            letters: object.text("pin")?.to_owned(),
            enter_at: object.text("enter_at")?.to_owned(),
            expires_in: object.whole("expires_in")?,
            expires_at: object.text("expires_at").unwrap_or_default().to_owned(),
        })
    }

    /// What a person is to do, in one line: `enter PIN ABCD-EFGH at ecobee.com, My Apps, within 8m59s`.
    pub(crate) fn errand(&self) -> String {
        let (pin, place) = (harmless(&self.letters), harmless(&self.enter_at));
        let left = Length(Duration::from_secs(self.expires_in));
        format!("enter PIN {pin} at {place}, within {left}")
    }
}
