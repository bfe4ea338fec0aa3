//! Whose certificates are believed, and what is wrong with the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use jiff::Timestamp;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tracing::debug;

use super::DialError;
use super::words::system_words;
use crate::quote::quote;

/// The roots: the system's, and those of `ca-file`.
///
/// They take some hundred kilobytes and are wanted for a second an hour, so they live only as long as a call holds
/// them; calls at the same time share them. Loading them anew each time also notices renewed ones.
#[derive(Debug)]
pub(super) struct Trust {
    ca_file: Option<PathBuf>,
    loaded: Mutex<Weak<ClientConfig>>,
}

impl Trust {
    /// Reads `ca_file` to see that it can be used; keeps nothing of it.
    pub(super) fn new(ca_file: Option<PathBuf>) -> Result<Self, DialError> {
        if let Some(path) = &ca_file {
            add_ca_file(&mut RootCertStore::empty(), path)
                .map_err(|reason| DialError::CaFile { path: path.clone(), reason })?;
        }
        Ok(Self { ca_file, loaded: Mutex::new(Weak::new()) })
    }

    /// The settings of a TLS connection, read from disk unless another call holds them just now. The error is a
    /// sentence for a person.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut loaded = self.loaded.lock().await;
        if let Some(config) = loaded.upgrade() {
            return Ok(config);
        }
        let ca_file = self.ca_file.clone();
        let config = tokio::task::spawn_blocking(move || load(ca_file.as_deref()))
            .await
            .map_err(|_| "the root certificates could not be loaded".to_owned())??;
        *loaded = Arc::downgrade(&config);
        Ok(config)
    }
}

fn load(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        debug!(%error, "a root certificate of this system is left out");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        add_ca_file(&mut roots, path).map_err(|reason| format!("ca-file {}: {reason}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(
            "this system has no root certificates: install ca-certificates or name a ca-file".to_owned()
        );
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The next call is an hour away and finds another config.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn add_ca_file(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let pem = fs::read(path).map_err(|error| system_words(&error))?;
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map(|certificate| roots.add(certificate));
        if !matches!(added, Ok(Ok(()))) {
            return Err("a certificate in it cannot be read".to_owned());
        }
    }
    if roots.len() == before { Err("there is no certificate in it".to_owned()) } else { Ok(()) }
}

/// What is wrong with a TLS connection to `host`, as the end of a sentence.
pub(super) fn tls_words(error: &rustls::Error, host: &str) -> String {
    use CertificateError as Wrong;

    let rustls::Error::InvalidCertificate(wrong) = error else {
        return quote(&error.to_string(), &[]);
    };
    let clock = "this machine's clock may be wrong";
    if let Wrong::NotValidYetContext { time, not_before } = wrong {
        format!(
            "its certificate is valid from {} on, and here it is {}: {clock}",
            date(*not_before),
            date(*time)
        )
    } else if let Wrong::ExpiredContext { time, not_after } = wrong {
        format!(
            "its certificate was valid until {}, and here it is {}: {clock}",
            date(*not_after),
            date(*time)
        )
    } else if let Wrong::NotValidForNameContext { presented, .. } = wrong {
        // They come as `DnsName("ecobee.com")`, and are the other side's words.
        let names: Vec<_> = presented
            .iter()
            .map(|name| name.split_once('(').map_or(name.as_str(), |(_, name)| name.trim_matches(['"', ')'])))
            .collect();
        format!("its certificate is not for {host} but for {}", quote(&names.join(", "), &[]))
    } else if matches!(wrong, Wrong::UnknownIssuer) {
        "its certificate was issued by nobody this machine trusts; a private authority's belongs in ca-file"
            .to_owned()
    } else {
        quote(&error.to_string(), &[])
    }
}

fn date(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unknown date".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::Trust;

    #[tokio::test]
    async fn roots_are_shared_while_in_use_and_dropped_afterwards() {
        let trust = Trust::new(None).expect("no file to read");
        let Ok(first) = trust.config().await else {
            return; // A machine without roots has nothing to share.
        };
        let second = trust.config().await.expect("loaded");
        assert!(std::sync::Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert!(trust.loaded.lock().await.upgrade().is_none());
    }
}
