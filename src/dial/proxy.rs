//! Proxies: which one the environment names for a server, and how it is asked to connect us.
//!
//! The rules are curl's where curl has any: `https_proxy` for `https` servers, `http_proxy` for `http` ones, else
//! `all_proxy`, each in small or capital letters; `no_proxy` names the servers that are reached without. A proxy is
//! `http://` or `https://`; what it is asked for is a tunnel (RFC 9110, section 9.3.6), inside which TLS reaches from us
//! to the server: the proxy sees the server's name and nothing of the requests.

use std::ffi::OsString;
use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{self, HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::{DialError, LONGEST_HEAD, Stream, no_answer, place_of, status_words, words_of};

/// The proxies of the environment.
#[derive(Debug)]
pub struct Proxies(Option<Named>);

#[derive(Debug)]
struct Named {
    matcher: Matcher,
    https: Option<&'static str>,
    http: Option<&'static str>,
    all: Option<&'static str>,
}

/// The one for a server, and the variable that names it.
pub(super) struct Proxy {
    to: Intercept,
    variable: &'static str,
}

impl Proxies {
    /// Every server is reached without.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Those that the variables of an environment name. One that names something else is an error: to go without would
    /// be to go where nobody wanted.
    pub fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, DialError> {
        let value = |names: [&'static str; 2]| {
            let set = |name| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
            names.into_iter().find_map(set)
        };
        let proxy = |names| match value(names) {
            None => Ok((None, String::new())),
            Some((variable, value)) => checked(variable, value).map(|value| (Some(variable), value)),
        };
        let all = proxy(["all_proxy", "ALL_PROXY"])?;
        let https = proxy(["https_proxy", "HTTPS_PROXY"])?;
        let http = proxy(["http_proxy", "HTTP_PROXY"])?;
        if [&all, &https, &http].iter().all(|(_, value)| value.is_empty()) {
            return Ok(Self::none());
        }
        let without = value(["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default();
        let without = without.to_string_lossy().into_owned();
        Ok(Self(Some(Named {
            https: https.0,
            http: http.0,
            all: all.0,
            matcher: Matcher::builder().all(all.1).https(https.1).http(http.1).no(without).build(),
        })))
    }

    /// Those of this process's environment.
    pub fn of_this_process() -> Result<Self, DialError> {
        Self::of(|name| std::env::var_os(name))
    }

    pub(super) fn for_server(&self, origin: &Uri) -> Option<Proxy> {
        let Named { matcher, https, http, all } = self.0.as_ref()?;
        let own = if origin.scheme_str() == Some("https") { https } else { http };
        Some(Proxy { to: matcher.intercept(origin)?, variable: own.or(*all)? })
    }
}

/// The value of a variable, if it names a proxy that can be used.
fn checked(variable: &'static str, value: OsString) -> Result<String, DialError> {
    let wrong = |reason| DialError::Proxy { variable, reason };
    let value = value.into_string().map_err(|_| wrong("is not UTF-8"))?;
    let alone = Matcher::builder().all(value.clone()).build();
    let proxy = alone
        .intercept(&Uri::from_static("https://api.ecobee.com/"))
        .ok_or_else(|| wrong("names no proxy"))?;
    // hyper-util takes a port that is none for none at all.
    let place = value.rsplit_once("://").map_or(&*value, |(_, place)| place);
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let behind_host = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if behind_host
        .split_once(':')
        .is_some_and(|(_, port)| port.parse().ok().is_none_or(|port: u16| port == 0))
    {
        return Err(wrong("names a port that is none: they go from 1 to 65535"));
    }
    match proxy.uri().scheme_str() {
        Some("http" | "https") => Ok(value),
        _ => Err(wrong("names a SOCKS proxy, and only HTTP ones are known here")),
    }
}

impl Proxy {
    /// Where it is, without user name and password.
    pub(super) fn uri(&self) -> &Uri {
        self.to.uri()
    }

    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.to.basic_auth()
    }

    /// Asks for a tunnel to `place`, over a connection to the proxy.
    pub(super) async fn tunnel(&self, stream: Stream, place: &str) -> Result<Stream, String> {
        let refused =
            |why: &str| format!("no connection to {place}: the proxy {} {why}", place_of(self.uri()));
        let mut request =
            Request::connect(place).header(HOST, place).header(header::USER_AGENT, super::USER_AGENT);
        if let Some(authorization) = self.authorization() {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| refused("cannot be asked for it"))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(stream)
            .await
            .map_err(|error| refused(&format!("cannot be spoken to: {}", words_of(&error))))?;
        // Driven until the answer is there; what is left of the connection then is the tunnel.
        let driven = pin!(connection.with_upgrades());
        let asked = pin!(sender.send_request(request));
        let (answer, driven) = match select(asked, driven).await {
            Either::Left((answer, driven)) => (answer, Some(driven)),
            Either::Right((_, asked)) => (asked.await, None),
        };
        let answer = answer.map_err(|error| refused(&no_answer(&error)))?;
        if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            let variable = self.variable;
            return Err(refused(&match self.authorization() {
                None => {
                    format!(
                        "wants a user name and a password (407): http://USER:PASSWORD@HOST:PORT in {variable}"
                    )
                }
                Some(_) => format!("does not take the user name and password of {variable} (407)"),
            }));
        }
        if !answer.status().is_success() {
            return Err(refused(&format!("refused with {}", status_words(answer.status()))));
        }
        let upgraded = pin!(hyper::upgrade::on(answer));
        let tunnel = match driven {
            None => upgraded.await,
            Some(driven) => match select(upgraded, driven).await {
                Either::Left((tunnel, _)) => tunnel,
                Either::Right((_, upgraded)) => upgraded.await,
            },
        };
        tunnel.map(Stream::new).map_err(|error| refused(&format!("broke the tunnel: {}", words_of(&error))))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use hyper::Uri;

    use super::{DialError, Proxies};

    fn proxies(environment: &[(&str, &str)]) -> Result<Proxies, DialError> {
        Proxies::of(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn chosen(environment: &[(&str, &str)], server: &'static str) -> Option<String> {
        let proxies = proxies(environment).expect("good proxies");
        proxies.for_server(&Uri::from_static(server)).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_is_for_the_rest() {
        let environment = [("HTTPS_PROXY", "http://s.lan:1"), ("all_proxy", "http://a.lan:2")];
        assert_eq!(chosen(&environment, "https://api.ecobee.com").as_deref(), Some("http://s.lan:1/"));
        assert_eq!(chosen(&environment, "http://ntfy.lan").as_deref(), Some("http://a.lan:2/"));
        assert_eq!(chosen(&environment[..1], "http://ntfy.lan"), None);
        assert_eq!(
            chosen(&[("HTTP_PROXY", "p.lan:3")], "http://ntfy.lan").as_deref(),
            Some("http://p.lan:3/")
        );
        assert_eq!(chosen(&[], "https://api.ecobee.com"), None);
    }

    #[test]
    fn a_port_that_is_none_is_an_error_and_not_another_port() {
        for value in
            ["http://u:p@127.0.0.1:99999", "http://p.lan:8x", "http://p.lan:", "p.lan:0", "http://[::1]:x/"]
        {
            assert!(matches!(proxies(&[("ALL_PROXY", value)]), Err(DialError::Proxy { .. })), "{value}");
        }
        for value in ["http://p.lan", "http://[::1]", "http://[::1]:3128/", "u:p:w@p.lan:3128"] {
            assert!(proxies(&[("ALL_PROXY", value)]).is_ok(), "{value}");
        }
    }

    #[test]
    fn each_proxy_is_known_by_the_variable_that_named_it() {
        let environment = [
            ("https_proxy", "http://s.lan:1"),
            ("HTTPS_PROXY", "http://x.lan:1"),
            ("ALL_PROXY", "http://a.lan:2"),
        ];
        let named_by = |environment: &[(&str, &str)], server: &'static str| {
            let proxies = proxies(environment).expect("good proxies");
            proxies.for_server(&Uri::from_static(server)).map(|proxy| proxy.variable)
        };
        assert_eq!(named_by(&environment, "https://api.ecobee.com"), Some("https_proxy"));
        assert_eq!(named_by(&environment, "http://ntfy.lan"), Some("ALL_PROXY"));
        assert_eq!(named_by(&environment[1..2], "https://api.ecobee.com"), Some("HTTPS_PROXY"));
        assert_eq!(named_by(&environment[2..], "https://api.ecobee.com"), Some("ALL_PROXY"));
        assert_eq!(named_by(&[("http_proxy", "http://h.lan:1")], "http://ntfy.lan"), Some("http_proxy"));
    }

    #[test]
    fn small_letters_come_first_and_an_empty_value_is_none() {
        let environment = [("HTTPS_PROXY", "http://b.lan:1"), ("https_proxy", "http://s.lan:1")];
        assert_eq!(chosen(&environment, "https://api.ecobee.com").as_deref(), Some("http://s.lan:1/"));
        let environment = [("HTTPS_PROXY", "http://b.lan:1"), ("https_proxy", "")];
        assert_eq!(chosen(&environment, "https://api.ecobee.com").as_deref(), Some("http://b.lan:1/"));
    }

    #[test]
    fn no_proxy_names_the_servers_that_are_reached_without() {
        let to = |server| {
            chosen(&[("https_proxy", "http://p.lan:1"), ("NO_PROXY", "ecobee.com, 10.0.0.0/8")], server)
        };
        assert_eq!(to("https://api.ecobee.com"), None);
        assert_eq!(to("https://10.1.2.3"), None);
        assert!(to("https://notecobee.com").is_some());
        assert_eq!(chosen(&[("https_proxy", "http://p.lan:1"), ("no_proxy", "*")], "https://a.b"), None);
    }

    #[test]
    fn what_names_no_proxy_that_we_know_is_refused_and_not_repeated() {
        for (value, reason) in [
            ("http://", "names no proxy"),
            ("http://me:hunter2@", "names no proxy"),
            ("ftp://me:hunter2@p.lan", "names no proxy"),
            ("hunter2 hunter2", "names no proxy"),
            ("socks5://me:hunter2@p.lan:1080", "SOCKS"),
        ] {
            let refused = proxies(&[("HTTPS_PROXY", value)]).expect_err(value).to_string();
            assert!(refused.contains(reason) && refused.contains("HTTPS_PROXY"), "{value}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_user_name_and_a_password_become_a_header_and_nothing_else() {
        let proxies = proxies(&[("https_proxy", "http://me:hunter%32@p.lan:1")]).expect("a good proxy");
        let proxy = proxies.for_server(&Uri::from_static("https://api.ecobee.com")).expect("one");
        assert_eq!(proxy.authorization().expect("one"), "Basic bWU6aHVudGVyMg==");
        assert_eq!(proxy.uri().to_string(), "http://p.lan:1/");
        assert!(!format!("{proxies:?}").contains("hunter"), "{proxies:?}");
    }
}
