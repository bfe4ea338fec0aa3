//! The way to a server elsewhere: through which proxy, to which address, believing whose certificates.
//!
//! ```text
//! Roads ── names    names become addresses
//!    │  ── proxy    whether another machine stands between, and how it is asked to connect us
//!    │  ── trust    whose certificates are believed
//!    │  ── stream   a connection, whatever it is made of
//!    │  ── answer   what all who ask over HTTP make of an answer's head, or of none
//!    └──── words    what went wrong, for a person
//! ```
//!
//! **No byte of a request is sent here**: whoever gets no [`Road`] has sent nothing. The names and addresses in the
//! sentences are those of the server and of the proxy, never a user name, a password, a path or a query.
//!
//! **This machine itself is never reached through a proxy**, whatever the environment says: `localhost`, 127.0.0.0/8
//! and `::1` are not the proxy's to know.

mod answer;
mod names;
mod proxy;
mod stream;
mod trust;
mod words;

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

pub use answer::{no_answer, retry_after, status_words};
use names::{Nameless, Names};
pub use proxy::Proxies;
use proxy::Proxy;
use stream::Laid;
pub use stream::Stream;
use trust::{Trust, tls_words};
use words::system_words;
pub use words::{cause, words_of};

use crate::url::is_loopback;

/// How the daemon calls itself to servers and proxies.
pub const USER_AGENT: &str = concat!("ecobee-tokend/", env!("CARGO_PKG_VERSION"));

/// The most bytes of an answer's head: no honest one comes near, and hyper alone would take six times as many.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// What lies below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS, to anywhere.
    Tls,
    /// Nothing, to anywhere.
    Plain,
    /// Nothing, to this machine only: no name leads off it.
    Loopback,
}

impl Security {
    /// The port where none is named.
    pub const fn port(self) -> u16 {
        match self {
            Self::Tls => 443,
            Self::Plain | Self::Loopback => 80,
        }
    }

    const fn scheme(self) -> &'static str {
        match self {
            Self::Tls => "https",
            Self::Plain | Self::Loopback => "http",
        }
    }
}

/// Where to go.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// What is to lie below HTTP.
    pub security: Security,
    /// The host as in a URL: an IPv6 address stands in brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The most that connecting may take, shared by the addresses of a name. TLS and a proxy's answer come on top of it:
    /// whoever calls has a bound on the whole.
    pub patience: Duration,
}

/// A connection, ready for a request.
pub struct Road {
    /// Where the request goes.
    pub stream: Stream,
    /// How its target is to be written.
    pub manner: Manner,
}

/// How a request's target is to be written (RFC 9112, section 3.2).
#[derive(Clone, Debug)]
pub enum Manner {
    /// To the server itself: the path and the query.
    Straight,
    /// To a proxy that passes the request on: the whole URL, and this `Proxy-Authorization`, if any.
    Forwarded(Option<HeaderValue>),
}

/// All that is known of the world outside. Cheap to clone; clones share the certificates that are loaded.
///
/// Needs a tokio runtime with I/O and time. Names are looked up and root certificates read on its blocking threads.
#[derive(Clone, Debug)]
pub struct Roads(Arc<Map>);

#[derive(Debug)]
struct Map {
    trust: Trust,
    proxies: Proxies,
}

impl Roads {
    /// Reads `ca_file`, certificates in PEM to believe beside the system's, to refuse an unusable one now rather than at
    /// night.
    pub fn new(ca_file: Option<PathBuf>, proxies: Proxies) -> Result<Self, DialError> {
        Ok(Self(Arc::new(Map { trust: Trust::new(ca_file)?, proxies })))
    }

    /// The proxy on the way to a server, without user name and password; `None` where there is none.
    pub fn proxy_to(&self, server: &Uri) -> Option<String> {
        let proxy = if is_loopback(server.host()?) { None } else { self.0.proxies.for_server(server) }?;
        let uri = proxy.uri();
        Some(format!("{}://{}", uri.scheme_str().unwrap_or("http"), place_of(uri)))
    }

    /// Connects. The error is a sentence for a person.
    pub async fn connect(&self, to: Destination<'_>) -> Result<Road, String> {
        let place = format!("{}:{}", to.host, to.port);
        let origin: Uri = format!("{}://{place}/", to.security.scheme())
            .parse()
            .map_err(|_| format!("no connection to {place}: its URL cannot be used"))?;
        let proxy = if is_loopback(to.host) { None } else { self.0.proxies.for_server(&origin) };
        let (pipe, manner) = match &proxy {
            None => (straight(&origin, to).await?, Manner::Straight),
            Some(proxy) => {
                let pipe = self.to_proxy(proxy, to).await?;
                match to.security {
                    Security::Tls => (proxy.tunnel(pipe, &place).await?, Manner::Straight),
                    Security::Plain | Security::Loopback => {
                        (pipe, Manner::Forwarded(proxy.authorization().cloned()))
                    }
                }
            }
        };
        let stream = match to.security {
            Security::Tls => self.secured(pipe, &origin).await?,
            Security::Plain | Security::Loopback => pipe,
        };
        Ok(Road { stream, manner })
    }

    async fn to_proxy(&self, proxy: &Proxy, to: Destination<'_>) -> Result<Stream, String> {
        let stream = straight(proxy.uri(), Destination { security: Security::Plain, ..to })
            .await
            .map_err(|why| format!("{why} (the proxy on the way to {})", to.host))?;
        if proxy.uri().scheme_str() == Some("https") {
            return self.secured(stream, proxy.uri()).await;
        }
        Ok(stream)
    }

    /// Puts TLS on top.
    async fn secured(&self, stream: Stream, origin: &Uri) -> Result<Stream, String> {
        let host = origin.host().unwrap_or_default();
        let config = self.0.trust.config().await?;
        let mut https = HttpsConnector::from((Laid(Some(stream)), config));
        https.enforce_https();
        let secured = call(https, origin.clone()).await.map_err(|error| {
            let why = cause::<rustls::Error>(error.as_ref())
                .map_or_else(|| words_of(error.as_ref()), |error| tls_words(error, host));
            format!("no TLS with {}: {why}", place_of(origin))
        })?;
        Ok(Stream::new(secured))
    }
}

/// A TCP connection.
async fn straight(origin: &Uri, to: Destination<'_>) -> Result<Stream, String> {
    let here_only = to.security == Security::Loopback || origin.host() == Some("localhost");
    let mut http = HttpConnector::new_with_resolver(Names { here_only });
    http.enforce_http(false);
    http.set_nodelay(true);
    // Shared by the addresses of a name, so that dead ones leave time for the others.
    http.set_connect_timeout(Some(to.patience));
    call(http, origin.clone()).await.map(Stream::new).map_err(|error| {
        let place = place_of(origin);
        match cause(&error) {
            Some(Nameless(why)) => {
                let host = origin.host().unwrap_or_default();
                format!("no address found for {host}: {}", system_words(why))
            }
            None => format!("no connection to {place}: {}", words_of(&error)),
        }
    })
}

fn place_of(origin: &Uri) -> String {
    let port = origin.port_u16().unwrap_or(if origin.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{}:{port}", origin.host().unwrap_or_default())
}

async fn call<S: Service<Uri>>(mut connector: S, to: Uri) -> Result<S::Response, S::Error> {
    poll_fn(|context| connector.poll_ready(context)).await?;
    connector.call(to).await
}

/// Why there is no way out.
#[derive(Debug, PartialEq, Eq)]
pub enum DialError {
    /// The file with further root certificates.
    CaFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of the environment that should name a proxy. Its value is left out: it may hold a password.
    Proxy {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CaFile { path, reason } => {
                write!(f, "ca-file {}: {reason}; it must hold certificates in PEM form", path.display())
            }
            Self::Proxy { variable, reason } => write!(
                f,
                "the environment's {variable}: {reason}; write http://HOST:PORT, with USER:PASSWORD@ before the host \
                 if need be, or unset it"
            ),
        }
    }
}

impl Error for DialError {}
