//! How far a request got: a wrong answer to that costs a token.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ecobee_tokend::keeper::{Outcome, Reach};
use ecobee_tokend::secret::Secret;

use super::{AMPLE, BRIEF, Ecobee, assert_trouble, client, hold, json, poll, refresh, trouble};

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let outcome = refresh(&client(&format!("http://{address}"), AMPLE)).await;
    let words = format!("no connection to {address}: connection refused");
    assert_trouble(outcome, Reach::Unsent, &words);
}

/// A name may have other addresses.
#[tokio::test]
async fn a_connection_that_nobody_accepts_takes_half_the_time_at_most() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    rustix::net::listen(&listener, 0).expect("it listens already");
    let address = listener.local_addr().expect("its address");
    let _the_only_one_in_the_queue = TcpStream::connect(address).expect("there is room for one");
    let client = client(&format!("http://{address}"), BRIEF);
    assert_trouble(refresh(&client).await, Reach::Unsent, &format!("no connection to {address}: timed out"));
}

#[tokio::test]
async fn a_name_without_an_address_is_said_so() {
    let outcome = refresh(&client("https://ecobee.invalid", AMPLE)).await;
    assert_trouble(outcome, Reach::Unsent, "no address found for ecobee.invalid: ");
}

#[tokio::test]
async fn localhost_over_plain_http_is_the_loopback_address() {
    let ecobee = Ecobee::says(json("401 No", r#"{"error":"authorization_pending"}"#));
    let client = client(&format!("http://localhost:{}", ecobee.address.port()), AMPLE);
    assert!(matches!(poll(&client).await, Outcome::Pending));
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_broken() {
    let client = Ecobee::says("").client();
    let words = "127.0.0.1 closed the connection without an answer";
    assert_trouble(refresh(&client).await, Reach::Broken, words);
}

#[tokio::test]
async fn a_connection_reset_without_an_answer_is_broken() {
    let ecobee = Ecobee::that(|connection, _| {
        rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO))?;
        Ok(())
    });
    let words = "127.0.0.1 broke the connection before it answered: connection reset by peer";
    assert_trouble(refresh(&ecobee.client()).await, Reach::Broken, words);
}

#[tokio::test]
async fn half_an_answer_is_broken() {
    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Le", "closed the connection without an answer"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"access_token\": \"a",
            "answered with half a body: the connection was closed",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"acc",
            "answered with half a body: the connection was closed",
        ),
        (
            "HTTP/1.1 400 X\r\nContent-Length: 99\r\n\r\n{\"error\": \"invalid_grant\"}",
            "half a body: the connection was closed",
        ),
    ] {
        let client = Ecobee::says(answer).client();
        assert_trouble(refresh(&client).await, Reach::Broken, words);
    }
}

#[tokio::test]
async fn a_connection_reset_within_the_body_is_broken() {
    let ecobee = Ecobee::that(|mut connection, _| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"acc")?;
        rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO))?;
        Ok(())
    });
    assert_trouble(refresh(&ecobee.client()).await, Reach::Broken, "127.0.0.1 ");
}

#[tokio::test]
async fn a_grant_that_arrived_whole_counts_though_the_connection_broke_behind_it() {
    let body = r#"{"access_token": "a", "refresh_token": "next"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{body}");
    let outcome = refresh(&Ecobee::says(answer).client()).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_rotation_that_arrived_in_a_broken_answer_is_kept() {
    let body = r#"{"refresh_token": "next"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\nRetry-After: 7\r\n\r\n{body}");
    let trouble = trouble(refresh(&Ecobee::says(answer).client()).await);
    assert_eq!(trouble.reach, Reach::Broken);
    assert_eq!(trouble.rotated, Some(Secret::new("next")));
    assert_eq!(trouble.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn what_is_not_http_was_sent_for() {
    let many = (0..200).fold(String::new(), |mut fields, field| {
        let _ = write!(fields, "X-{field}: y\r\n");
        fields
    });
    for answer in [
        "SSH-2.0-OpenSSH\r\n".to_owned(),
        "\0\u{1}\u{2}".to_owned(),
        "HTTP/1.1 999999 No\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(300 * 1024)),
    ] {
        let client = Ecobee::says(answer).client();
        assert_trouble(refresh(&client).await, Reach::Sent, "answered with something that is not HTTP");
    }
    let nonsense = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nlots\r\n";
    let client = Ecobee::says(nonsense).client();
    assert_trouble(refresh(&client).await, Reach::Sent, "answered with a body that makes no sense: ");
}

#[tokio::test]
async fn silence_after_the_request_ends_with_the_timeout() {
    let ecobee = Ecobee::that(|connection, _| hold(connection));
    let outcome = refresh(&ecobee.impatient_client()).await;
    assert_trouble(outcome, Reach::Sent, "127.0.0.1: no answer within 0.3 s");
}

#[tokio::test]
async fn silence_within_the_body_ends_with_the_timeout() {
    let ecobee = Ecobee::that(|mut connection, _| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"acc")?;
        hold(connection)
    });
    let outcome = refresh(&ecobee.impatient_client()).await;
    assert_trouble(outcome, Reach::Sent, "127.0.0.1: no answer within 0.3 s");
}

#[tokio::test]
async fn a_slow_drip_does_not_outlast_the_timeout() {
    let ecobee = Ecobee::that(|mut connection, _| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")?;
        // The waiting for a client that hangs up is the pause between two drops.
        connection.set_read_timeout(Some(Duration::from_millis(10)))?;
        while connection.read(&mut [0]).is_err() {
            connection.write_all(b" ")?;
        }
        Ok(())
    });
    let began = Instant::now();
    let outcome = refresh(&ecobee.impatient_client()).await;
    assert_trouble(outcome, Reach::Sent, "127.0.0.1: no answer within 0.3 s");
    assert!(began.elapsed() < AMPLE / 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_long_is_not_read() {
    let ecobee = Ecobee::that(|mut connection, _| {
        connection.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 262145\r\n\r\n")?;
        hold(connection)
    });
    let trouble = trouble(refresh(&ecobee.client()).await);
    assert_eq!(trouble.reason, "127.0.0.1 answered with more than 256 KiB");
    assert_eq!((trouble.reach, trouble.retry_after), (Reach::Sent, Some(Duration::from_secs(9))));
}

#[tokio::test]
async fn an_answer_that_turns_out_too_long_is_given_up() {
    let ecobee = Ecobee::that(|mut connection, _| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"access_token\": \"a\"}")?;
        while connection.write_all(&[b' '; 1024]).is_ok() {}
        Ok(())
    });
    let words = "answered with more than 256 KiB";
    assert_trouble(refresh(&ecobee.client()).await, Reach::Sent, words);
}

#[tokio::test]
async fn an_answer_of_256_kib_is_read() {
    let grant = r#"{"access_token": "a"}"#;
    let body = format!("{grant}{}", " ".repeat(256 * 1024 - grant.len()));
    for answer in [json("200 OK", &body), format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")] {
        let outcome = refresh(&Ecobee::says(answer).client()).await;
        assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
    }
}
