//! Moods: what goes wrong, at which endpoint, for whom and how often.

use crate::calls::CallKind;
use crate::millis;
use crate::trick::{Body, Trick};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The endpoints that a mood holds for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// `GET /authorize`.
    Authorize,
    /// `POST /token` with `grant_type=ecobeePin`.
    Poll,
    /// `POST /token` with `grant_type=refresh_token`.
    Refresh,
    /// `POST /token` of either kind.
    Token,
    /// `GET /1/thermostat`.
    Thermostat,
    /// Everything but the control API.
    #[default]
    All,
}

impl Endpoint {
    fn takes(self, kind: CallKind) -> bool {
        match self {
            Self::Authorize => kind == CallKind::Authorize,
            Self::Poll => kind == CallKind::Poll,
            Self::Refresh => kind == CallKind::Refresh,
            Self::Token => matches!(kind, CallKind::Poll | CallKind::Refresh),
            Self::Thermostat => kind == CallKind::Thermostat,
            Self::All => true,
        }
    }
}

/// Whether a call in a mood changes the truth as it would have without the mood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Commit {
    /// The trouble stands before the truth: nothing has changed.
    Never,
    /// The truth has changed, and the answer is what goes wrong.
    First,
}

/// One thing that goes wrong.
///
/// Of several moods that fit a call, the one added first is used. A mood without [`times`](Self::times) stays until it is cleared.
///
/// ```
/// use ecobee_simulator::{Endpoint, Mood};
/// let lost_answers = Mood::drop().after_commit().on(Endpoint::Refresh).times(2);
/// let json = r#"{"on": "refresh", "times": 2, "commit": "first", "trick": "drop"}"#;
/// assert_eq!(serde_json::from_str::<Mood>(json)?, lost_answers);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mood {
    /// Where.
    #[serde(default)]
    pub on: Endpoint,
    /// For which API key; `None` is for all. A thermostat call belongs to the key its token was given to.
    #[serde(default)]
    pub client_id: Option<String>,
    /// For how many calls; `None` is until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the truth changes; `None` takes what fits the trick ([`Trick::commit`]).
    #[serde(default)]
    pub commit: Option<Commit>,
    /// Waits so long before the truth is looked at.
    #[serde(default, rename = "delay_before_ms", with = "millis")]
    pub delay_before: Duration,
    /// Waits so long after the truth has changed, before the answer.
    #[serde(default, rename = "delay_after_ms", with = "millis")]
    pub delay_after: Duration,
    /// What happens.
    #[serde(default)]
    pub trick: Trick,
}

impl From<Trick> for Mood {
    fn from(trick: Trick) -> Self {
        Self {
            on: Endpoint::All,
            client_id: None,
            times: None,
            commit: None,
            delay_before: Duration::ZERO,
            delay_after: Duration::ZERO,
            trick,
        }
    }
}

impl Mood {
    /// An OAuth error with the status and description of ecobee's table.
    pub fn error(name: impl Into<String>) -> Self {
        Self::from(Trick::Error { error: name.into(), status: None, description: None, retry_after: None })
    }

    /// An HTML page.
    pub fn html(status: u16) -> Self {
        Self::from(Trick::Html { status })
    }

    /// An empty body.
    pub fn empty(status: u16) -> Self {
        Self::from(Trick::Empty { status })
    }

    /// Any status, type and body.
    pub fn raw(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::from(Trick::Raw {
            status,
            content_type: Some(content_type.to_owned()),
            headers: Vec::new(),
            body: Body(body.into()),
        })
    }

    /// A bare status such as 429 or 503.
    pub fn status(status: u16) -> Self {
        Self::from(Trick::Status { status, retry_after: None })
    }

    /// A 302.
    pub fn redirect(to: impl Into<String>) -> Self {
        Self::from(Trick::Redirect { to: to.into() })
    }

    /// Half of the true answer's body, then the end.
    pub fn half_body() -> Self {
        Self::from(Trick::HalfBody)
    }

    /// The connection is closed without an answer; before the commit unless [`after_commit`](Self::after_commit).
    pub fn drop() -> Self {
        Self::from(Trick::Drop)
    }

    /// The connection is reset without an answer; before the commit unless [`after_commit`](Self::after_commit).
    pub fn reset() -> Self {
        Self::from(Trick::Reset)
    }

    /// The headers of the true answer, then a reset.
    pub fn reset_after_headers() -> Self {
        Self::from(Trick::ResetAfterHeaders)
    }

    /// Never an answer; before the commit unless [`after_commit`](Self::after_commit).
    pub fn hang() -> Self {
        Self::from(Trick::Hang)
    }

    /// The true answer's body, a byte at a time.
    pub fn drip(pause: Duration) -> Self {
        Self::from(Trick::Drip { pause })
    }

    /// A body of so many bytes, its length told.
    pub fn huge(bytes: u64) -> Self {
        Self::from(Trick::Huge { bytes, chunked: false })
    }

    /// The true answer in chunks.
    pub fn chunked() -> Self {
        Self::from(Trick::Chunked)
    }

    /// The true answer, so long after the call, and the truth changes only then.
    pub fn delay_before_commit(delay: Duration) -> Self {
        Self::from(Trick::Truth).delayed_before(delay)
    }

    /// The true answer, so long after the truth has changed.
    pub fn delay_after_commit(delay: Duration) -> Self {
        Self::from(Trick::Truth).delayed_after(delay)
    }

    /// Only at this endpoint.
    #[must_use]
    pub fn on(self, on: Endpoint) -> Self {
        Self { on, ..self }
    }

    /// Only for this API key.
    #[must_use]
    pub fn of_client(self, client_id: impl Into<String>) -> Self {
        Self { client_id: Some(client_id.into()), ..self }
    }

    /// Only for so many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// For one call.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The truth changes as without the mood; only the answer goes wrong.
    #[must_use]
    pub fn after_commit(self) -> Self {
        Self { commit: Some(Commit::First), ..self }
    }

    /// The truth does not change.
    #[must_use]
    pub fn before_commit(self) -> Self {
        Self { commit: Some(Commit::Never), ..self }
    }

    /// Waits so long before the truth is looked at.
    #[must_use]
    pub fn delayed_before(self, delay_before: Duration) -> Self {
        Self { delay_before, ..self }
    }

    /// Waits so long between the truth's change and the answer.
    #[must_use]
    pub fn delayed_after(self, delay_after: Duration) -> Self {
        Self { delay_after, ..self }
    }

    /// Another HTTP status (errors, pages, bare statuses; nothing else has one).
    #[must_use]
    pub fn with_status(mut self, new: u16) -> Self {
        if let Trick::Error { status, .. } = &mut self.trick {
            *status = Some(new);
        } else if let Trick::Html { status }
        | Trick::Empty { status }
        | Trick::Raw { status, .. }
        | Trick::Status { status, .. } = &mut self.trick
        {
            *status = new;
        }
        self
    }

    /// Another `error_description` (errors only).
    #[must_use]
    pub fn with_description(mut self, new: impl Into<String>) -> Self {
        if let Trick::Error { description, .. } = &mut self.trick {
            *description = Some(new.into());
        }
        self
    }

    /// A `Retry-After` header (errors and bare statuses only): seconds, an HTTP date or nonsense.
    #[must_use]
    pub fn with_retry_after(mut self, new: impl Into<String>) -> Self {
        if let Trick::Error { retry_after, .. } | Trick::Status { retry_after, .. } = &mut self.trick {
            *retry_after = Some(new.into());
        }
        self
    }

    /// Whether the call changes the truth.
    pub(crate) fn commits(&self) -> Commit {
        self.commit.unwrap_or_else(|| self.trick.commit())
    }

    fn fits(&self, kind: CallKind, client_id: Option<&str>) -> bool {
        self.times != Some(0)
            && self.on.takes(kind)
            && (self.client_id.is_none() || self.client_id.as_deref() == client_id)
    }
}

/// Takes the mood for a call: the first that fits, used up by one.
pub(crate) fn take(moods: &mut Vec<Mood>, kind: CallKind, client_id: Option<&str>) -> Mood {
    let Some(at) = moods.iter().position(|mood| mood.fits(kind, client_id)) else {
        return Mood::from(Trick::Truth);
    };
    let mood = moods[at].clone();
    if let Some(left) = &mut moods[at].times {
        *left -= 1;
    }
    moods.retain(|mood| mood.times != Some(0));
    mood
}
