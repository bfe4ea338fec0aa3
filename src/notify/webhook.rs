//! A POST to an address of the user's choice.

use std::fmt;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;

use super::message::Parcel;
use super::{Again, Delivery};
use crate::dial::{
    self, Destination, LONGEST_HEAD, Manner, Roads, Security, no_answer, retry_after, status_words, words_of,
};
use crate::url::WebhookUrl;

/// A whole delivery takes no longer.
const LONGEST: Duration = Duration::from_secs(30);
/// Nor does the connecting in it.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// After its head, an answer gets so long for the rest.
const COURTESY: Duration = Duration::from_secs(1);

/// An address, and what a POST to it carries.
///
/// **The path, the query and all header fields may be secrets**: only scheme and host are ever shown.
pub struct Webhook {
    url: WebhookUrl,
    security: Security,
    port: u16,
    headers: HeaderMap,
    roads: Roads,
}

impl Webhook {
    /// Nothing is sent yet. `headers` go with every message, in place of what would be said without them.
    pub fn new(url: WebhookUrl, headers: &HeaderMap, roads: Roads) -> Self {
        let uri = url.expose();
        let security = if uri.scheme_str() == Some("https") { Security::Tls } else { Security::Plain };
        let port = uri.port_u16().unwrap_or(security.port());
        let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        let mut fields = HeaderMap::new();
        fields.extend(host.map(|host| (HOST, host)));
        fields.insert(USER_AGENT, HeaderValue::from_static(dial::USER_AGENT));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            fields.insert(name, value.clone());
        }
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
        Self { url, security, port, headers: fields, roads }
    }

    pub(super) async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let later = |reason| Delivery::Failed { reason, again: Again::After(Duration::ZERO) };
        match timeout(LONGEST, self.post(parcel.json())).await {
            Err(_) => later(format!("no answer within {} s", LONGEST.as_secs())),
            Ok(Err(reason)) => later(reason),
            Ok(Ok((status, wish))) => verdict(status, wish),
        }
    }

    /// The status of the answer, and how long the server wishes to be left alone.
    async fn post(&self, body: Vec<u8>) -> Result<(StatusCode, Option<Duration>), String> {
        let host = self.url.expose().host().unwrap_or_default();
        let destination =
            Destination { security: self.security, host, port: self.port, patience: LONGEST_CONNECT };
        let road = self.roads.connect(destination).await?;
        let request = self.request(&road.manner, body)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(road.stream)
            .await
            .map_err(|error| words_of(&error))?;
        let asked = pin!(async {
            let answer = sender.send_request(request).await.map_err(|error| no_answer(&error))?;
            let (head, mut body) = answer.into_parts();
            // What it says is of no use; that it was let finish is a courtesy to simple servers. The status says that it
            // has been told, and a body that never comes must not have people told again and again.
            let _ = timeout(COURTESY, body.frame()).await;
            Ok((head.status, retry_after(&head.headers)))
        });
        let driven = pin!(async {
            let _ = connection.await;
            pending::<Result<_, String>>().await
        });
        match select(asked, driven).await {
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
        }
    }

    fn request(&self, manner: &Manner, body: Vec<u8>) -> Result<Request<Full<Bytes>>, String> {
        let url = self.url.expose();
        let target = match manner {
            Manner::Straight => url.path_and_query().map_or("/", |target| target.as_str()).parse(),
            Manner::Forwarded(_) => Ok(url.clone()),
        };
        let unusable = "no request can be made for this address";
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.map_err(|_| unusable.to_owned())?;
        *request.headers_mut() = self.headers.clone();
        if let Manner::Forwarded(Some(authorization)) = manner {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

/// What an answer means.
fn verdict(status: StatusCode, wish: Option<Duration>) -> Delivery {
    let answered = status_words(status);
    let again = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Again::After(wish.unwrap_or_default())
        }
        _ if status.is_server_error() => Again::After(wish.unwrap_or_default()),
        _ => Again::Never,
    };
    if status.is_success() {
        return Delivery::Told(format!("answered {answered}"));
    }
    let reason = if status.is_redirection() {
        format!("answered {answered}, and no redirect is followed: write the address where it leads")
    } else {
        format!("answered {answered}")
    };
    Delivery::Failed { reason, again }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.expose();
        let (scheme, host) = (url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default());
        write!(f, "webhook {scheme}://{host}")?;
        if self.port == self.security.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::Proxies;

    fn webhook(url: &str, headers: &HeaderMap) -> Webhook {
        let roads = Roads::new(None, Proxies::none()).expect("no file to read");
        Webhook::new(WebhookUrl::parse(url).expect("a good address"), headers, roads)
    }

    #[test]
    fn of_an_address_only_scheme_and_host_are_shown() {
        for (url, shown) in [
            ("https://hooks.example/T0/hunter2?key=hunter2", "webhook https://hooks.example"),
            ("http://ntfy.lan:8080/hunter2", "webhook http://ntfy.lan:8080"),
            ("https://[fd00::1]:443/hunter2", "webhook https://[fd00::1]"),
        ] {
            assert_eq!(webhook(url, &HeaderMap::new()).to_string(), shown);
        }
    }

    #[test]
    fn the_users_header_fields_stand_in_place_of_ours() {
        let users = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
        let headers = webhook("https://hooks.example", &users).headers;
        assert_eq!(headers.get_all(CONTENT_TYPE).iter().collect::<Vec<_>>(), ["text/plain"]);
    }

    #[test]
    fn what_passes_is_tried_again_and_the_rest_is_not() {
        let again = |status| match verdict(status, Some(Duration::from_secs(7))) {
            Delivery::Told(_) => None,
            Delivery::Failed { again, .. } => Some(again),
        };
        for status in [200, 202, 204] {
            assert_eq!(again(StatusCode::from_u16(status).expect("a status")), None);
        }
        for status in [408, 425, 429, 500, 502, 503, 522] {
            let wish = Again::After(Duration::from_secs(7));
            assert_eq!(again(StatusCode::from_u16(status).expect("a status")), Some(wish), "{status}");
        }
        for status in [301, 307, 400, 401, 403, 404, 410, 413] {
            assert_eq!(
                again(StatusCode::from_u16(status).expect("a status")),
                Some(Again::Never),
                "{status}"
            );
        }
    }
}
