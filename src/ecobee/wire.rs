//! One connection a call, and how far its request got.
//!
//! A request counts as sent from the moment its first byte is given to the connection: [`Watched`] sees that, whatever
//! the errors of the layers above and below look like.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::address::Address;
use super::{Endpoint, Failure};
use crate::dial::{self, LONGEST_HEAD, Roads, Stream, cause, no_answer, retry_after, words_of};
use crate::keeper::Reach;

/// Longer answers are refused. A grant has 10 KiB at most.
const LONGEST: usize = 256 * 1024;

/// The way to ecobee.
pub(super) struct Line {
    address: Address,
    request_timeout: Duration,
    roads: Roads,
}

/// An answer, as far as it arrived.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Whether its `Content-Type` says HTML.
    pub(super) html: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Why there is no more of it, if it is not whole.
    pub(super) broke: Option<Failure>,
}

impl Line {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let Endpoint { url, request_timeout, roads } = endpoint;
        Self { address: Address::of(&url), request_timeout, roads }
    }

    pub(super) fn host(&self) -> &str {
        self.address.host()
    }

    /// Sends one request over a connection of its own. An answer whose head arrived is a [`Reply`].
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let request = self.request(method, self.address.target(path, parameters)?)?;
        let sent = AtomicBool::new(false);
        let mut arrived = None;
        let talk = self.talk(request, &sent, &mut arrived);
        let broke = match timeout(self.request_timeout, talk).await {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_) => Some(self.too_late(sent.load(Ordering::Relaxed))),
        };
        match arrived {
            Some(reply) => Ok(Reply { broke, ..reply }),
            None => Err(broke.unwrap_or_else(|| self.sent(Reach::Broken, "gave no answer"))),
        }
    }

    /// Connects, sends, and puts into `arrived` what comes back, as it comes.
    async fn talk(
        &self,
        request: Request<Empty<Bytes>>,
        sent: &AtomicBool,
        arrived: &mut Option<Reply>,
    ) -> Result<(), Failure> {
        let stream = Watched { stream: self.connect().await?, sent };
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake::<_, Empty<Bytes>>(stream)
            .await
            .map_err(|error| self.no_connection(&words_of(&error)))?;
        let answered = pin!(async {
            let response =
                sender.send_request(request).await.map_err(|error| self.no_answer(&error, sent))?;
            self.receive(response, arrived).await
        });
        // The connection must be driven for the answer to come; its own end is told to the answer.
        let driven = pin!(async {
            let _ = connection.await;
            pending::<Infallible>().await
        });
        match select(answered, driven).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((never, _)) => match never {},
        }
    }

    fn request(&self, method: Method, target: Uri) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::builder()
            .uri(target)
            .header(HOST, self.address.host_header())
            .header(USER_AGENT, dial::USER_AGENT)
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close");
        if method == Method::POST {
            request = request.header(CONTENT_LENGTH, 0);
        }
        request
            .method(method)
            .body(Empty::new())
            .map_err(|_| Failure::unsent(format!("no request can be made for {}", self.host())))
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        // Half of all the time, so that dead addresses leave some to the others and to TLS.
        let to = self.address.destination(self.request_timeout / 2);
        let road = self.roads.connect(to).await.map_err(Failure::unsent)?;
        Ok(road.stream)
    }

    /// Reads the answer.
    async fn receive(
        &self,
        response: Response<Incoming>,
        arrived: &mut Option<Reply>,
    ) -> Result<(), Failure> {
        let (head, mut body) = response.into_parts();
        let reply = arrived.insert(Reply {
            status: head.status,
            html: is_html(&head.headers),
            retry_after: retry_after(&head.headers),
            body: Zeroizing::default(),
            broke: None,
        });
        let too_long = || self.sent(Reach::Sent, &format!("answered with more than {} KiB", LONGEST / 1024));
        if body.size_hint().lower() > LONGEST as u64 {
            return Err(too_long());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.half_a_body(&error))?;
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            if reply.body.len() + data.len() > LONGEST {
                reply.body = Zeroizing::default();
                return Err(too_long());
            }
            append(&mut reply.body, &data);
        }
        Ok(())
    }

    fn sent(&self, reach: Reach, what: &str) -> Failure {
        Failure { reason: format!("{} {what}", self.host()), reach }
    }

    fn no_connection(&self, why: &str) -> Failure {
        Failure::unsent(format!("no connection to {}: {why}", self.address.place()))
    }

    /// The request was with hyper, and no head of an answer came back.
    fn no_answer(&self, error: &hyper::Error, sent: &AtomicBool) -> Failure {
        if sent.load(Ordering::Relaxed) {
            self.sent(reach_of(error), &no_answer(error))
        } else {
            self.no_connection("it was closed before the request was sent")
        }
    }

    fn half_a_body(&self, error: &hyper::Error) -> Failure {
        let (reach, why) = (reach_of(error), words_of(error));
        let what = if reach == Reach::Broken { "half a body" } else { "a body that makes no sense" };
        self.sent(reach, &format!("answered with {what}: {why}"))
    }

    fn too_late(&self, sent: bool) -> Failure {
        let seconds = self.request_timeout.as_secs_f64();
        if sent {
            let reason = format!("{}: no answer within {seconds} s", self.host());
            Failure { reason, reach: Reach::Sent }
        } else {
            Failure::unsent(format!("no connection to {} within {seconds} s", self.address.place()))
        }
    }
}

/// Appends without leaving a copy in a buffer that has become too small.
fn append(body: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let length = body.len() + data.len();
    if length > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.max(2 * body.capacity())));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(data);
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("html"))
}

/// Bytes that make no sense are an answer, if an unusable one; anything else is a broken connection.
fn reach_of(error: &hyper::Error) -> Reach {
    use io::ErrorKind::{InvalidData, InvalidInput};

    let senseless = |error: &io::Error| matches!(error.kind(), InvalidData | InvalidInput);
    let answered = error.is_parse() || cause(error).is_some_and(senseless);
    if answered { Reach::Sent } else { Reach::Broken }
}

/// A connection that remembers whether anything was written to it. What fails in being written counts as written: a
/// part of it may be under way. A request is one piece, so writing several at a time would gain nothing.
struct Watched<'a, S> {
    stream: S,
    sent: &'a AtomicBool,
}

impl<S: Unpin> Watched<'_, S> {
    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.stream)
    }
}

impl<S: Read + Unpin> Read for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, into)
    }
}

impl<S: Write + Unpin> Write for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sent.store(true, Ordering::Relaxed);
        self.stream().poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, BufWriter, duplex};

    use super::*;

    /// TLS holds back what the socket would not take.
    #[tokio::test]
    async fn what_a_layer_below_holds_back_is_sent_when_hyper_asks_for_it() {
        let (near, mut far) = duplex(64);
        let sent = AtomicBool::new(false);
        let mut watched = Watched { stream: TokioIo::new(BufWriter::new(near)), sent: &sent };
        let written = poll_fn(|context| Pin::new(&mut watched).poll_write(context, b"POST")).await;
        assert_eq!(written.expect("there is room"), 4);
        assert!(sent.load(Ordering::Relaxed), "who knows what of it is under way");
        let mut there = [0; 8];
        assert!(far.read(&mut there).now_or_never().is_none(), "it is held back");
        poll_fn(|context| Pin::new(&mut watched).poll_flush(context)).await.expect("there is room");
        let arrived = far.read(&mut there).now_or_never().expect("it is there").expect("nothing is broken");
        assert_eq!(there[..arrived], *b"POST");
    }

    /// A vector that grows by itself leaves its former self behind unwiped. Left alone, it would make room for eight
    /// bytes at first, and for twice as many at the third.
    #[test]
    fn a_body_makes_room_itself_and_only_when_it_is_full() {
        let mut body = Zeroizing::new(Vec::new());
        let mut room = Vec::new();
        for _ in 0..5 {
            append(&mut body, b"x");
            room.push(body.capacity());
        }
        assert_eq!(room, [1, 2, 4, 4, 8]);
        append(&mut body, &[b'x'; 100]);
        assert_eq!((body.len(), body.capacity()), (105, 105));
    }
}
