//! HTTP as clients really write it.
mod client;

use client::{KEY, client, connect, quick, read_answer, start};
use ecobee_simulator::Mood;
use std::io::{Read, Write};

#[test]
fn one_connection_serves_many_calls() {
    let ecobee = start(quick());
    let mut stream = connect(&ecobee).expect("it listens");
    for _ in 0..3 {
        stream.write_all(b"GET /1/thermostat HTTP/1.1\r\nHost: e\r\n\r\n").expect("sent");
        let answer = read_answer(&mut stream).expect("an answer");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
    assert_eq!(ecobee.truth().counters().connections, 1);
}

#[test]
fn requests_may_come_all_at_once_or_byte_by_byte() {
    let ecobee = start(quick());
    let request = b"GET /1/thermostat HTTP/1.1\r\nHost: e\r\n\r\n";
    let mut stream = connect(&ecobee).expect("it listens");
    stream.write_all(&request.repeat(3)).expect("sent");
    for _ in 0..3 {
        assert_eq!(read_answer(&mut stream).expect("an answer").status, 500);
    }
    stream.set_nodelay(true).expect("a TCP socket");
    for byte in request {
        stream.write_all(&[*byte]).expect("sent");
    }
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 500);
}

#[test]
fn a_connection_closes_when_asked_to_and_for_http_1_0() {
    let ecobee = start(quick());
    for request in
        ["GET /1/thermostat HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /1/thermostat HTTP/1.0\r\n\r\n"]
    {
        let mut stream = connect(&ecobee).expect("it listens");
        stream.write_all(request.as_bytes()).expect("sent");
        let answer = read_answer(&mut stream).expect("an answer");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn a_form_may_come_in_chunks() {
    let ecobee = start(quick());
    let mut stream = connect(&ecobee).expect("it listens");
    let request = "POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n\
         1c\r\ngrant_type=refresh_token&cli\r\n10;ignored=\"x\"\r\nent_id=k%2B1&cod\r\n5\r\ne=a+b\r\n0\r\nTrailer: t\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let answer = read_answer(&mut stream).expect("an answer");
    assert_eq!(answer.error(), (400, "invalid_grant".into()));
    let call = &ecobee.calls()[0];
    assert_eq!(call.client_id.as_deref(), Some("k+1"));
    assert_eq!(call.shown.as_deref(), Some("a b"));
}

#[test]
fn a_body_that_is_not_a_form_is_not_read_as_one() {
    let ecobee = start(quick());
    let body = "grant_type=refresh_token&refresh_token=r";
    let request = format!(
        "POST /token?client_id={KEY} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = client::exchange(&ecobee, &request).expect("an answer");
    assert_eq!(answer.error(), (400, "invalid_request".into()));
}

#[test]
fn a_client_that_waits_to_be_told_to_continue_is_told() {
    let ecobee = start(quick());
    let mut stream = connect(&ecobee).expect("it listens");
    stream
        .write_all(b"POST /_control/approve HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .expect("sent");
    let mut told = [0; 25];
    stream.read_exact(&mut told).expect("a word");
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").expect("sent");
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 404);
}

#[test]
fn what_is_not_http_is_a_bad_request() {
    let ecobee = start(quick());
    for (request, wanted) in [
        ("\u{16}\u{3}\u{1}TLS?\r\n\r\n".to_owned(), 400),
        ("POST /token HTTP/1.1\r\nContent-Length: x\r\n\r\n".into(), 400),
        ("POST /token HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n".into(), 413),
        ("POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX0\r\n\r\n".into(), 400),
        ("POST /token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".into(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)), 431),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101)), 431),
    ] {
        let answer = client::exchange(&ecobee, &request).expect("an answer");
        assert_eq!(answer.status, wanted, "{request:.40}");
    }
    assert!(ecobee.calls().is_empty(), "none of them is a call");
}

#[test]
fn a_path_that_ecobee_does_not_have_is_not_found() {
    let ecobee = start(quick());
    let me = client(&ecobee);
    assert_eq!(me.get("/").status, 404);
    assert_eq!(me.get("/1/nothing").status, 404);
    assert_eq!(ecobee.calls().len(), 2, "but it is in the log");
}

#[test]
fn a_query_may_hold_a_token_of_many_kilobytes() {
    let ecobee = start(quick());
    let long = "+".repeat(20_000);
    assert_eq!(client(&ecobee).refresh(&long).status, 400);
    assert_eq!(ecobee.calls()[0].shown.as_deref(), Some(long.as_str()));
}

#[test]
fn a_bad_answer_does_not_end_the_connection() {
    let ecobee = start(quick());
    ecobee.add_mood(Mood::status(503).once());
    let mut stream = connect(&ecobee).expect("it listens");
    let request = b"GET /1/thermostat HTTP/1.1\r\n\r\n".repeat(2);
    stream.write_all(&request).expect("sent");
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 503);
    assert_eq!(read_answer(&mut stream).expect("an answer").status, 500);
}
