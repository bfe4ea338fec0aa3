//! What the daemon is measured by: servers that do nothing but answer.
//!
//! [`hyper`](serve) is a server of a page of code on the library that the daemon uses, as bare as its documentation shows
//! it; `ping-pong` reads and writes bytes and knows no HTTP at all. A crate of its own, so that it is compiled for speed,
//! whatever the daemon is compiled for.

use std::convert::Infallible;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio::task::LocalSet;

/// Each thread serves one connection at a time, so this is for how many clients there is one.
const THREADS: usize = 8;

/// The line with which a server says that it can be asked.
pub const READY: &str = "ready";

/// Serves at the path `socket` as `hyper` or `ping-pong`, and never returns. Everything is answered with what the file
/// `answer` holds: a head, an empty line, a body.
pub fn serve(kind: &str, socket: &Path, answer: &Path) -> ! {
    let answer = fs::read(answer).expect("the answer is there");
    match kind {
        "hyper" => serve_hyper(socket, &answer),
        "ping-pong" => serve_ping_pong(socket, &answer),
        other => panic!("there is no yardstick {other}"),
    }
}

fn serve_ping_pong(socket: &Path, answer: &[u8]) -> ! {
    let listener = UnixListener::bind(socket).expect("the path is free");
    println!("{READY}");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let (stream, _) = listener.accept().expect("a connection");
                    play(stream, answer);
                }
            });
        }
    });
    unreachable!("the threads never end")
}

fn play(mut stream: UnixStream, answer: &[u8]) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request) {
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn serve_hyper(socket: &Path, answer: &[u8]) -> ! {
    let (headers, body) = parts_of(answer);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async move {
        let listener = tokio::net::UnixListener::bind(socket).expect("the path is free");
        println!("{READY}");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (headers, body) = (headers.clone(), body.clone());
            let service = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                response.headers_mut().clone_from(&headers);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
        }
    })
}

/// The headers that hyper does not add by itself, and the body.
fn parts_of(answer: &[u8]) -> (HeaderMap, Bytes) {
    let text = std::str::from_utf8(answer).expect("an answer in ASCII");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = headers.filter(|(name, _)| !matches!(*name, "date" | "content-length"));
    let headers = headers.map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, HeaderValue::from_str(value).expect("a header's value"))
    });
    (headers.collect(), Bytes::copy_from_slice(body.as_bytes()))
}
