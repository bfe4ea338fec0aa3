//! The log: who called what, when, with which credential, and what came of it.

use crate::millis;
use serde_json::{Value, json};
use std::time::Duration;

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    /// `/authorize`.
    Authorize,
    /// `/token` with `grant_type=ecobeePin`, or with a grant type that nobody knows.
    Poll,
    /// `/token` with `grant_type=refresh_token`.
    Refresh,
    /// `/1/…`.
    Thermostat,
    /// Any other path.
    Other,
}

/// How the parameters of a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// In the query string, as documented.
    Query,
    /// In a form body.
    Form,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has not yet.
    Pending,
    /// With success. Some tricks spoil the sending of it: see [`Call::trick`].
    Ok,
    /// With an error: ecobee's name of it, or `code 14` and the like of the API.
    Error(String),
    /// With something that ecobee's documents do not know: a page, an empty body, a bare status.
    Strange,
    /// The connection was closed without an answer.
    Dropped,
    /// The connection was reset without an answer.
    Reset,
}

impl Answer {
    /// As the control API says it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Ok => "ok",
            Self::Error(name) => name,
            Self::Strange => "strange",
            Self::Dropped => "dropped",
            Self::Reset => "reset",
        }
    }
}

/// One call to ecobee's endpoints. Moments are counted from the start of the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// 1 for the first since the start; clearing the log does not begin anew.
    pub id: u64,
    /// What it was for.
    pub kind: CallKind,
    /// The path, without the query.
    pub path: String,
    /// The API key; for a thermostat call the key that its token was given to.
    pub client_id: Option<String>,
    /// The credential: the code, the refresh token or the bearer token.
    pub shown: Option<String>,
    /// How the parameters came.
    pub via: Via,
    /// The value of `ecobee_type`.
    pub ecobee_type: Option<String>,
    /// When the whole request was there.
    pub arrived_at: Duration,
    /// When the answer began to be sent, or the connection was broken.
    pub answered_at: Option<Duration>,
    /// The HTTP status that was sent.
    pub status: Option<u16>,
    /// How it ended.
    pub answer: Answer,
    /// Whether it changed the truth: a PIN was issued, tokens were given.
    pub committed: bool,
    /// The mood that it met, by the name of its trick.
    pub trick: Option<String>,
}

impl Call {
    /// As `GET /_control/calls` tells it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "kind": self.kind,
            "path": self.path,
            "client_id": self.client_id,
            "shown": self.shown,
            "via": self.via,
            "ecobee_type": self.ecobee_type,
            "arrived_ms": millis::of(self.arrived_at),
            "answered_ms": self.answered_at.map(millis::of),
            "status": self.status,
            "answer": self.answer.as_str(),
            "committed": self.committed,
            "trick": self.trick,
        })
    }
}
