//! What the answers mean.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use ecobee_tokend::keeper::{Outcome, Reach};

use super::{Ecobee, assert_trouble, authorize, json, poll, refresh, trouble};

#[tokio::test]
async fn each_error_means_what_the_table_says_whatever_the_status() {
    // error, authorize, poll, refresh
    let table = [
        ("authorization_pending", "trouble", "pending", "trouble"),
        ("slow_down", "trouble", "slow down", "trouble"),
        ("authorization_expired", "trouble", "PIN over", "trouble"),
        ("invalid_grant", "trouble", "PIN over", "refused"),
        ("invalid_client", "trouble, key?", "trouble, key?", "refused, key?"),
        ("unauthorized_client", "trouble, key?", "trouble, key?", "refused"),
        ("account_disabled", "trouble, key?", "trouble, key?", "refused"),
        ("account_locked", "trouble", "trouble", "trouble"),
        ("invalid_scope", "misconfigured", "misconfigured", "misconfigured"),
        ("invalid_request", "misconfigured", "misconfigured", "misconfigured"),
        ("unsupported_grant_type", "misconfigured", "misconfigured", "misconfigured"),
        ("not_supported", "misconfigured", "misconfigured", "misconfigured"),
        ("access_denied", "trouble", "PIN over", "trouble"),
        ("too_many_requests", "trouble", "trouble", "trouble"),
        ("Invalid_Grant", "trouble", "trouble", "trouble"),
    ];
    for status in ["200 OK", "302 Found", "400 Bad Request", "401 Unauthorized", "429 Slow", "503 Busy"] {
        for (error, to_authorize, to_poll, to_refresh) in table {
            let body = format!(r#"{{"error":"{error}","error_description":"Why not."}}"#);
            let client = Ecobee::says(json(status, &body)).client();
            for (outcome, expected) in [
                (authorize(&client).await, to_authorize),
                (poll(&client).await, to_poll),
                (refresh(&client).await, to_refresh),
            ] {
                let (kind, words) = match outcome {
                    Outcome::Pending => ("pending", None),
                    Outcome::SlowDown => ("slow down", None),
                    Outcome::PinOver(words) => ("PIN over", Some(words)),
                    Outcome::Refused(words) => ("refused", Some(words)),
                    Outcome::Misconfigured(words) => ("misconfigured", Some(words)),
                    Outcome::Trouble(trouble) => {
                        assert_eq!(trouble.reach, Reach::Sent);
                        ("trouble", Some(trouble.reason))
                    }
                    other @ (Outcome::Granted(_) | Outcome::PinIssued(_)) => panic!("{other:?}"),
                };
                let mut found = kind.to_owned();
                if let Some(words) = words {
                    let hint = " (the API key may be wrong or revoked)";
                    if words.ends_with(hint) {
                        found.push_str(", key?");
                    }
                    assert_eq!(words.replace(hint, ""), format!("ecobee says {error}: Why not."));
                }
                assert_eq!(found, expected, "{error} with {status}");
            }
        }
    }
}

#[tokio::test]
async fn an_error_needs_no_description() {
    let ecobee = Ecobee::says(json("400 Bad Request", r#"{"error":"invalid_grant"}"#));
    let Outcome::Refused(words) = refresh(&ecobee.client()).await else {
        panic!("not refused");
    };
    assert_eq!(words, "ecobee says invalid_grant");
}

#[tokio::test]
async fn pages_and_empty_bodies_are_trouble_whatever_the_status() {
    for (answer, words) in [
        (json("503 Service Unavailable", "<html>busy</html>"), "HTTP 503 with an HTML page"),
        (
            "HTTP/1.1 500 X\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nbusy".to_owned(),
            "HTTP 500 with an HTML page",
        ),
        (json("522 Timed Out", ""), "HTTP 522 with an empty body"),
        (json("200 OK", "busy"), "HTTP 200 with something that is not JSON"),
        (json("200 OK", "<html>login</html>"), "HTTP 200 with an HTML page"),
        (json("429 Too Many Requests", "{}"), "HTTP 429 without naming an error"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "HTTP 204 with an empty body"),
    ] {
        let client = Ecobee::says(answer).client();
        let words = format!("127.0.0.1 answered {words}");
        assert_trouble(authorize(&client).await, Reach::Sent, &words);
        assert_trouble(poll(&client).await, Reach::Sent, &words);
        assert_trouble(refresh(&client).await, Reach::Sent, &words);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("a listener that does not wait");
    let there = elsewhere.local_addr().expect("its address");
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer =
            format!("HTTP/1.1 {status}\r\nLocation: http://{there}/token\r\nContent-Length: 0\r\n\r\n");
        let client = Ecobee::says(answer).client();
        assert_trouble(refresh(&client).await, Reach::Sent, "with a redirect, which is not followed");
        let nobody = elsewhere.accept().expect_err("nobody came");
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_wish_for_when_to_come_back_is_passed_on_with_any_status() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, seconds) in [
        ("Retry-After: 120".to_owned(), Some(120)),
        ("retry-after:  0 ".to_owned(), Some(0)),
        ("Retry-After: 99999999999999999999".to_owned(), Some(u64::from(u32::MAX))),
        ("Retry-After: -5".to_owned(), None),
        ("Retry-After: soon".to_owned(), None),
        ("Retry-After: 1.5".to_owned(), None),
        ("Retry-After:".to_owned(), None),
        ("X: y".to_owned(), None),
        (format!("Date: {date}\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT"), Some(60)),
        (format!("Date: {date}\r\nRetry-After: Sunday, 06-Nov-94 08:50:37 GMT"), Some(60)),
        (format!("Date: {date}\r\nRetry-After: Sun Nov  6 08:50:37 1994"), Some(60)),
        (format!("Date: {date}\r\nRetry-After: Sun, 06 Nov 1994 08:49:00 GMT"), None),
        (format!("Retry-After: {date}"), None),
    ] {
        for status in ["200 OK", "302 Found", "400 Bad", "401 No", "429 Slow", "503 Busy"] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: 0\r\n\r\n");
            let trouble = trouble(refresh(&Ecobee::says(answer).client()).await);
            assert_eq!(trouble.retry_after, seconds.map(Duration::from_secs), "{status} {fields}");
        }
    }
}

#[tokio::test]
async fn a_date_to_come_back_at_is_measured_on_our_clock_if_the_server_tells_no_time() {
    let answer =
        "HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n";
    let trouble = trouble(refresh(&Ecobee::says(answer).client()).await);
    let wish = trouble.retry_after.expect("a wish");
    assert!(wish > Duration::from_secs(1 << 36) && wish < Duration::from_secs(1 << 38), "{wish:?}");
}
