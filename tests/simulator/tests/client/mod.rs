//! A tiny blocking ecobee client: one connection a call, every answer kept whole.
#![allow(dead_code, reason = "each file of tests uses a part of it")]

use ecobee_simulator::{Options, Pin, Simulator};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const KEY: &str = "key-of-home";
/// Far longer than anything here takes: only a broken simulator runs into it.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A simulator without an interval between polls.
pub(crate) fn quick() -> Options {
    Options { interval: Duration::ZERO, ..Options::default() }
}

pub(crate) fn start(options: Options) -> Simulator {
    Simulator::start(options).expect("a free loopback port")
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn text(&self, member: &str) -> String {
        let json = self.json();
        json[member].as_str().unwrap_or_else(|| panic!("{member} is a string in {json}")).to_owned()
    }

    /// Status and name of an OAuth error.
    pub(crate) fn error(&self) -> (u16, String) {
        (self.status, self.text("error"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// One of ecobee's clients.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) ecobee: &'a Simulator,
    pub(crate) key: &'a str,
}

pub(crate) fn client(ecobee: &Simulator) -> Client<'_> {
    Client { ecobee, key: KEY }
}

pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        Self { access: answer.text("access_token"), refresh: answer.text("refresh_token") }
    }
}

impl Client<'_> {
    pub(crate) fn authorize(self) -> Answer {
        let key = encode(self.key);
        self.get(&format!("/authorize?response_type=ecobeePin&client_id={key}&scope=smartWrite"))
    }

    pub(crate) fn try_poll(self, code: &str) -> io::Result<Answer> {
        let (key, code) = (encode(self.key), encode(code));
        exchange(
            self.ecobee,
            &post(&format!("/token?grant_type=ecobeePin&code={code}&client_id={key}&ecobee_type=jwt")),
        )
    }

    pub(crate) fn poll(self, code: &str) -> Answer {
        self.try_poll(code).expect("an answer")
    }

    pub(crate) fn try_refresh(self, token: &str) -> io::Result<Answer> {
        let (key, token) = (encode(self.key), encode(token));
        exchange(
            self.ecobee,
            &post(&format!(
                "/token?grant_type=refresh_token&refresh_token={token}&client_id={key}&ecobee_type=jwt"
            )),
        )
    }

    pub(crate) fn refresh(self, token: &str) -> Answer {
        self.try_refresh(token).expect("an answer")
    }

    /// HTTP status and `status.code` of the API.
    pub(crate) fn thermostat(self, token: &str) -> (u16, u64) {
        let answer = self.thermostat_answer(token);
        let code = answer.json()["status"]["code"].as_u64();
        (answer.status, code.expect("a code"))
    }

    pub(crate) fn thermostat_answer(self, token: &str) -> Answer {
        let request = format!(
            "GET /1/thermostat?json=%7B%7D HTTP/1.1\r\nHost: ecobee\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        exchange(self.ecobee, &request).expect("an answer")
    }

    /// A code whose PIN has been entered.
    pub(crate) fn approved(self) -> String {
        let code = self.authorize().text("code");
        self.ecobee.approve(Pin::LatestOf(self.key.to_owned())).expect("the PIN is waiting");
        code
    }

    /// The whole PIN flow, the person being quick.
    pub(crate) fn log_in(self) -> Tokens {
        Tokens::of(&self.poll(&self.approved()))
    }

    pub(crate) fn get(self, target: &str) -> Answer {
        let request = format!("GET {target} HTTP/1.1\r\nHost: ecobee\r\nConnection: close\r\n\r\n");
        exchange(self.ecobee, &request).expect("an answer")
    }

    pub(crate) fn post(self, target: &str) -> Answer {
        exchange(self.ecobee, &post(target)).expect("an answer")
    }

    /// An order to the control API.
    pub(crate) fn control(self, route: &str, order: &str) -> Answer {
        let length = order.len();
        let request = format!(
            "POST /_control/{route} HTTP/1.1\r\nHost: ecobee\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{order}"
        );
        exchange(self.ecobee, &request).expect("an answer")
    }
}

fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: ecobee\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Everything but letters and digits percent-encoded.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

pub(crate) fn connect(ecobee: &Simulator) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(ecobee.address())?;
    stream.set_read_timeout(Some(LONG))?;
    Ok(stream)
}

/// Sends the bytes as they are and reads one answer.
pub(crate) fn exchange(ecobee: &Simulator, request: &str) -> io::Result<Answer> {
    let mut stream = connect(ecobee)?;
    stream.write_all(request.as_bytes())?;
    read_answer(&mut stream)
}

/// Reads one answer and not a byte more.
pub(crate) fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read_byte(stream)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, head.clone()))?;
    let mut answer = Answer { status, head, body: Vec::new() };
    if let Some(length) = answer.header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        answer.body = read_exactly(stream, length)?;
    } else {
        loop {
            let size = usize::from_str_radix(&read_line(stream)?, 16).map_err(io::Error::other)?;
            answer.body.extend(read_exactly(stream, size)?);
            read_line(stream)?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(answer)
}

fn read_byte(stream: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(read_byte(stream)?);
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

fn read_exactly(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
