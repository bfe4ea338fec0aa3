//! As much of HTTP/1.1 (RFC 9112) as one request over one connection takes.
//!
//! The answer comes from whoever listens at the socket: it is limited in every direction, and no bytes can bring this
//! down. What was read is wiped when dropped, for there may be a token in it.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// The head of an answer may be so long.
const HEAD_LIMIT: usize = 16 * 1024;

/// A line of a chunk's size may be so long.
const CHUNK_LINE_LIMIT: usize = 256;

/// Room for a token of usual length and its head: then nothing is ever read twice or copied.
const USUAL: usize = 16 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, where it is a number of seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nothing more came in time.
    TooLate,
    /// The connection ended before the answer did.
    CutShort,
    /// This is not HTTP, or too much of it.
    Garbled(&'static str),
    /// The kernel's reason.
    Broken(io::Error),
}

impl From<io::Error> for NoAnswer {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) {
            Self::TooLate
        } else {
            Self::Broken(error)
        }
    }
}

/// The request in bytes. `target` holds nothing but what this program put together, of checked pieces.
pub(crate) fn request(method: &str, target: &str, accept: Option<&str>, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let accept = accept.map(|kind| format!("Accept: {kind}\r\n")).unwrap_or_default();
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}{length}\r\n");
    let mut bytes = Zeroizing::new(Vec::with_capacity(head.len() + body.len()));
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads an answer whose body has `limit` bytes at most.
pub(crate) fn receive(source: impl Read, limit: usize) -> Result<Answer, NoAnswer> {
    let mut stream = Stream { source, held: Zeroizing::new(Vec::with_capacity(USUAL)), begin: 0 };
    loop {
        let head = stream.head()?;
        if matches!(head.status, 100..=199) {
            continue;
        }
        let body = match head.length {
            _ if matches!(head.status, 204 | 304) => Zeroizing::default(),
            Length::Known(length) if length > limit => return Err(TOO_LONG),
            Length::Known(length) => stream.exactly(length)?,
            Length::Chunks => stream.chunks(limit)?,
            Length::UntilTheEnd => stream.all(limit)?,
        };
        return Ok(Answer { status: head.status, retry_after: head.retry_after, body });
    }
}

const TOO_LONG: NoAnswer = NoAnswer::Garbled("it is far too long");

struct Head {
    status: u16,
    retry_after: Option<u64>,
    length: Length,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunks,
    UntilTheEnd,
}

/// What has arrived; `begin` is where the part starts that nobody has taken yet.
struct Stream<R> {
    source: R,
    held: Zeroizing<Vec<u8>>,
    begin: usize,
}

impl<R: Read> Stream<R> {
    fn left(&self) -> &[u8] {
        self.held.get(self.begin..).unwrap_or_default()
    }

    /// Reads on; how much came, which is nothing only at the end.
    fn more(&mut self) -> Result<usize, NoAnswer> {
        let filled = self.held.len();
        if filled == self.held.capacity() {
            // Not by the vector itself, which would leave the old bytes behind.
            let mut wider = Zeroizing::new(Vec::with_capacity(filled * 2));
            wider.extend_from_slice(self.left());
            (self.held, self.begin) = (wider, 0);
        }
        let filled = self.held.len();
        let room = self.held.capacity();
        self.held.resize(room, 0);
        let read = loop {
            match self.source.read(self.held.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What the server had said before it hung up in the middle of our request has been read by now.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break Ok(0),
                read => break read,
            }
        };
        self.held.truncate(filled + read.as_ref().copied().unwrap_or_default());
        Ok(read?)
    }

    fn more_or_cut_short(&mut self) -> Result<(), NoAnswer> {
        if self.more()? == 0 { Err(NoAnswer::CutShort) } else { Ok(()) }
    }

    /// Takes a line without its end, CRLF or LF, of `limit` bytes at most.
    fn line(&mut self, limit: usize) -> Result<String, NoAnswer> {
        let mut searched = 0;
        loop {
            let left = self.left();
            if let Some(end) = left.iter().skip(searched).position(|byte| *byte == b'\n') {
                let line = left.get(..searched + end).unwrap_or_default();
                let taken = line.len() + 1;
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = str::from_utf8(line).map(str::to_owned);
                self.begin += taken;
                return line.map_err(|_| NoAnswer::Garbled("its head is not text"));
            }
            searched = left.len();
            if searched >= limit {
                return Err(NoAnswer::Garbled("a line of it does not end"));
            }
            self.more_or_cut_short()?;
        }
    }

    fn head(&mut self) -> Result<Head, NoAnswer> {
        let mut room = HEAD_LIMIT;
        let mut next = |stream: &mut Self| {
            let line = stream.line(room)?;
            room = room.saturating_sub(line.len() + 2);
            Ok::<_, NoAnswer>(line)
        };
        let status = status(&next(self)?).ok_or(NoAnswer::Garbled("it does not begin as HTTP/1.1 does"))?;
        let (mut length, mut chunked, mut retry_after) = (None, false, None);
        loop {
            let line = next(self)?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or(NoAnswer::Garbled("a line of its head is no header"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let found = number(value).and_then(|length| usize::try_from(length).ok());
                let found = found.ok_or(NoAnswer::Garbled("its Content-Length is no number"))?;
                if length.replace(found).is_some_and(|before| before != found) {
                    return Err(NoAnswer::Garbled("it has two lengths"));
                }
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(NoAnswer::Garbled("it has an unknown Transfer-Encoding"));
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case("retry-after") {
                retry_after = number(value);
            }
        }
        let length = match length {
            _ if chunked => Length::Chunks,
            Some(length) => Length::Known(length),
            None => Length::UntilTheEnd,
        };
        Ok(Head { status, retry_after, length })
    }

    /// Takes so many bytes.
    fn exactly(&mut self, length: usize) -> Result<Zeroizing<Vec<u8>>, NoAnswer> {
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        self.move_into(&mut body, length)?;
        Ok(body)
    }

    /// Takes so many bytes; `body` must have room for them, lest it leave a copy behind when it grows.
    fn move_into(&mut self, body: &mut Vec<u8>, length: usize) -> Result<(), NoAnswer> {
        let mut missing = length;
        loop {
            let left = self.left();
            let piece = left.get(..missing.min(left.len())).unwrap_or_default();
            body.extend_from_slice(piece);
            let taken = piece.len();
            missing -= taken;
            self.begin += taken;
            if missing == 0 {
                return Ok(());
            }
            // All is taken: the room can be used again.
            self.held.clear();
            self.begin = 0;
            self.more_or_cut_short()?;
        }
    }

    fn chunks(&mut self, limit: usize) -> Result<Zeroizing<Vec<u8>>, NoAnswer> {
        let mut body = Zeroizing::new(Vec::new());
        loop {
            let line = self.line(CHUNK_LINE_LIMIT)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = Some(size)
                .filter(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .and_then(|size| usize::from_str_radix(size, 16).ok())
                .ok_or(NoAnswer::Garbled("a chunk of it has no size"))?;
            if size == 0 {
                // Trailers say nothing to us, and the connection is used no more.
                return Ok(body);
            }
            let longer = body.len().checked_add(size).filter(|length| *length <= limit).ok_or(TOO_LONG)?;
            if longer > body.capacity() {
                let mut wider = Zeroizing::new(Vec::with_capacity(longer.max(body.capacity() * 2)));
                wider.extend_from_slice(&body);
                body = wider;
            }
            self.move_into(&mut body, size)?;
            if !self.line(CHUNK_LINE_LIMIT)?.is_empty() {
                return Err(NoAnswer::Garbled("a chunk of it is longer than it said"));
            }
        }
    }

    fn all(&mut self, limit: usize) -> Result<Zeroizing<Vec<u8>>, NoAnswer> {
        while self.more()? > 0 {
            if self.left().len() > limit {
                return Err(TOO_LONG);
            }
        }
        Ok(Zeroizing::new(self.left().to_vec()))
    }
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let code = rest.split(' ').next()?;
    number(code).filter(|_| code.len() == 3).and_then(|code| code.try_into().ok()).filter(|code| *code >= 100)
}

/// Digits and nothing else, which is less than Rust takes for a number.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1000;

    /// A connection that gives no more than `step` bytes at a time.
    struct Dripping<'a> {
        bytes: &'a [u8],
        step: usize,
        reads: &'a Cell<usize>,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.reads.set(self.reads.get() + 1);
            let length = room.len().min(self.step).min(self.bytes.len());
            let (now, later) = self.bytes.split_at(length);
            room[..length].copy_from_slice(now);
            self.bytes = later;
            Ok(length)
        }
    }

    fn in_steps(bytes: &[u8], step: usize) -> Result<Answer, NoAnswer> {
        receive(Dripping { bytes, step, reads: &Cell::default() }, LIMIT)
    }

    fn body_of(text: &str) -> String {
        let whole = in_steps(text.as_bytes(), usize::MAX).expect("an answer");
        let dripped = in_steps(text.as_bytes(), 1).expect("the same answer in drops");
        assert_eq!(whole.body, dripped.body);
        String::from_utf8(whole.body.to_vec()).expect("text")
    }

    fn garbled(text: &str) -> bool {
        matches!(in_steps(text.as_bytes(), usize::MAX), Err(NoAnswer::Garbled(_)))
    }

    #[test]
    fn a_body_has_the_length_that_it_says() {
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"), "abc");
    }

    #[test]
    fn a_body_comes_in_chunks() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body_of(&format!("{head}3\r\nabc\r\nA;x=y\r\ndefghijklm\r\n0\r\n\r\n")), "abcdefghijklm");
    }

    #[test]
    fn a_body_without_a_length_lasts_until_the_end() {
        assert_eq!(body_of("HTTP/1.0 200\r\n\r\nabc\n"), "abc\n");
    }

    #[test]
    fn what_is_said_before_the_answer_is_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n";
        let answer = in_steps(text.as_bytes(), usize::MAX).expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }

    #[test]
    fn retry_after_is_a_number_or_nothing() {
        for (value, expected) in [("30", Some(30)), ("+3", None), ("Wed, 21 Oct 2015 07:28:00 GMT", None)] {
            let text = format!("HTTP/1.1 503 X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
            let answer = in_steps(text.as_bytes(), usize::MAX).expect("an answer");
            assert_eq!(answer.retry_after, expected, "{value}");
        }
    }

    #[test]
    fn an_answer_that_ends_early_is_cut_short() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        for length in 0..whole.len() {
            let answer = in_steps(&whole.as_bytes()[..length], usize::MAX);
            assert!(matches!(answer, Err(NoAnswer::CutShort)), "{length}: {answer:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_said_to_be_garbled() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        ] {
            assert!(garbled(text), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_read_without_end() {
        let long = "x".repeat(2 * HEAD_LIMIT);
        assert!(garbled(&long));
        assert!(garbled(&format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n")));
        assert!(garbled(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEAD_LIMIT / 4))));
        assert!(garbled(&format!("HTTP/1.1 200 OK\r\n\r\n{long}")));
        assert!(garbled("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"));
        let chunk = format!("1f4\r\n{}\r\n", "y".repeat(500));
        assert!(garbled(&format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            chunk.repeat(3)
        )));
    }

    #[test]
    fn a_token_of_usual_length_takes_one_read() {
        let body = "t".repeat(7000);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\n{body}");
        let reads = Cell::new(0);
        let answer = receive(Dripping { bytes: text.as_bytes(), step: usize::MAX, reads: &reads }, 10_000);
        assert_eq!(answer.expect("an answer").body.as_slice(), body.as_bytes());
        assert_eq!(reads.get(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1_usize..40) {
            let _ = in_steps(&bytes, step);
        }

        #[test]
        fn no_answer_put_together_of_likely_pieces_brings_it_down(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 X\r\n", "Content-Length: 5\r\n", "\r\n", "\n", "\r",
                    "Transfer-Encoding: chunked\r\n", "5\r\n", "hello", "0\r\n", "ffffffff\r\n", ":", "é",
                ]),
                0..20,
            ),
            step in 1_usize..40,
        ) {
            let text = pieces.concat();
            let (dripped, whole) = (in_steps(text.as_bytes(), step), in_steps(text.as_bytes(), usize::MAX));
            prop_assert_eq!(dripped.map(|answer| answer.body).ok(), whole.map(|answer| answer.body).ok());
        }
    }
}
