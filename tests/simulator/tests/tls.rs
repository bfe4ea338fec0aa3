//! HTTPS, with good and with bad certificates.
mod client;

use client::{LONG, connect, quick, read_answer, start};
use ecobee_simulator::{Mood, Options, Simulator, Tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

fn with(tls: Tls) -> Simulator {
    start(Options { tls, ..quick() })
}

/// One call over TLS, trusting the simulator's own authority.
fn call(ecobee: &Simulator) -> io::Result<client::Answer> {
    let mut roots = RootCertStore::empty();
    let pem = ecobee.ca_pem().expect("there is TLS");
    let ca = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    roots.add(ca).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, connect(ecobee)?);
    stream.write_all(b"GET /1/thermostat HTTP/1.1\r\nConnection: close\r\n\r\n")?;
    read_answer(&mut stream)
}

/// Why a client refuses such a certificate.
fn refusal(tls: Tls) -> CertificateError {
    let ecobee = with(tls);
    let error = call(&ecobee).expect_err("a bad certificate");
    assert!(
        ecobee.wait_for(LONG, |truth, _| truth.counters().failed_handshakes == 1),
        "the server sees that it was refused"
    );
    match error.into_inner().and_then(|inner| inner.downcast().ok()).map(|error| *error) {
        Some(rustls::Error::InvalidCertificate(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_certificate_is_trusted_through_its_authority() {
    let ecobee = with(Tls::Good);
    assert!(ecobee.url().starts_with("https://localhost:"));
    assert_eq!(call(&ecobee).expect("an answer").status, 500);
}

#[test]
fn a_certificate_can_be_not_yet_valid() {
    let why = refusal(Tls::NotYetValid);
    assert!(
        matches!(why, CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }),
        "{why}"
    );
}

#[test]
fn a_certificate_can_be_expired() {
    let why = refusal(Tls::Expired);
    assert!(matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. }), "{why}");
}

#[test]
fn a_certificate_can_be_for_another_host() {
    let why = refusal(Tls::WrongName);
    assert!(
        matches!(why, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        "{why}"
    );
}

#[test]
fn moods_hold_under_tls_too() {
    let ecobee = with(Tls::Good);
    for (mood, wanted) in [
        (Mood::drop(), ErrorKind::UnexpectedEof),
        (Mood::half_body(), ErrorKind::UnexpectedEof),
        (Mood::reset(), ErrorKind::ConnectionReset),
        (Mood::reset_after_headers(), ErrorKind::ConnectionReset),
    ] {
        ecobee.add_mood(mood.once());
        assert_eq!(call(&ecobee).expect_err("no answer").kind(), wanted);
    }
    assert_eq!(call(&ecobee).expect("an answer").status, 500);
}

#[test]
fn plain_http_has_no_certificate() {
    assert_eq!(with(Tls::Off).ca_pem(), None);
}
