//! Tricks: each way in which a call can go wrong, and what the server has to do for it.

use crate::calls::Answer;
use crate::endpoints::error_body;
use crate::fault::Fault;
use crate::http::Response;
use crate::millis;
use crate::mood::Commit;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// What happens to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trick {
    /// Nothing but the mood's delays: the true answer.
    #[default]
    Truth,
    /// An OAuth error. For those of ecobee's table `None` is what the table says, for others 400.
    Error {
        /// The value of `error`.
        error: String,
        /// The HTTP status.
        #[serde(default)]
        status: Option<u16>,
        /// The value of `error_description`.
        #[serde(default)]
        description: Option<String>,
        /// The `Retry-After` header, as it stands.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// An HTML page, as load balancers send.
    Html {
        /// The HTTP status.
        status: u16,
    },
    /// No body at all.
    Empty {
        /// The HTTP status.
        status: u16,
    },
    /// Anything.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The `Content-Type`.
        #[serde(default)]
        content_type: Option<String>,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body; in JSON a text or a list of bytes.
        body: Body,
    },
    /// A bare status such as 429 or 500, with `Retry-After` if wanted.
    Status {
        /// The HTTP status.
        status: u16,
        /// The `Retry-After` header, as it stands.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A 302 to another address.
    Redirect {
        /// The `Location` header.
        to: String,
    },
    /// The true answer, cut in the middle of its body.
    HalfBody,
    /// The connection is closed without a word.
    Drop,
    /// The connection is reset (RST) without a word.
    Reset,
    /// The connection is reset after the headers of the true answer.
    ResetAfterHeaders,
    /// No answer, as long as the client waits.
    Hang,
    /// The true answer, its body a byte at a time.
    Drip {
        /// The time between two bytes.
        #[serde(rename = "pause_ms", with = "millis")]
        pause: Duration,
    },
    /// A 200 with a body of so many bytes: a JSON text that never gets to its point.
    Huge {
        /// The length of the body.
        bytes: u64,
        /// Sent in chunks, so that its length is not told.
        #[serde(default)]
        chunked: bool,
    },
    /// The true answer with `Transfer-Encoding: chunked`, a few bytes a chunk.
    Chunked,
}

impl Trick {
    /// What [`Mood::commit`](crate::Mood::commit) is unless said: tricks that show something of the true answer commit first, the others never.
    pub fn commit(&self) -> Commit {
        match self {
            Self::Truth | Self::HalfBody | Self::ResetAfterHeaders | Self::Drip { .. } | Self::Chunked => {
                Commit::First
            }
            Self::Error { .. }
            | Self::Html { .. }
            | Self::Empty { .. }
            | Self::Raw { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Drop
            | Self::Reset
            | Self::Hang
            | Self::Huge { .. } => Commit::Never,
        }
    }

    /// Its name in JSON; `None` for the plain truth.
    pub fn name(&self) -> Option<String> {
        if *self == Self::Truth {
            return None;
        }
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => Some(name),
            Ok(serde_json::Value::Object(tagged)) => tagged.into_iter().next().map(|(name, _)| name),
            Ok(_) | Err(_) => None,
        }
    }

    /// What the server has to do.
    pub(crate) fn plan(&self) -> Plan {
        match self {
            Self::Error { error, status, description, retry_after } => {
                let known = Fault::named(error);
                let status = status.or(known.map(Fault::status)).unwrap_or(400);
                let description =
                    description.as_deref().or(known.map(Fault::description)).unwrap_or("Simulated.");
                let response = Response::json(status, error_body(error, description))
                    .and_header("Retry-After", retry_after.as_deref());
                Plan::StandIn(response, Answer::Error(error.clone()))
            }
            Self::Html { status } => strange(Response::html(*status)),
            Self::Empty { status } => strange(Response::new(*status)),
            Self::Raw { status, content_type, headers, body } => {
                let response = Response::new(*status)
                    .and_header("Content-Type", content_type.as_deref())
                    .with_body(body.0.clone());
                strange(
                    headers
                        .iter()
                        .fold(response, |response, (name, value)| response.and_header(name, Some(value))),
                )
            }
            Self::Status { status, retry_after } => {
                strange(Response::plain(*status).and_header("Retry-After", retry_after.as_deref()))
            }
            Self::Redirect { to } => strange(Response::plain(302).and_header("Location", Some(to))),
            Self::Drop => Plan::Drop,
            Self::Reset => Plan::Reset,
            Self::Hang => Plan::Hang,
            Self::Huge { bytes, chunked } => Plan::Huge { bytes: *bytes, chunked: *chunked },
            Self::Truth => Plan::Truth(Manner::Whole),
            Self::HalfBody => Plan::Truth(Manner::Half),
            Self::ResetAfterHeaders => Plan::Truth(Manner::ResetAfterHeaders),
            Self::Drip { pause } => Plan::Truth(Manner::Drip(*pause)),
            Self::Chunked => Plan::Truth(Manner::Chunked),
        }
    }
}

/// What the server has to do with a call, once its truth is settled.
pub(crate) enum Plan {
    /// Send the true answer.
    Truth(Manner),
    /// Send this instead; the log says so.
    StandIn(Response, Answer),
    /// Send a body that is too large.
    Huge { bytes: u64, chunked: bool },
    /// Close.
    Drop,
    /// Reset.
    Reset,
    /// Wait for the client to leave.
    Hang,
}

/// How the true answer is sent.
pub(crate) enum Manner {
    Whole,
    Half,
    ResetAfterHeaders,
    Drip(Duration),
    Chunked,
}

fn strange(response: Response) -> Plan {
    Plan::StandIn(response, Answer::Strange)
}

/// A body of any bytes; in JSON a text or a list of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(pub Vec<u8>);

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Told {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Told::deserialize(deserializer)? {
            Told::Text(text) => Self(text.into_bytes()),
            Told::Bytes(bytes) => Self(bytes),
        })
    }
}
