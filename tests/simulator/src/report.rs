//! The truth as JSON.

use crate::millis;
use crate::shared::State;
use crate::truth::{Grant, IssuedPin, Truth};
use serde_json::{Value, json};
use std::time::Duration;

/// As `GET /_control/state` tells it.
pub(crate) fn state(state: &State) -> Value {
    let truth = &state.truth;
    let grants = truth.grants().iter();
    json!({
        "now_ms": millis::of(truth.now()),
        "pins": truth.pins().iter().map(pin).collect::<Vec<_>>(),
        "grants": grants.map(|grant| grant_in(truth, grant)).collect::<Vec<_>>(),
        "revoked_applications": truth.revoked_applications().collect::<Vec<_>>(),
        "counters": truth.counters(),
        "moods": state.moods,
    })
}

fn pin(pin: &IssuedPin) -> Value {
    json!({
        "pin": pin.pin,
        "code": pin.code,
        "client_id": pin.client_id,
        "scope": pin.scope,
        "state": pin.state,
        "issued_ms": millis::of(pin.issued_at),
        "expires_ms": millis::of(pin.expires_at),
        "interval_ms": millis::of(pin.interval),
    })
}

fn grant_in(truth: &Truth, grant: &Grant) -> Value {
    let revoked = truth.revoked_applications().any(|client_id| client_id == grant.client_id);
    self::grant(grant, truth.now(), !revoked)
}

/// A grant, and which of its tokens are alive.
pub(crate) fn grant(grant: &Grant, now: Duration, application_lives: bool) -> Value {
    let lives = application_lives && grant.end.is_none();
    let access_tokens = grant.access_tokens.iter().map(|token| {
        let alive = lives && token.ended_at.is_none() && now < token.expires_at;
        json!({"value": token.value, "alive": alive, "issued_ms": millis::of(token.issued_at), "expires_ms": millis::of(token.expires_at)})
    });
    let refresh_tokens = grant.refresh_tokens.iter().map(|token| {
        let alive = lives && token.works_at(now);
        json!({"value": token.value, "alive": alive, "issued_ms": millis::of(token.issued_at), "used": token.first_used_at.is_some()})
    });
    json!({
        "id": grant.id,
        "client_id": grant.client_id,
        "scope": grant.scope,
        "alive": lives,
        "end": grant.end,
        "access_token": grant.access_token().map(|token| &token.value),
        "refresh_token": grant.refresh_token().map(|token| &token.value),
        "access_tokens": access_tokens.collect::<Vec<_>>(),
        "refresh_tokens": refresh_tokens.collect::<Vec<_>>(),
    })
}
