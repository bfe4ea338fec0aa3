//! Every error of the socket, as the real daemon gives it.

mod harness;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use ecobee_simulator::{CallKind, Endpoint, Mood};
use harness::http::{Connection, Response};
use harness::{Daemon, Stage};

const HOUR: Duration = Duration::from_secs(3600);

/// Holds an answer against its code, and against what every problem must have.
fn is_problem(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, answer.member("code").as_str()), (status, code), "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.json()["title"].is_string() && answer.json()["detail"].is_string(), "{}", answer.body);
    assert_eq!(answer.json()["status"], status);
    if matches!(status, 503 | 429) {
        let retry_after: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(retry_after >= 1, "Retry-After is missing in {answer:?}");
    }
}

fn waiting_daemon() -> (Stage, Daemon) {
    let stage = Stage::with_lifetime(HOUR);
    let daemon = stage.start();
    daemon.pin("home");
    (stage, daemon)
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
    const NOBODY: u32 = 65534;
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root can ask as somebody else");
        return;
    }
    let stage = Stage::with_lifetime(HOUR)
        .each_account("allow-users = [4242]")
        .socket_section("mode = \"0666\"\nallow-world = true");
    std::fs::set_permissions(stage.folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let daemon = stage.start_authorized();
    let as_user = |uid: u32, request: &str| {
        let script = "import http.client, socket, sys\n\
            c = http.client.HTTPConnection('localhost'); c.sock = socket.socket(socket.AF_UNIX)\n\
            c.sock.connect(sys.argv[1]); m, p = sys.argv[2].split(' '); c.request(m, p)\n\
            a = c.getresponse(); print(a.status, a.read().decode())";
        let output = Command::new("python3")
            .args(["-c", script, &daemon.socket.display().to_string(), request])
            .uid(uid)
            .gid(uid)
            .output()
            .expect("python3 runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for request in ["GET /token", "GET /header", "POST /refresh", "POST /authorize", "POST /token/rejected"] {
        let answer = as_user(NOBODY, request);
        assert!(answer.starts_with("403 ") && answer.contains("\"forbidden\""), "{request}: {answer}");
    }
    assert!(as_user(NOBODY, "GET /status").starts_with("200 "), "all who connect may read the status");
    assert!(as_user(4242, "GET /token").starts_with("200 "), "the allowed user gets the token");
    assert_eq!(daemon.get("/token").status, 200, "and so does root");
}

/// A user who is allowed, and means harm: neither ecobee nor the others' scripts suffer from it.
#[test]
fn a_pest_kills_one_token_in_half_a_minute_at_most_and_the_others_are_served() {
    const PEST: u32 = 4243;
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root can ask as somebody else");
        return;
    }
    let stage = Stage::with_lifetime(HOUR)
        .each_account("allow-users = [4243]")
        .socket_section("mode = \"0666\"\nallow-world = true");
    std::fs::set_permissions(stage.folder.path(), std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let daemon = stage.start_authorized();
    stage.simulator.clear_calls();

    // Each token that it gets it reports, and has it refreshed, and reports what never was a token.
    let script = "import http.client, socket, sys\n\
        def ask(m, p, b=None):\n\
        \x20 c = http.client.HTTPConnection('localhost'); c.sock = socket.socket(socket.AF_UNIX)\n\
        \x20 c.sock.connect(sys.argv[1]); c.request(m, p, b); a = c.getresponse()\n\
        \x20 t = a.read().decode().strip(); print(m, p, a.status, a.getheader('Retry-After'), t); return t\n\
        for i in range(40):\n\
        \x20 t = ask('GET', '/token'); ask('POST', '/refresh'); ask('POST', '/token/rejected', 'made up')\n\
        \x20 ask('POST', '/refresh'); ask('GET', '/token?min_ttl=2999')\n\
        ask('POST', '/token/rejected', t); ask('GET', '/token')";
    let output = Command::new("python3")
        .args(["-c", script, &daemon.socket.display().to_string()])
        .uid(PEST)
        .gid(PEST)
        .output()
        .expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.lines().count() > 160, "{said}{output:?}");

    let refreshes = stage.simulator.calls_of(CallKind::Refresh).len();
    assert_eq!(refreshes, 1, "of all that it forced, one went to ecobee");
    let refused: Vec<&str> = said.lines().filter(|line| line.contains(" 429 ")).collect();
    assert!(refused.len() >= 79, "{said}");
    for line in refused {
        let wait: u64 = line.split(' ').nth(3).and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
        assert!((1..=3600).contains(&wait) && !line.contains("eyJ"), "{line}");
    }
    // What it reports at the end it is not given again; ecobee would take it, and others have it after the next refresh.
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("GET /token 503 ") || last.starts_with("GET /token 200 "), "{last}");
    assert_eq!(daemon.post("/refresh", "").status, 429, "the half minute is for all");
    assert_eq!(daemon.get("/status").status, 200);
}

#[test]
fn a_kept_connection_serves_one_request_after_the_other() {
    let (_stage, daemon) = waiting_daemon();
    let mut connection = Connection::open(&daemon.socket).expect("it connects");
    for _ in 0..3 {
        assert_eq!(connection.ask("GET /status", None, "").expect("an answer").status, 200);
        assert_eq!(connection.ask("GET /nowhere", None, "").expect("an answer").status, 404);
    }
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
