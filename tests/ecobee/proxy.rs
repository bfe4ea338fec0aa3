//! Through a proxy: what it is asked, what it gets to see, and what is said when it fails.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ecobee_tokend::dial::{Proxies, Roads};
use ecobee_tokend::ecobee::{Client, Endpoint};
use ecobee_tokend::keeper::{Outcome, Reach};
use ecobee_tokend::url::BaseUrl;

use super::tls::{Authority, HERE, unsent};
use super::{AMPLE, BRIEF, ENCODED, KEY, TOKEN, read_head, refresh, serve, trouble};

/// A name that only the proxy knows the way to.
const FAR: &str = "ecobee.test";

/// What a proxy does with those that ask it for a tunnel.
#[derive(Clone)]
enum Proxying {
    /// It connects them with this server, whatever they ask for.
    To(SocketAddr),
    /// It says this and closes.
    Says(&'static str),
    /// It never answers.
    Hangs,
}

/// A real proxy on this machine, and the heads of what it was asked.
fn proxy(proxying: Proxying) -> (SocketAddr, Receiver<String>) {
    let (asked, heads) = channel();
    let mut kept = Vec::new();
    let address = serve(move |mut client| {
        let _ = asked.send(read_head(&mut client));
        match &proxying {
            Proxying::To(server) => {
                let server = TcpStream::connect(server).expect("the server listens");
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("the client listens");
                relay(client, server);
            }
            Proxying::Says(answer) => {
                let _ = client.write_all(answer.as_bytes());
                let _ = client.shutdown(Shutdown::Write);
                let _ = copy(&mut client, &mut io::sink());
            }
            Proxying::Hangs => kept.push(client),
        }
    });
    (address, heads)
}

fn relay(one: TcpStream, other: TcpStream) {
    let halves = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    for (mut from, mut to) in [(halves(&one), halves(&other)), (other, one)] {
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// Carries what has come so far; whether more may come.
fn carry(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; 16384];
    match from.read(&mut buffer) {
        Ok(length) => length > 0 && to.write_all(&buffer[..length]).and_then(|()| to.flush()).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// A client of the server FAR in an environment with this `https_proxy` and `no_proxy`.
fn client_with(proxy: &str, without: &str, timeout: Duration, ca_file: Option<PathBuf>) -> Client {
    client_of(&format!("https://{FAR}"), proxy, without, timeout, ca_file)
}

fn client_of(url: &str, proxy: &str, without: &str, timeout: Duration, ca_file: Option<PathBuf>) -> Client {
    let proxies = Proxies::of(|name| match name {
        "https_proxy" | "http_proxy" => Some(OsString::from(proxy)),
        "no_proxy" => Some(OsString::from(without)),
        _ => None,
    });
    let roads = Roads::new(ca_file, proxies.expect("a good proxy")).expect("a good file");
    let url = BaseUrl::parse(url).expect("a good address");
    Client::new(Endpoint { url, request_timeout: timeout, roads })
}

#[track_caller]
fn assert_unsent(outcome: Outcome, begin: &str, part: &str) {
    let reason = unsent(outcome);
    assert!(reason.starts_with(begin) && reason.contains(part), "{reason:?} is not {begin:?} … {part:?}");
    assert!(!reason.contains("hunter2") && !reason.contains(TOKEN), "{reason}");
}

#[tokio::test]
async fn a_tunnel_leads_to_ecobee_and_the_proxy_sees_nothing_of_the_request() {
    let authority = Authority::new("a private authority");
    let (proxy, heads) = proxy(Proxying::To(authority.server(FAR, (2020, 2999))));
    let ca_file = Some(authority.ca_file(""));
    let outcome = refresh(&client_with(&format!("http://me:hunter2@{proxy}"), "", AMPLE, ca_file)).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
    let head = heads.recv().expect("it was asked").to_ascii_lowercase();
    assert!(head.starts_with("connect ecobee.test:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nhost: ecobee.test:443\r\n"), "{head}");
    assert!(head.contains("\r\nproxy-authorization: basic bwu6ahvudgvymg==\r\n"), "{head}");
    for secret in [KEY, TOKEN, ENCODED] {
        assert!(!head.contains(&secret.to_ascii_lowercase()), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_reached_by_tls_works_too() {
    let authority = Authority::new("a private authority");
    let server = authority.server(FAR, (2020, 2999));
    let proxy = authority.server_that(HERE, (2020, 2999), move |connection| {
        let mut server = TcpStream::connect(server).expect("the server listens");
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("the client listens");
        // One thread for both ways, so that neither may wait long for the other.
        let patience = Some(Duration::from_millis(5));
        connection.sock.set_read_timeout(patience).expect("a socket");
        server.set_read_timeout(patience).expect("a socket");
        while carry(connection, &mut server) && carry(&mut server, connection) {}
    });
    let client = client_with(&format!("https://{proxy}"), "", AMPLE, Some(authority.ca_file("")));
    let outcome = refresh(&client).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
}

#[tokio::test]
async fn what_a_failing_proxy_does_is_said_and_the_request_counts_as_unsent() {
    let answer = |answer| Proxying::Says(answer);
    for (proxying, words) in [
        (answer("HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n"), "does not take the user name and password"),
        (answer("HTTP/1.1 502 hunter2\r\nContent-Length: 0\r\n\r\n"), "refused with 502 Bad Gateway"),
        (answer("HTTP/1.1 403 X\r\nContent-Length: 3\r\n\r\nno."), "refused with 403 Forbidden"),
        (answer("hunter2\r\n\r\n"), "answered with something that is not HTTP"),
        (answer(""), "closed the connection without an answer"),
    ] {
        let (proxy, _heads) = proxy(proxying);
        let client = client_with(&format!("http://me:hunter2@{proxy}"), "", AMPLE, None);
        let begin = format!("no connection to {FAR}:443: the proxy {proxy} ");
        assert_unsent(refresh(&client).await, &begin, words);
    }
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_and_was_given_none_is_told_how_to_get_one() {
    let (proxy, _heads) = proxy(Proxying::Says("HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n"));
    let client = client_with(&format!("http://{proxy}"), "", AMPLE, None);
    assert_unsent(refresh(&client).await, "no connection", "wants a user name and a password (407)");
}

#[tokio::test]
async fn a_proxy_that_hangs_is_given_up_in_time() {
    let (proxy, _heads) = proxy(Proxying::Hangs);
    let client = client_with(&format!("http://{proxy}"), "", BRIEF, None);
    assert_unsent(refresh(&client).await, "no connection to ecobee.test:443 within 0.3 s", "");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named_as_such() {
    let client = client_with("http://127.0.0.1:1", "", AMPLE, None);
    let outcome = refresh(&client).await;
    assert_unsent(outcome, "no connection to 127.0.0.1:1: ", "(the proxy on the way to ecobee.test)");
}

/// Whoever connects us with somebody else gets nothing of us.
#[tokio::test]
async fn a_proxy_cannot_put_itself_in_the_place_of_ecobee() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let imposter = theirs.server_that(FAR, (2020, 2999), |_| panic!("a request was sent to it"));
    let no_tls = serve(|mut connection| {
        let mut first = [0; 1];
        let _ = connection.read(&mut first);
        assert_eq!(first, [22], "nothing but TLS is spoken to it");
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let _ = copy(&mut connection, &mut io::sink());
    });
    for (server, words) in [(imposter, "issued by nobody this machine trusts"), (no_tls, "no TLS with")] {
        let (proxy, _heads) = proxy(Proxying::To(server));
        let client = client_with(&format!("http://{proxy}"), "", AMPLE, Some(ours.ca_file("")));
        assert_unsent(refresh(&client).await, "no TLS with ecobee.test:443: ", words);
    }
}

#[tokio::test]
async fn a_tunnel_that_breaks_after_the_request_leaves_it_sent() {
    let authority = Authority::new("a private authority");
    let server = authority.server_that(FAR, (2020, 2999), |connection| {
        let _ = connection.sock.shutdown(Shutdown::Both);
    });
    let (proxy, _heads) = proxy(Proxying::To(server));
    let client = client_with(&format!("http://{proxy}"), "", AMPLE, Some(authority.ca_file("")));
    let trouble = trouble(refresh(&client).await);
    assert_eq!(trouble.reach, Reach::Broken, "{}", trouble.reason);
}

#[tokio::test]
async fn no_proxy_and_this_machine_are_reached_without() {
    let (proxy, heads) = proxy(Proxying::Hangs);
    let url = format!("http://{proxy}");
    let client = client_with(&url, "ecobee.test", AMPLE, None);
    assert_unsent(refresh(&client).await, "no address found for ecobee.test", "");
    let here = serve(|mut connection| {
        let _ = connection.read(&mut [0; 4096]);
        let _ = connection.write_all(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n");
    });
    for host in ["127.0.0.1", "localhost"] {
        let client = client_of(&format!("http://{host}:{}", here.port()), &url, "", AMPLE, None);
        let trouble = trouble(refresh(&client).await);
        assert_eq!(trouble.reach, Reach::Sent, "{}", trouble.reason);
    }
    assert!(heads.try_recv().is_err(), "the proxy was asked");
}
