//! HTTP/1.1, as little as a server needs that must be able to misbehave: requests read, answers written as bytes.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const HEAD_LIMIT: usize = 128 * 1024;
const BODY_LIMIT: usize = 1024 * 1024;
const HEADERS_LIMIT: usize = 100;

/// A request, its body complete.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query, not decoded.
    pub(crate) path: String,
    /// What stands behind the question mark, not decoded.
    pub(crate) query: String,
    headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) keep_alive: bool,
}

impl Request {
    /// The first header of this name, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Parameters in the query string, decoded; a `+` is a space.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    /// Parameters in a form body.
    pub(crate) fn form_pairs(&self) -> Vec<(String, String)> {
        let is_form = self
            .header("content-type")
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        if !is_form {
            return Vec::new();
        }
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The token of `Authorization: Bearer …`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }
}

/// What came of waiting for a request.
#[derive(Debug)]
pub(crate) enum Arrival {
    Request(Request),
    /// The client is gone.
    Closed,
    /// Not a request that can be read; the answer to it, after which the connection is closed.
    Broken(Response),
}

fn find<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    str::from_utf8(&found.1).ok()
}

/// The head of a request, and how its body is framed.
struct Head {
    request: Request,
    length: usize,
    framing: Framing,
    expects_continue: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// `Content-Length`, or nothing: no body.
    Length(usize),
    Chunked,
}

/// Reads one request. What was read beyond it stays in `buffer`.
pub(crate) async fn read<S>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<Arrival>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = loop {
        match parse_head(buffer) {
            Ok(Some(head)) => break head,
            Ok(None) if buffer.len() > HEAD_LIMIT => {
                return Ok(Arrival::Broken(Response::plain(431)));
            }
            Ok(None) => {}
            Err(status) => return Ok(Arrival::Broken(Response::plain(status))),
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Arrival::Closed);
        }
    };
    buffer.drain(..head.length);
    if head.expects_continue {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    let mut request = head.request;
    loop {
        match take_body(buffer, head.framing) {
            Ok(Some(body)) => {
                request.body = body;
                return Ok(Arrival::Request(request));
            }
            Ok(None) if buffer.len() > BODY_LIMIT => {
                return Ok(Arrival::Broken(Response::plain(413)));
            }
            Ok(None) => {}
            Err(status) => return Ok(Arrival::Broken(Response::plain(status))),
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(Arrival::Closed);
        }
    }
}

/// `Ok(None)` wants more bytes; `Err` is the status to answer.
fn parse_head(buffer: &[u8]) -> Result<Option<Head>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version,
        ) => return Err(400),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(400);
    };
    let headers: Vec<(String, Vec<u8>)> =
        parsed.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
    let says = |name: &str, word: &str| {
        find(&headers, name)
            .is_some_and(|value| value.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)))
    };
    let framing = if says("transfer-encoding", "chunked") {
        Framing::Chunked
    } else {
        match find(&headers, "content-length") {
            Some(text) => match text.trim().parse() {
                Ok(length) if length <= BODY_LIMIT => Framing::Length(length),
                Ok(_) => return Err(413),
                Err(_) => return Err(400),
            },
            None => Framing::Length(0),
        }
    };
    let keep_alive =
        if version == 1 { !says("connection", "close") } else { says("connection", "keep-alive") };
    let expects_continue = says("expect", "100-continue");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Head {
        request: Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: Vec::new(),
            keep_alive,
        },
        length,
        framing,
        expects_continue,
    }))
}

/// Takes a whole body off the buffer, or nothing.
fn take_body(buffer: &mut Vec<u8>, framing: Framing) -> Result<Option<Vec<u8>>, u16> {
    match framing {
        Framing::Length(length) if buffer.len() < length => Ok(None),
        Framing::Length(length) => Ok(Some(buffer.drain(..length).collect())),
        Framing::Chunked => {
            let Some((body, length)) = parse_chunks(buffer)? else {
                return Ok(None);
            };
            buffer.drain(..length);
            Ok(Some(body))
        }
    }
}

/// The joined chunks and how many bytes they took; trailers are read over.
fn parse_chunks(buffer: &[u8]) -> Result<Option<(Vec<u8>, usize)>, u16> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (head, size) = match httparse::parse_chunk_size(&buffer[at..]) {
            Ok(httparse::Status::Complete((head, size))) => (head, size),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::InvalidChunkSize) => return Err(400),
        };
        let size = usize::try_from(size).map_err(|_| 413_u16)?;
        if size > BODY_LIMIT {
            return Err(413);
        }
        at += head;
        if size == 0 {
            let mut none = [httparse::EMPTY_HEADER; HEADERS_LIMIT];
            return match httparse::parse_headers(&buffer[at..], &mut none) {
                Ok(httparse::Status::Complete((length, _))) => Ok(Some((body, at + length))),
                Ok(httparse::Status::Partial) => Ok(None),
                Err(_) => Err(400),
            };
        }
        let Some(chunk) = buffer.get(at..at + size + 2) else {
            return Ok(None);
        };
        let (data, end) = chunk.split_at(size);
        if end != b"\r\n" {
            return Err(400);
        }
        body.extend_from_slice(data);
        at += size + 2;
    }
}

/// An answer that has not been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status)
            .and_header("Content-Type", Some("application/json;charset=UTF-8"))
            .and_header("Cache-Control", Some("no-store"))
            .with_body(body)
    }

    pub(crate) fn plain(status: u16) -> Self {
        Self::new(status)
            .and_header("Content-Type", Some("text/plain"))
            .with_body(format!("{status} {}\n", reason(status)))
    }

    pub(crate) fn html(status: u16) -> Self {
        let title = format!("{status} {}", reason(status));
        Self::new(status)
            .and_header("Content-Type", Some("text/html"))
            .with_body(format!(
                "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
            ))
    }

    pub(crate) fn and_header(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The head with this framing header, up to and with the empty line.
    pub(crate) fn head(&self, framing: &str, keep_alive: bool) -> Vec<u8> {
        let mut head = vec![format!("HTTP/1.1 {} {}", self.status, reason(self.status))];
        let headers = self.headers.iter();
        head.extend(headers.map(|(name, value)| format!("{name}: {value}")));
        head.push(framing.to_owned());
        let connection = if keep_alive { "keep-alive" } else { "close" };
        head.push(format!("Connection: {connection}\r\n\r\n"));
        head.join("\r\n").into_bytes()
    }

    /// The head that tells the true length of the body.
    pub(crate) fn plain_head(&self, keep_alive: bool) -> Vec<u8> {
        self.head(&format!("Content-Length: {}", self.body.len()), keep_alive)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        522 => "Connection Timed Out",
        _ => "Simulated",
    }
}
