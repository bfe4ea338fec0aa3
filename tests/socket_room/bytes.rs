//! One connection: what may come over it, and how long it may take.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ecobee_tokend::keeper::Want;
use ecobee_tokend::secret::Secret;
use ecobee_tokend::socket::Limits;
use tokio::sync::oneshot;

use crate::client::post;
use crate::house::{House, PATIENCE, Plan, Reply, TOKEN, plain_token};

/// Short enough to wait for, long enough for a busy machine to answer in.
const STALL: Duration = Duration::from_millis(300);

const TOKEN_LINE: &str = "fresh.token-1\n";

#[test]
fn a_connection_serves_many_requests() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    for _ in 0..100 {
        assert_eq!(client.get("/token").body, TOKEN_LINE);
        assert_eq!(client.get("/nowhere").status, 404);
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(
        &b"GET /token HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\nGET /header HTTP/1.1\r\n\r\n".repeat(50),
    );
    for _ in 0..50 {
        assert_eq!(client.response().unwrap().body, TOKEN_LINE);
        assert_eq!(client.response().unwrap().body, "ok\n");
        assert_eq!(client.response().unwrap().body, format!("Authorization: Bearer {TOKEN}\n"));
    }
}

#[test]
fn a_request_may_come_letter_by_letter() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    for byte in post("/token/rejected", b"old") {
        client.send(&[byte]);
    }
    assert_eq!(client.response().unwrap().body, TOKEN_LINE);
}

#[test]
fn http_1_0_is_spoken_too() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.0\r\n\r\n");
    let bytes = String::from_utf8(client.until_closed()).unwrap();
    assert!(bytes.starts_with("HTTP/1.0 200 OK\r\n"), "{bytes}");
    assert!(bytes.contains("\r\ncontent-length: 14\r\n"), "{bytes}");
    assert!(bytes.ends_with(&format!("\r\n\r\n{TOKEN_LINE}")), "{bytes}");
}

#[test]
fn connection_close_is_obeyed() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().unwrap().body, TOKEN_LINE);
    assert!(client.response().is_none());
}

#[test]
fn a_client_that_has_said_all_gets_its_answer() {
    let (tell, told) = oneshot::channel();
    let mut told = Some(told);
    let house = House::open(Plan::replying(move |_| told.take().map_or_else(plain_token, Reply::WhenTold)));
    let mut waiting = house.connect();
    waiting.send(b"GET /token HTTP/1.1\r\n\r\n");
    waiting.stream().shutdown(Shutdown::Write).unwrap();
    house.heard_ask();

    let mut quick = house.connect();
    quick.send(b"GET /token HTTP/1.1\r\n\r\n");
    quick.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(quick.response().unwrap().body, TOKEN_LINE);
    assert!(quick.response().is_none());

    house.heard_ask();
    house.heard_nothing_more();
    tell.send(()).unwrap();
    assert_eq!(waiting.response().unwrap().body, TOKEN_LINE);
}

#[test]
fn a_client_that_hangs_up_while_it_waits_is_noticed() {
    let house = House::open(Plan::replying(|_| Reply::Never));
    for earlier_words in [&b""[..], b"GET /healthz HTTP/1.1\r\n\r\n"] {
        let mut client = house.connect();
        client.send(&[earlier_words, b"GET /token?wait=3600 HTTP/1.1\r\n\r\n"].concat());
        house.heard_ask();
        drop(client);
        house.heard_hang_up();
    }
    // Even one that has said all before, or has sent more than is read of it.
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.1\r\n\r\n");
    client.stream().shutdown(Shutdown::Write).unwrap();
    house.heard_ask();
    drop(client);
    house.heard_hang_up();
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.1\r\n\r\n");
    house.heard_ask();
    client.send(b"GET /token HTTP/1.1\r\n\r\n");
    drop(client);
    house.heard_hang_up();
}

#[test]
fn a_client_that_sends_nothing_is_shown_out() {
    let house = House::open(Plan::default().stalling_after(STALL));
    let start = Instant::now();
    let mut client = house.connect();
    assert_eq!(client.until_closed(), b"");
    assert!(start.elapsed() >= STALL);
}

#[test]
fn half_a_request_is_not_waited_for_longer() {
    let house = House::open(Plan::default().stalling_after(STALL));
    for half in [
        "G",
        "GET /token HTTP/1.1\r\nHost: x\r\n",
        "POST /token/rejected HTTP/1.1\r\nContent-Length: 9\r\n\r\nold",
        "POST /token/rejected HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n",
    ] {
        let mut client = house.connect();
        client.send(half.as_bytes());
        assert_eq!(client.until_closed(), b"", "{half}");
    }
    house.heard_nothing_more();
}

#[test]
fn a_trickle_does_not_buy_time() {
    let house = House::open(Plan::default().stalling_after(STALL));
    let mut client = house.connect();
    let mut sent = 0_u32;
    let start = Instant::now();
    while client.stream().write_all(b"G").is_ok() {
        assert!(start.elapsed() < PATIENCE, "still welcome after {sent} bytes");
        sent += 1;
        std::thread::sleep(STALL / 30);
    }
    assert!(sent > 1);
    assert_eq!(client.until_closed(), b"");
}

#[test]
fn half_a_request_after_a_whole_one_is_not_waited_for_longer() {
    let house = House::open(Plan::default().stalling_after(STALL));
    let mut quick = house.connect();
    assert_eq!(quick.get("/token").status, 200);
    quick.send(b"GET /token HTTP/1.1\r\n");
    let mut slow = house.connect();
    assert_eq!(slow.get("/token").status, 200);
    assert_eq!(quick.until_closed(), b"");
    // By now this one is known to be idle, and its timer set accordingly.
    assert_eq!(house.connect().until_closed(), b"", "a witness of the time");
    slow.send(b"GET /token HTTP/1.1\r\n");
    assert_eq!(slow.until_closed(), b"");

    let mut pipelined = house.connect();
    let half = "POST /token/rejected HTTP/1.1\r\nContent-Length: 9\r\n\r\n";
    pipelined.send(format!("GET /token HTTP/1.1\r\n\r\n{half}").as_bytes());
    assert_eq!(pipelined.response().unwrap().status, 200);
    assert_eq!(pipelined.until_closed(), b"");
}

#[test]
fn an_idle_connection_is_kept_for_its_time() {
    let limits = Limits { stall: STALL, idle: STALL * 4, ..Limits::default() };
    let house = House::open(Plan { limits, ..Plan::default() });
    let start = Instant::now();
    let mut client = house.connect();
    assert_eq!(client.get("/token").status, 200);
    let mut witness = house.connect();
    assert_eq!(witness.until_closed(), b"");
    assert_eq!(client.get("/token").status, 200, "idle is not stalled");
    assert_eq!(client.until_closed(), b"");
    assert!(start.elapsed() >= STALL * 5);
}

#[test]
fn waiting_for_the_keeper_is_neither_idle_nor_stalled() {
    let (tell, told) = oneshot::channel();
    let mut told = Some(told);
    let limits = Limits { stall: STALL, idle: STALL, ..Limits::default() };
    let reply = move |_: &_| told.take().map_or_else(plain_token, Reply::WhenTold);
    let house = House::open(Plan { limits, ..Plan::replying(reply) });
    let mut client = house.connect();
    client.send(b"GET /token?wait=60 HTTP/1.1\r\n\r\n");
    house.heard_ask();
    for _ in 0..3 {
        assert_eq!(house.connect().until_closed(), b"", "a witness of the time");
    }
    tell.send(()).unwrap();
    assert_eq!(client.response().unwrap().body, TOKEN_LINE);
    // Afterwards its patience counts again.
    assert_eq!(client.until_closed(), b"");
}

#[test]
fn an_answer_that_is_not_read_is_not_kept_for_ever() {
    let accounts = (0..10_000).map(|number| format!("house-{number}")).collect();
    let mut house = House::open(Plan { accounts, ..Plan::default() }.stalling_after(STALL));
    let mut client = house.connect();
    client.send(b"GET /status HTTP/1.1\r\n\r\n");
    let mut first = [0];
    client.stream().read_exact(&mut first).unwrap();
    assert_eq!(house.get("/token").status, 200, "nobody else is held up by it");
    // The house leaves when the last connection is over; this one would never end by itself.
    house.stop();
    house.wait_until_left();
    assert!(client.until_closed().len() < 1_000_000);
}

#[test]
fn an_endless_head_is_cut_off() {
    let house = House::open(Plan::default());
    let padded = |length| format!("X: {}\r\n", "x".repeat(length));
    assert_eq!(house.request("GET", "/token", &padded(12_000)).status, 200);
    assert_eq!(house.request("GET", "/token", &padded(20_000)).status, 431);
    let mut client = house.connect();
    client.try_send(format!("GET /token HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes());
    assert_eq!(client.response().unwrap().status, 431);
    assert!(client.response().is_none());
    let mut client = house.connect();
    client.try_send(format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
    assert!(matches!(client.response().unwrap().status, 414 | 431));
}

#[test]
fn an_endless_body_is_cut_off() {
    let house = House::open(Plan::default());
    let megabyte = "x".repeat(1 << 20);

    // By its announced length, before any of it comes …
    for target in ["/token/rejected", "/refresh"] {
        let mut client = house.connect();
        client.send(format!("POST {target} HTTP/1.1\r\nContent-Length: 131073\r\n\r\n").as_bytes());
        client.response().unwrap().problem(413, "request-too-large");
    }
    let mut client = house.connect();
    client.send(b"GET /token HTTP/1.1\r\nContent-Length: 18446744073709551000\r\n\r\n");
    assert!(matches!(client.response().unwrap().status, 400 | 413));
    let mut client = house.connect();
    client.try_send(&post("/token/rejected", megabyte.as_bytes()));
    client.response().unwrap().problem(413, "request-too-large");

    // … or by its real one.
    let mut client = house.connect();
    let head = "POST /token/rejected HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.try_send(format!("{head}100000\r\n{megabyte}\r\n0\r\n\r\n").as_bytes());
    client.response().unwrap().problem(413, "request-too-large");
    house.heard_nothing_more();

    let most = "x".repeat(131_072);
    assert_eq!(house.post("/token/rejected", most.as_bytes()).status, 200);
    let min_ttl = Duration::ZERO;
    assert!(house.heard_want() == Want::Rejected { token: Secret::new(most), min_ttl });
}

#[test]
fn a_body_that_breaks_off_reports_nothing() {
    let house = House::open(Plan::default());
    for broken in [
        "POST /token/rejected HTTP/1.1\r\nContent-Length: 9\r\n\r\nold",
        "POST /token/rejected HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nold\r\n",
        "POST /token/rejected HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ] {
        let mut client = house.connect();
        client.send(broken.as_bytes());
        client.stream().shutdown(Shutdown::Write).unwrap();
        client.response().unwrap().problem(400, "invalid-request");
    }
    house.heard_nothing_more();
}

#[test]
fn two_lengths_make_one_request() {
    // Transfer-Encoding wins, and whatever follows is not looked at (RFC 9112, section 6.1) …
    let house = House::open(Plan::default());
    for lengths in [
        "Content-Length: 45\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let mut client = house.connect();
        let smuggled = "GET /token HTTP/1.1\r\nConnection: close\r\n\r\n";
        let request = format!("POST /token/rejected HTTP/1.1\r\n{lengths}\r\n\r\n0\r\n\r\n{smuggled}");
        client.send(request.as_bytes());
        assert_eq!(client.response().unwrap().status, 400, "the body was empty");
        assert!(client.response().is_none());
    }

    // … and lengths that contradict each other, or are none, are refused.
    for lengths in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: 0x3",
        "Content-Length: -1",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Content-Length : 3",
    ] {
        let mut client = house.connect();
        client.send(
            format!("POST /refresh HTTP/1.1\r\n{lengths}\r\n\r\nabcGET /token HTTP/1.1\r\n\r\n").as_bytes(),
        );
        assert_eq!(client.response().unwrap().status, 400, "{lengths}");
        assert!(client.response().is_none(), "{lengths}");
    }
    house.heard_nothing_more();
}

#[test]
fn a_folded_line_is_refused() {
    // RFC 9112, section 5.2: whoever unfolds it reads another head than whoever does not.
    let house = House::open(Plan::default());
    for folded in ["X: a\r\n Content-Length: 3", "Content-Length: 3\r\n\t4", "Transfer-Encoding:\r\n chunked"]
    {
        let mut client = house.connect();
        let request = format!("POST /refresh HTTP/1.1\r\n{folded}\r\n\r\nabcGET /token HTTP/1.1\r\n\r\n");
        client.send(request.as_bytes());
        assert_eq!(client.response().unwrap().status, 400, "{folded}");
        assert!(client.response().is_none(), "{folded}");
    }
    house.heard_nothing_more();
}

#[test]
fn a_line_may_end_with_a_bare_lf_and_is_one_line_all_the_same() {
    // RFC 9112, section 2.2 allows it; what stands behind it is a field like any other.
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(b"POST /token/rejected HTTP/1.1\nX: a\nContent-Length: 3\n\noldGET /healthz HTTP/1.1\n\n");
    assert_eq!(client.response().unwrap().status, 200);
    assert!(matches!(house.heard_ask().1.want, Want::Rejected { token, .. } if token.expose() == "old"));
    assert_eq!(client.response().unwrap().status, 200, "the second begins where the first ends");
    house.heard_nothing_more();
}

#[test]
fn a_whole_url_is_its_path_and_leads_to_nobody_else() {
    let house = House::open(Plan::default());
    let mut client = house.connect();
    client.send(b"GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: third.example\r\n\r\n");
    assert_eq!(client.response().unwrap().status, 200);
    client.send(b"CONNECT elsewhere.example:443 HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().unwrap().status, 404);
    house.heard_nothing_more();
}

#[test]
fn garbage_is_answered_with_400_and_nobody_minds() {
    let house = House::open(Plan::default());
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /token\r\n\r\n",
        b"GET /token HTTP/9.9\r\n\r\n",
        b"GET  /token HTTP/1.1\r\n\r\n",
        b"GET /to\0ken HTTP/1.1\r\n\r\n",
        b"GET /token HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /token HTTP/1.1\r\nX: a\rb\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut client = house.connect();
        client.send(garbage);
        client.stream().shutdown(Shutdown::Write).unwrap();
        let shown = garbage.escape_ascii();
        assert_eq!(client.response().unwrap_or_else(|| panic!("{shown}")).status, 400, "{shown}");
        assert!(client.response().is_none());
    }
    house.heard_nothing_more();
}

#[test]
fn no_bytes_bring_the_house_down() {
    const PIECES: [&[u8]; 24] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"/token",
        b"/header",
        b"/accounts/",
        b"home",
        b"/token/rejected",
        b"/pin",
        b"?min_ttl=",
        b"99999999999999999999",
        b"&wait=",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Accept: application/json;q=",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"\xff\xfe",
        b"\0",
        b"Connection: Upgrade",
        b"0",
    ];
    let mut house = House::open(Plan::default());
    let mut dice = fastrand::Rng::with_seed(7);
    let mut bytes = Vec::new();
    for _ in 0..2000 {
        bytes.clear();
        for _ in 0..dice.usize(1..30) {
            bytes.extend_from_slice(PIECES[dice.usize(..PIECES.len())]);
        }
        let mut client = house.connect();
        let _ = client.stream().write_all(&bytes);
        let _ = client.stream().shutdown(Shutdown::Write);
        client.until_closed();
    }
    assert_eq!(house.get("/healthz").status, 200);
    house.stop();
    house.wait_until_left();
}
