//! A connection's bytes, and where it stands.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

use super::Limits;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request arrives, or the first one is awaited.
    Receiving,
    /// The keeper has the word.
    Waiting,
    /// An answer goes out.
    Sending,
    /// A piece of a stream goes out, and more will follow.
    Streaming,
    /// A stream of events has nothing to tell just now.
    Listening,
    /// The last answer is out and nothing new has come.
    Idle,
}

impl Phase {
    /// Whether something is on its way to the client.
    pub(super) fn is_speaking(self) -> bool {
        matches!(self, Self::Sending | Self::Streaming)
    }

    /// How long it may last; who waits for the keeper, or for what happens, has no patience to lose.
    pub(super) fn patience(self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Receiving | Self::Sending | Self::Streaming => Some(limits.stall),
            Self::Idle => Some(limits.idle),
            Self::Waiting | Self::Listening => None,
        }
    }
}

/// The stream and its phase: shared by the bytes' way ([`Line`]), the requests and the timer of one connection.
pub(super) struct Wire {
    stream: UnixStream,
    phase: Cell<Phase>,
    changed: Cell<bool>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Rc<Self> {
        Rc::new(Self { stream, phase: Cell::new(Phase::Receiving), changed: Cell::new(false) })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether a phase, maybe the same one again, has begun since this was last asked.
    pub(super) fn take_change(&self) -> bool {
        self.changed.take()
    }

    fn begin(&self, phase: Phase) {
        self.phase.set(phase);
        self.changed.set(true);
    }

    /// Something of a request is here, be it from the peer or, pipelined, from hyper's buffer.
    pub(super) fn receiving(&self) {
        if self.phase.get() == Phase::Idle {
            self.begin(Phase::Receiving);
        }
    }

    /// The request is whole and the keeper needs time for it.
    pub(super) fn waiting(&self) {
        self.begin(Phase::Waiting);
    }

    /// The answer is known, or the last piece of a stream.
    pub(super) fn sending(&self) {
        self.begin(Phase::Sending);
    }

    /// A piece of a stream goes out. Those before it may not have left yet, and their time is not begun anew.
    pub(super) fn streaming(&self) {
        if self.phase.get() != Phase::Streaming {
            self.begin(Phase::Streaming);
        }
    }

    /// Something has left. A stream may take long, but not without any progress.
    fn wrote(&self) {
        if self.phase.get() == Phase::Streaming {
            self.changed.set(true);
        }
    }

    /// Everything that was written has left.
    fn flushed(&self) {
        match self.phase.get() {
            Phase::Sending => self.begin(Phase::Idle),
            Phase::Streaming => self.begin(Phase::Listening),
            Phase::Receiving | Phase::Waiting | Phase::Listening | Phase::Idle => {}
        }
    }

    /// Nothing more is taken in. What the kernel has of the peer's words is still read, and the peer is told when it
    /// next speaks, so that no request is swallowed.
    pub(super) fn hear_no_more(&self) {
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Read);
    }

    /// Ends when the peer has gone for good.
    ///
    /// A peer that only has nothing more to say (`shutdown(SHUT_WR)`, as `socat` and `nc -N` do) still waits for its
    /// answer. The kernel tells the two apart: only the first is `EPOLLHUP`, which tokio reports as write-closed. To
    /// be woken for that and not for room to write, the readiness to write is forgotten first; so [`Line`] must not
    /// rely on it, and tries to write before it asks.
    pub(super) async fn hung_up(&self) {
        loop {
            forget(&self.stream, Interest::WRITABLE);
            match self.stream.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Has tokio believe that the stream is not ready until the kernel next says so.
fn forget(stream: &UnixStream, interest: Interest) {
    let _ = stream.try_io(interest, || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) });
}

/// The way of a connection's bytes into and out of hyper.
pub(super) struct Line(pub(super) Rc<Wire>);

impl Line {
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        send: impl Fn(&UnixStream) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let stream = &self.0.stream;
        match send(stream) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            done => {
                self.0.wrote();
                return Poll::Ready(done.map_err(io::Error::from));
            }
        }
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_io(Interest::WRITABLE, || send(stream).map_err(io::Error::from)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => {
                    self.0.wrote();
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            let room = buffer.remaining();
            match stream.try_read_buf(buffer) {
                Ok(read) => {
                    if read > 0 {
                        self.0.receiving();
                        if read < room {
                            // What fills a part of the buffer was all there is: no second call to learn it.
                            forget(stream, Interest::READABLE);
                        }
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| rustix::io::write(stream, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| rustix::io::writev(stream, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        rustix::net::shutdown(&self.0.stream, Shutdown::Write)?;
        Poll::Ready(Ok(()))
    }
}
