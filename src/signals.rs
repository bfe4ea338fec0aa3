//! TERM, INT, HUP and USR1 become words that the supervisor knows.

use std::io;

use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

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

/// The signals that came, one after the other.
pub struct Signals(signal_hook_tokio::Signals);

impl Signals {
    /// Catches the signals from here on. Needs a tokio runtime with I/O.
    pub fn catch() -> io::Result<Self> {
        signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1]).map(Self)
    }

    /// The next wish. Can be dropped at any moment without losing one.
    pub async fn next(&mut self) -> Wish {
        loop {
            match self.0.next().await {
                Some(SIGTERM | SIGINT) => return Wish::Stop,
                Some(SIGHUP) => return Wish::Reload,
                Some(SIGUSR1) => return Wish::Refresh,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}
