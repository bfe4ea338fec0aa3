//! How a refusal is written: RFC 9457, with a stable code for programs and a sentence for people.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::answers::{self, PinDocument};
use super::body::Body;
use super::seats::Full;
use super::{Lender, Peer};
use crate::keeper::{self, ENTER_AT};

const MEDIA_TYPE: &str = "application/problem+json";

/// When to look again after something that another client or the administrator must end.
const SOME_TIME: Duration = Duration::from_secs(30);

/// The codes; they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    AuthorizationRequired,
    TokenUnavailable,
    UnknownAccount,
    AccountRequired,
    MinTtlTooLong,
    InvalidRequest,
    Forbidden,
    NotFound,
    NoPin,
    MethodNotAllowed,
    TooManyRequests,
    RequestTooLarge,
}

impl Code {
    const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationRequired => "authorization-required",
            Self::TokenUnavailable => "token-unavailable",
            Self::UnknownAccount => "unknown-account",
            Self::AccountRequired => "account-required",
            Self::MinTtlTooLong => "min-ttl-too-long",
            Self::InvalidRequest => "invalid-request",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::NoPin => "no-pin",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TooManyRequests => "too-many-requests",
            Self::RequestTooLarge => "request-too-large",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::AuthorizationRequired | Self::TokenUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::UnknownAccount | Self::NotFound | Self::NoPin => StatusCode::NOT_FOUND,
            Self::AccountRequired | Self::MinTtlTooLong | Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    pin: Option<PinDocument>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

/// A refusal as it goes over the wire.
#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(flatten)]
    pin: Option<&'a PinDocument>,
}

impl Problem {
    fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), pin: None, retry_after: None, allow: None }
    }

    fn after(self, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..self }
    }

    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing at this path.")
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This path answers to {allow} only.");
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::new(Code::RequestTooLarge, format!("The body may be {limit} bytes long at most."))
    }

    /// `name` must be a possible name: nothing else of the path is repeated.
    pub(super) fn unknown_account(name: Option<&str>) -> Self {
        let those = "GET /status names those that there are";
        Self::new(
            Code::UnknownAccount,
            match name {
                Some(name) => format!("There is no account \"{name}\"; {those}."),
                None => format!("No account can have this name; {those}."),
            },
        )
    }

    pub(super) fn account_required(path: &str, names: &str) -> Self {
        Self::new(
            Code::AccountRequired,
            format!(
                "There are several accounts ({names}) and no default-account: ask for /accounts/NAME{path}, NAME \
                 being one of them."
            ),
        )
    }

    pub(super) fn no_account() -> Self {
        let detail = "No account is configured: add an [accounts.NAME] table to the configuration.";
        Self::new(Code::TokenUnavailable, detail).after(SOME_TIME)
    }

    pub(super) fn without_token(detail: String) -> Self {
        Self::new(Code::TokenUnavailable, detail).after(SOME_TIME)
    }

    pub(super) fn forbidden(peer: &Peer) -> Self {
        Self::new(
            Code::Forbidden,
            format!(
                "This account's tokens are not for you (uid {}): ask whoever administers this machine to allow it in \
                 the configuration of ecobee-tokend.",
                peer.uid
            ),
        )
    }

    pub(super) fn without_groups(peer: &Peer) -> Self {
        let detail = format!(
            "The user database of this machine does not say in which groups you are (uid {}), and that decides whether \
             this account's tokens are for you.",
            peer.uid
        );
        Self::new(Code::TokenUnavailable, detail).after(Duration::from_secs(5))
    }

    pub(super) fn no_pin() -> Self {
        Self::new(Code::NoPin, "No PIN waits to be entered.")
    }

    pub(super) fn too_many_connections(full: Full) -> Self {
        Self::new(Code::TooManyRequests, format!("No more connections now: {full}."))
            .after(Duration::from_secs(1))
    }

    /// The keeper's refusal.
    pub(super) fn of_keeper<L: Lender>(lender: &L, problem: keeper::Problem) -> Self {
        match problem {
            keeper::Problem::AuthorizationRequired { pin, retry_after } => {
                let pin = PinDocument::new(lender, pin);
                let detail = format!(
                    "A person must enter the PIN {} at {ENTER_AT}, before {}.",
                    pin.pin, pin.expires_at
                );
                Self { pin: Some(pin), ..Self::new(Code::AuthorizationRequired, detail) }.after(retry_after)
            }
            keeper::Problem::Unavailable { detail, retry_after } => {
                Self::new(Code::TokenUnavailable, detail).after(retry_after)
            }
            keeper::Problem::MinTtlTooLong { most } => Self::new(
                Code::MinTtlTooLong,
                format!("No token is ever good for so long; min_ttl may be {}.", most.as_secs()),
            ),
            keeper::Problem::TooMany { retry_after } => {
                let seconds = whole_seconds(retry_after);
                Self::new(
                    Code::TooManyRequests,
                    format!("ecobee was asked too often of late; ask again in {seconds} s."),
                )
                .after(retry_after)
            }
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::whole(self.body()));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        *headers = answers::headers(MEDIA_TYPE);
        if let Some(retry_after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// The whole response in bytes, for a connection that gets no more than this.
    pub(super) fn as_last_words(&self) -> Vec<u8> {
        let status = self.code.status();
        let body = self.body();
        let retry_after = whole_seconds(self.retry_after.unwrap_or_default());
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {MEDIA_TYPE}\r\ncache-control: no-store\r\nretry-after: \
             {retry_after}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    fn body(&self) -> Vec<u8> {
        let status = self.code.status();
        answers::json(&Document {
            r#type: "about:blank",
            // What RFC 9457 wants of about:blank.
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            pin: self.pin.as_ref(),
        })
    }
}

/// `Retry-After` knows neither fractions nor, for those who obey it, zero.
fn whole_seconds(length: Duration) -> u64 {
    length.as_secs().saturating_add(u64::from(length.subsec_nanos() > 0)).max(1)
}
