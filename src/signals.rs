//! TERM, INT, HUP and USR1 become words that the supervisor knows.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the administrator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Finish what is under way, then leave (SIGTERM, SIGINT).
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Refresh now (SIGUSR1).
    Refresh,
}

/// The signals that came. Of those that came together, a stop is heard first.
#[derive(Debug)]
pub struct Signals([(Signal, Wish); 4]);

impl Signals {
    /// Catches the signals from here on. Needs a tokio runtime with I/O.
    pub fn catch() -> io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::terminate())?, Wish::Stop),
            (signal(SignalKind::interrupt())?, Wish::Stop),
            (signal(SignalKind::hangup())?, Wish::Reload),
            (signal(SignalKind::user_defined1())?, Wish::Refresh),
        ]))
    }

    /// The next wish. Can be dropped at any moment without losing one.
    pub async fn next(&mut self) -> Wish {
        poll_fn(|context| {
            let came = self
                .0
                .iter_mut()
                .find_map(|(signal, wish)| signal.poll_recv(context).is_ready().then_some(*wish));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
