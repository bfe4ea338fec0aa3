//! Where ecobee is, and what the target of a request looks like.

use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::Failure;
use crate::dial::{Destination, Security};
use crate::url::BaseUrl;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The base of ecobee's URLs, taken apart.
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
    pub(super) fn of(url: &BaseUrl) -> Self {
        let uri = url.uri();
        let security = if uri.scheme_str() == Some("https") { Security::Tls } else { Security::Loopback };
        Self {
            security,
            host: uri.host().unwrap_or_default().to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(security.port()),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        }
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

#[cfg(test)]
mod tests {
    use super::{Address, BaseUrl, Security};

    fn address(url: &str) -> Address {
        Address::of(&BaseUrl::parse(url).expect(url))
    }

    #[test]
    fn an_ordinary_url_is_taken_apart() {
        let address = address("https://API.ecobee.com");
        assert_eq!(address.security, Security::Tls);
        assert_eq!(address.place(), "api.ecobee.com:443");
        assert_eq!(address.host_header(), "api.ecobee.com");
    }

    #[test]
    fn a_path_goes_before_the_paths_of_the_calls() {
        for url in ["https://proxy.lan:8443/ecobee", "https://proxy.lan:8443/ecobee/"] {
            let address = address(url);
            assert_eq!(address.host_header(), "proxy.lan:8443");
            let target = address.target("/token", &[("code", "a b"), ("client_id", "k")]);
            assert_eq!(target.expect("short").to_string(), "/ecobee/token?code=a%20b&client_id=k");
        }
    }

    #[test]
    fn plain_http_leads_off_this_machine_by_no_name() {
        assert_eq!(address("http://localhost:8080").security, Security::Loopback);
    }

    #[test]
    fn a_secret_too_long_for_a_url_is_said_so_and_not_shown() {
        let token = "t".repeat(70_000);
        let target = address("https://api.ecobee.com").target("/token", &[("refresh_token", &token)]);
        let failure = target.expect_err("too long");
        assert_eq!(failure.reason, "the stored token or key is too long for a request");
    }
}
