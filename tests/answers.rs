//! What the real daemon answers: what goes with a token, and every error of the socket.

mod harness;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use ecobee_simulator::{CallKind, Endpoint, Liveness, Mood};
use harness::http::{Connection, Response, ask, post};
use harness::{Daemon, HOUR, KEY, Stage, as_user};

/// A call that is sent at the right moment may arrive so much later.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Holds an answer against its code, and against what every problem must have.
fn is_problem(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, answer.member("code").as_str()), (status, code), "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.json()["title"].is_string() && answer.json()["detail"].is_string(), "{}", answer.body);
    assert_eq!(answer.json()["status"], status);
    if matches!(status, 503 | 429) {
        assert!(retry_after(answer) >= Some(1), "Retry-After is missing in {answer:?}");
    }
}

fn retry_after(answer: &Response) -> Option<u64> {
    answer.header("retry-after")?.parse().ok()
}

fn waiting_daemon() -> (Stage, Daemon) {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    (stage, daemon)
}

#[test]
fn an_answer_with_a_secret_says_that_nobody_may_keep_it() {
    let (stage, daemon) = waiting_daemon();
    let refused = daemon.get("/token");
    let shown = daemon.get("/pin");
    let token = daemon.enter_pin(&stage.simulator, "home", KEY);
    let answers = [
        shown,
        daemon.get("/token"),
        daemon.get_json("/token"),
        daemon.get("/header"),
        daemon.post("/refresh", ""),
        daemon.post("/token/rejected", &token),
        daemon.post("/authorize", ""),
    ];
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for answer in [&refused].into_iter().chain(&answers) {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
}

#[test]
fn head_is_answered_like_get_and_without_the_token() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    for target in ["/token", "/header", "/healthz"] {
        let get = daemon.get(target);
        let mut connection = UnixStream::connect(&daemon.socket).expect("it connects");
        let request = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("it is asked");
        let mut head = String::new();
        connection.read_to_string(&mut head).expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{target}: {head}");
        for name in ["content-length", "content-type", "cache-control"] {
            let field = get.header(name).map(|value| format!("\r\n{name}: {value}\r\n"));
            assert!(field.is_none_or(|field| head.to_ascii_lowercase().contains(&field)), "{name}: {head}");
        }
    }
}

#[test]
fn authorization_required_carries_the_pin() {
    let (_stage, daemon) = waiting_daemon();
    for request in ["/token", "/header", "/accounts/home/token"] {
        let answer = daemon.get(request);
        is_problem(&answer, 503, "authorization-required");
        assert_eq!(answer.member("pin"), daemon.pin("home"));
        assert!(answer.json()["expires_in"].as_u64().is_some_and(|left| left > 400), "{}", answer.body);
        assert!(answer.member("enter_at").contains("ecobee.com"));
    }
    let pin = daemon.get("/pin");
    assert_eq!(pin.status, 200);
    assert_eq!(pin.member("pin"), daemon.pin("home"));
    assert!(pin.member("expires_at").ends_with('Z'), "{}", pin.body);
    is_problem(&daemon.get("/healthz"), 503, "token-unavailable");
}

#[test]
fn token_unavailable_while_ecobee_gives_no_pin() {
    let stage = Stage::with_lifetime(HOUR);
    stage.simulator.add_mood(Mood::html(503).on(Endpoint::Authorize));
    let daemon = stage.start();
    daemon.wait_for_status("home", "trouble", |status| status["failures"].as_u64() > Some(0));

    is_problem(&daemon.get("/token"), 503, "token-unavailable");
    assert_eq!(daemon.state_of("home"), "requesting-pin");
    is_problem(&daemon.get("/pin"), 404, "no-pin");
}

#[test]
fn requests_that_mean_nothing_are_told_so() {
    let (_stage, daemon) = waiting_daemon();
    is_problem(&daemon.get("/accounts/nobody/token"), 404, "unknown-account");
    is_problem(&daemon.get("/nothing/here"), 404, "not-found");
    is_problem(&daemon.get("/token?min_ttl=soon"), 400, "invalid-request");
    is_problem(&daemon.get("/token?wait=3601"), 400, "invalid-request");
    is_problem(&daemon.get("/token?min_ttl=3001"), 400, "min-ttl-too-long");
    let wrong_method = daemon.post("/token", "");
    is_problem(&wrong_method, 405, "method-not-allowed");
    assert!(wrong_method.header("allow").is_some_and(|allowed| allowed.contains("GET")));
    let wrong_method = daemon.get("/refresh");
    is_problem(&wrong_method, 405, "method-not-allowed");
    assert_eq!(wrong_method.header("allow"), Some("POST"));
}

#[test]
fn several_accounts_without_a_default_want_a_name() {
    let stage = Stage::with_lifetime(HOUR).accounts(&["home", "office"]);
    let daemon = stage.start();
    is_problem(&daemon.get("/token"), 400, "account-required");

    let stage =
        Stage::with_lifetime(HOUR).accounts(&["home", "office"]).top_level("default-account = \"office\"");
    let daemon = stage.start();
    daemon.pin("office");
    assert_eq!(daemon.get("/token").member("pin"), daemon.pin("office"));
}

#[test]
fn too_many_requests_and_a_request_that_is_too_large() {
    let (_stage, daemon) = waiting_daemon();
    assert_eq!(daemon.post("/authorize", "").status, 200);
    is_problem(&daemon.post("/authorize", ""), 429, "too-many-requests");
    is_problem(&daemon.post("/token/rejected", &"x".repeat(1 << 18)), 413, "request-too-large");
    is_problem(&daemon.post("/token/rejected", "\n"), 400, "invalid-request");
}

#[test]
fn only_those_who_are_allowed_get_the_token() {
    const ALLOWED: u32 = 4242;
    const NOBODY: u32 = 65534;
    let stage = Stage::with_lifetime(HOUR).each_account("allow-users = [4242]").open_to_the_world();
    let daemon = stage.start_authorized();
    let answer = |uid: u32, request: &'static str| {
        let socket = stage.socket();
        as_user(uid, move || ask(&socket, request).expect("an answer"))
    };
    for request in ["GET /token", "GET /header", "POST /refresh", "POST /authorize", "POST /token/rejected"] {
        let Some(answer) = answer(NOBODY, request) else { return };
        is_problem(&answer, 403, "forbidden");
    }
    for (uid, request) in [(NOBODY, "GET /status"), (ALLOWED, "GET /token")] {
        let status = answer(uid, request).map(|answer| answer.status);
        assert_eq!(status, Some(200), "{request} by {uid}");
    }
    assert_eq!(daemon.get("/token").status, 200, "and root's");
}

/// A user who is allowed, and means harm: neither ecobee nor the others' scripts suffer from it.
#[test]
fn a_pest_kills_one_token_in_half_a_minute_at_most_and_the_others_are_served() {
    const PEST: u32 = 4243;
    let stage = Stage::with_lifetime(HOUR).each_account("allow-users = [4243]").open_to_the_world();
    let daemon = stage.start_authorized();
    stage.simulator.clear_calls();
    let socket = stage.socket();

    // It has its token refreshed, wants one that lives longer than any, and reports what never was a token.
    let pestering = as_user(PEST, move || {
        let mut answers = Vec::new();
        for _ in 0..40 {
            answers.push(post(&socket, "/refresh", "").expect("an answer"));
            answers.push(post(&socket, "/token/rejected", "made up").expect("an answer"));
            answers.push(post(&socket, "/refresh", "").expect("an answer"));
            answers.push(ask(&socket, "GET /token?min_ttl=2999").expect("an answer"));
        }
        let token = ask(&socket, "GET /token").expect("an answer").text().to_owned();
        answers.push(post(&socket, "/token/rejected", &token).expect("an answer"));
        (answers, token)
    });
    let Some((answers, token)) = pestering else { return };

    let refreshes = stage.simulator.calls_of(CallKind::Refresh).len();
    assert_eq!(refreshes, 1, "of all that it forced, one went to ecobee");
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() >= 80, "{answers:?}");
    for answer in refused {
        is_problem(answer, 429, "too-many-requests");
        assert!(retry_after(answer) <= Some(3600) && !answer.body.contains("eyJ"), "{answer:?}");
    }
    assert_eq!(daemon.post("/refresh", "").status, 429, "the half minute is for all");
    assert_eq!(daemon.get("/token").text(), token, "a report beyond its share is not believed");
    assert_eq!(stage.simulator.is_alive(&token), Liveness::Alive);
}

/// As often as it is told to come back within half a minute, it does.
fn forced_as_soon_as_may_be(stage: &Stage, uid: u32) -> Option<Response> {
    let socket = stage.socket();
    as_user(uid, move || {
        loop {
            let answer = post(&socket, "/refresh", "").expect("an answer");
            match retry_after(&answer) {
                Some(seconds @ 1..=30) if answer.status == 429 => thread::sleep(Duration::from_secs(seconds)),
                Some(_) | None => return answer,
            }
        }
    })
}

#[test]
#[ignore = "takes six minutes; .ci/run runs it beside other checks"]
fn rule_9_a_user_forces_four_refreshes_an_hour_and_all_together_twelve() {
    const USER: u32 = 4244;
    const ROOT: u32 = 0;
    let stage = Stage::with_lifetime(HOUR).open_to_the_world();
    let _daemon = stage.start_authorized();
    let began = Instant::now();
    for (uid, share) in [(USER, 4), (ROOT, 8)] {
        for number in 1..=share {
            let Some(answer) = forced_as_soon_as_may_be(&stage, uid) else { return };
            assert_eq!(answer.status, 200, "number {number} of {uid}: {}", answer.body);
        }
        let Some(refused) = forced_as_soon_as_may_be(&stage, uid) else { return };
        is_problem(&refused, 429, "too-many-requests");
        let first_is_an_hour_old = HOUR.saturating_sub(began.elapsed()).as_secs();
        let told = first_is_an_hour_old..=first_is_an_hour_old + 5;
        assert!(
            retry_after(&refused).is_some_and(|seconds| told.contains(&seconds)),
            "{told:?}: {refused:?}"
        );
    }
    let forced: Vec<Duration> =
        stage.simulator.calls_of(CallKind::Refresh).iter().map(|call| call.arrived_at).collect();
    assert_eq!(forced.len(), 12);
    for pair in forced.windows(2) {
        let pause = pair[1].saturating_sub(pair[0]);
        assert!(pause + ON_ITS_WAY >= Duration::from_secs(30), "one in half a minute, not after {pause:?}");
    }
}

#[test]
fn rule_9_ecobee_may_wish_for_an_hour_of_peace_and_no_more() {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start_authorized();
    stage.simulator.add_mood(Mood::status(429).with_retry_after("86400").on(Endpoint::Refresh));

    let answer = daemon.post("/refresh", "");

    is_problem(&answer, 503, "token-unavailable");
    assert!(retry_after(&answer).is_some_and(|seconds| (3590..=3600).contains(&seconds)), "{answer:?}");
    assert_eq!(daemon.get("/token").status, 200, "the old token still lives");
}

#[test]
fn strange_clients_disturb_nobody() {
    let (_stage, daemon) = waiting_daemon();
    let silent = UnixStream::connect(&daemon.socket).expect("it connects");
    let mut half = UnixStream::connect(&daemon.socket).expect("it connects");
    half.write_all(b"GET /token HTTP/1.1\r\nHos").expect("it takes half a request");
    let mut large = UnixStream::connect(&daemon.socket).expect("it connects");
    let mut request = b"GET /token HTTP/1.1\r\nX: ".to_vec();
    request.resize(1 << 20, b'x');
    // The daemon may hang up before it has all of it.
    let _ = large.write_all(&request);
    let mut answer = String::new();
    let _ = large.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut garbage = UnixStream::connect(&daemon.socket).expect("it connects");
    garbage.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").expect("it takes anything");
    let mut answer = String::new();
    let _ = garbage.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    let mut gone = Connection::open(&daemon.socket).expect("it connects");
    gone.send("GET /token?wait=60", None, "").expect("it is sent");
    drop(gone);

    assert_eq!(daemon.get("/status").status, 200);
    drop((silent, half));
}
