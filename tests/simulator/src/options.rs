//! What kind of ecobee this is: the choices a test or a command line can make.

use crate::millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// How the simulated ecobee behaves when it is in no particular mood.
///
/// All but [`listen`](Self::listen) and [`tls`](Self::tls) can be changed while it runs.
/// Their JSON names are those of `POST /_control/options`: durations carry `_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to listen: a loopback address. Port 0 takes any free one. Read at the start only.
    #[serde(skip, default = "any_loopback_port")]
    pub listen: SocketAddr,
    /// Plain HTTP, or HTTPS and with which certificate. Read at the start only.
    #[serde(skip)]
    pub tls: Tls,
    /// How long a PIN can be entered.
    #[serde(rename = "pin_lifetime_ms", with = "millis")]
    pub pin_lifetime: Duration,
    /// The unit of `/authorize`'s `expires_in`.
    pub pin_unit: PinUnit,
    /// What a PIN looks like.
    pub pin_form: PinForm,
    /// The least time between two polls for one code; told in whole seconds, rounded up.
    #[serde(rename = "interval_ms", with = "millis")]
    pub interval: Duration,
    /// What each `slow_down` adds to the interval that is asked for.
    #[serde(rename = "slow_down_step_ms", with = "millis")]
    pub slow_down_step: Duration,
    /// Each PIN is approved by itself so long after it was issued; `None` waits for a person.
    #[serde(rename = "approve_after_ms", with = "millis::optional")]
    pub approve_after: Option<Duration>,
    /// How long an access token lives; told in whole seconds, rounded down.
    #[serde(rename = "lifetime_ms", with = "millis")]
    pub lifetime: Duration,
    /// How long a refresh token lives from its issue; `None` is for ever.
    #[serde(rename = "refresh_lifetime_ms", with = "millis::optional")]
    pub refresh_lifetime: Option<Duration>,
    /// What a refresh does with refresh tokens.
    pub rotation: Rotation,
    /// When access tokens are JWTs.
    pub token_form: TokenForm,
    /// The length of a JWT, roughly; ecobee's reach 7 KB.
    pub jwt_bytes: usize,
    /// Whether refresh tokens hold characters that must be percent-encoded.
    pub refresh_token_form: RefreshTokenForm,
    /// The API keys that are known; `None` takes any.
    pub api_keys: Option<Vec<String>>,
    /// Members of the answers to be replaced by other JSON.
    pub raw: Raw,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: any_loopback_port(),
            tls: Tls::Off,
            pin_lifetime: Duration::from_secs(9 * 60),
            pin_unit: PinUnit::Minutes,
            pin_form: PinForm::Today,
            interval: Duration::from_secs(30),
            slow_down_step: Duration::from_secs(5),
            approve_after: None,
            // As in the answers that ecobee's documents show.
            lifetime: Duration::from_secs(3599),
            refresh_lifetime: None,
            rotation: Rotation::Reuse,
            token_form: TokenForm::AsAsked,
            jwt_bytes: 1024,
            refresh_token_form: RefreshTokenForm::Awkward,
            api_keys: None,
            raw: Raw::default(),
        }
    }
}

fn any_loopback_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

impl Options {
    /// These options with the members of a JSON object put over them, objects within it merged.
    ///
    /// ```
    /// use ecobee_simulator::{Options, Rotation};
    /// let options = Options::default().with_json(r#"{"rotation": "strict", "lifetime_ms": 500}"#)?;
    /// assert_eq!(options.rotation, Rotation::Strict);
    /// assert!(options.with_json(r#"{"rotatoin": "strict"}"#).is_err());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn with_json(&self, json: &str) -> Result<Self, serde_json::Error> {
        let mut merged = serde_json::to_value(self)?;
        let over: serde_json::Map<_, _> = serde_json::from_str(json)?;
        merge(&mut merged, over.into());
        let mut options: Self = serde_json::from_value(merged)?;
        options.listen = self.listen;
        options.tls = self.tls;
        Ok(options)
    }
}

fn merge(base: &mut serde_json::Value, over: serde_json::Value) {
    match (base, over) {
        (serde_json::Value::Object(base), serde_json::Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// What a successful refresh does with refresh tokens.
///
/// ecobee's documents contradict each other and clients have seen several kinds, so all are here.
/// As text: `reuse`, `same`, `absent`, `leeway=10s`, `strict`, `reuse-detection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rotation {
    /// A new one is issued and the old ones stay valid.
    Reuse,
    /// The same one is returned.
    Same,
    /// The answer has no `refresh_token`; the one that was used stays valid.
    Absent,
    /// A new one is issued; the old one stays valid for so long after its first use.
    Leeway(Duration),
    /// A new one is issued and the old one is dead at once.
    Strict,
    /// As [`Strict`](Self::Strict), and showing an old one revokes the whole grant.
    ReuseDetection,
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reuse => f.write_str("reuse"),
            Self::Same => f.write_str("same"),
            Self::Absent => f.write_str("absent"),
            Self::Leeway(leeway) => write!(f, "leeway={}ms", leeway.as_millis()),
            Self::Strict => f.write_str("strict"),
            Self::ReuseDetection => f.write_str("reuse-detection"),
        }
    }
}

impl FromStr for Rotation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "reuse" => Ok(Self::Reuse),
            "same" => Ok(Self::Same),
            "absent" => Ok(Self::Absent),
            "strict" => Ok(Self::Strict),
            "reuse-detection" => Ok(Self::ReuseDetection),
            other => match other.strip_prefix("leeway=") {
                Some(length) => duration(length).map(Self::Leeway),
                None => Err(format!(
                    "rotation {other:?}: want reuse, same, absent, leeway=10s, strict or reuse-detection"
                )),
            },
        }
    }
}

impl TryFrom<String> for Rotation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Rotation> for String {
    fn from(rotation: Rotation) -> Self {
        rotation.to_string()
    }
}

/// Reads `500ms`, `10s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let millis_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("length of time {text:?}: want 500ms, 10s, 2m or 1h")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(millis_each))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("length of time {text:?}: want 500ms, 10s, 2m or 1h"))
}

/// Whether the simulator speaks HTTPS, and how good its certificate is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP.
    #[default]
    Off,
    /// HTTPS with a good certificate for `localhost`, `127.0.0.1` and `::1`.
    Good,
    /// HTTPS with a certificate that becomes valid in the far future.
    NotYetValid,
    /// HTTPS with a certificate that ran out long ago.
    Expired,
    /// HTTPS with a certificate for another host.
    WrongName,
}

/// The unit of `/authorize`'s `expires_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinUnit {
    /// As documented; part of a minute counts as one.
    Minutes,
    /// As ecobee had it for a while in 2015.
    Seconds,
}

/// What a PIN looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinForm {
    /// `XXXX-XXXX`, as ecobee gives them today.
    Today,
    /// Four small letters or digits, as in ecobee's documents.
    Documented,
}

/// When access tokens are JWTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenForm {
    /// If `ecobee_type=jwt` was asked for.
    AsAsked,
    /// Always.
    Jwt,
    /// Never.
    Opaque,
}

/// What a refresh token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshTokenForm {
    /// With `+`, `/` and `=`, which break in a query that is not percent-encoded.
    Awkward,
    /// Letters and digits only.
    Plain,
}

/// JSON text that takes the place of a member of an answer, whatever the truth is.
///
/// It is sent as it stands, so that strings where numbers belong, negative and huge numbers, control characters and the like can be sent.
/// `Some("")` leaves the member out. A token that is replaced by a JSON string is that string in the truth too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// `/authorize`: `ecobeePin`.
    pub pin: Option<String>,
    /// `/authorize`: `code`.
    pub code: Option<String>,
    /// `/authorize`: `expires_in`.
    pub pin_expires_in: Option<String>,
    /// `/authorize`: `interval`.
    pub interval: Option<String>,
    /// `/token`: `access_token`.
    pub access_token: Option<String>,
    /// `/token`: `token_type`.
    pub token_type: Option<String>,
    /// `/token`: `expires_in`.
    pub expires_in: Option<String>,
    /// `/token`: `refresh_token`.
    pub refresh_token: Option<String>,
    /// Both: `scope`.
    pub scope: Option<String>,
}
