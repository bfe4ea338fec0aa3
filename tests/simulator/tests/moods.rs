//! Each mood, seen from the client's side of the socket.
mod client;

use client::{Answer, KEY, LONG, Tokens, client, connect, encode, quick, read_answer, start};
use ecobee_simulator::{
    Body, CallKind, Commit, Endpoint, Liveness, Mood, Options, Rotation, Simulator, TokenForm, Trick,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn strict() -> Simulator {
    start(Options { rotation: Rotation::Strict, ..quick() })
}

/// A refresh in this mood, and whether it changed the truth.
fn refresh_in(ecobee: &Simulator, mood: Mood) -> (std::io::Result<Answer>, Commit) {
    let me = client(ecobee);
    let tokens = me.log_in();
    ecobee.add_mood(mood.on(Endpoint::Refresh).once());
    let answer = me.try_refresh(&tokens.refresh);
    let changed = match ecobee.is_alive(&tokens.access) {
        Liveness::Alive => Commit::Never,
        Liveness::Expired | Liveness::Unknown | Liveness::Deauthorized | Liveness::ApplicationRevoked => {
            Commit::First
        }
    };
    let calls = ecobee.calls_of(CallKind::Refresh);
    let call = calls.last().expect("the call is in the log");
    assert_eq!(call.committed, changed == Commit::First, "the log tells the truth");
    (answer, changed)
}

fn answered(mood: Mood) -> Answer {
    let (answer, changed) = refresh_in(&strict(), mood);
    assert_eq!(changed, Commit::Never);
    answer.expect("an answer")
}

/// In this mood the client sees its connection end so, the truth changes or not, and the log says this.
#[track_caller]
fn breaks(mood: Mood, seen: ErrorKind, changed: Commit, logged: &str) {
    let ecobee = strict();
    let (answer, commit) = refresh_in(&ecobee, mood);
    let calls = ecobee.calls_of(CallKind::Refresh);
    let told = calls.last().map(|call| call.answer.as_str());
    assert_eq!((answer.expect_err("no answer").kind(), commit, told), (seen, changed, Some(logged)));
}

#[test]
fn an_error_leaves_the_truth_alone() {
    let answer = answered(Mood::error("invalid_grant"));
    assert_eq!(answer.error(), (400, "invalid_grant".into()));
}

#[test]
fn an_error_can_come_with_another_status_text_and_retry_after() {
    let mood = Mood::error("access_denied")
        .with_status(403)
        .with_description("rejecting request of a tenant under quarantine")
        .with_retry_after("7");
    let answer = answered(mood);
    assert_eq!(answer.error(), (403, "access_denied".into()));
    assert!(answer.text("error_description").contains("quarantine"));
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[test]
fn an_error_that_ecobee_does_not_know_can_be_made_up() {
    assert_eq!(answered(Mood::error("out_of_cheese")).error(), (400, "out_of_cheese".into()));
}

#[test]
fn a_page_comes_instead_of_json() {
    for status in [200, 503, 522] {
        let answer = answered(Mood::html(status));
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert!(answer.body.starts_with(b"<html>"));
    }
}

#[test]
fn a_body_can_be_empty() {
    let answer = answered(Mood::empty(200));
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[test]
fn a_body_can_be_any_bytes_with_any_headers() {
    let trick = Trick::Raw {
        status: 418,
        content_type: Some("application/json".into()),
        headers: vec![("X-Auth0".into(), "no".into())],
        body: Body(vec![0xff, 0x00, b'{']),
    };
    let answer = answered(trick.into());
    assert_eq!(answer.status, 418);
    assert_eq!(answer.body, [0xff, 0x00, b'{']);
    assert_eq!(answer.header("x-auth0"), Some("no"));
}

#[test]
fn too_many_requests_come_with_and_without_retry_after() {
    assert_eq!(answered(Mood::status(429)).header("retry-after"), None);
    let answer = answered(Mood::status(429).with_retry_after("120"));
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("120")));
}

#[test]
fn a_server_can_be_in_trouble() {
    assert_eq!(answered(Mood::status(500)).status, 500);
}

#[test]
fn a_redirect_names_its_target() {
    let answer = answered(Mood::redirect("http://127.0.0.1:1/elsewhere"));
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/elsewhere"));
}

#[test]
fn an_error_after_the_commit_hides_what_was_done() {
    let ecobee = strict();
    let (answer, changed) = refresh_in(&ecobee, Mood::status(503).after_commit());
    assert_eq!(answer.expect("an answer").status, 503);
    assert_eq!(changed, Commit::First);
}

#[test]
fn half_a_body_is_less_than_was_promised() {
    breaks(Mood::half_body(), ErrorKind::UnexpectedEof, Commit::First, "ok");
}

#[test]
fn half_a_body_before_the_commit_changes_nothing() {
    breaks(Mood::half_body().before_commit(), ErrorKind::UnexpectedEof, Commit::Never, "ok");
}

#[test]
fn a_connection_is_dropped_before_the_commit() {
    breaks(Mood::drop(), ErrorKind::UnexpectedEof, Commit::Never, "dropped");
}

#[test]
fn the_answer_is_lost_after_the_commit() {
    breaks(Mood::drop().after_commit(), ErrorKind::UnexpectedEof, Commit::First, "dropped");
}

#[test]
fn a_connection_is_reset_before_the_commit() {
    breaks(Mood::reset(), ErrorKind::ConnectionReset, Commit::Never, "reset");
}

#[test]
fn a_connection_is_reset_after_the_commit() {
    breaks(Mood::reset().after_commit(), ErrorKind::ConnectionReset, Commit::First, "reset");
}

#[test]
fn a_connection_is_reset_after_the_headers() {
    breaks(Mood::reset_after_headers(), ErrorKind::ConnectionReset, Commit::First, "ok");
}

#[test]
fn a_delay_holds_the_truth_back_or_only_the_answer() {
    let delay = Duration::from_millis(60);
    for (mood, truth_waits) in
        [(Mood::delay_before_commit(delay), true), (Mood::delay_after_commit(delay), false)]
    {
        let ecobee = strict();
        let me = client(&ecobee);
        let tokens = me.log_in();
        ecobee.add_mood(mood);
        Tokens::of(&me.refresh(&tokens.refresh));
        let call = &ecobee.calls_of(CallKind::Refresh)[0];
        let truth = ecobee.truth();
        let token = truth.grants()[0].access_token().expect("it has one");
        let (from, to) = if truth_waits {
            (call.arrived_at, token.issued_at)
        } else {
            (token.issued_at, call.answered_at.expect("answered"))
        };
        assert!(to >= from + delay, "{from:?} to {to:?}");
    }
}

#[test]
fn a_drip_gives_a_byte_at_a_time() {
    let ecobee = start(Options { token_form: TokenForm::Opaque, rotation: Rotation::Absent, ..quick() });
    let pause = Duration::from_micros(200);
    let began = Instant::now();
    let (answer, changed) = refresh_in(&ecobee, Mood::drip(pause));
    let answer = answer.expect("at last");
    let bytes = u32::try_from(answer.body.len()).expect("a short body");
    assert!(began.elapsed() >= pause * bytes);
    assert_eq!(answer.text("token_type"), "Bearer");
    assert_eq!(changed, Commit::First);
}

#[test]
fn a_huge_body_has_the_size_that_was_wished() {
    let answer = answered(Mood::huge(3_000_000));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body.len(), 3_000_000);
    assert!(answer.body.starts_with(br#"{"access_token":"AAAA"#));
}

#[test]
fn a_huge_body_can_hide_its_size() {
    let trick = Trick::Huge { bytes: 200_000, chunked: true };
    let answer = answered(trick.into());
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.body.len(), 200_000);
}

#[test]
fn a_client_that_leaves_a_huge_body_does_no_harm() {
    let ecobee = strict();
    ecobee.add_mood(Mood::huge(u64::MAX).once());
    let mut stream = connect(&ecobee).expect("it listens");
    stream.write_all(b"GET /1/thermostat HTTP/1.1\r\n\r\n").expect("sent");
    stream.read_exact(&mut vec![0; 100_000]).expect("much");
    drop(stream);
    client(&ecobee).log_in();
}

#[test]
fn chunks_hold_the_true_answer() {
    let ecobee = strict();
    let (answer, changed) = refresh_in(&ecobee, Mood::chunked());
    let answer = answer.expect("an answer");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let tokens = Tokens::of(&answer);
    assert_eq!(ecobee.is_alive(&tokens.access), Liveness::Alive);
    assert_eq!(changed, Commit::First);
}

/// Sends a refresh and leaves the answer for later.
fn send_refresh(ecobee: &Simulator, token: &str) -> TcpStream {
    let token = encode(token);
    let mut stream = connect(ecobee).expect("it listens");
    let request = format!(
        "POST /token?grant_type=refresh_token&refresh_token={token}&client_id={KEY} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    stream
}

#[test]
fn a_server_that_hangs_says_nothing_until_the_client_leaves() {
    let ecobee = strict();
    let tokens = client(&ecobee).log_in();
    ecobee.add_mood(Mood::hang().on(Endpoint::Refresh).once());
    let mut stream = send_refresh(&ecobee, &tokens.refresh);
    let arrived = |answer: &'static str| {
        ecobee.wait_for(LONG, |_, calls| {
            calls.iter().any(|call| call.kind == CallKind::Refresh && call.answer.as_str() == answer)
        })
    };
    assert!(arrived("pending"));
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
    let silence = stream.read(&mut [0]).expect_err("silence").kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert_eq!(ecobee.is_alive(&tokens.access), Liveness::Alive);
    drop(stream);
    assert!(arrived("dropped"));
}

#[test]
fn a_server_can_hang_after_the_commit() {
    let ecobee = strict();
    let tokens = client(&ecobee).log_in();
    ecobee.add_mood(Mood::hang().after_commit());
    let _stream = send_refresh(&ecobee, &tokens.refresh);
    assert!(ecobee.wait_for(LONG, |truth, _| { truth.liveness(&tokens.access) == Liveness::Expired }));
}

#[test]
fn control_works_while_ecobee_hangs() {
    let ecobee = strict();
    let me = client(&ecobee);
    let tokens = me.log_in();
    ecobee.add_mood(Mood::hang());
    let mut stream = send_refresh(&ecobee, &tokens.refresh);
    let waited = me.control("wait", r#"{"kind": "refresh", "answer": "pending"}"#);
    assert_eq!(waited.status, 200);
    assert_eq!(me.control("moods/clear", "").status, 200);
    // The call that hangs keeps its mood; the next has none.
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
    assert!(stream.read(&mut [0]).is_err());
    Tokens::of(&me.refresh(&tokens.refresh));
}

#[test]
fn moods_queue_and_are_used_up() {
    let ecobee = strict();
    let me = client(&ecobee);
    ecobee.add_mood(Mood::status(503).times(2));
    ecobee.add_mood(Mood::error("account_locked").once());
    let seen: Vec<u16> = (0..4).map(|_| me.refresh("none").status).collect();
    assert_eq!(seen, [503, 503, 401, 400]);
    assert!(ecobee.moods().is_empty());
}

#[test]
fn a_mood_without_a_number_stays_until_it_is_cleared() {
    let ecobee = strict();
    let me = client(&ecobee);
    ecobee.add_mood(Mood::status(503));
    for _ in 0..5 {
        assert_eq!(me.authorize().status, 503);
    }
    ecobee.clear_moods();
    assert_eq!(me.authorize().status, 200);
}

#[test]
fn a_mood_holds_where_it_was_put() {
    let ends = [
        (Endpoint::Authorize, [503, 401, 400, 500]),
        (Endpoint::Poll, [200, 503, 400, 500]),
        (Endpoint::Refresh, [200, 401, 503, 500]),
        (Endpoint::Token, [200, 503, 503, 500]),
        (Endpoint::Thermostat, [200, 401, 400, 503]),
        (Endpoint::All, [503, 503, 503, 503]),
    ];
    for (on, wanted) in ends {
        let ecobee = strict();
        let me = client(&ecobee);
        let code = me.authorize().text("code");
        ecobee.add_mood(Mood::status(503).on(on));
        let seen = [
            me.authorize().status,
            me.poll(&code).status,
            me.refresh("none").status,
            me.thermostat_answer("none").status,
        ];
        assert_eq!(seen, wanted, "{on:?}");
    }
}

#[test]
fn a_mood_can_be_for_one_key() {
    let ecobee = strict();
    let me = client(&ecobee);
    let other = client::Client { key: "another", ..me };
    let (mine, others) = (me.log_in(), other.log_in());
    ecobee.add_mood(Mood::status(503).of_client(KEY));
    assert_eq!(me.refresh(&mine.refresh).status, 503);
    assert_eq!(me.thermostat_answer(&mine.access).status, 503, "a bearer token tells whose it is");
    assert_eq!(other.thermostat_answer(&others.access).status, 200);
    assert_eq!(other.refresh(&others.refresh).status, 200);
}

#[test]
fn a_client_that_leaves_early_is_refreshed_all_the_same() {
    let ecobee = strict();
    let tokens = client(&ecobee).log_in();
    ecobee.add_mood(Mood::delay_before_commit(Duration::from_millis(30)));
    drop(send_refresh(&ecobee, &tokens.refresh));
    assert!(ecobee.wait_for(LONG, |truth, _| truth.counters().refreshes == 1));
}

#[test]
fn connections_are_refused_while_paused_and_the_port_stays() {
    let ecobee = strict();
    let me = client(&ecobee);
    let tokens = me.log_in();
    let mut idle = connect(&ecobee).expect("it listens");
    assert!(ecobee.wait_for(LONG, |truth, _| truth.counters().connections == 3));
    ecobee.pause().expect("it can be shut");
    let refused = me.try_refresh(&tokens.refresh).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(idle.read(&mut [0]).expect("closed in order"), 0, "idle connections end");
    let taken = TcpListener::bind(ecobee.address()).expect_err("the port is kept");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    ecobee.pause().expect("twice is once");
    ecobee.resume().expect("the port is ours");
    ecobee.resume().expect("twice is once");
    Tokens::of(&me.refresh(&tokens.refresh));
}

#[test]
fn a_call_that_is_being_served_outlives_a_pause() {
    let ecobee = strict();
    let tokens = client(&ecobee).log_in();
    ecobee.add_mood(Mood::delay_after_commit(Duration::from_millis(50)).once());
    let mut stream = send_refresh(&ecobee, &tokens.refresh);
    assert!(ecobee.wait_for(LONG, |truth, _| truth.counters().refreshes == 1));
    ecobee.pause().expect("it can be shut");
    Tokens::of(&read_answer(&mut stream).expect("the whole answer"));
    ecobee.resume().expect("the port is ours");
}

#[test]
fn a_simulator_that_is_dropped_frees_its_port() {
    let ecobee = strict();
    let address = ecobee.address();
    let mut idle = connect(&ecobee).expect("it listens");
    assert!(ecobee.wait_for(LONG, |truth, _| truth.counters().connections == 1));
    drop(ecobee);
    assert_eq!(idle.read(&mut [0]).expect("closed in order"), 0);
    let again = start(Options { listen: address, ..quick() });
    assert_eq!(again.address(), address);
}
