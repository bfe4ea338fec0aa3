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
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::Serialize;
use tokio::time::{Sleep, sleep_until};

use super::bulletin::Listener;
use super::wire::Wire;
use super::{Hall, Lender, answers};

/// A piece is sent when it is so long: a list of thousands of accounts is never in memory as a whole.
const PIECE: usize = 8 * 1024;

/// Milliseconds; a restart takes less.
const RETRY: &str = "retry: 1000\n";

/// One listener's stream.
pub(super) struct Events<L: Lender> {
    hall: Rc<Hall<L>>,
    wire: Rc<Wire>,
    whose: Option<Rc<str>>,
    stage: Stage,
    listener: Option<Listener>,
    pulse: Option<Pin<Box<Sleep>>>,
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
struct Changed<'a, A> {
    account: &'a str,
    status: A,
}

impl<L: Lender> Events<L> {
    /// Those of one account, or of all.
    pub(super) fn new(hall: &Rc<Hall<L>>, wire: &Rc<Wire>, whose: Option<&str>) -> Self {
        Self {
            hall: Rc::clone(hall),
            wire: Rc::clone(wire),
            whose: whose.map(Rc::from),
            stage: Stage::Beginning,
            listener: None,
            pulse: None,
        }
    }

    /// As much as there is to say now, up to a piece.
    fn piece(&mut self) -> Vec<u8> {
        let lender = &*self.hall.lender;
        let listener = self.listener.get_or_insert_with(|| {
            Listener::join(&lender.bulletin(), self.whose.clone(), || {
                let accounts = lender.accounts().into_iter();
                accounts.map(|(name, account)| (name.into(), lender.view(account))).collect()
            })
        });
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            match &mut self.stage {
                Stage::Beginning => {
                    piece.extend_from_slice(RETRY.as_bytes());
                    self.stage = if let Some(name) = &self.whose {
                        if let Some(account) = lender.account(name) {
                            event(&mut piece, "status", &answers::of_account(lender, account));
                            Stage::Following
                        } else {
                            // It went between the request and this.
                            gone(&mut piece, name)
                        }
                    } else {
                        let version = env!("CARGO_PKG_VERSION");
                        // Names hold nothing that JSON would want escaped.
                        let default =
                            lender.default_name().map_or("null".to_owned(), |name| format!("\"{name}\""));
                        let head = format!(
                            "event: status\ndata: {{\"version\":\"{version}\",\"default_account\":{default},\"accounts\":{{"
                        );
                        piece.extend_from_slice(head.as_bytes());
                        Stage::Listing(None)
                    };
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
                Stage::Following => {
                    let Some(name) = listener.next() else { break };
                    match lender.account(&name) {
                        Some(account) => {
                            let status = answers::of_account(lender, account);
                            if self.whose.is_some() {
                                event(&mut piece, "status", &status);
                            } else {
                                event(&mut piece, "account", &Changed { account: &name, status });
                            }
                        }
                        None if self.whose.is_some() => self.stage = gone(&mut piece, &name),
                        None => event(&mut piece, "removed", &Removed { account: &name }),
                    }
                }
                Stage::Over => break,
            }
        }
        piece
    }
}

fn gone(piece: &mut Vec<u8>, name: &str) -> Stage {
    event(piece, "removed", &Removed { account: name });
    Stage::Over
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
        let say = |this: &Self, words: Vec<u8>| {
            this.wire.streaming();
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(words)))))
        };
        if matches!(this.stage, Stage::Over) {
            this.wire.sending();
            return Poll::Ready(None);
        }
        if *this.hall.closing.borrow() {
            let before = std::mem::replace(&mut this.stage, Stage::Over);
            if matches!(before, Stage::Listing(_)) {
                // In the middle of an event: its beginning alone is thrown away, as the standard wants it.
                this.wire.sending();
                return Poll::Ready(None);
            }
            return say(this, format!(": the daemon stops\n{RETRY}\n").into_bytes());
        }
        let piece = this.piece();
        if !piece.is_empty() {
            return say(this, piece);
        }
        if let Some(listener) = &this.listener {
            listener.sleep(context.waker());
        }
        let (bulletin, every) = (this.hall.lender.bulletin(), this.hall.limits.keep_alive);
        let pulse = this.pulse.get_or_insert_with(|| Box::pin(sleep_until(bulletin.next_beat(every))));
        if pulse.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        pulse.as_mut().reset(bulletin.next_beat(every));
        say(this, b": still here\n\n".to_vec())
    }
}
