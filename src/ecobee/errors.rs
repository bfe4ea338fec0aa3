//! The table of ecobee's errors: ecobee's *Authorization Errors*, and what its servers were seen to mean by them.
//!
//! **The HTTP status has no say**, for 400 and 401 have both been seen for the same error.

use crate::keeper::Call;

/// What an error is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Pending,
    SlowDown,
    PinOver,
    Refused,
    /// Refused, and perhaps because of the API key.
    KeyRefused,
    Misconfigured,
    Trouble,
    /// Trouble, and perhaps because of the API key.
    KeyTrouble,
}

/// Looks an error up.
pub(super) fn meaning(error: &str, call: Call) -> Meaning {
    use Call::{Poll, Refresh};

    match (error, call) {
        ("authorization_pending", Poll) => Meaning::Pending,
        ("slow_down", Poll) => Meaning::SlowDown,
        ("authorization_expired" | "invalid_grant" | "access_denied", Poll) => Meaning::PinOver,

        ("invalid_grant" | "unauthorized_client" | "account_disabled", Refresh) => Meaning::Refused,
        ("invalid_client", Refresh) => Meaning::KeyRefused,
        ("invalid_client" | "unauthorized_client" | "account_disabled", _) => Meaning::KeyTrouble,

        ("invalid_scope" | "invalid_request" | "unsupported_grant_type" | "not_supported", _) => {
            Meaning::Misconfigured
        }

        // account_locked, which passes; what makes no sense for the call; what nobody has heard of.
        _ => Meaning::Trouble,
    }
}
