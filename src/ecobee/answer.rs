//! Status and body → [`Outcome`].

use std::time::Duration;

use hyper::StatusCode;
use zeroize::Zeroizing;

use super::errors::{Meaning, meaning};
use super::members::Members;
use super::{Failure, Reply};
use crate::keeper::{AccessToken, Call, Granted, IssuedPin, Outcome, Reach, Trouble};
use crate::quote::quote;
use crate::secret::Secret;

/// The most bytes of an access token that is served; ecobee's have 7 KB at most.
pub const LONGEST_TOKEN: usize = 64 * 1024;
/// No token and no PIN is believed to live longer: ecobee's live an hour and nine minutes.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Without a usable `expires_in`, a token is taken to live so long …
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
/// … and a PIN so long, and polls are so far apart: the documented values.
const PIN_LIFETIME: Duration = Duration::from_secs(9 * 60);
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// A server that wants to be polled more seldom would leave the person waiting who has entered the PIN.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// A PIN's `expires_in` is in minutes, and was in seconds for a while: larger values are seconds.
const MOST_MINUTES: f64 = 60.0;
/// The most bytes of a PIN: whatever it looks like, a person is to type it.
const LONGEST_PIN: usize = 256;

/// Judges an answer. `shown` are the secrets in the request, which must not come back in a message.
pub(super) fn outcome(call: Call, host: &str, reply: &Reply, shown: &[&Secret]) -> Outcome {
    let judged = Answer { call, host, reply, shown }.judge();
    let Some(Failure { reason, reach }) = &reply.broke else {
        return judged;
    };
    // A grant that arrived whole counts, whatever became of the rest: its refresh token may be the only one.
    if matches!(judged, Outcome::Granted(_)) {
        return judged;
    }
    let rotated = if let Outcome::Trouble(trouble) = judged { trouble.rotated } else { None };
    Outcome::Trouble(Trouble {
        reason: reason.clone(),
        reach: *reach,
        retry_after: reply.retry_after,
        rotated,
    })
}

struct Answer<'a> {
    call: Call,
    host: &'a str,
    reply: &'a Reply,
    shown: &'a [&'a Secret],
}

impl Answer<'_> {
    fn judge(&self) -> Outcome {
        let lossy;
        let text = if let Ok(text) = std::str::from_utf8(&self.reply.body) {
            text
        } else {
            lossy = Zeroizing::new(String::from_utf8_lossy(&self.reply.body).into_owned());
            &lossy
        };
        let Some(members) = Members::read(text) else {
            return self.useless(text);
        };
        if let Some(error) = members.text("error").filter(|error| !error.is_empty()) {
            return self.error(&error, &members);
        }
        if !self.reply.status.is_success() {
            return self.without_error(&members);
        }
        match self.call {
            Call::Authorize => self.pin(&members),
            Call::Poll | Call::Refresh => self.grant(&members),
        }
    }

    fn error(&self, error: &str, members: &Members<'_>) -> Outcome {
        let mut words = format!("ecobee says {}", quote(error, self.shown));
        let description = members.text("error_description").map(|text| quote(&text, self.shown));
        if let Some(description) = description.filter(|text| !text.is_empty()) {
            words.push_str(": ");
            words.push_str(&description);
        }
        let meaning = meaning(error, self.call);
        if matches!(meaning, Meaning::KeyRefused | Meaning::KeyTrouble) {
            words.push_str(" (the API key may be wrong or revoked)");
        }
        match meaning {
            Meaning::Pending => Outcome::Pending,
            Meaning::SlowDown => Outcome::SlowDown,
            Meaning::PinOver => Outcome::PinOver(words),
            Meaning::Refused | Meaning::KeyRefused => Outcome::Refused(words),
            Meaning::Misconfigured => Outcome::Misconfigured(words),
            Meaning::Trouble | Meaning::KeyTrouble => self.trouble(words, self.rotated(members)),
        }
    }

    fn pin(&self, members: &Members<'_>) -> Outcome {
        let pin = match members.text("ecobeePin") {
            Some(pin) => pin.to_string(),
            None => members.digits("ecobeePin").unwrap_or_default().to_owned(),
        };
        if pin.trim().is_empty() {
            return self.answered("without a PIN");
        }
        if pin.len() > LONGEST_PIN || pin.contains(char::is_control) {
            return self.answered("with a PIN that cannot be shown");
        }
        let Some(code) = members.secret("code") else {
            return self.answered("with a PIN but no code");
        };
        let lifetime = members.number("expires_in").and_then(|value| {
            length(if value <= MOST_MINUTES { value * 60.0 } else { value }, LONGEST_LIFETIME)
        });
        let interval = members.number("interval").and_then(|seconds| length(seconds, LONGEST_INTERVAL));
        Outcome::PinIssued(IssuedPin {
            pin,
            code,
            lifetime: lifetime.unwrap_or(PIN_LIFETIME),
            interval: interval.unwrap_or(POLL_INTERVAL).max(Duration::from_secs(1)),
        })
    }

    fn grant(&self, members: &Members<'_>) -> Outcome {
        let token = members.text("access_token").unwrap_or_default();
        let token_type = if members.has("token_type") {
            members.text("token_type").unwrap_or_default()
        } else {
            Zeroizing::new("Bearer".to_owned())
        };
        if is_of_another_type(&token_type) {
            tracing::warn!("ecobee gave a token that is no bearer token; it is lent as what ecobee calls it");
        }
        for (name, value) in [("access token", &token), ("token type", &token_type)] {
            if let Some(flaw) = flaw(value) {
                let words = self.sentence(&format!(" but the {name} {flaw}"));
                let given = members.has("access_token") || members.has("refresh_token");
                let reach = if given { Reach::Granted } else { Reach::Sent };
                let retry_after = self.reply.retry_after;
                let rotated = self.rotated(members);
                return Outcome::Trouble(Trouble { reason: words, reach, retry_after, rotated });
            }
        }
        let lifetime = members.number("expires_in").and_then(|seconds| length(seconds, LONGEST_LIFETIME));
        Outcome::Granted(Granted {
            access: AccessToken {
                token: Secret::new(token.as_str()),
                token_type: token_type.to_string(),
                scope: members.text("scope").map(|scope| scope.to_string()),
            },
            lifetime: lifetime.unwrap_or(SHORTEST_LIFETIME),
            refresh_token: members.secret("refresh_token"),
        })
    }

    /// The refresh token of a success that is none: the old one may have died for it.
    fn rotated(&self, members: &Members<'_>) -> Option<Secret> {
        let granting = match self.call {
            Call::Authorize => false,
            Call::Poll | Call::Refresh => self.reply.status.is_success(),
        };
        if granting { members.secret("refresh_token") } else { None }
    }

    /// JSON without an error where there ought to be one. The API's own errors come as a `status` object.
    fn without_error(&self, members: &Members<'_>) -> Outcome {
        let message = members
            .object("status")
            .and_then(|status| status.text("message"))
            .map(|message| quote(&message, self.shown))
            .filter(|message| !message.is_empty());
        match message {
            Some(message) => self.trouble(self.sentence(&format!(": {message}")), None),
            None => self.answered("without naming an error"),
        }
    }

    /// A body that is no JSON object.
    fn useless(&self, text: &str) -> Outcome {
        if text.trim().is_empty() {
            self.answered("with an empty body")
        } else if self.reply.html || text.trim_start().starts_with('<') {
            self.answered("with an HTML page")
        } else {
            self.answered("with something that is not JSON")
        }
    }

    fn answered(&self, what: &str) -> Outcome {
        let redirect = self.reply.status.is_redirection();
        let what = if redirect { "with a redirect, which is not followed" } else { what };
        self.trouble(self.sentence(&format!(" {what}")), None)
    }

    fn sentence(&self, what: &str) -> String {
        let status = self.reply.status;
        let elsewhere = status == StatusCode::NOT_FOUND || status.is_redirection();
        let hint = if elsewhere { " (is ecobee.url in the configuration right?)" } else { "" };
        format!("{} answered HTTP {}{what}{hint}", self.host, status.as_u16())
    }

    fn trouble(&self, reason: String, rotated: Option<Secret>) -> Outcome {
        let retry_after = self.reply.retry_after;
        Outcome::Trouble(Trouble { reason, reach: Reach::Sent, retry_after, rotated })
    }
}

/// Whether a token type is none of ours; a missing one is another matter.
fn is_of_another_type(token_type: &str) -> bool {
    // RFC 6749, section 5.1: the type is compared without case.
    !token_type.is_empty() && !token_type.eq_ignore_ascii_case("Bearer")
}

/// What keeps a text from standing in an `Authorization` header, as the end of a sentence.
fn flaw(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is missing")
    } else if text.len() > LONGEST_TOKEN {
        Some("is longer than 64 KiB")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("has characters that no header can carry")
    } else {
        None
    }
}

/// A length of time; `None` where there is nothing to count.
fn length(seconds: f64, most: Duration) -> Option<Duration> {
    let length = Duration::from_secs_f64(seconds.clamp(0.0, most.as_secs_f64()));
    (length.as_millis() > 0).then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(status: u16, body: impl AsRef<[u8]>) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("a status"),
            html: false,
            retry_after: None,
            body: Zeroizing::new(body.as_ref().to_vec()),
            broke: None,
        }
    }

    fn judged(call: Call, body: impl AsRef<[u8]>) -> Outcome {
        outcome(call, "ecobee", &reply(200, body), &[])
    }

    fn granted(body: &str) -> Granted {
        let outcome = judged(Call::Refresh, body);
        let Outcome::Granted(granted) = outcome else {
            panic!("{body} is {outcome:?}");
        };
        granted
    }

    fn issued(body: &str) -> IssuedPin {
        let outcome = judged(Call::Authorize, body);
        let Outcome::PinIssued(issued) = outcome else {
            panic!("{body} is {outcome:?}");
        };
        issued
    }

    fn trouble(call: Call, body: impl AsRef<[u8]>) -> Trouble {
        let outcome = judged(call, body);
        let Outcome::Trouble(trouble) = outcome else {
            panic!("no trouble but {outcome:?}");
        };
        trouble
    }

    #[test]
    fn a_grant_is_taken_as_documented() {
        let granted = granted(
            r#"{"access_token": "eyj", "token_type": "Bearer", "expires_in": 3599,
                "refresh_token": "v1.X", "scope": "smartWrite", "error": null, "new": {"a": [1]}}"#,
        );
        assert_eq!(granted.access.token.expose(), "eyj");
        assert_eq!(granted.access.token_type, "Bearer");
        assert_eq!(granted.access.scope.as_deref(), Some("smartWrite"));
        assert_eq!(granted.lifetime, Duration::from_secs(3599));
        assert_eq!(granted.refresh_token, Some(Secret::new("v1.X")));
    }

    #[test]
    fn a_lifetime_is_read_wherever_it_can_be() {
        for (expires_in, milliseconds) in [
            ("3599", 3_599_000),
            ("\"3599\"", 3_599_000),
            ("\" 3599.5 \"", 3_599_500),
            ("3.6e3", 3_600_000),
            ("1", 1_000),
            ("86401", 86_400_000),
            ("1e300", 86_400_000),
            ("1e999", 60_000),
            ("0.0001", 60_000),
            ("0", 60_000),
            ("-0", 60_000),
            ("-3599", 60_000),
            ("null", 60_000),
            ("true", 60_000),
            ("[3599]", 60_000),
            ("{}", 60_000),
            ("\"\"", 60_000),
            ("\"an hour\"", 60_000),
            ("\"NaN\"", 60_000),
            ("\"inf\"", 60_000),
        ] {
            let granted = granted(&format!(r#"{{"access_token": "a", "expires_in": {expires_in}}}"#));
            assert_eq!(granted.lifetime, Duration::from_millis(milliseconds), "{expires_in}");
        }
        assert_eq!(granted(r#"{"access_token": "a"}"#).lifetime, Duration::from_secs(60));
    }

    #[test]
    fn a_missing_token_type_is_bearer_and_a_strange_scope_is_none() {
        for (member, scope) in [("", None), (r#","token_type": null, "scope": 5"#, None)] {
            let granted = granted(&format!(r#"{{"access_token": "a"{member}}}"#));
            assert_eq!(granted.access.token_type, "Bearer");
            assert_eq!(granted.access.scope, scope);
        }
    }

    #[test]
    fn a_token_type_is_compared_without_case() {
        for (token_type, another) in [("Bearer", false), ("bEARER", false), ("", false), ("MAC", true)] {
            assert_eq!(is_of_another_type(token_type), another, "{token_type}");
        }
    }

    #[test]
    fn an_unusable_refresh_token_is_none() {
        for member in ["", r#","refresh_token": null"#, r#","refresh_token": """#, r#","refresh_token": 5"#] {
            let granted = granted(&format!(r#"{{"access_token": "a"{member}}}"#));
            assert_eq!(granted.refresh_token, None, "{member}");
        }
        let broken = judged(Call::Refresh, b"{\"access_token\": \"a\", \"refresh_token\": \"b\xff\"}");
        assert!(matches!(broken, Outcome::Granted(Granted { refresh_token: None, .. })), "{broken:?}");
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_trouble_and_its_rotation_is_kept() {
        let long = "a".repeat(LONGEST_TOKEN + 1);
        for (member, words) in [
            (String::new(), "the access token is missing"),
            (r#""access_token": "","#.into(), "the access token is missing"),
            (r#""access_token": null,"#.into(), "the access token is missing"),
            (r#""access_token": ["a"],"#.into(), "the access token is missing"),
            (r#""access_token": "a b","#.into(), "the access token has characters"),
            (r#""access_token": "a\u0000","#.into(), "the access token has characters"),
            (r#""access_token": "a\r\nHost: evil","#.into(), "the access token has characters"),
            (r#""access_token": "é","#.into(), "the access token has characters"),
            (format!(r#""access_token": "{long}","#), "the access token is longer"),
            (r#""access_token": "a", "token_type": "","#.into(), "the token type is missing"),
            (r#""access_token": "a", "token_type": 7,"#.into(), "the token type is missing"),
            (r#""access_token": "a", "token_type": "Bea rer","#.into(), "the token type has"),
        ] {
            for call in [Call::Poll, Call::Refresh] {
                let trouble = trouble(call, format!(r#"{{{member} "refresh_token": "next"}}"#));
                assert!(trouble.reason.contains(words), "{}", trouble.reason);
                assert_eq!(trouble.rotated, Some(Secret::new("next")), "{member}");
                assert_eq!(trouble.reach, Reach::Granted);
            }
        }
        let longest = "~".repeat(64 * 1024);
        granted(&format!(r#"{{"access_token": "{longest}"}}"#));
    }

    #[test]
    fn a_grant_needs_a_status_of_success() {
        for status in [199, 300, 302, 400, 401, 500] {
            let reply = reply(status, r#"{"access_token": "a", "refresh_token": "next"}"#);
            let Outcome::Trouble(trouble) = outcome(Call::Refresh, "ecobee", &reply, &[]) else {
                panic!("granted with {status}");
            };
            assert_eq!(trouble.rotated, None, "{status}");
        }
    }

    #[test]
    fn the_last_of_two_members_counts_and_a_byte_order_mark_does_not() {
        assert_eq!(granted(r#"{"access_token": "a", "access_token": "b"}"#).access.token.expose(), "b");
        assert_eq!(granted("\u{feff}{\"access_token\": \"a\"}").access.token.expose(), "a");
    }

    #[test]
    fn strange_neighbours_spoil_no_grant() {
        let deep = "[".repeat(50_000) + &"]".repeat(50_000);
        for member in [
            r#""error": """#.into(),
            format!(r#""x": {deep}"#),
            format!(r#""expires_in": {deep}"#),
            r#""scope": "\ud800""#.into(),
            r#""x": 1e999"#.into(),
            r#""\u0000": null"#.into(),
        ] {
            granted(&format!(r#"{{{member}, "access_token": "a"}}"#));
        }
        let latin1 = judged(Call::Refresh, b"{\"access_token\": \"a\", \"x\xe9\": \"\xe9\"}");
        assert!(matches!(latin1, Outcome::Granted(_)), "{latin1:?}");
    }

    #[test]
    fn a_pin_is_taken_as_documented() {
        let issued = issued(
            r#"{"ecobeePin": "bv29", "code": "uiNQ", "scope": "smartWrite", "expires_in": 9, "interval": 30}"#,
        );
        assert_eq!(issued.pin, "bv29");
        assert_eq!(issued.code.expose(), "uiNQ");
        assert_eq!(issued.lifetime, Duration::from_secs(540));
        assert_eq!(issued.interval, Duration::from_secs(30));
    }

    #[test]
    fn a_pin_lives_minutes_up_to_60_and_seconds_beyond() {
        for (expires_in, seconds) in [
            ("9", 540),
            ("\"9\"", 540),
            ("0.5", 30),
            ("60", 3_600),
            ("61", 61),
            ("540", 540),
            ("1e9", 86_400),
            ("0", 540),
            ("-9", 540),
            ("null", 540),
            ("\"soon\"", 540),
        ] {
            let body = format!(r#"{{"ecobeePin": "A", "code": "c", "expires_in": {expires_in}}}"#);
            assert_eq!(issued(&body).lifetime, Duration::from_secs(seconds), "{expires_in}");
        }
        let bare = issued(r#"{"ecobeePin": "A", "code": "c"}"#);
        assert_eq!((bare.lifetime, bare.interval), (Duration::from_secs(540), Duration::from_secs(30)));
    }

    #[test]
    fn polls_are_a_second_to_an_hour_apart() {
        for (interval, seconds) in
            [("30", 30), ("\"5\"", 5), ("0.2", 1), ("1e9", 3_600), ("0", 30), ("-1", 30), ("[]", 30)]
        {
            let body = format!(r#"{{"ecobeePin": "A", "code": "c", "interval": {interval}}}"#);
            assert_eq!(issued(&body).interval, Duration::from_secs(seconds), "{interval}");
        }
    }

    #[test]
    fn a_pin_is_shown_as_it_came_or_not_at_all() {
        for (pin, shown) in [("\"ABCD-EFGH\"", "ABCD-EFGH"), ("1234", "1234"), ("\"é\"", "é")] {
            assert_eq!(issued(&format!(r#"{{"ecobeePin": {pin}, "code": "c"}}"#)).pin, shown);
        }
        let longest = "A".repeat(LONGEST_PIN);
        assert_eq!(issued(&format!(r#"{{"ecobeePin": "{longest}", "code": "c"}}"#)).pin, longest);
        let long = format!("\"{longest}A\"");
        for pin in ["\"\"", "\" \"", "null", "-5", "1.5", "[]", "\"A\\u001b[2J\"", "\"A\\u009b\"", &long] {
            let reason = trouble(Call::Authorize, format!(r#"{{"ecobeePin": {pin}, "code": "c"}}"#)).reason;
            assert!(reason.contains("PIN"), "{pin}: {reason}");
        }
        for code in ["\"\"", "null", "5"] {
            let reason = trouble(Call::Authorize, format!(r#"{{"ecobeePin": "A", "code": {code}}}"#)).reason;
            assert!(reason.contains("no code"), "{code}: {reason}");
        }
    }

    #[test]
    fn what_is_no_answer_is_described() {
        for (status, body, words) in [
            (503, "<!DOCTYPE html><p>busy", "ecobee answered HTTP 503 with an HTML page"),
            (522, "", "ecobee answered HTTP 522 with an empty body"),
            (200, " \r\n", "ecobee answered HTTP 200 with an empty body"),
            (200, "{", "ecobee answered HTTP 200 with something that is not JSON"),
            (200, "[]", "ecobee answered HTTP 200 with something that is not JSON"),
            (500, "{}", "ecobee answered HTTP 500 without naming an error"),
            (500, r#"{"error": 5}"#, "ecobee answered HTTP 500 without naming an error"),
            (500, r#"{"status": {"code": 2, "message": "Revoked."}}"#, "ecobee answered HTTP 500: Revoked."),
            (
                404,
                "<a>lost</a>",
                "ecobee answered HTTP 404 with an HTML page (is ecobee.url in the configuration right?)",
            ),
            (
                301,
                "<a>moved</a>",
                "ecobee answered HTTP 301 with a redirect, which is not followed (is ecobee.url in the configuration right?)",
            ),
        ] {
            for call in [Call::Authorize, Call::Poll, Call::Refresh] {
                let Outcome::Trouble(trouble) = outcome(call, "ecobee", &reply(status, body), &[]) else {
                    panic!("{body} is no trouble");
                };
                assert_eq!(trouble.reason, words);
            }
        }
    }

    /// A grant's scope and a PIN are values, shown as they came; everything else is words.
    fn no_secret_in_words(call: Call, status: u16, body: &[u8]) {
        let secrets = [&Secret::new("an-api-key"), &Secret::new("a-refresh-token")];
        let outcome = outcome(call, "ecobee", &reply(status, body), &secrets);
        if !matches!(outcome, Outcome::Granted(_) | Outcome::PinIssued(_)) {
            let shown = format!("{outcome:?}");
            assert!(!shown.contains("an-api-key") && !shown.contains("a-refresh-token"), "{shown}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let member = prop::sample::select(vec![
            "access_token",
            "token_type",
            "expires_in",
            "refresh_token",
            "scope",
            "error",
            "code",
            "error_description",
            "ecobeePin",
            "interval",
            "status",
            "message",
            "other",
        ]);
        let scalar = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>()
                .prop_filter("JSON has no others", |value| value.is_finite())
                .prop_map(|value| format!("{value:e}")),
            any::<i64>().prop_map(|value| value.to_string()),
            ".{0,12}".prop_map(|value| serde_json::to_string(&value).expect("a text")),
            Just(r#""invalid_grant of a-refresh-token and an%2Dapi%2dkey""#.to_owned()),
            Just(r#""\ud800""#.to_owned()),
        ];
        scalar.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| format!("[{}]", values.join(","))),
                prop::collection::vec((member.clone(), inner), 0..6).prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    fn call() -> impl Strategy<Value = Call> {
        prop::sample::select(vec![Call::Authorize, Call::Poll, Call::Refresh])
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(call in call(), status in 100_u16..600, body: Vec<u8>) {
            no_secret_in_words(call, status, &body);
        }

        #[test]
        fn no_json_makes_it_panic_or_show_a_secret(call in call(), status in 100_u16..600, body in json()) {
            no_secret_in_words(call, status, body.as_bytes());
        }

        #[test]
        fn any_number_of_seconds_is_a_lifetime_up_to_a_day(seconds in -100_000.0..200_000.0_f64, quoted: bool) {
            let number = if quoted { format!("\"{seconds}\"") } else { seconds.to_string() };
            let body = format!(r#"{{"access_token": "a", "token_type": "Bearer", "expires_in": {number}}}"#);
            let least = Duration::from_millis(1);
            let expected =
                if seconds < least.as_secs_f64() { SHORTEST_LIFETIME.as_secs_f64() } else { seconds.min(86_400.0) };
            prop_assert!((granted(&body).lifetime.as_secs_f64() - expected).abs() < 0.001, "{}", number);
        }

        #[test]
        fn any_number_is_a_pins_minutes_or_seconds(number in 0.001..200_000.0_f64) {
            let body = format!(r#"{{"ecobeePin": "A", "code": "c", "expires_in": {number}}}"#);
            let seconds = if number <= 60.0 { number * 60.0 } else { number };
            let lifetime = issued(&body).lifetime.as_secs_f64();
            prop_assert!((lifetime - seconds.min(86_400.0)).abs() < 0.001, "{number}: {lifetime}");
        }

        #[test]
        fn no_success_makes_it_panic_or_serve_a_bad_token(call in call(), body in json()) {
            if let Outcome::Granted(granted) = judged(call, &body) {
                prop_assert_eq!(flaw(granted.access.token.expose()), None);
                prop_assert_eq!(flaw(&granted.access.token_type), None);
                prop_assert!(granted.lifetime > Duration::ZERO && granted.lifetime <= LONGEST_LIFETIME);
            }
        }
    }
}
