//! What becomes of the accounts, told as it happens: `GET /events`, `GET /accounts/NAME/events`.
//!
//! Server-sent events as the HTML standard has them (<https://html.spec.whatwg.org/multipage/server-sent-events.html>),
//! each with one line of JSON as its data:
//!
//! ```text
//! event: status      the document of GET /status, at the beginning
//! event: account     {"account": NAME, "status": the document of GET /accounts/NAME/status}: a change, or a new account
//! event: removed     {"account": NAME}: the configuration has it no longer
//! : …                a comment, each half minute: it finds out whether the other side still lives
//!
//! of one account
//! event: status      the document of GET /accounts/NAME/status: at the beginning and at each change
//! event: removed     {"account": NAME}; the last one
//! ```
//!
//! A change is another state, token, PIN, number of failures, error or refresh; that the seconds go by is none.
//! Whoever reads slowly gets the newest state of an account and not those between. There are no ids: who connects
//! again is told how things stand, which is all that could have been missed. At the daemon's end the stream ends as
//! HTTP wants it, and `retry:` says when to come back.

use std::convert::Infallible;
use std::io::Write;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep_until};

use super::answers::{self, AccountDocument};
use super::bulletin::Listener;
use super::wire::Wire;
use super::{Hall, Lender};

/// A piece is sent when it is so long: a list of thousands of accounts is never in memory as a whole.
const PIECE: usize = 8 * 1024;

/// Milliseconds; a restart takes less.
const RETRY: &str = "retry: 1000\n";

/// One listener's stream.
pub(super) struct Events<L: Lender> {
    hall: Rc<Hall<L>>,
    wire: Rc<Wire>,
    /// `None`: those of all accounts.
    whose: Option<Rc<str>>,
    stage: Stage,
    listener: Listener,
    next_beat: Pin<Box<Sleep>>,
}

enum Stage {
    Beginning,
    /// The status of all accounts is being written; those up to this one are.
    Listing(Option<String>),
    Following,
    Over,
}

#[derive(Serialize)]
struct Removed<'a> {
    account: &'a str,
}

#[derive(Serialize)]
struct Changed<'a> {
    account: &'a str,
    status: AccountDocument,
}

impl<L: Lender> Events<L> {
    /// Those of one account, or of all.
    pub(super) fn new(hall: &Rc<Hall<L>>, wire: &Rc<Wire>, whose: Option<&str>) -> Self {
        let lender = &*hall.lender;
        let whose: Option<Rc<str>> = whose.map(Rc::from);
        let listener = Listener::join(&lender.bulletin(), whose.clone(), || {
            let accounts = lender.accounts().into_iter();
            accounts.map(|(name, account)| (name.into(), lender.view(account))).collect()
        });
        Self {
            hall: Rc::clone(hall),
            wire: Rc::clone(wire),
            whose,
            stage: Stage::Beginning,
            listener,
            next_beat: Box::pin(sleep_until(hall.pulse.next_beat())),
        }
    }

    /// As much as there is to say now, up to a piece.
    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            let lender = &*self.hall.lender;
            match &mut self.stage {
                Stage::Beginning => {
                    piece.extend_from_slice(RETRY.as_bytes());
                    if let Some(name) = self.whose.clone() {
                        self.tell(&mut piece, &name);
                    } else {
                        let version = env!("CARGO_PKG_VERSION");
                        // Names hold nothing that JSON would want escaped.
                        let default =
                            lender.default_name().map_or("null".to_owned(), |name| format!("\"{name}\""));
                        let _ = write!(
                            piece,
                            "event: status\ndata: {{\"version\":\"{version}\",\"default_account\":{default},\"accounts\":{{"
                        );
                        self.stage = Stage::Listing(None);
                    }
                }
                Stage::Listing(last) => {
                    if let Some((name, account)) = lender.after(last.as_deref()) {
                        let comma = if last.is_some() { "," } else { "" };
                        // Names hold nothing that JSON would want escaped.
                        let _ = write!(piece, "{comma}\"{name}\":");
                        write_json(&mut piece, &answers::of_account(lender, account));
                        *last = Some(name);
                    } else {
                        piece.extend_from_slice(b"}}\n\n");
                        self.stage = Stage::Following;
                    }
                }
                Stage::Following => match self.listener.next() {
                    Some(name) => self.tell(&mut piece, &name),
                    None => break,
                },
                Stage::Over => break,
            }
        }
        piece
    }

    /// Tells how an account is now, or that it is gone.
    fn tell(&mut self, piece: &mut Vec<u8>, name: &str) {
        let lender = &*self.hall.lender;
        let status = lender.account(name).map(|account| answers::of_account(lender, account));
        self.stage = Stage::Following;
        match (status, &self.whose) {
            (Some(status), Some(_)) => event(piece, "status", &status),
            (Some(status), None) => event(piece, "account", &Changed { account: name, status }),
            (None, whose) => {
                event(piece, "removed", &Removed { account: name });
                if whose.is_some() {
                    self.stage = Stage::Over;
                }
            }
        }
    }

    fn say(&self, words: Vec<u8>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.wire.streaming();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(words)))))
    }

    fn end(&self) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.wire.sending();
        Poll::Ready(None)
    }
}

fn event(piece: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    let _ = write!(piece, "event: {name}\ndata: ");
    write_json(piece, data);
    piece.extend_from_slice(b"\n\n");
}

/// In one line: JSON has its own sign for a line's end.
fn write_json(piece: &mut Vec<u8>, data: &impl Serialize) {
    // Strings and numbers only, into memory: there is nothing that could fail.
    let _ = serde_json::to_writer(piece, data);
}

impl<L: Lender> Body for Events<L> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if matches!(this.stage, Stage::Over) {
            return this.end();
        }
        if *this.hall.closing.borrow() {
            return match mem::replace(&mut this.stage, Stage::Over) {
                // In the middle of an event: its beginning alone is thrown away, as the standard wants it.
                Stage::Listing(_) => this.end(),
                Stage::Beginning | Stage::Following | Stage::Over => {
                    this.say(format!(": the daemon stops\n{RETRY}\n").into_bytes())
                }
            };
        }
        let piece = this.piece();
        if !piece.is_empty() {
            return this.say(piece);
        }
        this.listener.sleep(context.waker());
        if this.next_beat.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.next_beat.as_mut().reset(this.hall.pulse.next_beat());
        this.say(b": still here\n\n".to_vec())
    }
}

/// When a stream says something for the sake of saying something: all at the same time, so that a thousand of them wake
/// the machine once.
pub(super) struct Pulse {
    began: Instant,
    every: Duration,
}

impl Pulse {
    pub(super) fn new(every: Duration) -> Self {
        Self { began: Instant::now(), every }
    }

    fn next_beat(&self) -> Instant {
        let beats = self.began.elapsed().as_nanos() / self.every.as_nanos().max(1) + 1;
        self.began + self.every * u32::try_from(beats).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Pulse};

    #[tokio::test(start_paused = true)]
    async fn all_streams_have_one_pulse() {
        let every = Duration::from_secs(30);
        let pulse = Pulse::new(every);
        let first = pulse.next_beat();
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(pulse.next_beat(), first);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.next_beat(), first + every);
    }
}
