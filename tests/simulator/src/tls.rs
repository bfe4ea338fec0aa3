//! A certificate authority and a server certificate, made anew at each start.

use crate::options::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What HTTPS needs.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate: what a client must trust.
    pub(crate) ca_pem: String,
}

/// Makes the certificates; `None` for plain HTTP.
pub(crate) fn identity(tls: Tls) -> Result<Option<Identity>, String> {
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        CertificateParams::new(names).map_err(|error| error.to_string())
    };
    // The last one for clients that know the real address only, and are led here by a proxy.
    let good = ["localhost", "127.0.0.1", "::1", "api.ecobee.com"];
    let mut params = match tls {
        Tls::Off => return Ok(None),
        Tls::Good | Tls::NotYetValid | Tls::Expired => named(&good)?,
        Tls::WrongName => named(&["ecobee.invalid"])?,
    };
    match tls {
        Tls::NotYetValid => {
            params.not_before = date_time_ymd(3000, 1, 1);
            params.not_after = date_time_ymd(3001, 1, 1);
        }
        Tls::Expired => {
            params.not_before = date_time_ymd(2014, 1, 1);
            params.not_after = date_time_ymd(2015, 1, 1);
        }
        Tls::Off | Tls::Good | Tls::WrongName => {}
    }
    make(params).map(Some).map_err(|error| error.to_string())
}

fn make(mut params: CertificateParams) -> Result<Identity, Box<dyn std::error::Error>> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "ecobee simulator CA");
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    params.distinguished_name.push(DnType::CommonName, "ecobee simulator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), ca_pem })
}
