//! Where ecobee is, and what the target of a request looks like.

use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::{EcobeeError, Failure};
use crate::dial::{Destination, Security, is_loopback};

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The base of ecobee's URLs, checked.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) security: Security,
    /// As in a URL: an IPv6 address stands in brackets.
    host: String,
    port: u16,
    /// Empty, or a path that begins with a slash and does not end with one.
    prefix: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, EcobeeError> {
        let wrong = |reason| EcobeeError::Url { url: showable(url), reason };
        if url.contains(['?', '#']) {
            return Err(wrong("a query or fragment has no place here"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
        let security = match uri.scheme_str() {
            Some("https") => Security::Tls,
            Some("http") => Security::Loopback,
            _ => return Err(wrong("it begins with neither https:// nor http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user name has no place here"));
        }
        let host = authority.host().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if ServerName::try_from(bare).is_err() {
            return Err(wrong("its host is neither a name nor an address"));
        }
        if security == Security::Loopback && !is_loopback(&host) {
            return Err(EcobeeError::PlainHttp { host });
        }
        // `port_u16` takes a port that is too large for none.
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            None => security.port(),
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|&port| port > 0)
                .ok_or_else(|| wrong("its port is not a number from 1 to 65535"))?,
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { security, host, port, prefix })
    }

    /// The host, for messages.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Host and port, for messages about connections.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// What stands in the `Host` header: without the port that the scheme implies (RFC 9110, section 4.2.3).
    pub(super) fn host_header(&self) -> String {
        if self.port == self.security.port() { self.host.clone() } else { self.place() }
    }

    /// Where a connection is to lead, given so much time.
    pub(super) fn destination(&self, patience: Duration) -> Destination<'_> {
        Destination { security: self.security, host: &self.host, port: self.port, patience }
    }

    /// The target of a request: path and query, the values percent-encoded. Its buffer is wiped when it is dropped.
    pub(super) fn target(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Uri, Failure> {
        // Three bytes for one at worst; a buffer that grew would leave pieces of the secrets behind.
        let room = parameters.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum::<usize>();
        let mut target = Zeroizing::new(Vec::with_capacity(self.prefix.len() + path.len() + room));
        target.extend_from_slice(self.prefix.as_bytes());
        target.extend_from_slice(path.as_bytes());
        for (index, (name, value)) in parameters.iter().enumerate() {
            target.push(if index == 0 { b'?' } else { b'&' });
            target.extend_from_slice(name.as_bytes());
            target.push(b'=');
            for piece in percent_encode(value.as_bytes(), RESERVED) {
                target.extend_from_slice(piece.as_bytes());
            }
        }
        Uri::from_maybe_shared(Bytes::from_owner(target))
            .map_err(|_| Failure::unsent("the stored token or key is too long for a request".to_owned()))
    }
}

/// A URL without the parts where people put secrets.
fn showable(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("…@{rest}"))
}

#[cfg(test)]
mod tests {
    use super::{Address, EcobeeError, Security};

    fn refusal(url: &str) -> String {
        Address::parse(url).expect_err(url).to_string()
    }

    #[test]
    fn an_ordinary_url_is_taken_apart() {
        let address = Address::parse("https://API.ecobee.com").expect("an ordinary URL");
        assert_eq!(address.security, Security::Tls);
        assert_eq!(address.place(), "api.ecobee.com:443");
        assert_eq!(address.host_header(), "api.ecobee.com");
    }

    #[test]
    fn a_path_goes_before_the_paths_of_the_calls() {
        for url in ["https://proxy.lan:8443/ecobee", "https://proxy.lan:8443/ecobee/"] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.host_header(), "proxy.lan:8443");
            let target = address.target("/token", &[("code", "a b"), ("client_id", "k")]);
            assert_eq!(target.expect("short").to_string(), "/ecobee/token?code=a%20b&client_id=k");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for url in [
            "http://localhost",
            "http://LOCALHOST:8080",
            "http://127.0.0.1:8080",
            "http://127.1.2.3",
            "http://[::1]:8080",
        ] {
            assert_eq!(Address::parse(url).expect(url).security, Security::Loopback);
        }
        for url in [
            "http://api.ecobee.com",
            "http://192.168.1.2",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://[::]:8080",
            "http://[::ffff:127.0.0.1]:8080",
            "http://127.0.0.1.example.com",
        ] {
            let refused = Address::parse(url).expect_err(url);
            assert!(matches!(refused, EcobeeError::PlainHttp { .. }), "{url}: {refused}");
        }
    }

    #[test]
    fn what_is_no_base_of_a_url_is_refused_with_the_reason() {
        for (url, reason) in [
            ("", "not a URL"),
            ("api.ecobee.com", "neither https://"),
            ("ftp://api.ecobee.com", "neither https://"),
            ("https://", "not a URL"),
            ("https://api.ecobee.com:0", "port"),
            ("https://api.ecobee.com:99999", "port"),
            ("https://api.ecobee.com:", "port"),
            ("https://[::1]:x", "port"),
            ("https://api.ecobee.com/?x=1", "query"),
            ("https://api.ecobee.com/#x", "fragment"),
            ("https://-/", "neither a name"),
        ] {
            let refused = refusal(url);
            assert!(refused.contains(reason), "{url:?}: {refused}");
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_a_password() {
        for url in ["https://me:hunter2@api.ecobee.com", "https://api.ecobee.com/?key=hunter2"] {
            assert!(!refusal(url).contains("hunter2"), "{}", refusal(url));
        }
    }

    #[test]
    fn a_secret_too_long_for_a_url_is_said_so_and_not_shown() {
        let address = Address::parse("https://api.ecobee.com").expect("an ordinary URL");
        let token = "t".repeat(70_000);
        let failure = address.target("/token", &[("refresh_token", &token)]).expect_err("too long");
        assert_eq!(failure.reason, "the stored token or key is too long for a request");
    }
}
