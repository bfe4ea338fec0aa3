//! The three calls against a server of a few lines that says whatever a test wants, byte by byte.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ecobee_tokend::dial::{Proxies, Roads};
use ecobee_tokend::ecobee::{Client, Endpoint};
use ecobee_tokend::keeper::{Outcome, Reach, Trouble};
use ecobee_tokend::secret::Secret;
use ecobee_tokend::url::BaseUrl;

const KEY: &str = "the-api-key";
const TOKEN: &str = "v1.og2O/bost3+ucRo1=ofo0 ED&o%é";
const ENCODED: &str = "v1.og2O%2Fbost3%2BucRo1%3Dofo0%20ED%26o%25%C3%A9";
/// No test that passes waits so long.
const AMPLE: Duration = Duration::from_secs(30);
const BRIEF: Duration = Duration::from_millis(300);

/// An ecobee that does as it is told.
struct Ecobee {
    address: SocketAddr,
    heard: Receiver<String>,
}

impl Ecobee {
    /// `talk` gets each connection with the head of its request, already read.
    fn that(mut talk: impl FnMut(TcpStream, &str) -> io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (tell, heard) = channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.expect("a connection");
                let request = read_head(&mut connection);
                // A client that hung up and a test that has ended are no concern of the server.
                let _ = talk(connection, &request);
                let _ = tell.send(request);
            }
        });
        Self { address, heard }
    }

    /// Says these bytes to everyone, then closes.
    fn says(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::that(move |mut connection, _| connection.write_all(&answer))
    }

    fn client(&self) -> Client {
        client(&format!("http://{}", self.address), AMPLE)
    }

    fn impatient_client(&self) -> Client {
        client(&format!("http://{}", self.address), BRIEF)
    }

    fn heard(&self) -> String {
        self.heard.recv_timeout(AMPLE).expect("a request")
    }
}

/// All up to the empty line, or to the end.
fn read_head(connection: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(connection.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head in ASCII")
}

/// Holds the connection until the client leaves it.
fn hold(mut connection: TcpStream) -> io::Result<()> {
    while connection.read(&mut [0])? > 0 {}
    Ok(())
}

fn json(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn client(url: &str, request_timeout: Duration) -> Client {
    let endpoint = Endpoint {
        url: BaseUrl::parse(url).expect("a good address"),
        request_timeout,
        roads: Roads::new(None, Proxies::none()).expect("no file to read"),
    };
    Client::new(endpoint)
}

async fn authorize(client: &Client) -> Outcome {
    client.authorize(&Secret::new(KEY), "smartWrite").await
}

async fn poll(client: &Client) -> Outcome {
    client.poll(&Secret::new(KEY), &Secret::new(TOKEN)).await
}

async fn refresh(client: &Client) -> Outcome {
    client.refresh(&Secret::new(KEY), &Secret::new(TOKEN)).await
}

fn trouble(outcome: Outcome) -> Trouble {
    let Outcome::Trouble(trouble) = outcome else {
        panic!("no trouble but {outcome:?}");
    };
    trouble
}

/// A wrong direction of [`Reach`] costs a token, so the words are compared with it.
fn assert_trouble(outcome: Outcome, reach: Reach, words: &str) {
    let trouble = trouble(outcome);
    assert!(trouble.reason.contains(words), "{:?} has no {words:?}", trouble.reason);
    assert_eq!(trouble.reach, reach, "{}", trouble.reason);
}

// What is asked.

#[tokio::test]
async fn a_pin_is_asked_for_as_documented() {
    let ecobee = Ecobee::says(json(
        "200 OK",
        r#"{"ecobeePin":"bv29","code":"uiNQ","scope":"smartWrite","expires_in":9,"interval":30}"#,
    ));
    let Outcome::PinIssued(issued) = authorize(&ecobee.client()).await else {
        panic!("no PIN");
    };
    assert_eq!(issued.pin, "bv29");
    let head = ecobee.heard();
    let line = "GET /authorize?response_type=ecobeePin&client_id=the-api-key&scope=smartWrite HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    let head = head.to_ascii_lowercase();
    let version = env!("CARGO_PKG_VERSION");
    assert!(head.contains(&format!("\r\nhost: {}\r\n", ecobee.address)), "{head}");
    assert!(head.contains(&format!("\r\nuser-agent: ecobee-tokend/{version}\r\n")), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(!head.contains("accept-encoding"), "{head}");
}

#[tokio::test]
async fn a_poll_shows_the_code_and_the_key_percent_encoded_and_has_an_empty_body() {
    let ecobee = Ecobee::says(json("401 Unauthorized", r#"{"error":"authorization_pending"}"#));
    assert!(matches!(poll(&ecobee.client()).await, Outcome::Pending));
    let head = ecobee.heard();
    let line = format!(
        "POST /token?grant_type=ecobeePin&code={ENCODED}&client_id=the-api-key&ecobee_type=jwt HTTP/1.1\r\n"
    );
    assert!(head.starts_with(&line), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn a_refresh_shows_the_refresh_token_percent_encoded_and_has_an_empty_body() {
    let ecobee = Ecobee::says(json(
        "200 OK",
        r#"{"access_token":"eyj","token_type":"Bearer","expires_in":3599,"refresh_token":"v1.X"}"#,
    ));
    let Outcome::Granted(granted) = refresh(&ecobee.client()).await else {
        panic!("no grant");
    };
    assert_eq!(granted.access.token.expose(), "eyj");
    let head = ecobee.heard();
    let line = format!(
        "POST /token?grant_type=refresh_token&refresh_token={ENCODED}&client_id=the-api-key&ecobee_type=jwt \
         HTTP/1.1\r\n"
    );
    assert!(head.starts_with(&line), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own() {
    let ecobee = Ecobee::says(json("401 Unauthorized", r#"{"error":"slow_down"}"#));
    let client = ecobee.client();
    for _ in 0..3 {
        assert!(matches!(poll(&client.clone()).await, Outcome::SlowDown));
        ecobee.heard();
    }
}

#[test]
fn calls_can_be_made_from_spawned_tasks() {
    fn sendable(_: impl Send) {}
    let client = client("http://localhost:1", AMPLE);
    sendable(authorize(&client));
    sendable(poll(&client));
    sendable(refresh(&client));
}

// What the answers mean.

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

// How far the request got.

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

// What nobody may see.

#[tokio::test]
async fn no_outcome_and_no_log_line_shows_a_secret() {
    let secrets = [KEY, TOKEN, ENCODED, "new-access", "new-refresh", "og2O", "%26o%25"];
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    // For all threads: a subscriber of one thread alone may find the log lines switched off by the others.
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
    let body = r#"{"access_token":"new-access","refresh_token":"new-refresh"}"#;
    let mut answers: Vec<Vec<u8>> = vec![
        json("200 OK", body).into(),
        json("200 OK", &body.replace("new-access", "new access")).into(),
        json("500 X", body).into(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}", &body[..40]).into(),
        format!("HTTP/1.1 302 X\r\nLocation: /?{ENCODED}\r\nContent-Length: 0\r\n\r\n").into(),
        format!("HTTP/1.1 200 {ENCODED}\r\nContent-Length: 0\r\n\r\n").into(),
        format!("{ENCODED}\r\n\r\n").into(),
        Vec::new(),
    ];
    for error in ["invalid_grant", "invalid_client", "invalid_scope", "unknown", ENCODED] {
        let description =
            format!("{TOKEN} / {ENCODED} / {} / {KEY} is bad", ENCODED.replace("%C3%A9", "%c3%a9"));
        answers.push(
            json("400 X", &format!(r#"{{"error":"{error}","error_description":"{description}"}}"#)).into(),
        );
        answers
            .push(json("500 X", &format!(r#"{{"status":{{"message":"{TOKEN} {ENCODED} {KEY}"}}}}"#)).into());
    }
    for answer in answers {
        let client = Ecobee::says(answer).client();
        for outcome in [poll(&client).await, refresh(&client).await] {
            let shown = format!("{outcome:?}");
            for secret in secrets {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        let shown = format!("{:?}", authorize(&client).await);
        assert!(!shown.contains(KEY), "{shown}");
    }
    let nobody = client("http://127.0.0.1:1", AMPLE);
    let shown = format!("{:?}", refresh(&nobody).await);
    let logged = log.text();
    assert!(logged.contains("answered") && logged.contains("refresh"), "{logged}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!logged.contains(secret), "{secret} in {logged}");
    }
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
