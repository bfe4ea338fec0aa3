//! What ecobee says when it refuses: the table of its authorization errors and its API's codes.

use serde::Serialize;

/// An error of `/authorize` or `/token`, as ecobee's "Authorization Errors" page lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The person said no.
    AccessDenied,
    /// A parameter is missing or malformed.
    InvalidRequest,
    /// The API key is unknown or revoked.
    InvalidClient,
    /// The code or refresh token is unknown, spent, expired or revoked.
    InvalidGrant,
    /// The API key may not use this grant type.
    UnauthorizedClient,
    /// A `grant_type` that the server does not know.
    UnsupportedGrantType,
    /// A scope that the server does not know.
    InvalidScope,
    /// An HTTP method that the path does not take.
    NotSupported,
    /// The account is locked for a while.
    AccountLocked,
    /// The account is closed.
    AccountDisabled,
    /// Nobody has entered the PIN yet.
    AuthorizationPending,
    /// The PIN's time is over.
    AuthorizationExpired,
    /// The polls come too fast.
    SlowDown,
}

impl Fault {
    /// All of them, in the order of ecobee's table.
    pub const ALL: [Self; 13] = [
        Self::AccessDenied,
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::NotSupported,
        Self::AccountLocked,
        Self::AccountDisabled,
        Self::AuthorizationPending,
        Self::AuthorizationExpired,
        Self::SlowDown,
    ];

    /// The value of `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::NotSupported => "not_supported",
            Self::AccountLocked => "account_locked",
            Self::AccountDisabled => "account_disabled",
            Self::AuthorizationPending => "authorization_pending",
            Self::AuthorizationExpired => "authorization_expired",
            Self::SlowDown => "slow_down",
        }
    }

    /// The fault with this name, if ecobee's table has it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// The documented HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::AccessDenied => 302,
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::NotSupported => 400,
            Self::InvalidClient
            | Self::AccountLocked
            | Self::AccountDisabled
            | Self::AuthorizationPending
            | Self::AuthorizationExpired
            | Self::SlowDown => 401,
        }
    }

    /// The value of `error_description`.
    pub fn description(self) -> &'static str {
        match self {
            Self::AccessDenied => "Authorization has been denied by the user.",
            Self::InvalidRequest => "The request is malformed. Check parameters.",
            Self::InvalidClient => {
                "Authentication error, invalid authentication method, lack of credentials, etc."
            }
            Self::InvalidGrant => "The authorization grant, token or credentials are expired or invalid.",
            Self::UnauthorizedClient => {
                "The authenticated client is not authorized to use this authorization grant type."
            }
            Self::UnsupportedGrantType => {
                "The authorization grant type is not supported by the authorization server."
            }
            Self::InvalidScope => {
                "The requested scope is invalid, unknown, malformed, or exceeds the scope granted by the resource owner."
            }
            Self::NotSupported => "HTTP method not supported for this request.",
            Self::AccountLocked => "Account is temporarily locked.",
            Self::AccountDisabled => "Account is disabled.",
            Self::AuthorizationPending => "Waiting for user to authorize application.",
            Self::AuthorizationExpired => "The authorization has expired waiting for user to authorize.",
            Self::SlowDown => "Slow down polling to the requested interval.",
        }
    }
}

/// Whether a bearer token opens ecobee's API, and what the API says if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It works.
    Alive,
    /// It ran out, was replaced by a refresh, or was expired through the control API: code 14.
    Expired,
    /// Never issued, or of a grant that was revoked: code 1.
    Unknown,
    /// The person removed the application from their account: code 16.
    Deauthorized,
    /// ecobee withdrew the API key: code 2.
    ApplicationRevoked,
}

impl Liveness {
    /// `status.code` of the API's answer.
    pub fn code(self) -> u16 {
        match self {
            Self::Alive => 0,
            Self::Expired => 14,
            Self::Unknown => 1,
            Self::Deauthorized => 16,
            Self::ApplicationRevoked => 2,
        }
    }

    /// `status.message` of the API's answer.
    pub fn message(self) -> &'static str {
        match self {
            Self::Alive => "",
            Self::Expired => "Authentication token has expired. Refresh your tokens.",
            Self::Unknown => "Authentication failed.",
            Self::Deauthorized => {
                "Access and Refresh tokens have been deauthorized by user. Please re-authorize."
            }
            Self::ApplicationRevoked => "Not authorized. Application has been revoked.",
        }
    }
}
