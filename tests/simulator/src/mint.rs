//! Makes PINs, codes and tokens that look like ecobee's.

use crate::options::{Options, PinForm, RefreshTokenForm, TokenForm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Letters and digits that cannot be taken for one another.
const PIN_LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn text(letters: &[u8], length: usize) -> String {
    (0..length).map(|_| char::from(letters[fastrand::usize(..letters.len())])).collect()
}

pub(crate) fn pin(form: PinForm) -> String {
    match form {
        PinForm::Today => format!("{}-{}", text(PIN_LETTERS, 4), text(PIN_LETTERS, 4)),
        PinForm::Documented => text(PIN_LETTERS, 4).to_ascii_lowercase(),
    }
}

pub(crate) fn code() -> String {
    text(LETTERS, 24)
}

pub(crate) fn refresh_token(form: RefreshTokenForm) -> String {
    match form {
        RefreshTokenForm::Awkward => {
            format!("v1.{}+{}/{}==", text(LETTERS, 16), text(LETTERS, 12), text(LETTERS, 18))
        }
        RefreshTokenForm::Plain => text(LETTERS, 32),
    }
}

/// An access token: a JWT whose signature is noise, or 32 letters and digits.
pub(crate) fn access_token(
    options: &Options,
    asked_for: Option<&str>,
    client_id: &str,
    scope: &str,
) -> String {
    let jwt = match options.token_form {
        TokenForm::AsAsked => asked_for == Some("jwt"),
        TokenForm::Jwt => true,
        TokenForm::Opaque => false,
    };
    if !jwt {
        return text(LETTERS, 32);
    }
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": text(LETTERS, 40)});
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut payload = json!({
        "iss": "https://auth.ecobee.com/",
        "aud": "https://prod.ecobee.com/api/v1",
        "azp": client_id,
        "sub": "auth0|simulated",
        "scope": scope,
        "iat": issued.as_secs(),
        "exp": (issued + options.lifetime).as_secs(),
        "jti": text(LETTERS, 16),
    });
    let signature: Vec<u8> = (0..256).map(|_| fastrand::u8(..)).collect();
    let head = URL_SAFE_NO_PAD.encode(header.to_string());
    let tail = URL_SAFE_NO_PAD.encode(signature);
    // Base64 makes four characters of three bytes; the padding is what the payload still lacks.
    let bare = head.len() + tail.len() + 2 + payload.to_string().len() * 4 / 3;
    let lacking = options.jwt_bytes.saturating_sub(bare) * 3 / 4;
    if let Some(padding) = lacking.checked_sub(r#","pad":"""#.len()) {
        payload["pad"] = text(LETTERS, padding).into();
    }
    format!("{head}.{}.{tail}", URL_SAFE_NO_PAD.encode(payload.to_string()))
}
