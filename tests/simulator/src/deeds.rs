//! What people and ecobee do behind the clients' backs: approve, deny, revoke, deauthorize.

use crate::truth::{Grant, GrantEnd, IssuedPin, PinState, Truth};
use std::fmt;

/// Names one PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The one issued last.
    Latest,
    /// The one issued last to this API key.
    LatestOf(String),
    /// The one that reads so.
    Is(String),
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("the latest PIN"),
            Self::LatestOf(client_id) => write!(f, "the latest PIN of {client_id}"),
            Self::Is(pin) => write!(f, "PIN {pin}"),
        }
    }
}

impl From<&str> for Pin {
    fn from(pin: &str) -> Self {
        Self::Is(pin.to_owned())
    }
}

impl From<String> for Pin {
    fn from(pin: String) -> Self {
        Self::Is(pin)
    }
}

/// Names grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Every grant.
    All,
    /// Those of this API key.
    Client(String),
    /// The one with this number.
    Grant(u64),
    /// The one that this access or refresh token belongs to.
    Token(String),
}

impl Which {
    fn is(&self, grant: &Grant) -> bool {
        match self {
            Self::All => true,
            Self::Client(client_id) => grant.client_id == *client_id,
            Self::Grant(id) => grant.id == *id,
            Self::Token(token) => {
                grant.access_tokens.iter().any(|t| t.value == *token)
                    || grant.refresh_tokens.iter().any(|t| t.value == *token)
            }
        }
    }
}

/// There is nothing of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotThere(pub(crate) String);

impl fmt::Display for NotThere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotThere {}

impl Truth {
    /// Moves a PIN that is open to another state and returns how it reads.
    pub(crate) fn move_pin(&mut self, pin: &Pin, to: PinState) -> Result<String, NotThere> {
        let named = |issued: &&mut IssuedPin| match pin {
            Pin::Latest => true,
            Pin::LatestOf(client_id) => issued.client_id == *client_id,
            Pin::Is(shown) => issued.pin == *shown,
        };
        let issued = self
            .pins
            .iter_mut()
            .rev()
            .find(named)
            .ok_or_else(|| NotThere(format!("{pin}: no such PIN was issued")))?;
        match issued.state {
            PinState::Waiting | PinState::Approved | PinState::Denied => {
                issued.state = to;
                Ok(issued.pin.clone())
            }
            PinState::Spent | PinState::Expired => {
                Err(NotThere(format!("PIN {}: it is over ({:?})", issued.pin, issued.state)))
            }
        }
    }

    /// Ends grants; returns how many.
    pub(crate) fn end_grants(&mut self, which: &Which, end: GrantEnd) -> usize {
        let mut ended = 0;
        for grant in self.grants.iter_mut().filter(|grant| which.is(grant)) {
            grant.end = Some(end);
            ended += 1;
        }
        ended
    }

    /// Ends the access tokens of grants (code 14) and leaves their refresh tokens; returns how many were alive.
    pub(crate) fn expire_access(&mut self, which: &Which) -> usize {
        let now = self.now;
        let mut ended = 0;
        for grant in self.grants.iter_mut().filter(|grant| which.is(grant)) {
            let live =
                |token: &&crate::truth::AccessToken| token.ended_at.is_none() && token.expires_at > now;
            ended += grant.access_tokens.iter().filter(live).count();
            grant.end_access(now);
        }
        ended
    }

    /// Ends one refresh token and leaves the rest of its grant.
    pub(crate) fn revoke_refresh_token(&mut self, value: &str) -> Result<(), NotThere> {
        let now = self.now;
        let mut found = false;
        let tokens = self.grants.iter_mut().flat_map(|g| &mut g.refresh_tokens);
        for token in tokens.filter(|token| token.value == value) {
            token.dies_at = Some(token.dies_at.map_or(now, |at| at.min(now)));
            found = true;
        }
        if found { Ok(()) } else { Err(NotThere("no such refresh token was issued".to_owned())) }
    }
}
