//! Whose certificate is believed, and what is said of the others.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use ecobee_tokend::dial::{Proxies, Roads};
use ecobee_tokend::ecobee::{Client, Endpoint};
use ecobee_tokend::keeper::{Outcome, Reach};
use ecobee_tokend::url::BaseUrl;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::{AMPLE, read_head, refresh, serve, trouble};

/// Where our servers are.
pub(super) const HERE: &str = "127.0.0.1";

pub(super) type Connection = StreamOwned<ServerConnection, TcpStream>;

/// An authority of our own, and the folder where its certificate lies.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    folder: TempDir,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        Self { issuer: Issuer::new(params, key), certificate, folder }
    }

    /// Its `ca-file`, with these certificates before its own.
    pub(super) fn ca_file(&self, others: &str) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, format!("{others}{}", self.certificate.pem())).expect("written");
        path
    }

    /// A server with a certificate of ours for `name`, valid between two years. It grants what it is asked for.
    pub(super) fn server(&self, name: &str, years: (i32, i32)) -> SocketAddr {
        self.server_that(name, years, grant)
    }

    /// The same; `talk` gets each connection when its request has been read.
    pub(super) fn server_that(
        &self,
        name: &str,
        years: (i32, i32),
        mut talk: impl FnMut(&mut Connection) + Send + 'static,
    ) -> SocketAddr {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        let config = Arc::new(config);
        serve(move |connection| {
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a server");
            let mut connection = StreamOwned::new(tls, connection);
            read_head(&mut connection);
            talk(&mut connection);
        })
    }
}

fn grant(connection: &mut Connection) {
    let body = r#"{"access_token": "eyj"}"#;
    let length = body.len();
    // A client that distrusts us is gone by now.
    let _ = write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
}

fn client(url: &str, request_timeout: Duration, ca_file: Option<PathBuf>) -> Client {
    let roads = Roads::new(ca_file, Proxies::none()).expect("a good file");
    let url = BaseUrl::parse(url).expect("a good address");
    Client::new(Endpoint { url, request_timeout, roads })
}

async fn refresh_at(address: SocketAddr, ca_file: Option<PathBuf>) -> Outcome {
    refresh(&client(&format!("https://{address}"), AMPLE, ca_file)).await
}

/// What is said of a call that never left.
#[track_caller]
pub(super) fn unsent(outcome: Outcome) -> String {
    let trouble = trouble(outcome);
    assert_eq!(trouble.reach, Reach::Unsent, "{}", trouble.reason);
    trouble.reason
}

#[track_caller]
fn assert_unsent(outcome: Outcome, begin: &str, end: &str) {
    let reason = unsent(outcome);
    assert!(reason.starts_with(begin) && reason.ends_with(end), "{reason:?} is not {begin:?} … {end:?}");
}

#[tokio::test]
async fn a_certificate_of_the_authority_in_ca_file_is_believed() {
    let authority = Authority::new("ours");
    let address = authority.server(HERE, (2000, 4000));
    let outcome = refresh_at(address, Some(authority.ca_file(""))).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
}

#[tokio::test]
async fn every_authority_in_ca_file_is_believed() {
    let authority = Authority::new("ours");
    let address = authority.server(HERE, (2000, 4000));
    let ca_file = authority.ca_file(&Authority::new("another").certificate.pem());
    let outcome = refresh_at(address, Some(ca_file)).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let address = Authority::new("ours").server(HERE, (2000, 4000));
    let outcome = refresh_at(address, Some(Authority::new("another").ca_file(""))).await;
    let begin = format!("no TLS with {address}: its certificate was issued by nobody this machine trusts");
    assert_unsent(outcome, &begin, "ca-file");
}

#[tokio::test]
async fn a_certificate_for_another_host_names_both() {
    let authority = Authority::new("ours");
    let address = authority.server("other.example", (2000, 4000));
    let outcome = refresh_at(address, Some(authority.ca_file(""))).await;
    let begin = format!("no TLS with {address}: its certificate is not for 127.0.0.1 but for ");
    assert_unsent(outcome, &begin, "other.example");
}

#[tokio::test]
async fn a_certificate_of_the_future_or_the_past_makes_one_look_at_the_clock() {
    let authority = Authority::new("ours");
    for (years, words) in [
        ((3000, 4000), "is valid from 3000-01-01 00:00 UTC on, and here it is 20"),
        ((1999, 2001), "was valid until 2001-01-01 00:00 UTC, and here it is 20"),
    ] {
        let address = authority.server(HERE, years);
        let outcome = refresh_at(address, Some(authority.ca_file(""))).await;
        let begin = format!("no TLS with {address}: its certificate {words}");
        assert_unsent(outcome, &begin, " UTC: this machine's clock may be wrong");
    }
}

#[tokio::test]
async fn a_handshake_that_breaks_off_is_unsent() {
    let address = serve(drop);
    let outcome = refresh_at(address, Some(Authority::new("another").ca_file(""))).await;
    assert_unsent(outcome, &format!("no TLS with {address}: "), "");
}

#[tokio::test]
async fn after_an_answer_the_server_gets_a_tls_farewell() {
    let authority = Authority::new("ours");
    let (tell, heard) = channel();
    let address = authority.server_that(HERE, (2000, 4000), move |connection| {
        grant(connection);
        let _ = tell.send(connection.read(&mut [0]).map_err(|error| error.kind()));
    });
    let outcome = refresh_at(address, Some(authority.ca_file(""))).await;
    assert!(matches!(outcome, Outcome::Granted(_)), "{outcome:?}");
    assert_eq!(heard.recv_timeout(AMPLE), Ok(Ok(0)));
}

#[tokio::test]
async fn a_connection_that_ends_without_a_tls_farewell_is_broken() {
    let authority = Authority::new("ours");
    let ca_file = authority.ca_file("");
    let address = authority.server_that(HERE, (2000, 4000), |connection| {
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"access_token\": \"e");
        let _ = connection.sock.shutdown(Shutdown::Both);
    });
    let trouble = trouble(refresh_at(address, Some(ca_file)).await);
    assert_eq!(trouble.reason, "127.0.0.1 answered with half a body: the connection was closed");
    assert_eq!(trouble.reach, Reach::Broken);
}

#[tokio::test]
async fn a_server_without_tls_gets_no_request() {
    let address = serve(|mut connection| {
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let outcome = refresh_at(address, Some(Authority::new("another").ca_file(""))).await;
    assert_unsent(outcome, &format!("no TLS with {address}: "), "");
}

#[tokio::test]
async fn a_handshake_without_end_is_unsent_at_the_timeout() {
    let address = serve(|mut connection| {
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let authority = Authority::new("ours");
    let ca_file = Some(authority.ca_file(""));
    let client = client(&format!("https://{address}"), Duration::from_millis(500), ca_file);
    let outcome = refresh(&client).await;
    assert_unsent(outcome, &format!("no connection to {address} within 0.5 s"), "");
}

#[tokio::test]
async fn a_ca_file_that_is_gone_later_is_trouble_that_names_it() {
    let authority = Authority::new("ours");
    let address = authority.server(HERE, (2000, 4000));
    let ca_file = authority.ca_file("");
    let client = client(&format!("https://{address}"), AMPLE, Some(ca_file.clone()));
    std::fs::remove_file(&ca_file).expect("removed");
    let outcome = refresh(&client).await;
    let words = format!("ca-file {}: no such file or directory", ca_file.display());
    assert_unsent(outcome, &words, "");
}

#[test]
fn an_unusable_ca_file_is_refused_by_its_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let pem = |inside: &str| format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n");
    for (path, reason) in [
        (folder.path().join("missing.pem"), "no such file or directory"),
        (folder.path().to_owned(), "is a directory"),
        (write("empty.pem", ""), "there is no certificate in it"),
        (write("words.pem", "hello"), "there is no certificate in it"),
        (write("broken.pem", &pem("!!!!")), "a certificate in it cannot be read"),
        (write("no-certificate.pem", &pem("aGVsbG8=")), "a certificate in it cannot be read"),
    ] {
        let refused = Roads::new(Some(path.clone()), Proxies::none()).expect_err("refused").to_string();
        let words = format!("ca-file {}: {reason}; ", path.display());
        assert!(refused.starts_with(&words), "{refused}");
    }
}

/// The versions that a `ClientHello` offers (RFC 8446, section 4.2.1), if this is one.
fn offered_versions(hello: &[u8]) -> Option<Vec<u16>> {
    const SUPPORTED_VERSIONS: u16 = 43;
    let two = |bytes: &[u8]| bytes.first_chunk().map(|two| u16::from_be_bytes(*two));
    // Record, handshake, version and random; then three lists, the first and the last with a length of one byte.
    let mut rest = hello.get(5 + 4 + 2 + 32..)?;
    rest = rest.get(1 + usize::from(*rest.first()?)..)?;
    rest = rest.get(2 + usize::from(two(rest)?)..)?;
    rest = rest.get(1 + usize::from(*rest.first()?)..)?;
    rest = rest.get(2..)?;
    loop {
        let (kind, length) = (two(rest)?, usize::from(two(rest.get(2..)?)?));
        let body = rest.get(4..4 + length)?;
        if kind == SUPPORTED_VERSIONS {
            return Some(body.get(1..)?.chunks_exact(2).filter_map(two).collect());
        }
        rest = rest.get(4 + length..)?;
    }
}

#[tokio::test]
async fn nothing_older_than_tls_1_2_is_offered() {
    let (tell, heard) = channel();
    let address = serve(move |mut connection| {
        let mut hello = vec![0; 4096];
        let length = connection.read(&mut hello).unwrap_or_default();
        let _ = tell.send(hello[..length].to_vec());
    });
    refresh_at(address, None).await;
    let hello = heard.recv_timeout(AMPLE).expect("it says hello");
    assert_eq!(offered_versions(&hello), Some(vec![0x0304, 0x0303]), "TLS 1.3 and 1.2");
}

#[tokio::test]
async fn a_server_that_answers_with_tls_1_1_gets_no_request() {
    let (tell, heard) = channel();
    let address = serve(move |mut connection| {
        let mut hello = vec![0; 4096];
        let _ = connection.read(&mut hello);
        // A ServerHello of TLS 1.1: no extensions, a suite that this version had.
        let body = [&[3, 2][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
        let length = u8::try_from(body.len()).expect("it is short");
        let record = [&[22, 3, 2, 0, length + 4, 2, 0, 0, length][..], &body].concat();
        let _ = connection.write_all(&record);
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest);
        let _ = tell.send(rest);
    });
    let outcome = refresh_at(address, None).await;
    assert_unsent(outcome, &format!("no TLS with {address}: "), "");
    let rest = heard.recv_timeout(AMPLE).expect("it hangs up");
    assert_eq!(rest.first(), Some(&21), "an alert, and nothing else: {rest:?}");
}
