//! The two kinds of address that a configuration may hold.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyper::Uri;

/// Where ecobee lives: scheme, host, port and path prefix, without a slash at the end.
///
/// Always `https`, or `http` to a loopback address; never a user, a query or a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// What may stand where a base URL is wanted.
    pub(super) const WANTED: &str = "https://HOST[:PORT][/PATH] (http:// would show the API key and the tokens to everyone on the way, so it is for \
         127.0.0.1, [::1] and localhost only); no user, no query, no fragment";

    /// The real one.
    pub(super) fn ecobee() -> Self {
        Self("https://api.ecobee.com".to_owned())
    }

    /// The address as text, ready for `/token` and the like to be put behind it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri = web_address(text).filter(|uri| uri.query().is_none()).ok_or(UrlError(Self::WANTED))?;
        let host = uri.host().unwrap_or_default();
        if uri.scheme_str() == Some("http") && !is_loopback(host) {
            return Err(UrlError(Self::WANTED));
        }
        Ok(Self(uri.to_string().trim_end_matches('/').to_owned()))
    }
}

/// Where a notification is sent: `http` or `https`.
///
/// Chat services put a secret into the path, so a debugger sees no more of it than scheme and host.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

impl WebhookUrl {
    /// What may stand where a webhook is wanted.
    pub(super) const WANTED: &str = "http:// or https://HOST[:PORT][/PATH][?QUERY]; no user, no fragment";

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

impl FromStr for WebhookUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        web_address(text).map(Self).ok_or(UrlError(Self::WANTED))
    }
}

/// An address that cannot be used; says what would be one, and nothing of what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(&'static str);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not such an address; wanted {}", self.0)
    }
}

impl std::error::Error for UrlError {}

/// An absolute http or https address with a host, a sound port if any, no user and no fragment.
fn web_address(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let port = authority.as_str().strip_prefix(authority.host())?;
    let sound_port = port.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    (web && sound_port && !authority.host().is_empty()).then_some(uri)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
        || bare.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback())
}
