//! A telephone exchange between the daemon and its simulator: it puts calls through, elsewhere, or nowhere.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is put through to this server.
    To(SocketAddr),
    /// It is taken, and nobody says a word.
    Silent,
    /// Something answers that does not speak TLS.
    Babble,
    /// It is taken and hung up.
    HungUp,
}

/// The exchange.
pub(crate) struct Relay {
    address: SocketAddr,
    desk: Arc<Mutex<Desk>>,
}

struct Desk {
    line: Line,
    connections: usize,
    /// Those that wait for a word, kept open.
    waiting: Vec<TcpStream>,
}

impl Relay {
    /// Takes calls from now on.
    pub(crate) fn start(line: Line) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let desk = Arc::new(Mutex::new(Desk { line, connections: 0, waiting: Vec::new() }));
        let shared = Arc::clone(&desk);
        // Ends with the test's process: its listener costs nothing.
        thread::spawn(move || {
            for caller in listener.incoming().map_while(Result::ok) {
                let mut desk = lock(&shared);
                desk.connections += 1;
                match desk.line {
                    Line::To(server) => put_through(caller, server),
                    Line::Silent => desk.waiting.push(caller),
                    Line::Babble => babble(caller),
                    Line::HungUp => {}
                }
            }
        });
        Self { address, desk }
    }

    /// The URL of the account's ecobee, by way of this exchange.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// From now on, calls go there. Those that wait for a word are hung up on.
    pub(crate) fn switch(&self, line: Line) {
        let mut desk = lock(&self.desk);
        desk.line = line;
        desk.waiting.clear();
    }

    /// How many calls came so far.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.desk).connections
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put_through(caller: TcpStream, to: SocketAddr) {
    let Ok(server) = TcpStream::connect(to) else { return };
    if let (Ok(question), Ok(answer)) = (caller.try_clone(), server.try_clone()) {
        carry(question, server);
        carry(answer, caller);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn babble(mut caller: TcpStream) {
    let _ = caller.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    // Read to the end, lest the goodbye becomes a reset.
    thread::spawn(move || io::copy(&mut caller, &mut io::sink()));
}
