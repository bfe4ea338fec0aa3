//! HTTP to [`Outcome`]: the three calls to ecobee. Units are converted at this door.
//!
//! ```text
//! Client ── address   where ecobee is, and what a request's target looks like
//!    │  ─── wire      one connection a call; how far the request got
//!    └───── answer    status and body → Outcome
//!            ├ errors   what each of ecobee's errors is to us
//!            └ members  the members of a JSON answer
//! ```
//!
//! The calls are those of ecobee's *PIN Authorization Strategy* and *Refreshing Your Tokens*: parameters in the
//! query, an empty body. **The target of a request holds secrets**, so it is in no log, no error and no `Debug`.
//! Every call ends within the request timeout and always yields an [`Outcome`]; what went wrong is said in words
//! for a person.
//!
//! Deliberately absent: retries (the keeper's), a connection pool (calls are rare), redirects, cookies,
//! compression, and any way to switch the checking of certificates off.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use tokio::time::Instant;
use tracing::debug;

use crate::dial::Roads;
use crate::keeper::{Call, Outcome, Reach, Trouble};
use crate::secret::Secret;
use crate::url::BaseUrl;

mod address;
mod answer;
mod errors;
mod members;
mod wire;

pub use answer::LONGEST_TOKEN;
use wire::{Line, Reply};

/// Where ecobee is and how long it may take.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The base of the URLs; its path is put before `/authorize` and `/token`.
    pub url: BaseUrl,
    /// The most that a whole call may take: name, connection, TLS, request, answer.
    pub request_timeout: Duration,
    /// The way there.
    pub roads: Roads,
}

/// Calls ecobee. Cheap to clone; clones share nothing but settings. Needs what [`Roads`] need.
#[derive(Clone)]
pub struct Client {
    line: Arc<Line>,
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { line: Arc::new(Line::new(endpoint)) }
    }

    /// Asks for a PIN: `GET /authorize?response_type=ecobeePin&client_id=…&scope=…`.
    ///
    /// [`Outcome::PinIssued`], [`Outcome::Misconfigured`] or [`Outcome::Trouble`].
    pub async fn authorize(&self, api_key: &Secret, scope: &str) -> Outcome {
        let parameters = [("response_type", "ecobeePin"), ("client_id", api_key.expose()), ("scope", scope)];
        self.call(Call::Authorize, &parameters, &[api_key]).await
    }

    /// Asks whether the PIN of `code` has been entered:
    /// `POST /token?grant_type=ecobeePin&code=…&client_id=…&ecobee_type=jwt`.
    ///
    /// [`Outcome::Granted`], [`Outcome::Pending`], [`Outcome::SlowDown`], [`Outcome::PinOver`],
    /// [`Outcome::Misconfigured`] or [`Outcome::Trouble`].
    pub async fn poll(&self, api_key: &Secret, code: &Secret) -> Outcome {
        let parameters = [
            ("grant_type", "ecobeePin"),
            ("code", code.expose()),
            ("client_id", api_key.expose()),
            ("ecobee_type", "jwt"),
        ];
        self.call(Call::Poll, &parameters, &[api_key, code]).await
    }

    /// Trades the refresh token for new tokens:
    /// `POST /token?grant_type=refresh_token&refresh_token=…&client_id=…&ecobee_type=jwt`.
    ///
    /// [`Outcome::Granted`], [`Outcome::Refused`], [`Outcome::Misconfigured`] or [`Outcome::Trouble`].
    pub async fn refresh(&self, api_key: &Secret, refresh_token: &Secret) -> Outcome {
        let parameters = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
            ("client_id", api_key.expose()),
            ("ecobee_type", "jwt"),
        ];
        self.call(Call::Refresh, &parameters, &[api_key, refresh_token]).await
    }

    async fn call(&self, call: Call, parameters: &[(&str, &str)], shown: &[&Secret]) -> Outcome {
        let host = self.line.host();
        let began = Instant::now();
        let (method, path) = match call {
            Call::Authorize => (Method::GET, "/authorize"),
            Call::Poll | Call::Refresh => (Method::POST, "/token"),
        };
        let answered = self.line.exchange(method, path, parameters).await;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answered {
            Ok(reply) => {
                let (status, whole) = (reply.status.as_u16(), reply.broke.is_none());
                debug!(call = call.name(), host, status, whole, ms, "answered");
                answer::outcome(call, host, &reply, shown)
            }
            Err(failure) => {
                debug!(call = call.name(), host, reach = ?failure.reach, ms, "not answered");
                Outcome::Trouble(failure.into())
            }
        }
    }
}

/// A call that was not, or not wholly, answered.
#[derive(Debug)]
struct Failure {
    /// Words for a person, without secrets.
    reason: String,
    /// How far the request got.
    reach: Reach,
}

impl Failure {
    fn unsent(reason: String) -> Self {
        Self { reason, reach: Reach::Unsent }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason, reach: failure.reach, retry_after: None, rotated: None }
    }
}
