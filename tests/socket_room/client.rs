//! A client that writes its bytes by hand.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::house::PATIENCE;

/// The bytes of a request with a body.
pub(crate) fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// One connection.
pub(crate) struct Client(BufReader<UnixStream>);

impl Client {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.0.get_ref()
    }

    /// What it reads from.
    pub(crate) fn reader(&mut self) -> &mut BufReader<UnixStream> {
        &mut self.0
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Sends as much as the house takes.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        match self.0.get_mut().write_all(bytes) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe),
        }
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.response().unwrap()
    }

    /// The status of an answer, if the house listens.
    pub(crate) fn try_get(&mut self, target: &str) -> Option<u16> {
        self.try_send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        self.response().map(|response| response.status)
    }

    pub(crate) fn response(&mut self) -> Option<Response> {
        self.response_to("GET")
    }

    /// The lines of the next response's head, `None` if the house closes the connection instead.
    pub(crate) fn head(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match self.0.read_line(&mut line) {
                Ok(0) => {
                    assert!(lines.is_empty(), "half a response: {lines:?}");
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                read => read.unwrap(),
            };
            match line.trim_end() {
                "" => return Some(lines),
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// The next response, `None` if the house closes the connection instead.
    pub(crate) fn response_to(&mut self, method: &str) -> Option<Response> {
        let head = self.head()?;
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Response { status, head, body: String::new() };
        let length: usize = response.header("content-length").expect("a content-length").parse().unwrap();
        if method != "HEAD" {
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            response.body = String::from_utf8(body).unwrap();
        }
        Some(response)
    }

    /// Reads whatever comes until the house closes the connection.
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => drop(read.expect("the house should close the connection")),
        }
        bytes
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.iter().filter_map(|line| line.split_once(": ")).filter(|(n, _)| *n == name);
        let value = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "{name} twice in {:?}", self.head);
        value
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks that this is a problem with this status and code, and returns its document.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> serde_json::Value {
        let said = self.json();
        assert_eq!((self.status, said["code"].as_str()), (status, Some(code)), "{said}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(said["status"], status);
        assert_eq!(said["type"], "about:blank");
        assert!(!said["title"].as_str().unwrap().is_empty());
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.ends_with('.') || detail.ends_with('?'), "a sentence: {detail}");
        assert_eq!(self.header("retry-after").is_some(), matches!(status, 429 | 503));
        said
    }
}
