//! One connection, from the accept to its end.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use super::seats::Seat;
use super::wire::{Line, Phase, Wire};
use super::{Hall, Lender, Peer, request};

/// A request's head may be so long; hyper answers a longer one with 431.
const HEAD_LIMIT: usize = 16 * 1024;

/// The two ends of one connection, for the requests that come over it.
pub(super) struct Visit<L> {
    pub(super) hall: Rc<Hall<L>>,
    pub(super) wire: Rc<Wire>,
    pub(super) peer: Peer,
}

/// Why a connection is over.
enum End {
    Closed,
    Broken(hyper::Error),
    HungUp,
    TooSlow(Phase),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "closed"),
            Self::Broken(error) => write!(f, "{error}"),
            Self::HungUp => write!(f, "the client hung up while it waited or listened"),
            Self::TooSlow(phase) => write!(f, "too slow while {phase:?}"),
        }
    }
}

/// Whether requests are still listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    On,
    /// The hall closes: an idle connection ends, and a client that has just come may say what it came for.
    LastWords,
    Off,
}

pub(super) async fn attend<L: Lender>(hall: Rc<Hall<L>>, wire: Rc<Wire>, peer: Peer, seat: Seat) {
    let visit = Rc::new(Visit { hall: Rc::clone(&hall), wire: Rc::clone(&wire), peer });
    let connection = http1::Builder::new()
        // hyper would take a client that has said all for one that has left; `Wire::hung_up` knows better.
        .half_close(true)
        .max_buf_size(HEAD_LIMIT)
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(Line(Rc::clone(&wire))),
            service_fn(move |asked| request::answer(Rc::clone(&visit), asked)),
        );
    let mut connection = pin!(connection);
    let mut closing = hall.closing.subscribe();
    let mut closing = pin!(closing.wait_for(|closing| *closing));
    let mut hearing = Hearing::On;
    let mut hung_up = pin!(wire.hung_up());
    let mut since = Instant::now();
    // The one timer is moved only if it would ring too late, or rings too early: a request that is answered at once
    // does not touch it.
    let mut alarm = pin!(sleep_until(since + hall.limits.stall));

    let end = poll_fn(|context| {
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            return Poll::Ready(result.map_or_else(End::Broken, |()| End::Closed));
        }
        if hearing == Hearing::On && closing.as_mut().poll(context).is_ready() {
            hearing = Hearing::LastWords;
        }
        let phase = wire.phase();
        if wire.take_change() {
            since = Instant::now();
        }
        if matches!(phase, Phase::Waiting | Phase::Listening) && hung_up.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::HungUp);
        }
        let patience = match (hearing, phase) {
            (Hearing::LastWords, Phase::Idle) => Some(Duration::ZERO),
            (Hearing::LastWords, Phase::Receiving) => Some(hall.limits.last_words),
            (Hearing::On | Hearing::LastWords | Hearing::Off, _) => phase.patience(&hall.limits),
        };
        if let Some(patience) = patience {
            let deadline = since + patience;
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            while alarm.as_mut().poll(context).is_ready() {
                if deadline <= Instant::now() {
                    if hearing != Hearing::LastWords || phase.is_speaking() {
                        return Poll::Ready(End::TooSlow(phase));
                    }
                    // hyper reads what there is, and then the end.
                    hearing = Hearing::Off;
                    wire.hear_no_more();
                    context.waker().wake_by_ref();
                    break;
                }
                alarm.as_mut().reset(deadline);
            }
        }
        Poll::Pending
    })
    .await;
    tracing::debug!(uid = peer.uid, pid = peer.pid, %end, "a connection is over");
    drop(seat);
}
