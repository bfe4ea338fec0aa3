//! Addresses of the web that a configuration may hold. Each is checked once, where it is read; what has one of these
//! types need not be looked at again.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::Uri;
use rustls::pki_types::ServerName;

/// Where ecobee lives: scheme, host, port and path prefix, without a slash at the end.
///
/// Always `https`, or `http` to this machine, for the target of a request holds secrets; never a user, a query or a
/// fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Uri);

impl BaseUrl {
    /// What may stand where a base URL is wanted.
    pub const WANTED: &str = "https://HOST[:PORT][/PATH] (http:// would show the API key and the tokens to everyone on the way, so it is for \
         127.0.0.1, [::1] and localhost only); no user, no query, no fragment";

    /// The real one.
    pub fn ecobee() -> Self {
        Self(Uri::from_static("https://api.ecobee.com"))
    }

    /// Reads an address; `None` if it is not [as wanted](Self::WANTED).
    pub fn parse(text: &str) -> Option<Self> {
        let uri = web_address(text.trim_end_matches('/')).filter(|uri| uri.query().is_none())?;
        let host = uri.host()?;
        ServerName::try_from(without_brackets(host)).ok()?;
        (uri.scheme_str() == Some("https") || is_loopback(host)).then_some(Self(uri))
    }

    /// The address, taken apart.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_string().trim_end_matches('/'))
    }
}

/// Where a notification is sent: `http` or `https`.
///
/// Chat services put a secret into the path, so a debugger sees no more of it than scheme and host.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

impl WebhookUrl {
    /// What may stand where a webhook is wanted.
    pub const WANTED: &str = "http:// or https://HOST[:PORT][/PATH][?QUERY]; no user, no fragment";

    /// Reads an address; `None` if it is not [as wanted](Self::WANTED).
    pub fn parse(text: &str) -> Option<Self> {
        web_address(text).map(Self)
    }

    /// The whole address: for the wire, never for a message.
    pub fn expose(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.0.scheme_str().unwrap_or_default(), self.0.host().unwrap_or_default());
        write!(f, "{scheme}://{host}/[secret]")
    }
}

/// An absolute http or https address with a host, a sound port if any, no user and no fragment.
fn web_address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    // `port_u16` takes a port that is too large for none.
    let sound_port = port.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    (web && sound_port && !authority.host().is_empty()).then_some(uri)
}

/// Whether a host, as in a URL, is this machine. `localhost` is never looked up: it is the loopback addresses
/// (RFC 6761, section 6.3).
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || without_brackets(host).parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// An IPv6 address stands in brackets in a URL, and nowhere else.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::{BaseUrl, is_loopback};

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["api.ecobee.com", "localhost.example.com", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "10.0.0.1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn http_is_for_this_machine_and_https_for_any() {
        for host in ["api.ecobee.com", "192.168.1.2", "127.0.0.1.example.com", "[::ffff:127.0.0.1]:8080"] {
            assert!(BaseUrl::parse(&format!("https://{host}")).is_some(), "{host}");
            assert!(BaseUrl::parse(&format!("http://{host}")).is_none(), "{host}");
        }
        for host in ["localhost", "LOCALHOST:8080", "127.1.2.3", "[::1]:8080"] {
            assert!(BaseUrl::parse(&format!("http://{host}")).is_some(), "{host}");
        }
    }

    #[test]
    fn what_is_no_base_of_a_url_is_none() {
        for url in [
            "",
            "/",
            "api.ecobee.com",
            "ftp://api.ecobee.com",
            "https://",
            "https://api.ecobee.com:0",
            "https://api.ecobee.com:99999",
            "https://api.ecobee.com:",
            "https://[::1]:x",
            "https://api.ecobee.com/?x=1",
            "https://api.ecobee.com/#x",
            "https://me:hunter2@api.ecobee.com",
            "https://-/",
        ] {
            assert_eq!(BaseUrl::parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_slash_at_the_end_says_nothing() {
        for url in ["https://proxy.lan:8443/ecobee", "https://proxy.lan:8443/ecobee/"] {
            assert_eq!(BaseUrl::parse(url).expect(url).to_string(), "https://proxy.lan:8443/ecobee");
        }
        let bare = BaseUrl::parse("https://api.ecobee.com/").expect("a good address");
        assert_eq!((bare.to_string().as_str(), &bare), ("https://api.ecobee.com", &BaseUrl::ecobee()));
    }
}
