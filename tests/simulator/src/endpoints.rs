//! ecobee's endpoints as functions of the truth: parameters in, answer out, the truth changed.

use crate::fault::{Fault, Liveness};
use crate::mint;
use crate::options::{Options, PinUnit, Raw, Rotation};
use crate::truth::{AccessToken, Grant, GrantEnd, IssuedPin, PinState, RefreshToken, Truth};
use serde_json::json;
use std::time::Duration;

/// A poll may come this much too soon: clocks and networks are not exact.
const INTERVAL_TOLERANCE: Duration = Duration::from_millis(50);
const SCOPES: [&str; 3] = ["smartRead", "smartWrite", "ems"];

/// The parameters of a call, from the query first, then from a form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    /// The first value of this name that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn wanted(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or(Fault::InvalidRequest)
    }

    /// The refresh token that is shown; ecobee takes it as `code` too.
    pub(crate) fn refresh_token(&self) -> Option<&str> {
        self.get("refresh_token").or_else(|| self.get("code"))
    }
}

/// What the server has to say, before any mood spoils it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The name of the error; `None` is a success.
    pub(crate) error: Option<String>,
    pub(crate) body: String,
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        Self {
            status: fault.status(),
            error: Some(fault.name().to_owned()),
            body: error_body(fault.name(), fault.description()),
        }
    }
}

impl Reply {
    pub(crate) fn not_found() -> Self {
        Self {
            status: 404,
            error: Some("not_found".to_owned()),
            body: error_body("not_found", "There is nothing at this path."),
        }
    }
}

pub(crate) fn error_body(name: &str, description: &str) -> String {
    json!({
        "error": name,
        "error_description": description,
        "error_uri": "https://tools.ietf.org/html/rfc6749#section-5.2",
    })
    .to_string()
}

impl Truth {
    /// `GET /authorize`: a new PIN.
    pub(crate) fn authorize(
        &mut self,
        method: &str,
        params: &Params,
        options: &Options,
    ) -> Result<Reply, Fault> {
        if method != "GET" {
            return Err(Fault::NotSupported);
        }
        let client_id = params.wanted("client_id")?;
        if params.wanted("response_type")? != "ecobeePin" {
            return Err(Fault::InvalidRequest);
        }
        let scope = params.wanted("scope")?;
        if !scope.split([',', ' ']).all(|scope| SCOPES.contains(&scope)) {
            return Err(Fault::InvalidScope);
        }
        self.check_key(client_id, options)?;
        let raw = &options.raw;
        let pin = IssuedPin {
            pin: as_told(raw.pin.as_deref(), mint::pin(options.pin_form)),
            code: as_told(raw.code.as_deref(), mint::code()),
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            issued_at: self.now,
            expires_at: self.now + options.pin_lifetime,
            approve_at: options.approve_after.map(|after| self.now + after),
            state: PinState::Waiting,
            last_poll_at: None,
            interval: options.interval,
        };
        let expires_in = match options.pin_unit {
            PinUnit::Minutes => round_up(options.pin_lifetime, 60),
            PinUnit::Seconds => round_up(options.pin_lifetime, 1),
        };
        let reply = members([
            ("ecobeePin", Some(json!(pin.pin)), &raw.pin),
            ("code", Some(json!(pin.code)), &raw.code),
            ("scope", Some(json!(scope)), &raw.scope),
            ("expires_in", Some(json!(expires_in)), &raw.pin_expires_in),
            ("interval", Some(json!(round_up(options.interval, 1))), &raw.interval),
        ]);
        self.pins.push(pin);
        self.counters.pins += 1;
        Ok(reply)
    }

    /// `POST /token`: a poll for a PIN's tokens, or a refresh.
    pub(crate) fn token(&mut self, method: &str, params: &Params, options: &Options) -> Result<Reply, Fault> {
        if method != "POST" {
            return Err(Fault::NotSupported);
        }
        let client_id = params.wanted("client_id")?;
        let answer = match params.wanted("grant_type")? {
            "ecobeePin" => {
                self.check_key(client_id, options)?;
                self.poll(client_id, params.wanted("code")?, params, options)
            }
            "refresh_token" => {
                self.check_key(client_id, options)?;
                let shown = params.refresh_token().ok_or(Fault::InvalidRequest)?;
                self.refresh(client_id, shown, params, options)
            }
            _ => Err(Fault::UnsupportedGrantType),
        };
        match answer {
            Err(Fault::InvalidGrant) => self.counters.invalid_grants += 1,
            Err(Fault::SlowDown) => self.counters.slow_downs += 1,
            Ok(_) | Err(_) => {}
        }
        answer
    }

    fn check_key(&self, client_id: &str, options: &Options) -> Result<(), Fault> {
        let known = options.api_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == client_id));
        if known && !self.revoked_applications.contains(client_id) {
            Ok(())
        } else {
            Err(Fault::InvalidClient)
        }
    }

    fn poll(
        &mut self,
        client_id: &str,
        code: &str,
        params: &Params,
        options: &Options,
    ) -> Result<Reply, Fault> {
        let now = self.now;
        let pin = self
            .pins
            .iter_mut()
            .rev()
            .find(|pin| pin.code == code && pin.client_id == client_id)
            .ok_or(Fault::InvalidGrant)?;
        match pin.state {
            PinState::Expired => return Err(Fault::AuthorizationExpired),
            PinState::Spent => return Err(Fault::InvalidGrant),
            PinState::Waiting | PinState::Approved | PinState::Denied => {}
        }
        let too_soon = pin.last_poll_at.is_some_and(|last| now + INTERVAL_TOLERANCE < last + pin.interval);
        pin.last_poll_at = Some(now);
        if too_soon {
            pin.interval += options.slow_down_step;
            return Err(Fault::SlowDown);
        }
        match pin.state {
            PinState::Waiting => return Err(Fault::AuthorizationPending),
            PinState::Denied => return Err(Fault::AccessDenied),
            PinState::Approved | PinState::Spent | PinState::Expired => {}
        }
        pin.state = PinState::Spent;
        let scope = pin.scope.clone();
        let asked_for = params.get("ecobee_type");
        let grant = self.new_grant(client_id, &scope, asked_for, options);
        Ok(token_reply(grant, &TellRefresh::Newest, options))
    }

    /// A slow-down that a mood made up holds as one of the server's own.
    pub(crate) fn made_to_slow_down(&mut self, code: &str, options: &Options) {
        let now = self.now;
        if let Some(pin) = self.pins.iter_mut().rev().find(|pin| pin.code == code) {
            pin.last_poll_at = Some(now);
            pin.interval += options.slow_down_step;
            self.counters.slow_downs += 1;
        }
    }

    pub(crate) fn new_grant(
        &mut self,
        client_id: &str,
        scope: &str,
        asked_for: Option<&str>,
        options: &Options,
    ) -> &Grant {
        self.counters.grants += 1;
        let grant = Grant {
            id: self.counters.grants,
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            created_at: self.now,
            access_tokens: vec![new_access(self.now, client_id, scope, asked_for, options)],
            refresh_tokens: vec![new_refresh(self.now, options)],
            end: None,
        };
        let at = self.grants.len();
        self.grants.push(grant);
        &self.grants[at]
    }

    fn refresh(
        &mut self,
        client_id: &str,
        shown: &str,
        params: &Params,
        options: &Options,
    ) -> Result<Reply, Fault> {
        let now = self.now;
        let holds = |grant: &&mut Grant| {
            grant.client_id == client_id && grant.refresh_tokens.iter().any(|t| t.value == shown)
        };
        let grant = self.grants.iter_mut().rev().find(holds).ok_or(Fault::InvalidGrant)?;
        if grant.end.is_some() {
            return Err(Fault::InvalidGrant);
        }
        // The newest of that value: a replaced value (`raw`) may occur many times.
        let token = grant
            .refresh_tokens
            .iter_mut()
            .rev()
            .find(|token| token.value == shown)
            .ok_or(Fault::InvalidGrant)?;
        if !token.works_at(now) {
            if token.rotated && options.rotation == Rotation::ReuseDetection {
                grant.end = Some(GrantEnd::ReuseDetected);
            }
            return Err(Fault::InvalidGrant);
        }
        token.first_used_at.get_or_insert(now);
        let tell = match options.rotation {
            Rotation::Reuse => TellRefresh::Newest,
            Rotation::Same => TellRefresh::This(shown),
            Rotation::Absent => TellRefresh::Nothing,
            Rotation::Leeway(leeway) => {
                token.rotate(now + leeway);
                TellRefresh::Newest
            }
            Rotation::Strict | Rotation::ReuseDetection => {
                token.rotate(now);
                TellRefresh::Newest
            }
        };
        if matches!(tell, TellRefresh::Newest) {
            grant.refresh_tokens.push(new_refresh(now, options));
        }
        let asked_for = params.get("ecobee_type");
        grant.replace_access(new_access(now, client_id, &grant.scope, asked_for, options));
        self.counters.refreshes += 1;
        Ok(token_reply(grant, &tell, options))
    }

    /// `GET /1/thermostat`: is this bearer token alive?
    pub(crate) fn thermostat(&self, bearer: Option<&str>) -> Reply {
        let liveness = bearer.map_or(Liveness::Unknown, |token| self.liveness(token));
        let status = json!({"code": liveness.code(), "message": liveness.message()});
        if liveness != Liveness::Alive {
            return Reply {
                status: 500,
                error: Some(format!("code {}", liveness.code())),
                body: json!({ "status": status }).to_string(),
            };
        }
        let owner = bearer.and_then(|token| self.find_access(token)).map_or(0, |(grant, _)| grant.id);
        let thermostat = json!({
            "identifier": format!("{:012}", 311_000_000_000_u64 + owner),
            "name": "Hallway",
            "thermostatRev": "180101000000",
            "isRegistered": true,
            "modelNumber": "nikeSmart",
            "brand": "ecobee",
            "features": "HomeKit",
            "lastModified": "2018-01-01 00:00:00",
            "thermostatTime": "2018-01-01 00:00:00",
            "utcTime": "2018-01-01 05:00:00",
            "runtime": {"connected": true, "actualTemperature": 711, "actualHumidity": 40, "desiredHeat": 690, "desiredCool": 760},
        });
        let list = json!({
            "page": {"page": 1, "totalPages": 1, "pageSize": 1, "total": 1},
            "thermostatList": [thermostat],
            "status": status,
        });
        Reply { status: 200, error: None, body: list.to_string() }
    }
}

impl RefreshToken {
    /// Settles when it dies; a second use does not put that off.
    fn rotate(&mut self, dies_at: Duration) {
        self.rotated = true;
        self.dies_at = Some(self.dies_at.map_or(dies_at, |at| at.min(dies_at)));
    }
}

/// Which refresh token an answer carries.
enum TellRefresh<'a> {
    Newest,
    This(&'a str),
    Nothing,
}

fn new_access(
    now: Duration,
    client_id: &str,
    scope: &str,
    asked_for: Option<&str>,
    options: &Options,
) -> AccessToken {
    let minted = mint::access_token(options, asked_for, client_id, scope);
    AccessToken {
        value: as_told(options.raw.access_token.as_deref(), minted),
        issued_at: now,
        expires_at: now + options.lifetime,
        ended_at: None,
    }
}

fn new_refresh(now: Duration, options: &Options) -> RefreshToken {
    let minted = mint::refresh_token(options.refresh_token_form);
    RefreshToken {
        value: as_told(options.raw.refresh_token.as_deref(), minted),
        issued_at: now,
        first_used_at: None,
        dies_at: options.refresh_lifetime.map(|lifetime| now + lifetime),
        rotated: false,
    }
}

fn token_reply(grant: &Grant, tell: &TellRefresh<'_>, options: &Options) -> Reply {
    let Raw { access_token, token_type, expires_in, refresh_token, scope, .. } = &options.raw;
    let refresh = match tell {
        TellRefresh::Newest => grant.refresh_token().map(|token| json!(token.value)),
        TellRefresh::This(shown) => Some(json!(shown)),
        TellRefresh::Nothing => None,
    };
    let access = grant.access_token().map(|token| json!(token.value));
    members([
        ("access_token", access, access_token),
        ("token_type", Some(json!("Bearer")), token_type),
        ("expires_in", Some(json!(options.lifetime.as_secs())), expires_in),
        ("refresh_token", refresh, refresh_token),
        ("scope", Some(json!(grant.scope)), scope),
    ])
}

/// What the truth keeps: the minted value, or the one told instead if that is a JSON string.
fn as_told(raw: Option<&str>, minted: String) -> String {
    raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or(minted)
}

/// A JSON object written member by member, because `raw` may hold what no JSON library would write.
fn members<const N: usize>(members: [(&str, Option<serde_json::Value>, &Option<String>); N]) -> Reply {
    let told: Vec<String> = members
        .into_iter()
        .filter_map(|(name, value, raw)| {
            let text = match raw {
                Some(raw) => raw.clone(),
                None => value?.to_string(),
            };
            (!text.is_empty()).then(|| format!("\"{name}\":{text}"))
        })
        .collect();
    Reply { status: 200, error: None, body: format!("{{{}}}", told.join(",")) }
}

fn round_up(duration: Duration, seconds_each: u64) -> u64 {
    duration.as_millis().div_ceil(u128::from(seconds_each) * 1000).try_into().unwrap_or(u64::MAX)
}
