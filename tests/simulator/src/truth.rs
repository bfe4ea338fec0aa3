//! The truth: which PINs, codes, grants and tokens are alive. Knows no clock and no socket: the time comes in.

use crate::fault::Liveness;
use std::collections::BTreeSet;
use std::time::Duration;

/// All that the simulated ecobee knows. Moments are counted from its start.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub(crate) now: Duration,
    pub(crate) pins: Vec<IssuedPin>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) revoked_applications: BTreeSet<String>,
    pub(crate) counters: Counters,
}

/// How often things happened since the start; clearing the log of calls leaves these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// PINs issued.
    pub pins: u64,
    /// Grants given, by PIN or by the control API.
    pub grants: u64,
    /// Refreshes that changed the truth.
    pub refreshes: u64,
    /// Refreshes and polls refused with `invalid_grant`.
    pub invalid_grants: u64,
    /// Polls that came too soon.
    pub slow_downs: u64,
    /// Connections that were taken, the control API's among them.
    pub connections: u64,
    /// TLS handshakes that failed, as they do when a client refuses the certificate.
    pub failed_handshakes: u64,
}

/// A PIN that `/authorize` gave out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuedPin {
    /// What the person types.
    pub pin: String,
    /// What the client polls with.
    pub code: String,
    /// The API key.
    pub client_id: String,
    /// The scope that was asked for.
    pub scope: String,
    /// When it was issued.
    pub issued_at: Duration,
    /// Until when it can be entered and fetched.
    pub expires_at: Duration,
    /// When it approves itself.
    pub approve_at: Option<Duration>,
    /// What became of it.
    pub state: PinState,
    /// The last poll that reached the server.
    pub last_poll_at: Option<Duration>,
    /// The interval that is asked for now.
    pub interval: Duration,
}

/// What became of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinState {
    /// Nobody has entered it.
    Waiting,
    /// Entered; the tokens wait to be fetched.
    Approved,
    /// The person said no.
    Denied,
    /// The tokens were fetched: its code is worth nothing any more.
    Spent,
    /// Its time is over.
    Expired,
}

/// What one approved PIN gave: access tokens and refresh tokens, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// 1 for the first of this simulator.
    pub id: u64,
    /// The API key.
    pub client_id: String,
    /// The scope.
    pub scope: String,
    /// When it was given.
    pub created_at: Duration,
    /// The latest 64 of its access tokens, oldest first.
    pub access_tokens: Vec<AccessToken>,
    /// Its refresh tokens, oldest first.
    pub refresh_tokens: Vec<RefreshToken>,
    /// Why it is over, if it is.
    pub end: Option<GrantEnd>,
}

/// Why a grant is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantEnd {
    /// Revoked through the control API.
    Revoked,
    /// A rotated refresh token was shown again (`reuse-detection`).
    ReuseDetected,
    /// The person removed the application.
    Deauthorized,
}

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessToken {
    /// The token itself.
    pub value: String,
    /// When it was issued.
    pub issued_at: Duration,
    /// When it runs out by itself.
    pub expires_at: Duration,
    /// When a refresh or the control API ended it.
    pub ended_at: Option<Duration>,
}

/// A refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefreshToken {
    /// The token itself.
    pub value: String,
    /// When it was issued.
    pub issued_at: Duration,
    /// When it was first used with success.
    pub first_used_at: Option<Duration>,
    /// When it stops working, as far as that is settled.
    pub dies_at: Option<Duration>,
    /// Whether a successor took its place in a way that ends it.
    pub rotated: bool,
}

/// Access tokens that a grant remembers, so that a long run does not eat the memory.
const REMEMBERED: usize = 64;

impl Truth {
    /// The moment this truth describes, counted from the start of the simulator.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Every PIN ever issued, oldest first.
    pub fn pins(&self) -> &[IssuedPin] {
        &self.pins
    }

    /// Every grant ever given, oldest first.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The newest grant of an API key.
    pub fn grant_of(&self, client_id: &str) -> Option<&Grant> {
        self.grants.iter().rev().find(|g| g.client_id == client_id)
    }

    /// The newest PIN of an API key.
    pub fn pin_of(&self, client_id: &str) -> Option<&IssuedPin> {
        self.pins.iter().rev().find(|p| p.client_id == client_id)
    }

    /// How often things happened.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// API keys that ecobee withdrew.
    pub fn revoked_applications(&self) -> impl Iterator<Item = &str> {
        self.revoked_applications.iter().map(String::as_str)
    }

    /// What the API would say to this bearer token.
    pub fn liveness(&self, access_token: &str) -> Liveness {
        let Some((grant, token)) = self.find_access(access_token) else {
            return Liveness::Unknown;
        };
        if self.revoked_applications.contains(&grant.client_id) {
            return Liveness::ApplicationRevoked;
        }
        match grant.end {
            Some(GrantEnd::Deauthorized) => Liveness::Deauthorized,
            Some(GrantEnd::Revoked | GrantEnd::ReuseDetected) => Liveness::Unknown,
            None if token.ended_at.is_some() || token.expires_at <= self.now => Liveness::Expired,
            None => Liveness::Alive,
        }
    }

    /// Whether a refresh with this token would succeed.
    pub fn refresh_token_is_alive(&self, refresh_token: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.end.is_none()
                && !self.revoked_applications.contains(&grant.client_id)
                && grant
                    .refresh_tokens
                    .iter()
                    .any(|token| token.value == refresh_token && token.works_at(self.now))
        })
    }

    pub(crate) fn find_access(&self, value: &str) -> Option<(&Grant, &AccessToken)> {
        // The newest first: a replaced value (`raw`) may occur many times.
        self.grants.iter().rev().find_map(|grant| {
            let token = grant.access_tokens.iter().rev().find(|t| t.value == value);
            token.map(|token| (grant, token))
        })
    }

    /// Moves the time on and carries out what falls due by itself.
    pub(crate) fn settle(&mut self, now: Duration) {
        self.now = now;
        for pin in &mut self.pins {
            if pin.state == PinState::Waiting && pin.approve_at.is_some_and(|at| at <= now) {
                pin.state = PinState::Approved;
            }
            let open = matches!(pin.state, PinState::Waiting | PinState::Approved);
            if open && pin.expires_at <= now {
                pin.state = PinState::Expired;
            }
        }
    }

    /// When the truth next changes by itself.
    pub(crate) fn next_change(&self) -> Option<Duration> {
        let pins = self
            .pins
            .iter()
            .filter(|pin| matches!(pin.state, PinState::Waiting | PinState::Approved))
            .flat_map(|pin| [pin.approve_at, Some(pin.expires_at)]);
        let grants = self.grants.iter().filter(|grant| grant.end.is_none());
        let tokens = grants.flat_map(|grant| {
            let access = grant.access_tokens.iter();
            let access = access.filter(|token| token.ended_at.is_none()).map(|token| Some(token.expires_at));
            access.chain(grant.refresh_tokens.iter().map(|token| token.dies_at))
        });
        pins.chain(tokens).flatten().filter(|at| *at > self.now).min()
    }
}

impl Grant {
    /// Its newest access token.
    pub fn access_token(&self) -> Option<&AccessToken> {
        self.access_tokens.last()
    }

    /// Its newest refresh token.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_tokens.last()
    }

    /// Ends every access token that still lives and adds a new one.
    pub(crate) fn replace_access(&mut self, token: AccessToken) {
        self.end_access(token.issued_at);
        if self.access_tokens.len() == REMEMBERED {
            self.access_tokens.remove(0);
        }
        self.access_tokens.push(token);
    }

    pub(crate) fn end_access(&mut self, now: Duration) {
        for token in &mut self.access_tokens {
            token.ended_at.get_or_insert(now);
        }
    }
}

impl RefreshToken {
    /// Whether it works at this moment, as far as its grant does.
    pub fn works_at(&self, now: Duration) -> bool {
        self.dies_at.is_none_or(|at| now < at)
    }
}
