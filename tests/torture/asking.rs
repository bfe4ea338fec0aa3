//! A request whose answer is waited for elsewhere.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::harness::http::{Connection, Response};
use crate::harness::{Daemon, PATIENCE};

/// A request on its way: whoever made it can do something else, such as kill the daemon.
pub(crate) struct Asking {
    answer: Receiver<io::Result<Response>>,
    pub(crate) asked_at: Duration,
}

impl Asking {
    pub(crate) fn begin(daemon: &Daemon, request: &str, asked_at: Duration) -> Self {
        let (sender, answer) = channel();
        let mut connection = Connection::open(&daemon.socket).expect("the daemon listens");
        connection.send(request, None, "").expect("the daemon reads");
        thread::spawn(move || {
            let _ = sender.send(connection.receive());
        });
        Self { answer, asked_at }
    }

    pub(crate) fn try_take(&self) -> Option<Response> {
        self.answer.try_recv().ok().and_then(Result::ok)
    }

    pub(crate) fn take(self) -> io::Result<Response> {
        match self.answer.recv_timeout(PATIENCE) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }
}
