//! Clients that ask as fast as they are answered.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;

/// Whether a connection serves for one request or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    Kept,
    Anew,
}

/// A request, and how long its answer is: clients of this bench do not parse, for they share the processors.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    request: Vec<u8>,
    length: usize,
}

/// The first line of the only answer that counts.
const GOOD: &[u8] = b"HTTP/1.1 200 ";

impl Exchange {
    /// Asks once, to learn the answer; returns it too.
    pub(crate) fn learn(socket: &Path, path: &str) -> (Self, Vec<u8>) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let mut stream = connect(socket).expect("a connection");
        stream.write_all(&request).expect("it is taken");
        stream.shutdown(std::net::Shutdown::Write).expect("all is said");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(GOOD), "{path}: {}", String::from_utf8_lossy(&answer));
        (Self { request, length: answer.len() }, answer)
    }

    fn carry_out(&self, stream: &mut UnixStream, answer: &mut [u8]) -> io::Result<()> {
        stream.write_all(&self.request)?;
        let answer = &mut answer[..self.length];
        stream.read_exact(answer)?;
        if answer.starts_with(GOOD) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What so many clients got in so much time.
#[derive(Debug)]
pub(crate) struct Harvest {
    lasted: Duration,
    /// In nanoseconds, sorted.
    waits: Vec<u64>,
}

impl Harvest {
    pub(crate) fn rate(&self) -> f64 {
        self.waits.len() as f64 / self.lasted.as_secs_f64()
    }

    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }

    /// So many of a thousand waited no longer, in seconds.
    pub(crate) fn wait(&self, permille: usize) -> f64 {
        let at = (self.waits.len() * permille / 1000).min(self.waits.len() - 1);
        self.waits[at] as f64 / 1e9
    }

    pub(crate) fn longest_wait(&self) -> f64 {
        self.wait(1000)
    }
}

/// So many clients, each in a thread of its own, for so long.
pub(crate) fn drive(
    socket: &Path,
    exchange: &Exchange,
    clients: usize,
    connections: Connections,
    length: Duration,
) -> Harvest {
    let ready = Barrier::new(clients + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| ask_for(socket, exchange, connections, length, &ready)))
            .collect();
        ready.wait();
        let began = Instant::now();
        let mut waits = Vec::new();
        for thread in threads {
            waits.extend(thread.join().expect("a client that does not panic"));
        }
        let lasted = began.elapsed();
        waits.sort_unstable();
        Harvest { lasted, waits }
    })
}

fn ask_for(
    socket: &Path,
    exchange: &Exchange,
    connections: Connections,
    length: Duration,
    ready: &Barrier,
) -> Vec<u64> {
    let mut answer = vec![0; exchange.length];
    let mut waits = Vec::with_capacity(1 << 16);
    let mut kept = match connections {
        Connections::Kept => Some(connect(socket).expect("a connection")),
        Connections::Anew => None,
    };
    ready.wait();
    let end = Instant::now() + length;
    loop {
        let began = Instant::now();
        if began >= end {
            return waits;
        }
        let done = match &mut kept {
            Some(stream) => exchange.carry_out(stream, &mut answer),
            None => connect(socket).and_then(|mut stream| exchange.carry_out(&mut stream, &mut answer)),
        };
        done.expect("every request is answered");
        waits.push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

/// So many requests of one client, one after the other.
pub(crate) fn ask_times(socket: &Path, exchange: &Exchange, connections: Connections, times: usize) {
    let mut answer = vec![0; exchange.length];
    let mut kept = connect(socket).expect("a connection");
    for _ in 0..times {
        if connections == Connections::Anew {
            kept = connect(socket).expect("a connection");
        }
        exchange.carry_out(&mut kept, &mut answer).expect("every request is answered");
    }
}

/// Connections that have asked once and stay.
pub(crate) fn idlers(socket: &Path, exchange: &Exchange, count: usize) -> Vec<UnixStream> {
    let mut answer = vec![0; exchange.length];
    (0..count)
        .map(|_| {
            let mut stream = connect(socket).expect("a connection");
            exchange.carry_out(&mut stream, &mut answer).expect("an answer");
            stream
        })
        .collect()
}

/// The middle of some numbers.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_unstable_by(f64::total_cmp);
    let half = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[half] } else { f64::midpoint(numbers[half - 1], numbers[half]) }
}
