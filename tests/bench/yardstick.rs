//! What the daemon is measured by: servers that do nothing but answer, this program again.
//!
//! `hyper` is a server of a page of code on the library that the daemon uses, as bare as its documentation shows it;
//! `ping-pong` reads and writes bytes and knows no HTTP at all.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::LocalSet;

use crate::counting::Running;

/// Each thread serves one connection at a time, so this is for how many clients there is one.
const THREADS: usize = 8;

/// Ends the yardstick's word that it can be asked.
const READY: &str = "ready";

/// A yardstick as a running process.
pub(crate) struct Yardstick {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Yardstick {
    /// Starts one that answers everything with these bytes.
    pub(crate) fn start(kind: &str, folder: &Path, answer: &[u8]) -> Self {
        Self::start_under(&[], kind, folder, answer)
    }

    /// The same, within a program that counts.
    pub(crate) fn start_under(around: &[String], kind: &str, folder: &Path, answer: &[u8]) -> Self {
        let (socket, file) = (folder.join(kind), folder.join(format!("{kind}-answer")));
        let _ = fs::remove_file(&socket);
        fs::write(&file, answer).expect("the folder is ours");
        let this = std::env::current_exe().expect("a program knows where it is");
        let mut words = around.iter().map(AsRef::as_ref).chain([this.as_os_str()]);
        let mut child = Command::new(words.next().expect("at least this program"))
            .args(words)
            .args(["--yardstick".as_ref(), kind.as_ref(), socket.as_os_str(), file.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the yardstick starts");
        let mut line = String::new();
        let told = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        assert!(told.is_ok() && line.trim() == READY, "the {kind} yardstick has not started");
        Self { child, socket }
    }
}

impl Running for Yardstick {
    fn socket(&self) -> &Path {
        &self.socket
    }

    fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the yardstick, and never returns.
pub(crate) fn serve(kind: &str, socket: &Path, answer: &Path) -> ! {
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
