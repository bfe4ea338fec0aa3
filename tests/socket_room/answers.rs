//! What is lent, and how it is written.

use std::time::Duration;

use ecobee_tokend::keeper::{Told, View, Want};
use ecobee_tokend::secret::Secret;
use serde_json::{Value, json};

use crate::house::{House, Plan, Reply, TOKEN, healthy, pin, plain_token, without_grant};

const NO_TTL: Duration = Duration::ZERO;

#[test]
fn the_token_is_a_line_of_text() {
    let house = House::open(Plan::default());
    let response = house.get("/token");
    assert_eq!(response.status, 200);
    assert_eq!(response.body, format!("{TOKEN}\n"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let (account, ask) = house.heard_ask();
    assert_eq!(account, "home");
    assert_eq!(ask.want, Want::Token { min_ttl: NO_TTL, told: Told::TokenOnly });
    assert_eq!(ask.wait, None);
    assert_eq!(ask.uid, rustix::process::getuid().as_raw());
}

#[test]
fn the_token_is_an_oauth_object_for_those_who_want_json() {
    let house = House::open(Plan::default());
    let response = house.request("GET", "/token", "Accept: application/json\r\n");
    assert_eq!(
        response.json(),
        json!({
            "access_token": TOKEN, "token_type": "Bearer", "expires_in": 2999, "scope": "smartWrite"
        })
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(house.heard_want(), Want::Token { min_ttl: NO_TTL, told: Told::Lifetime });
}

#[test]
fn a_scope_that_ecobee_did_not_tell_is_left_out() {
    let house =
        House::open(Plan::replying(|_| Reply::Token { token_type: "bearer", scope: None, promised: NO_TTL }));
    let said = house.request("GET", "/token", "Accept: application/json\r\n").json();
    assert_eq!(said, json!({"access_token": TOKEN, "token_type": "bearer", "expires_in": 0}));
}

#[test]
fn the_header_is_a_line_for_curl() {
    let house =
        House::open(Plan::replying(|_| Reply::Token { token_type: "MAC", scope: None, promised: NO_TTL }));
    let response = house.request("GET", "/header", "Accept: application/json\r\n");
    assert_eq!(response.body, format!("Authorization: MAC {TOKEN}\n"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(house.heard_want(), Want::Token { min_ttl: NO_TTL, told: Told::TokenOnly });
}

#[test]
fn a_refused_token_is_reported_without_the_space_around_it() {
    let house = House::open(Plan::default());
    let response = house.post("/token/rejected?min_ttl=60", b" \told.token\r\n");
    assert_eq!(response.body, format!("{TOKEN}\n"));
    let min_ttl = Duration::from_secs(60);
    assert_eq!(house.heard_want(), Want::Rejected { token: Secret::new("old.token"), min_ttl });
}

#[test]
fn a_refused_token_may_come_in_chunks_and_be_answered_in_json() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(
        b"POST /token/rejected HTTP/1.1\r\nAccept: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nold.\r\n",
    );
    client.send(b"5\r\ntoken\r\n0\r\n\r\n");
    assert_eq!(client.response().unwrap().json()["access_token"], TOKEN);
    assert_eq!(house.heard_want(), Want::Rejected { token: Secret::new("old.token"), min_ttl: NO_TTL });
}

#[test]
fn a_refresh_is_answered_with_the_token() {
    let house = House::open(Plan::default());
    assert_eq!(house.post("/refresh", b"").body, format!("{TOKEN}\n"));
    assert_eq!(house.heard_want(), Want::Refresh { min_ttl: NO_TTL });
    let said = house.request("POST", "/refresh", "Accept: application/json\r\nContent-Length: 0\r\n").json();
    assert_eq!(said["access_token"], TOKEN);
}

fn pin_object() -> Value {
    json!({
        "pin": "ABCD-EFGH",
        "enter_at": "ecobee.com, My Apps",
        "expires_in": 540,
        "expires_at": "2025-11-21T20:09:00Z",
    })
}

#[test]
fn an_authorization_is_answered_with_the_pin() {
    let house = House::open(Plan::replying(|_| Reply::Pin));
    let response = house.post("/authorize?wait=7", b"");
    assert_eq!((response.status, response.json()), (200, pin_object()));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let (_, ask) = house.heard_ask();
    assert_eq!((ask.want, ask.wait), (Want::Authorize, Some(Duration::from_secs(7))));
}

#[test]
fn a_waiting_pin_is_shown() {
    let house = House::open(Plan { view: |_| without_grant(), ..Plan::default() });
    let response = house.get("/pin");
    assert_eq!((response.status, response.json()), (200, pin_object()));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    house.heard_nothing_more();
}

#[test]
fn no_pin_is_a_problem_of_its_own() {
    House::open(Plan::default()).get("/pin").problem(404, "no-pin");
}

fn healthy_object() -> Value {
    json!({
        "state": "authorized",
        "token": {
            "issued_at": "2025-11-21T19:50:00Z",
            "expires_at": "2025-11-21T20:50:00Z",
            "refresh_at": "2025-11-21T20:40:00Z",
            "expires_in": 3000,
        },
        "pin": null,
        "failures": 0,
        "last_error": null,
        "last_refresh_at": "2025-11-21T19:50:00Z",
    })
}

fn awaiting_object() -> Value {
    json!({
        "state": "awaiting-user",
        "token": null,
        "pin": pin_object(),
        "failures": 3,
        "last_error": "ecobee says \"invalid_grant\"",
        "last_refresh_at": null,
    })
}

fn cabin_awaits(name: &str) -> View {
    if name == "cabin" { without_grant() } else { healthy() }
}

#[test]
fn the_status_shows_every_account_and_no_token() {
    let plan = Plan { view: cabin_awaits, ..Plan::names(&["cabin", "home"], None) };
    let response = House::open(plan).get("/status");
    assert_eq!(
        response.json(),
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "default_account": null,
            "accounts": {"cabin": awaiting_object(), "home": healthy_object()},
        })
    );
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert!(!response.body.contains(TOKEN));
}

#[test]
fn an_accounts_status_is_its_part_of_the_whole() {
    let house = House::open(Plan { view: cabin_awaits, ..Plan::names(&["cabin", "home"], None) });
    assert_eq!(house.get("/accounts/cabin/status").json(), awaiting_object());
    assert_eq!(house.get("/accounts/home/status").json(), healthy_object());
}

#[test]
fn ten_thousand_accounts_have_a_status() {
    let names: Vec<_> = (0..10_000).map(|number| format!("house-{number:05}")).collect();
    let house = House::open(Plan { accounts: names, default: None, ..Plan::default() });
    let said = house.get("/status").json();
    assert_eq!(said["accounts"].as_object().unwrap().len(), 10_000);
}

#[test]
fn health_is_a_living_token_for_every_account() {
    let house = House::open(Plan::names(&["cabin", "home"], None));
    let response = house.get("/healthz");
    assert_eq!((response.status, response.body.as_str()), (200, "ok\n"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
}

#[test]
fn one_account_without_a_token_is_ill_health() {
    let house = House::open(Plan { view: cabin_awaits, ..Plan::names(&["cabin", "home"], None) });
    let detail = house.get("/healthz").problem(503, "token-unavailable")["detail"].clone();
    assert_eq!(
        detail,
        "1 of 2 accounts without a living token: cabin (a person must enter the PIN ABCD-EFGH at ecobee.com, My Apps)."
    );
}

#[test]
fn ill_health_names_five_accounts_at_most() {
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let house = House::open(Plan { view: |_| without_grant(), ..Plan::names(&names, None) });
    let detail = house.get("/healthz").problem(503, "token-unavailable")["detail"].to_string();
    for name in ["a", "b", "c", "d", "e"] {
        assert!(detail.contains(&format!(" {name} (")), "{detail}");
    }
    assert!(!detail.contains(" f (") && detail.contains("and 2 more."), "{detail}");
}

/// No token, and no PIN yet.
fn broken() -> View {
    View { pin: None, ..without_grant() }
}

#[test]
fn ill_health_says_why_of_each_account() {
    let house = House::open(Plan { view: |_| broken(), ..Plan::default() });
    let detail = house.get("/healthz").problem(503, "token-unavailable")["detail"].clone();
    let why = broken().last_error.unwrap();
    assert_eq!(detail, format!("1 of 1 accounts without a living token: home ({why})."));
}

#[test]
fn a_house_without_accounts_is_ill_but_has_a_status() {
    let house = House::open(Plan::names(&[], None));
    house.get("/healthz").problem(503, "token-unavailable");
    assert_eq!(house.get("/status").json()["accounts"], json!({}));
}

#[test]
fn an_account_is_reached_by_its_name() {
    let house = House::open(Plan {
        view: cabin_awaits,
        reply: Box::new(|ask| if ask.want == Want::Authorize { Reply::Pin } else { plain_token() }),
        ..Plan::names(&["cabin", "home"], Some(1))
    });
    for (method, path) in [
        ("GET", "token"),
        ("GET", "header"),
        ("POST", "token/rejected"),
        ("POST", "refresh"),
        ("POST", "authorize"),
    ] {
        for (target, account) in [(format!("/{path}"), "home"), (format!("/accounts/cabin/{path}"), "cabin")]
        {
            let response = match method {
                "GET" => house.get(&target),
                _ => house.post(&target, b"old"),
            };
            assert_eq!(response.status, 200, "{target}");
            assert_eq!(house.heard_ask().0, account, "{target}");
        }
    }
    assert_eq!(house.get("/accounts/cabin/pin").json()["pin"], pin().pin);
    house.get("/pin").problem(404, "no-pin");
}

/// A living token, and a PIN beside it.
fn with_both() -> View {
    View { pin: Some(pin()), ..healthy() }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let house = House::open(Plan { view: |_| with_both(), ..Plan::default() });
    for target in ["/token", "/header", "/pin", "/status", "/healthz", "/accounts/home/status", "/nowhere"] {
        let (get, head) = (house.get(target), house.request("HEAD", target, ""));
        assert_eq!(head.status, get.status, "{target}");
        for name in ["content-length", "content-type", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{target}");
        }
        let mut client = house.connect();
        client.send(format!("HEAD {target} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(client.until_closed().ends_with(b"\r\n\r\n"), "{target} has a body");
    }
}

#[test]
fn json_comes_to_those_who_prefer_it() {
    let house = House::open(Plan::default());
    for (accept, json) in [
        ("", false),
        ("Accept: */*", false),
        ("Accept:", false),
        ("Accept: text/plain", false),
        ("Accept: application/json", true),
        ("accept: APPLICATION/JSON", true),
        ("Accept: application/json; charset=utf-8", true),
        ("Accept: application/*", true),
        ("Accept: text/*", false),
        ("Accept: text/html, application/json", true),
        ("Accept: application/json, text/plain, */*", true),
        ("Accept: text/plain, application/json", false),
        ("Accept: application/json, */*;q=0.5", true),
        ("Accept: application/json, */*", true),
        ("Accept: */*, application/json", true),
        ("Accept: application/json;q=0.5, text/plain;q=0.4", true),
        ("Accept: application/json;q=0.5, text/plain", false),
        ("Accept: application/json;q=0.5, */*", false),
        ("Accept: application/json;q=0", false),
        ("Accept: text/plain;q=0, */*", true),
        ("Accept: text/plain;q=0, */*;q=0.001", true),
        ("Accept: application/json;q=0, text/plain;q=0", false),
        ("Accept: application/json ; q=0.9 , text/plain ; Q=0.8", true),
        ("Accept: application/json;v=1;q=0.2, text/plain;q=0.3", false),
        ("Accept: text/plain;q=0.9\r\nAccept: application/json", true),
        ("Accept: image/png", false),
        ("Accept: application/json;q=2", false),
        ("Accept: application/json;q=1.001", false),
        ("Accept: application/json;q=x, text/plain;q=0.1", false),
        ("Accept: json", false),
        ("Accept: ,,;q=1,/,application/json,", true),
        ("Accept: \u{fc}", false),
    ] {
        let more = if accept.is_empty() { String::new() } else { format!("{accept}\r\n") };
        let response = house.request("GET", "/token", &more);
        let wanted = if json { "application/json" } else { "text/plain" };
        assert_eq!(response.header("content-type"), Some(wanted), "{accept}");
    }
}

#[test]
fn a_query_tells_the_keeper_how_long() {
    let house = House::open(Plan::default());
    let seconds = Duration::from_secs;
    for (query, min_ttl, wait) in [
        ("", 0, None),
        ("?", 0, None),
        ("?min_ttl=0", 0, None),
        ("?min_ttl=300", 300, None),
        ("?min_ttl=007", 7, None),
        ("?min_ttl=4294967295", u64::from(u32::MAX), None),
        ("?min_ttl=99999999999999999999999999", u64::from(u32::MAX), None),
        ("?wait=0", 0, Some(0)),
        ("?wait=3600", 0, Some(3600)),
        ("?wait=60&min_ttl=5", 5, Some(60)),
    ] {
        for target in ["/token", "/header"] {
            assert_eq!(house.get(&format!("{target}{query}")).status, 200, "{query}");
            let (_, ask) = house.heard_ask();
            assert_eq!(ask.wait, wait.map(seconds), "{query}");
            assert_eq!(ask.want, Want::Token { min_ttl: seconds(min_ttl), told: Told::TokenOnly }, "{query}");
        }
        house.post(&format!("/refresh{query}"), b"");
        let (_, ask) = house.heard_ask();
        assert_eq!((ask.want, ask.wait), (Want::Refresh { min_ttl: seconds(min_ttl) }, wait.map(seconds)));
    }
}
