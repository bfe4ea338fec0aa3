//! The control API: the test's own way in, beside ecobee's endpoints and untouched by any mood.

use crate::calls::{Call, CallKind};
use crate::deeds::{NotThere, Pin, Which};
use crate::http::{Request, Response};
use crate::mood::Mood;
use crate::report;
use crate::server::{Command, Context};
use crate::shared::State;
use crate::truth::{GrantEnd, PinState};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Every route: method, path, what it takes and does. The README and `--help` show the same.
pub const ROUTES: [(&str, &str, &str); 20] = [
    ("GET", "/_control", "this list"),
    ("GET", "/_control/state", "the truth: PINs, grants and their tokens, counters, moods"),
    ("GET", "/_control/calls", "the log of calls to ecobee's endpoints"),
    ("POST", "/_control/calls/clear", "forget the log"),
    (
        "POST",
        "/_control/wait",
        r#"{"kind","client_id","answer","committed","count":1,"timeout_ms":10000}: answer when so many such calls are in the log and answered, or 408"#,
    ),
    ("POST", "/_control/approve", r#"{"pin":"latest","client_id"}: the person enters the PIN"#),
    ("POST", "/_control/deny", r#"{"pin":"latest","client_id"}: the person says no"#),
    ("POST", "/_control/expire-pin", r#"{"pin":"latest","client_id"}: the PIN's time is over"#),
    (
        "POST",
        "/_control/grant",
        r#"{"client_id","scope":"smartWrite"}: a grant without a PIN; answers its tokens"#,
    ),
    ("POST", "/_control/revoke", "WHICH: end grants, access and refresh tokens alike (API code 1)"),
    ("POST", "/_control/deauthorize", "WHICH: the person removes the application (API code 16)"),
    (
        "POST",
        "/_control/expire-access-token",
        "WHICH: end access tokens now (API code 14); refresh tokens live on",
    ),
    (
        "POST",
        "/_control/revoke-refresh-token",
        r#"{"refresh_token"}: end one refresh token and nothing else"#,
    ),
    (
        "POST",
        "/_control/revoke-application",
        r#"{"client_id"}: ecobee withdraws the API key (API code 2, invalid_client)"#,
    ),
    ("POST", "/_control/restore-application", r#"{"client_id"}: ecobee takes that back"#),
    ("GET", "/_control/moods", "the moods that wait for calls"),
    ("POST", "/_control/moods", "a mood, or a list of them: added behind those that are there"),
    ("POST", "/_control/moods/clear", "forget all moods"),
    ("POST", "/_control/options", "options to change, as a JSON object; answers all of them ({} only reads)"),
    ("POST", "/_control/pause", r#"{"for_ms":1000}: refuse connections for so long"#),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinOrder {
    pin: Option<String>,
    client_id: Option<String>,
}

impl From<PinOrder> for Pin {
    fn from(order: PinOrder) -> Self {
        match (order.pin, order.client_id) {
            (Some(pin), _) if pin != "latest" => Self::Is(pin),
            (_, Some(client_id)) => Self::LatestOf(client_id),
            (_, None) => Self::Latest,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichOrder {
    #[serde(default)]
    all: bool,
    client_id: Option<String>,
    grant: Option<u64>,
    token: Option<String>,
}

impl WhichOrder {
    fn which(self) -> Result<Which, Failure> {
        match (self.all, self.client_id, self.grant, self.token) {
            (true, None, None, None) => Ok(Which::All),
            (false, Some(client_id), None, None) => Ok(Which::Client(client_id)),
            (false, None, Some(id), None) => Ok(Which::Grant(id)),
            (false, None, None, Some(token)) => Ok(Which::Token(token)),
            (_, _, _, _) => Err(Failure::Bad(
                r#"want exactly one of "all": true, "client_id", "grant" and "token""#.to_owned(),
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefreshTokenOrder {
    refresh_token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientOrder {
    client_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantOrder {
    client_id: String,
    #[serde(default = "smart_write")]
    scope: String,
}

fn smart_write() -> String {
    "smartWrite".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseOrder {
    for_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitOrder {
    kind: Option<CallKind>,
    client_id: Option<String>,
    answer: Option<String>,
    committed: Option<bool>,
    #[serde(default = "one")]
    count: usize,
    #[serde(default = "ten_seconds")]
    timeout_ms: u64,
}

fn one() -> usize {
    1
}

fn ten_seconds() -> u64 {
    10_000
}

impl WaitOrder {
    fn fits(&self, call: &Call) -> bool {
        // A call that hangs is never answered, and can be waited for by asking for "pending".
        let answered = match &self.answer {
            Some(answer) => call.answer.as_str() == answer,
            None => call.answered_at.is_some(),
        };
        answered
            && self.kind.is_none_or(|kind| kind == call.kind)
            && (self.client_id.is_none() || self.client_id == call.client_id)
            && self.committed.is_none_or(|c| c == call.committed)
    }

    fn count(&self, state: &State) -> usize {
        state.calls.iter().filter(|call| self.fits(call)).count()
    }
}

/// Why an order was not carried out.
enum Failure {
    /// 400: it cannot be understood.
    Bad(String),
    /// 404: what it names is not there, or the path is not.
    NotFound(String),
    /// 405: the path takes another method.
    Method(&'static str),
    /// 408: what was waited for did not come.
    TooLate(Value),
}

impl From<NotThere> for Failure {
    fn from(not_there: NotThere) -> Self {
        Self::NotFound(not_there.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Bad(error.to_string())
    }
}

/// Answers a request below `/_control`.
pub(crate) async fn answer(request: &Request, context: &Context) -> Response {
    let (status, body) = match carry_out(request, context).await {
        Ok(body) => (200, body),
        Err(Failure::Bad(what)) => (400, json!({ "error": what })),
        Err(Failure::NotFound(what)) => (404, json!({ "error": what })),
        Err(Failure::Method(wanted)) => {
            let what = format!("want {wanted}");
            let body = json!({ "error": what }).to_string();
            return Response::json(405, body).and_header("Allow", Some(wanted));
        }
        Err(Failure::TooLate(body)) => (408, body),
    };
    Response::json(status, format!("{body}\n"))
}

fn order<T: DeserializeOwned>(request: &Request) -> Result<T, Failure> {
    let body = if request.body.is_empty() { b"{}" } else { request.body.as_slice() };
    Ok(serde_json::from_slice(body)?)
}

async fn carry_out(request: &Request, context: &Context) -> Result<Value, Failure> {
    let shared = &context.shared;
    let path = request.path.trim_end_matches('/');
    match (request.method.as_str(), path) {
        ("GET", "/_control") => Ok(ROUTES
            .iter()
            .map(|(method, path, what)| json!({"method": method, "path": path, "what": what}))
            .collect()),
        ("GET", "/_control/state") => Ok(shared.look(report::state)),
        ("GET", "/_control/calls") => {
            Ok(shared.look(|state| state.calls.iter().map(Call::to_json).collect()))
        }
        ("POST", "/_control/calls/clear") => {
            shared.change(|state| state.calls.clear());
            Ok(json!({}))
        }
        ("POST", "/_control/wait") => wait(order(request)?, context).await,
        ("POST", "/_control/approve") => move_pin(request, context, PinState::Approved),
        ("POST", "/_control/deny") => move_pin(request, context, PinState::Denied),
        ("POST", "/_control/expire-pin") => move_pin(request, context, PinState::Expired),
        ("POST", "/_control/grant") => {
            let GrantOrder { client_id, scope } = order(request)?;
            Ok(shared.change(|state| {
                let now = state.truth.now();
                let grant = state.truth.new_grant(&client_id, &scope, Some("jwt"), &state.options);
                report::grant(grant, now, true)
            }))
        }
        ("POST", "/_control/revoke") => end_grants(request, context, GrantEnd::Revoked),
        ("POST", "/_control/deauthorize") => end_grants(request, context, GrantEnd::Deauthorized),
        ("POST", "/_control/expire-access-token") => {
            let which = order::<WhichOrder>(request)?.which()?;
            let ended = shared.change(|state| state.truth.expire_access(&which));
            Ok(json!({ "ended": ended }))
        }
        ("POST", "/_control/revoke-refresh-token") => {
            let RefreshTokenOrder { refresh_token } = order(request)?;
            shared.change(|state| state.truth.revoke_refresh_token(&refresh_token))?;
            Ok(json!({}))
        }
        ("POST", "/_control/revoke-application") => {
            let ClientOrder { client_id } = order(request)?;
            shared.change(|state| state.truth.revoked_applications.insert(client_id));
            Ok(json!({}))
        }
        ("POST", "/_control/restore-application") => {
            let ClientOrder { client_id } = order(request)?;
            shared.change(|state| state.truth.revoked_applications.remove(&client_id));
            Ok(json!({}))
        }
        ("GET", "/_control/moods") => Ok(shared.look(|state| json!(state.moods))),
        ("POST", "/_control/moods") => {
            let moods = match serde_json::from_slice(&request.body)? {
                Value::Array(moods) => moods,
                one @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_)) => vec![one],
            };
            let moods: Vec<Mood> = moods.into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
            shared.change(|state| state.moods.extend(moods));
            Ok(shared.look(|state| json!(state.moods)))
        }
        ("POST", "/_control/moods/clear") => {
            shared.change(|state| state.moods.clear());
            Ok(json!({}))
        }
        ("POST", "/_control/options") => {
            let json = str::from_utf8(&request.body).map_err(|error| Failure::Bad(error.to_string()))?;
            let json = if json.is_empty() { "{}" } else { json };
            shared.change(|state| {
                state.options = state.options.with_json(json)?;
                Ok(json!(state.options))
            })
        }
        ("POST", "/_control/pause") => {
            let PauseOrder { for_ms } = order(request)?;
            tokio::spawn(pause(context.clone(), Duration::from_millis(for_ms)));
            Ok(json!({}))
        }
        (_, path) => match ROUTES.iter().find(|(_, known, _)| *known == path) {
            Some((method, _, _)) => Err(Failure::Method(method)),
            None => Err(Failure::NotFound(format!("{path}: no such route; GET /_control lists them"))),
        },
    }
}

fn move_pin(request: &Request, context: &Context, to: PinState) -> Result<Value, Failure> {
    let pin = Pin::from(order::<PinOrder>(request)?);
    let moved = context.shared.change(|state| state.truth.move_pin(&pin, to))?;
    Ok(json!({ "pin": moved }))
}

fn end_grants(request: &Request, context: &Context, end: GrantEnd) -> Result<Value, Failure> {
    let which = order::<WhichOrder>(request)?.which()?;
    let ended = context.shared.change(|state| state.truth.end_grants(&which, end));
    Ok(json!({ "ended": ended }))
}

async fn wait(order: WaitOrder, context: &Context) -> Result<Value, Failure> {
    let mut changes = context.shared.changes();
    let enough = async {
        loop {
            changes.mark_unchanged();
            let count = context.shared.look(|state| order.count(state));
            if count >= order.count || changes.changed().await.is_err() {
                return count;
            }
        }
    };
    let limit = Duration::from_millis(order.timeout_ms);
    if let Ok(count) = tokio::time::timeout(limit, enough).await {
        return Ok(json!({ "count": count }));
    }
    let count = context.shared.look(|state| order.count(state));
    Err(Failure::TooLate(json!({ "count": count })))
}

/// Shuts the port for a while. Runs beside the answer to the order, which still goes out.
async fn pause(context: Context, length: Duration) {
    // Nobody reads the results: the channels only have to hold them.
    let (done, _shut) = sync_channel(1);
    let _ = context.commands.send(Command::Pause(done));
    tokio::time::sleep(length).await;
    let (done, _open) = sync_channel(1);
    let _ = context.commands.send(Command::Resume(done));
}
