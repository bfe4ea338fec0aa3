//! A small HTTP/1.1 client for Unix sockets: blocking, one request a connection, or several on a kept one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer in these tests, unless the test says so.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Header names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: String,
}

impl Response {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The body's text without its newline: the token of a plain answer.
    pub(crate) fn text(&self) -> &str {
        self.body.trim_end_matches('\n')
    }

    /// A member of a JSON object as text.
    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection that is kept for several requests.
pub(crate) struct Connection(BufReader<UnixStream>);

impl Connection {
    /// Connects.
    pub(crate) fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LONGEST_ANSWER))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks and waits for the answer. `request` is such as `GET /token?min_ttl=5`.
    pub(crate) fn ask(&mut self, request: &str, accept: Option<&str>, body: &str) -> io::Result<Response> {
        match self.send(request, accept, body) {
            // A server that has read enough of a body may answer and hang up before it has all of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent?,
        }
        self.receive()
    }

    /// Asks only.
    pub(crate) fn send(&mut self, request: &str, accept: Option<&str>, body: &str) -> io::Result<()> {
        let accept = accept.map(|kind| format!("Accept: {kind}\r\n")).unwrap_or_default();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let text = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{accept}{length}\r\n{body}");
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// Waits for an answer.
    pub(crate) fn receive(&mut self) -> io::Result<Response> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status =
            line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| broken("no status"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let response = Response { status, headers, body: String::new() };
        let length: usize = match response.header("content-length") {
            Some(length) => length.parse().map_err(|_| broken("a bad length"))?,
            None => 0,
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| broken("no UTF-8"))?;
        Ok(Response { body, ..response })
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(socket: &Path, request: &str) -> io::Result<Response> {
    Connection::open(socket)?.ask(request, None, "")
}

/// One request for JSON.
pub(crate) fn ask_json(socket: &Path, request: &str) -> io::Result<Response> {
    Connection::open(socket)?.ask(request, Some("application/json"), "")
}

/// One request with a body.
pub(crate) fn post(socket: &Path, path: &str, body: &str) -> io::Result<Response> {
    Connection::open(socket)?.ask(&format!("POST {path}"), None, body)
}
