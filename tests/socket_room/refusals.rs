//! What is refused, and in which words.

use std::time::Duration;

use ecobee_tokend::keeper::Problem;
use serde_json::json;
use tokio::sync::oneshot;

use crate::house::{HVAC, House, Plan, Reply, pin, without_grant};

#[test]
fn other_paths_lead_nowhere() {
    let house = House::open(Plan::default());
    for target in [
        "/",
        "/tokens",
        "/TOKEN",
        "/token/",
        "//token",
        "/token/rejected/",
        "/%74oken",
        "/./token",
        "/accounts",
        "/accounts/",
        "/accounts/home",
        "/accounts/home/",
        "/accounts/home/healthz",
        "/accounts/home/token/x",
        "/accounts//accounts/home/token",
        "http://localhost",
    ] {
        house.get(target).problem(404, "not-found");
    }
    house.request("OPTIONS", "*", "").problem(404, "not-found");
    house.heard_nothing_more();
}

#[test]
fn a_wrong_method_is_told_the_right_one() {
    let house = House::open(Plan::default());
    for (method, path, allow) in [
        ("POST", "token", "GET, HEAD"),
        ("DELETE", "token", "GET, HEAD"),
        ("OPTIONS", "header", "GET, HEAD"),
        ("PUT", "pin", "GET, HEAD"),
        ("get", "token", "GET, HEAD"),
        ("BREW", "status", "GET, HEAD"),
        ("GET", "token/rejected", "POST"),
        ("HEAD", "refresh", "POST"),
        ("GET", "authorize", "POST"),
    ] {
        for target in [format!("/{path}"), format!("/accounts/home/{path}")] {
            let response = house.request(method, &target, "Content-Length: 0\r\n");
            assert_eq!(response.status, 405, "{method} {target}");
            assert_eq!(response.header("allow"), Some(allow), "{method} {target}");
            if method != "HEAD" {
                response.problem(405, "method-not-allowed");
            }
        }
    }
    house.request("POST", "/healthz", "Content-Length: 0\r\n").problem(405, "method-not-allowed");
    house.heard_nothing_more();
}

#[test]
fn an_account_that_is_not_there_is_named() {
    let house = House::open(Plan::default());
    for path in ["token", "header", "pin", "status"] {
        let said = house.get(&format!("/accounts/cabin/{path}")).problem(404, "unknown-account");
        assert!(said["detail"].as_str().unwrap().contains("\"cabin\""), "{said}");
    }
}

#[test]
fn what_cannot_be_a_name_is_not_repeated() {
    let house = House::open(Plan::names(&["home", "Home", "ho me", ""], Some(0)));
    let long = "a".repeat(33);
    for name in [
        "Home",
        "ho%20me",
        "",
        "..",
        "home%2f",
        "x%0d%0aSet-Cookie:%20a=b",
        "%22%7d",
        "h\u{f6}me",
        "home;x",
        &long,
    ] {
        let response = house.get(&format!("/accounts/{name}/token"));
        let said = response.problem(404, "unknown-account");
        assert!(name.len() < 3 || !said.to_string().contains(name), "{said}");
        assert!(!response.head.iter().any(|line| line.to_ascii_lowercase().starts_with("set-cookie")));
    }
    house.heard_nothing_more();
}

#[test]
fn several_accounts_without_a_default_must_be_told_apart() {
    let house = House::open(Plan::names(&["cabin", "home"], None));
    for target in ["/token", "/header", "/pin"] {
        let said = house.get(target).problem(400, "account-required");
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("/accounts/NAME{target}")), "{detail}");
        assert!(detail.contains("cabin, home"), "{detail}");
    }
    for target in ["/token/rejected", "/refresh", "/authorize"] {
        house.post(target, b"x").problem(400, "account-required");
    }
}

#[test]
fn without_accounts_there_is_no_token() {
    let house = House::open(Plan::names(&[], None));
    let said = house.get("/token").problem(503, "token-unavailable");
    assert!(said["detail"].as_str().unwrap().contains("[accounts.NAME]"), "{said}");
}

#[test]
fn whoever_may_not_have_the_token_may_still_look() {
    let house = House::open(Plan {
        may_have: |account, _| account != "cabin",
        view: |_| without_grant(),
        ..Plan::names(&["cabin", "home"], Some(0))
    });
    for target in ["/token", "/header", "/accounts/cabin/token"] {
        let said = house.get(target).problem(403, "forbidden");
        assert!(said["detail"].as_str().unwrap().contains("ask whoever administers"), "{said}");
    }
    for target in ["/token/rejected", "/refresh", "/authorize"] {
        house.post(target, b"x").problem(403, "forbidden");
    }
    let mut client = house.connect();
    client.send(b"POST /token/rejected HTTP/1.1\r\nContent-Length: 99\r\n\r\n");
    client.response().expect("an answer before the body").problem(403, "forbidden");
    house.heard_nothing_more();
    assert_eq!(house.get("/pin").status, 200);
    assert_eq!(house.get("/accounts/cabin/status").status, 200);
    assert_eq!(house.get("/status").status, 200);
    house.get("/healthz").problem(503, "token-unavailable");
    assert_eq!(house.get("/accounts/home/token").status, 200);
}

#[test]
fn a_slow_user_database_holds_up_only_whom_it_is_asked_about() {
    let (says, groups) = oneshot::channel();
    let house = House::open(Plan { groups: Some(groups), ..Plan::default() });
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.1\r\n\r\n");
    assert_eq!(house.get("/status").status, 200);
    house.heard_nothing_more();
    says.send(vec![100, HVAC]).expect("it is waited for");
    assert_eq!(client.response().expect("an answer at last").status, 200);
    house.get("/token").problem(503, "token-unavailable");
}

#[test]
fn whom_no_group_admits_is_refused_and_asks_the_keeper_nothing() {
    let (says, groups) = oneshot::channel();
    says.send(vec![100]).expect("it will be waited for");
    let house = House::open(Plan { groups: Some(groups), ..Plan::default() });
    house.post("/refresh", b"").problem(403, "forbidden");
    house.heard_nothing_more();
}

#[test]
fn where_the_user_database_says_nothing_that_is_what_is_said() {
    let (_, groups) = oneshot::channel();
    let house = House::open(Plan { groups: Some(groups), ..Plan::default() });
    let response = house.get("/token");
    let said = response.problem(503, "token-unavailable");
    assert!(said["detail"].as_str().unwrap().contains("user database"), "{said}");
    assert_eq!(response.header("retry-after"), Some("5"));
    house.heard_nothing_more();
}

/// Found by an outsider: whoever left the group while it waited got the token all the same.
#[test]
fn whoever_has_waited_is_looked_up_again_before_the_token_is_handed_out() {
    let (says, groups) = oneshot::channel();
    says.send(vec![HVAC]).expect("it will be waited for");
    let (tell, told) = oneshot::channel();
    let mut told = Some(told);
    let reply = move |_: &ecobee_tokend::keeper::Ask| Reply::WhenTold(told.take().expect("asked once"));
    let house = House::open(Plan { groups: Some(groups), ..Plan::replying(reply) });
    let mut client = house.connect();
    client.send(b"GET /token?wait=60 HTTP/1.1\r\n\r\n");
    house.heard_want();
    tell.send(()).expect("it waits");
    // The database has nothing more to say.
    client.response().expect("an answer").problem(503, "token-unavailable");
}

#[test]
fn the_peer_is_who_it_is() {
    let ours = |_: &str, peer: &ecobee_tokend::socket::Peer| {
        peer.uid == rustix::process::getuid().as_raw()
            && peer.gid == rustix::process::getgid().as_raw()
            && peer.pid == i32::try_from(std::process::id()).ok()
    };
    assert_eq!(House::open(Plan { may_have: ours, ..Plan::default() }).get("/token").status, 200);
}

#[test]
fn a_needed_authorization_brings_its_pin_along() {
    let house = House::open(Plan::replying(|_| {
        let retry_after = Duration::from_millis(30_001);
        Reply::Problem(Problem::AuthorizationRequired { pin: pin(), retry_after })
    }));
    let response = house.request("GET", "/token", "Accept: application/json\r\n");
    let said = response.problem(503, "authorization-required");
    assert_eq!(
        said,
        json!({
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "code": "authorization-required",
            "detail":
                "A person must enter the PIN ABCD-EFGH at ecobee.com, My Apps, before 2025-11-21T20:09:00Z.",
            "pin": "ABCD-EFGH",
            "enter_at": "ecobee.com, My Apps",
            "expires_in": 540,
            "expires_at": "2025-11-21T20:09:00Z",
        })
    );
    assert_eq!(response.header("retry-after"), Some("31"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[test]
fn retry_after_is_rounded_up_and_never_zero() {
    for (millis, wanted) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_999, "60")] {
        let house = House::open(Plan::replying(move |_| {
            let (detail, retry_after) =
                ("ecobee cannot be reached.".to_owned(), Duration::from_millis(millis));
            Reply::Problem(Problem::Unavailable { detail, retry_after })
        }));
        let response = house.get("/token");
        assert_eq!(response.problem(503, "token-unavailable")["detail"], "ecobee cannot be reached.");
        assert_eq!(response.header("retry-after"), Some(wanted), "{millis}");
    }
}

#[test]
fn a_min_ttl_beyond_all_tokens_is_told_the_most() {
    let house = House::open(Plan::replying(|_| {
        Reply::Problem(Problem::MinTtlTooLong { most: Duration::from_secs(3000) })
    }));
    let said = house.get("/token?min_ttl=3001").problem(400, "min-ttl-too-long");
    assert!(said["detail"].as_str().unwrap().contains("3000"), "{said}");
}

#[test]
fn a_used_up_budget_says_when_to_come_back() {
    let house = House::open(Plan::replying(|_| {
        Reply::Problem(Problem::TooMany { retry_after: Duration::from_millis(29_500) })
    }));
    let response = house.post("/refresh", b"");
    response.problem(429, "too-many-requests");
    assert_eq!(response.header("retry-after"), Some("30"));
}

#[test]
fn a_query_that_is_not_understood_is_refused_with_help() {
    let house = House::open(Plan::default());
    for (target, help) in [
        ("/token?min-ttl=5", "no parameter \"min-ttl\" here; this path takes min_ttl and wait."),
        ("/token?MIN_TTL=5", "this path takes min_ttl and wait."),
        ("/token?colour=blue", "this path takes min_ttl and wait."),
        ("/token?&wait=1", "this path takes min_ttl and wait."),
        ("/token?wait=1&", "this path takes min_ttl and wait."),
        ("/token?=1", "this path takes min_ttl and wait."),
        ("/token?min_ttl", "a number of whole seconds"),
        ("/token?min_ttl=", "a number of whole seconds"),
        ("/token?min_ttl=-1", "\"-1\" is not"),
        ("/token?min_ttl=%2B1", "a number of whole seconds"),
        ("/token?min_ttl=+1", "a number of whole seconds"),
        ("/token?min_ttl=1.5", "a number of whole seconds"),
        ("/token?min_ttl=10m", "\"10m\" is not"),
        ("/token?min_ttl=1=2", "a number of whole seconds"),
        ("/token?wait=3601", "from 0 to 3600"),
        ("/token?wait=99999999999999999999", "from 0 to 3600"),
        ("/token?wait=forever", "from 0 to 3600"),
        ("/token?wait=1&wait=1", "wait is given more than once"),
        ("/token?min_ttl=1&wait=2&min_ttl=1", "min_ttl is given more than once"),
        ("/header?min-ttl=5", "this path takes min_ttl and wait."),
        ("/pin?wait=5", "this path takes none."),
        ("/status?x", "this path takes none."),
        ("/healthz?verbose=1", "this path takes none."),
        ("/accounts/home/status?x=1", "this path takes none."),
        ("/accounts/home/token?w\u{e4}it=1", "this path takes min_ttl and wait."),
    ] {
        let said = house.get(target).problem(400, "invalid-request");
        assert!(said["detail"].as_str().unwrap().contains(help), "{target}: {said}");
    }
    for (target, help) in [
        ("/authorize?min_ttl=5", "this path takes wait."),
        ("/refresh?force=1", "this path takes min_ttl and wait."),
        ("/token/rejected?token=x", "this path takes min_ttl and wait."),
    ] {
        let said = house.post(target, b"x").problem(400, "invalid-request");
        assert!(said["detail"].as_str().unwrap().contains(help), "{target}: {said}");
    }
    let said = house.get(&format!("/token?{}=1", "x".repeat(5000))).problem(400, "invalid-request");
    assert!(said["detail"].as_str().unwrap().len() < 150, "{said}");
    house.heard_nothing_more();
}

#[test]
fn a_report_must_hold_a_token() {
    let house = House::open(Plan::default());
    for body in [&b""[..], b"\r\n", b" \t ", b"\xff\xfe"] {
        house.post("/token/rejected", body).problem(400, "invalid-request");
    }
    house.heard_nothing_more();
}
